// SPDX-License-Identifier: Apache-2.0
//! docker-debug's command line on real containers. The table in docs/from-docker-debug.md names these tests, row by
//! row.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::terminal::Person;
use super::{Container, debug, kits, marks, nothing_is_left, wait_until};
use crate::agent::purser;
use crate::lab::{IMAGE, Lab, output, podman, run, unique, wait_limited};

const LIMIT: Duration = Duration::from_secs(10);
const SOCKET: &str = "unix:///var/run/docker.sock";

/// A home directory, and the program under docker-debug's name.
struct Home {
    dir: TempDir,
    link: PathBuf,
}

impl Home {
    fn new() -> Result<Home> {
        let dir = TempDir::new()?;
        let link = dir.path().join("docker-debug");
        symlink(purser().get_program(), &link)?;
        Ok(Home { dir, link })
    }

    /// With this in its configuration.
    fn with(text: &str) -> Result<Home> {
        let home = Home::new()?;
        fs::create_dir(home.dir.path().join(".docker-debug"))?;
        fs::write(home.dir.path().join(".docker-debug/config.toml"), text)?;
        Ok(home)
    }

    /// `docker-debug WORDS`
    fn command(&self, words: &[&str]) -> Result<Command> {
        Ok(self.command_with(&kits()?, words))
    }

    fn command_with(&self, kits: &Path, words: &[&str]) -> Command {
        let mut command = Command::new(&self.link);
        command.env("HOME", self.dir.path()).env_remove("DOCKER_HOST").env_remove("SUDO_UID");
        command.arg("--kits").arg(kits).args(words);
        command
    }

    fn printed(&self, words: &[&str]) -> Result<String> {
        run(&mut self.command(words)?)
    }

    /// What it says when it fails, behind its exit code.
    fn fails(&self, words: &[&str]) -> Result<String> {
        let output = output(&mut self.command(words)?)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok(format!("{} {said}", output.status.code().context("it was killed")?))
    }
}

fn sh<'a>(options: &[&'a str], target: &'a Container, script: &'a str) -> Vec<&'a str> {
    [options, &[target.name.as_str(), "sh", "-c", script]].concat()
}

#[test]
fn the_targets_files_are_at_mount_dir() -> Result<()> {
    let _lab = Lab::enter()?;
    let volume = TempDir::new()?;
    fs::write(volume.path().join("x"), "of a volume\n")?;
    let option = format!("{}:/data/deep:ro", volume.path().display());
    let target = Container::idle("compat-files", &["-v", &option, "--tmpfs", "/run"])?;
    let (home, before) = (Home::new()?, target.changes()?);
    let told = home.printed(&sh(
        &[],
        &target,
        "pwd; ls; cat data/deep/x /data/deep/x; ls -d /mnt/container/bin/sh",
    ))?;
    ensure!(
        told == "/mnt/container\nbin\ndata\ndev\netc\nproc\nrun\nsys\ntmp\nof a volume\nof a volume\n/mnt/container/bin/sh\n",
        "{told}"
    );
    // What is written there is written in the target, as far as the target itself could.
    let script = "echo x > tmp/w && cat /tmp/w; echo x > data/deep/y; echo x > run/z; cat /run/z";
    let told = home.printed(&sh(&[], &target, script))?;
    ensure!(told == "x\nx\n", "{told}");
    let wanted = before + "C /tmp\nA /tmp/w\n";
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    ensure!(lines(&target.changes()?) == lines(&wanted), "{}", target.changes()?);
    let seen = run(Command::new("docker").args(["exec", &target.name, "cat", "/tmp/w", "/run/z"]))?;
    ensure!(seen == "x\nx\n" && !volume.path().join("y").exists(), "{seen}");
    Ok(())
}

#[test]
fn work_dir_and_target_dir() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("compat-dirs", &["-w", "/etc"])?;
    let home = Home::new()?;
    for (options, wanted) in [
        (&[][..], "/mnt/container\n"),
        (&["-t", "/etc"], "/mnt/container/etc\n"),
        (&["--target-dir=tmp"], "/mnt/container/tmp\n"),
        (&["-w", "/proc"], "/proc\n"),
        (&["--work-dir", "/tmp", "-t", "/etc"], "/tmp\n"),
    ] {
        let told = home.printed(&sh(options, &target, "pwd"))?;
        ensure!(told == wanted, "{options:?}: {told}");
    }
    let own = |dir: &str| format!("mount_dir = \"{dir}\"\n[config.default]\nhost = \"{SOCKET}\"\n");
    let told =
        Home::with(&own("/opt/t/"))?.printed(&sh(&["-t", "etc"], &target, "pwd; ls -d /mnt 2>&1; true"))?;
    ensure!(told.starts_with("/opt/t/etc\n") && told.contains("No such file"), "{told}");
    let told = Home::with(&own(""))?.printed(&sh(&["-t", "tmp"], &target, "pwd; ls /"))?;
    ensure!(told.starts_with("/etc\n") && !told.contains("mnt"), "{told}");
    Ok(())
}

/// The bind that docker-debug makes goes around `--read-only`.
#[test]
fn a_read_only_root_stays_so() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::hardened("compat-ro")?;
    let home = Home::new()?;
    let said = home.fails(&sh(&[], &target, "echo x > tmp/x || echo x > /mnt/container/etc/x"))?;
    ensure!(said.matches("Read-only file system").count() == 2, "{said}");
    let said = home.fails(&sh(&["-v", "$c/etc:/x:rw"], &target, "echo x > /x/x"))?;
    ensure!(said.contains("Read-only file system"), "{said}");
    ensure!(target.changes()?.is_empty(), "{}", target.changes()?);
    Ok(())
}

#[test]
fn volumes() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("compat-volumes", &[])?;
    let (home, dir) = (Home::new()?, TempDir::new()?);
    fs::write(dir.path().join("f"), "f\n")?;
    let path = dir.path().display().to_string();
    for (volume, at, writable) in [
        (path.clone(), path.as_str(), true),
        (format!("{path}:ro"), path.as_str(), false),
        (format!("{path}:rw"), path.as_str(), true),
        (format!("{path}:/v"), "/v", true),
        (format!("{path}:/v:rw"), "/v", true),
        (format!("{path}:/v:ro"), "/v", false),
        (format!("{path}:/v:z"), "/v", false),
    ] {
        let script = format!("cat {at}/f; touch {at}/made 2>/dev/null && echo written");
        let told = output(&mut home.command(&sh(&["-v", &volume], &target, &script))?)?.stdout;
        let wanted = if writable { "f\nwritten\n" } else { "f\n" };
        ensure!(told == wanted.as_bytes(), "{volume}: {}", String::from_utf8_lossy(&told));
        ensure!(dir.path().join("made").exists() == writable, "{volume}");
        drop(fs::remove_file(dir.path().join("made")));
    }
    let told = home.printed(&sh(
        &["-v", "$c/etc:/copy:ro", "--volume", &path],
        &target,
        "ls -d /copy/hosts; ls -d /copy/none || ls -d /",
    ))?;
    ensure!(told.starts_with("/copy/hosts\n"), "{told}");
    let said = home.fails(&["-v", "/no/such:/x", &target.name, "true"])?;
    ensure!(said.starts_with("125 ") && said.contains("/no/such"), "{said}");
    Ok(())
}

#[test]
fn daemons_by_address_and_by_name() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("compat-daemons", &[])?;
    let text = format!(
        "config_default = \"far\"\n[config.far]\nhost = \"fd://3\"\n[config.near]\nhost = \"{SOCKET}\"\n"
    );
    let home = Home::with(&text)?;
    let name = target.name.as_str();
    for words in
        [&["-H", SOCKET, name, "true"][..], &["-n", "near", name, "true"], &["--host=unix://", name, "true"]]
    {
        home.printed(words)?;
    }
    for (words, wanted) in [
        (&[name, "true"][..], "fd://3"),
        (&["-n", "none", name, "true"], "there is no [config.none]; there are: far, near"),
        (&["-H", "foo://x", name, "true"], "is no address of a daemon"),
    ] {
        let said = home.fails(words)?;
        ensure!(said.contains(wanted) && !said.starts_with("0 "), "{words:?}: {said}");
    }
    run(Command::new(&home.link).args(["use", "near"]).env("HOME", home.dir.path()))?;
    home.printed(&[name, "true"])?;
    let changed = fs::read_to_string(home.dir.path().join(".docker-debug/config.toml"))?;
    ensure!(changed == text.replace("\"far\"", "\"near\""), "{changed}");
    Ok(())
}

#[test]
fn user_and_rights() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("compat-rights", &[])?;
    let home = Home::new()?;
    let show = "id -u; id -g; grep CapEff /proc/self/status";
    let told = home.printed(&sh(&["-u", "33:44"], &target, show))?;
    ensure!(told == "33\n44\nCapEff:\t0000000000000000\n", "{told}");
    let of = |options: &[&str]| -> Result<u64> {
        let told = home.printed(&sh(options, &target, "grep CapEff /proc/self/status"))?;
        Ok(u64::from_str_radix(told.trim().rsplit('\t').next().unwrap_or_default(), 16)?)
    };
    let (usual, ptrace, admin) = (of(&[])?, 1 << 19, 1 << 12);
    ensure!(usual & (ptrace | admin) == 0, "{usual:x}");
    ensure!(
        of(&["-C", "SYS_PTRACE", "--cap-adds", "cap_net_admin"])? == usual | ptrace | admin,
        "not those asked for"
    );
    ensure!(of(&["-p"])?.count_ones() > 30 && of(&["--privileged"])? & admin != 0, "not privileged");
    let said = home.fails(&["-C", "NOPE", &target.name, "true"])?;
    ensure!(said.contains("is no capability"), "{said}");
    Ok(())
}

#[test]
fn security_options_that_hold_are_taken() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("compat-secopt", &[])?;
    let home = Home::new()?;
    let options =
        ["-s", "seccomp=unconfined", "--security-opts", "apparmor:unconfined", "-s", "no-new-privileges"];
    let told = home.printed(&sh(&options, &target, "grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status"))?;
    ensure!(told == "NoNewPrivs:\t1\nSeccomp:\t0\n", "{told}");
    for option in ["seccomp=/etc/profile.json", "apparmor=docker-default", "no-new-privileges=false", "x"] {
        let said = home.fails(&["-s", option, &target.name, "true"])?;
        ensure!(said.starts_with("2 ") && said.contains("leave it out"), "{option}: {said}");
    }
    Ok(())
}

#[test]
fn ipc_is_the_targets() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("compat-ipc", &[])?;
    let wanted = format!("{}\n", fs::read_link(format!("/proc/{}/ns/ipc", target.pid))?.display());
    for options in [&[][..], &["--ipc"]] {
        let told = Home::new()?.printed(&sh(options, &target, "ls -l /proc/self/ns/ipc"))?;
        ensure!(told.ends_with(&wanted), "{options:?}: {told}, not {wanted}");
    }
    Ok(())
}

/// docker-debug always ends with 0.
#[test]
fn exit_codes() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("compat-codes", &[])?;
    let home = Home::new()?;
    for (script, wanted) in [("exit 0", "0 "), ("exit 3", "3 "), ("exit 255", "255 "), ("kill -9 $$", "137 ")]
    {
        let told = home.fails(&sh(&[], &target, script))?;
        ensure!(told == wanted, "{script}: {told}");
    }
    for (words, wanted) in [
        (&[target.name.as_str(), "no-such"][..], "127 "),
        (&[target.name.as_str(), "/etc"], "126 "),
        (&["purser-test-nobody", "true"], "125 "),
        (&["--no-such-option", "x", "true"], "2 "),
        (&[], "2 "),
    ] {
        let told = home.fails(words)?;
        ensure!(told.starts_with(wanted), "{words:?}: {told}");
    }
    Ok(())
}

/// docker-debug gives every command a terminal, which changes bytes and mixes errors in.
#[test]
fn pipes_are_pipes_and_terminals_terminals() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("compat-pipes", &[])?;
    let home = Home::new()?;
    let input = "a\nb\r\n\x03\x04\0".repeat(10_000);
    let dir = TempDir::new()?;
    let file = dir.path().join("in");
    fs::write(&file, &input)?;
    let words = sh(&[], &target, "cat; tty >&2");
    let got = home.command(&words)?.stdin(fs::File::open(&file)?).output()?;
    ensure!(got.stdout == input.as_bytes() && got.stderr == b"not a tty\n", "other bytes");
    let mut person = Person::at(home.command(&["-d", "ctrl-x,y", &target.name, "sh"])?)?;
    person.sees("# ")?;
    person.types("tty; echo $((40+2))\r")?;
    person.sees("/dev/pts/")?;
    person.sees("42")?;
    // The keys of the option, not the usual ones.
    person.types("\x10\x11echo still-$((1+1))\r")?;
    person.sees("still-2")?;
    person.types("\x18y")?;
    person.sees("goes on; come back with: purser debug attach ")?;
    ensure!(person.ends()? == Some(0), "another exit code");
    let all = run(purser().args(["debug", "sessions", "-o", "json"]))?;
    let own = all.lines().find(|line| line.contains(&target.name)).context("no session")?;
    let own: serde_json::Value = serde_json::from_str(own)?;
    run(purser().args(["debug", "end", own["id"].as_str().unwrap_or_default()]))?;
    Ok(())
}

/// docker-debug ends with the first signal that anybody sends to the target.
#[test]
fn a_signal_for_the_target_ends_nothing() -> Result<()> {
    let _lab = Lab::enter()?;
    let target =
        Container::start("compat-hup", &[], IMAGE, &["sh", "-c", "trap : HUP; while :; do sleep 1; done"])?;
    let home = Home::new()?;
    let words = sh(&[], &target, "echo ready; read line; echo $line");
    let mut session = home.command(&words)?.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut out = std::io::BufReader::new(session.stdout.take().context("no output")?);
    let mut line = String::new();
    std::io::BufRead::read_line(&mut out, &mut line)?;
    run(Command::new("docker").args(["kill", "-s", "HUP", &target.name]))?;
    ensure!(wait_limited(&mut session, Duration::from_millis(700))?.is_none(), "the session ended");
    std::io::Write::write_all(&mut session.stdin.take().context("no input")?, b"here\n")?;
    std::io::BufRead::read_line(&mut out, &mut line)?;
    ensure!(
        wait_limited(&mut session, LIMIT)?.context("it does not end")?.success() && line == "ready\nhere\n",
        "{line}"
    );
    Ok(())
}

/// docker-debug leaves its helper container when the start fails, and when it is killed.
#[test]
fn a_failed_start_leaves_nothing() -> Result<()> {
    let _lab = Lab::enter()?;
    let (target, before, home) = (Container::idle("compat-left", &[])?, marks(), Home::new()?);
    let processes = target.processes()?;
    for words in [&["no-such"][..], &["/etc"]] {
        home.fails(&[&[target.name.as_str()], words].concat())?;
    }
    home.fails(&["-w", "/no/such", &target.name, "true"])?;
    home.fails(&["-u", "nobody-here", &target.name, "true"])?;
    let mut killed = home.command(&[&target.name, "sleep", "1000"])?.spawn()?;
    wait_until("the session runs", || Ok(target.processes()?.len() > processes.len() + 1))?;
    killed.kill()?;
    killed.wait()?;
    target.is_as_before(&processes)?;
    let helpers = run(Command::new("docker").args([
        "ps",
        "-aq",
        "--filter",
        &format!("network=container:{}", target.name),
    ]))?;
    ensure!(helpers.is_empty(), "{helpers}");
    ensure!(target.changes()?.is_empty(), "{}", target.changes()?);
    nothing_is_left(&before)
}

/// The API's version in the file means nothing: no daemon is asked, and with a remote one it is negotiated.
#[test]
fn no_version_of_the_api_is_pinned() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("compat-api", &[])?;
    for version in ["", "1.12", "9.99", "nonsense"] {
        let text = format!("[config.default]\nversion = \"{version}\"\nhost = \"{SOCKET}\"\n");
        Home::with(&text)?.printed(&[&target.name, "true"])?;
    }
    Ok(())
}

/// docker-debug needs the engine to tell a MergedDir, and takes no part in a user namespace.
#[test]
fn engines_without_a_merged_dir() -> Result<()> {
    let lab = Lab::enter()?;
    let name = unique("purser-test-compat-podman");
    let mut create = podman();
    create.args(["run", "-d", "--network", "none", "--name", &name, "--rootfs"]).arg(lab.root());
    run(create.args(["/bin/sleep", "1000"]))?;
    let told = Home::new()?.printed(&[
        "-H",
        "unix:///run/podman/podman.sock",
        &name,
        "sh",
        "-c",
        "pwd; ls -d /bin/sleep",
    ]);
    let removed = output(podman().args(["rm", "-f", "-t", "0", &name]))?;
    ensure!(told? == "/mnt/container\n/bin/sleep\n" && removed.status.success(), "{removed:?}");
    Ok(())
}

#[test]
fn user_namespaces() -> Result<()> {
    let _lab = Lab::enter()?;
    let script = "exec unshare -U -r -m -p -f --mount-proc sh -c 'exec sleep 1000'";
    let mut child = Command::new("setsid").args(["sh", "-c", script]).spawn()?;
    let mut inner = String::new();
    let found = wait_until("a sleep is in its own namespaces", || {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id()))?;
        inner = children.trim().to_owned();
        Ok(!inner.is_empty() && fs::read_to_string(format!("/proc/{inner}/comm"))? == "sleep\n")
    });
    let told = Home::new()?.printed(&[
        &format!("pid:{inner}"),
        "sh",
        "-c",
        "pwd; cat /proc/self/uid_map; ls -d bin",
    ]);
    drop(output(Command::new("kill").args(["-9", &inner])));
    child.wait()?;
    found?;
    ensure!(told? == "/mnt/container\n         0          0          1\nbin\n", "other namespaces");
    Ok(())
}

/// What docker-debug had from its image.
#[test]
fn tools_come_from_the_kit_that_has_them() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("compat-tools", &[])?;
    let (home, shelf) = (Home::new()?, TempDir::new()?);
    for (name, capabilities) in [("base", "[]"), ("extra", "[\"NET_ADMIN\"]")] {
        let bin = shelf.path().join(name).join("root/bin");
        fs::create_dir_all(&bin)?;
        fs::copy("/bin/busybox", bin.join("busybox"))?;
        let text = format!(
            "name = \"{name}\"\nversion = \"1\"\narch = \"x86_64\"\nsummary = \"x\"\npath = [\"bin\"]\ncapabilities = {capabilities}\n"
        );
        fs::write(shelf.path().join(name).join("kit.toml"), text)?;
    }
    for (kit, tool) in [("base", "grep"), ("extra", "grep"), ("extra", "awk"), ("extra", "id")] {
        symlink("busybox", shelf.path().join(kit).join("root/bin").join(tool))?;
    }
    let run_in = |words: &[&str]| -> Result<String> {
        run(home.command_with(shelf.path(), &[&target.name]).args(words))
    };
    let told = run_in(&["awk", "/^CapEff/ { print $2 }", "/proc/self/status"])?;
    ensure!(u64::from_str_radix(told.trim(), 16)? & (1 << 12) != 0, "not the rights of the kit: {told}");
    // What the target or the usual kit has needs no other, and no other rights.
    let told = run_in(&["grep", "CapEff", "/proc/self/status"])?;
    ensure!(!told.contains("00000000a00435fb") && told.contains("00000000a00425fb"), "{told}");
    let told = run_in(&["sh", "-c", "ls /dev/.purser"])?;
    ensure!(told == "base\n", "{told}");
    Ok(())
}

/// The tools of an image that an engine of this host has, without a container of it.
#[test]
fn an_image_of_this_host_is_a_kit() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("compat-tools", &[])?;
    let (shelf, root) = (TempDir::new()?, TempDir::new()?);
    let bin = root.path().join("usr/bin");
    fs::create_dir_all(&bin)?;
    fs::copy("/bin/busybox", bin.join("busybox"))?;
    symlink("busybox", bin.join("tac"))?;
    let image = format!("{}:1", unique("purser-test-compat-image"));
    let import = format!("tar -C '{}' -c . | docker import - {image}", root.path().display());
    run(Command::new("sh").args(["-c", &import]))?;
    let home = Home::with(&format!("image = \"{image}\"\n[config.default]\nhost = \"{SOCKET}\"\n"))?;
    let used = (|| -> Result<()> {
        for options in [&["-i", &image][..], &[], &["--image", &image, "-n", "default"]] {
            let mut words = home.command_with(shelf.path(), options);
            let told = words.args([&target.name, "tac", "/proc/self/comm"]).output()?;
            ensure!(told.stdout == b"tac\n" && told.status.success(), "{told:?}");
        }
        let made = fs::read_dir(shelf.path())?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let made: Vec<String> = made.filter(|name| name.starts_with("image-")).collect();
        ensure!(made.len() == 1, "{made:?}");
        let mut by_sudo = home.command_with(shelf.path(), &["-i", &image]);
        let said = by_sudo.args([&target.name, "true"]).env("SUDO_UID", "1000").output()?.stderr;
        ensure!(String::from_utf8_lossy(&said).contains("not for who comes by sudo"), "by sudo");
        Ok(())
    })();
    run(Command::new("docker").args(["rmi", "-f", &image]))?;
    used
}

/// An image is never fetched because a file names it.
#[test]
fn an_image_that_is_not_there() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("compat-image", &[])?;
    let home = Home::new()?;
    let before = run(Command::new("docker").args(["images", "-q", "nicolaka/netshoot"]))?;
    let asked = home.command(&["-i", "registry.invalid/none:1", &target.name, "true"])?.output()?;
    let said = String::from_utf8_lossy(&asked.stderr).into_owned();
    ensure!(asked.status.success(), "{said}");
    ensure!(said.starts_with("docker-debug: image registry.invalid/none:1: "), "{said}");
    ensure!(said.ends_with("; the tools come from purser's kits\n") && said.lines().count() == 1, "{said}");
    home.printed(&[&target.name, "true"])?;
    let after = run(Command::new("docker").args(["images", "-q", "nicolaka/netshoot"]))?;
    ensure!(before == after, "an image was fetched");
    Ok(())
}

/// Behind `purser debug --as docker-debug` it is the same.
#[test]
fn without_a_link() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("compat-as", &[])?;
    let home = Home::new()?;
    let mut command = purser();
    command.args(["debug", "--as", "docker-debug", "--kits"]).arg(kits()?);
    command.args(["-t", "/etc", "--reason", "case 9", &target.name, "pwd"]).env("HOME", home.dir.path());
    ensure!(run(&mut command)? == "/mnt/container/etc\n", "not docker-debug's command line");
    let late = output(&mut debug(&target.name, &["--as", "docker-debug"], &["true"])?)?;
    ensure!(late.status.code() == Some(2), "{late:?}");
    ensure!(
        Path::new(&home.dir.path().join(".docker-debug/config.toml")).exists(),
        "a first run writes the file"
    );
    Ok(())
}
