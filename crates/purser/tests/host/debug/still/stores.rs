// SPDX-License-Identifier: Apache-2.0
//! Images and containers of a real containerd with directories of its own, found by its command line and by its
//! configuration: while it runs, while it is stopped and answers nobody, and when it has ended.

use std::process::Command;

use anyhow::{Result, ensure};

use super::super::sudo::Host;
use super::super::{debug, marks, nothing_is_left};
use super::{nothing_stands, stand_ins};
use crate::agent::Agent;
use crate::cri::Containerd;
use crate::lab::{Lab, output, run, signal, unique};

const SCRIPT: [&str; 3] = ["sh", "-c", "ls /bin/load-target && cat /proc/1/comm"];

#[test]
fn images_and_containers_of_containerd() -> Result<()> {
    let lab = Lab::enter()?;
    let containerd = Containerd::start(&lab)?;
    let name = unique("purser-test-still-containerd");
    run(containerd.ctr().args(["containers", "create", containerd.image(), &name, "/bin/sleep", "7"]))?;
    let image = format!("image:{}", containerd.image());
    let short = image.replace("docker.io/library/", "").replace(":1", "");
    let before = (marks(), stand_ins());
    let sees = |word: &str| -> Result<()> {
        let ended = output(&mut debug(word, &[], &SCRIPT)?)?;
        let said = String::from_utf8_lossy(&ended.stdout).into_owned();
        ensure!(
            said.starts_with("/bin/load-target\n") && said.ends_with("purser-stand\n"),
            "{word}: {ended:?}"
        );
        Ok(())
    };
    for word in [image.as_str(), &short, &format!("containerd:{name}"), &name] {
        sees(word)?;
    }
    // It answers nobody.
    signal(containerd.pid(), "STOP")?;
    let stopped = [image.as_str(), &name].into_iter().try_for_each(sees);
    signal(containerd.pid(), "CONT")?;
    stopped?;
    // What it writes meanwhile is read again.
    let mut writer = containerd.ctr();
    writer.args(["images", "label", containerd.image(), "a=b"]);
    for _ in 0..5 {
        let mut child = writer.stdout(std::process::Stdio::null()).spawn()?;
        sees(&image)?;
        ensure!(child.wait()?.success());
    }
    // Only its configuration says where its files are.
    let agent = Agent::prepare("")?;
    let host = Host::with(&agent, "")?;
    let root = containerd.root();
    host.write("containerd/config.toml", &format!("version = 2\nroot = {root:?}\n"))?;
    let left = containerd.end()?;
    let (code, told) = host.said("0", &[&image, "--", SCRIPT[0], SCRIPT[1], SCRIPT[2]])?;
    ensure!(code == Some(0) && told.contains("/bin/load-target\n"), "{code:?} {told}");
    let (code, told) = host.said("0", &[&name, "--", SCRIPT[0], SCRIPT[1], SCRIPT[2]])?;
    ensure!(code == Some(0) && told.contains("/bin/load-target\n"), "{code:?} {told}");
    // Of an image that is only packed there is no directory.
    run(Command::new("rm").arg("-r").arg(root.join("io.containerd.snapshotter.v1.overlayfs/snapshots")))?;
    let (code, told) = host.said("0", &[&image, "--", "true"])?;
    ensure!(code == Some(125) && told.contains("a layer of ") && told.contains(" is missing"), "{told}");
    drop(left);
    nothing_stands(&before.1)?;
    nothing_is_left(&before.0)
}
