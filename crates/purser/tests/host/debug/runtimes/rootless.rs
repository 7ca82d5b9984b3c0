// SPDX-License-Identifier: Apache-2.0
//! Rootless Docker, by the script that comes with it: root of the host finds its containers by their names, and its
//! daemon, being root of nothing else, leads to no session.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::podman::User;
use super::{Running, refused, sessions_work};
use crate::debug::printed;
use crate::lab::{IMAGE, Lab, output, run, signal, source_dir, unique, wait_limited};

const LIMIT: Duration = Duration::from_secs(60);
const SCRIPT: &str = "/usr/share/docker.io/contrib/dockerd-rootless.sh";

/// In mounts of its own. Arguments: the user's directory, what becomes the user, the user's number, the daemon's script.
/// Everybody may open the device of tunnels, as on most hosts.
const FIRST: &str = r#"
set -eu
mkdir -p "$1/net"
mount -t tmpfs net "$1/net"
mknod -m 666 "$1/net/tun" c 10 200
mount --bind "$1/net" /dev/net
exec "$2" "$1" "$3" env PATH=/usr/sbin:/usr/bin:/sbin:/bin "$4"
"#;

/// A user's daemon; ended when dropped.
struct Rootless {
    user: User,
    child: Child,
}

impl Rootless {
    fn start(lab: &Lab) -> Result<Rootless> {
        let user = User::make(lab, 45_680)?;
        ensure!(Path::new(SCRIPT).exists(), "there is no {SCRIPT} (package docker.io)");
        let said = fs::File::create(user.home().join("said"))?;
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", FIRST, "rootless"]).arg(user.place());
        command.arg(source_dir().join("debug/rootless.sh")).args([&user.number.to_string(), SCRIPT]);
        command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        let child = command.spawn().context("starting unshare")?;
        let mut rootless = Rootless { user, child };
        let begun = Instant::now();
        while !output(&mut rootless.docker(&["version"]))?.status.success() {
            let said = || fs::read_to_string(rootless.user.home().join("said")).unwrap_or_default();
            ensure!(begun.elapsed() < LIMIT, "dockerd does not answer\n{}", said());
            ensure!(rootless.child.try_wait()?.is_none(), "dockerd has ended\n{}", said());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(rootless)
    }

    fn host(&self) -> String {
        format!("unix:///run/user/{}/docker.sock", self.user.number)
    }

    fn docker(&self, words: &[&str]) -> Command {
        let mut docker = Command::new("docker");
        docker.arg("-H").arg(self.host()).args(words);
        docker
    }
}

impl Drop for Rootless {
    fn drop(&mut self) {
        // Best effort on the way out. The shims outlive their daemon, and containers their shims.
        let all = output(&mut self.docker(&["ps", "-aq"])).map(|told| told.stdout).unwrap_or_default();
        let all = String::from_utf8_lossy(&all).into_owned();
        if !all.trim().is_empty() {
            drop(output(self.docker(&["rm", "-f"]).args(all.split_whitespace())));
        }
        drop(signal(self.child.id(), "TERM"));
        if !matches!(wait_limited(&mut self.child, LIMIT), Ok(Some(_))) {
            drop(self.child.kill().and_then(|()| self.child.wait()));
        }
    }
}

#[test]
fn containers_of_rootless_docker() -> Result<()> {
    let lab = Lab::enter()?;
    let rootless = Rootless::start(&lab)?;
    let docker = |words: &[&str]| rootless.docker(words);
    let mut save = Command::new("docker").args(["save", IMAGE]).stdout(Stdio::piped()).spawn()?;
    let loaded = docker(&["load"]).stdin(save.stdout.take().context("no pipe")?).output()?;
    ensure!(save.wait()?.success() && loaded.status.success(), "the image cannot be handed over: {loaded:?}");
    let owner = rootless.user.number;
    for (number, options) in [&[][..], &["--user", "33"]].iter().enumerate() {
        let name = unique(&format!("purser-test-rootless-{number}"));
        let mut start = docker(&["run", "-d", "--network", "none", "--name", &name]);
        let id = run(start.args(*options).args([IMAGE, "sleep", "100000"]))?.trim().to_owned();
        let pid = run(&mut docker(&["inspect", "-f", "{{.State.Pid}}", &name]))?.trim().parse()?;
        sessions_work(&Running { words: &[&name, &format!("docker:{name}"), &id[..12]], pid, id: &id })?;
        let said = refused("purser-test-nobody", &[])?;
        ensure!(said.contains(&format!("{name} (docker, of user {owner})")), "{said}");
        ensure!(run(&mut docker(&["diff", &name]))?.is_empty(), "the target's files have changed");
        let said = refused(&name, &["--host", &rootless.host()])?;
        ensure!(said.contains("runs without root") && said.contains("log in there"), "{said}");
    }
    let old = unique("purser-test-rootless-old");
    let write = [
        "run",
        "--network",
        "none",
        "--name",
        &old,
        IMAGE,
        "sh",
        "-c",
        "echo changed > /tmp/x; rm /bin/false",
    ];
    run(&mut docker(&write))?;
    let told = printed(&old, &[], &["sh", "-c", "cat /tmp/x; ls /bin/false 2>/dev/null || echo gone"])?;
    ensure!(told == "changed\ngone\n", "{told}");
    let said = refused("purser-test-nobody", &[])?;
    ensure!(!said.contains(&old), "what does not run is listed: {said}");
    Ok(())
}
