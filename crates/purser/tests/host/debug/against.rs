// SPDX-License-Identifier: Apache-2.0
//! Targets that are against whoever comes, targets that end at any moment of an attach, and hosts without room: each
//! time it works or says why not, the target is unharmed, and nothing is left.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::faults::Image;
use super::{Container, compiled, debug, kits, marks, nothing_is_left, printed, status, wait_until};
use crate::lab::{IMAGE, Lab, output, run, signal, temporary, unique, wait_limited};

const LIMIT: Duration = Duration::from_secs(25);

/// An image whose first process is tests/debug/harass.c.
fn harassing() -> Result<Image> {
    let bin = kits()?.join("base/root/bin");
    let harass = compiled("harass", &bin)?;
    let script = format!("mkdir bin; cp /bin/busybox bin/sleep; cp '{}' bin/harass", harass.display());
    Image::make("harass", &script)
}

fn is_unharmed(target: &Container) -> Result<()> {
    let state = status(target.pid, "State").unwrap_or_default();
    ensure!(state.starts_with(['R', 'S', 'D']), "the target is in state {state:?}");
    Ok(())
}

/// A root in the target kills, or stops, every process that it sees, as fast as it can.
#[test]
fn whoever_comes_is_killed_or_stopped() -> Result<()> {
    let _lab = Lab::enter()?;
    let image = harassing()?;
    for number in ["9", "19"] {
        let target = Container::start("harass", &[], &image.0, &["/bin/harass", number])?;
        let before = marks();
        for _ in 0..4 {
            let mut session = debug(&target.name, &[], &["true"])?
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()?;
            // A program that is stopped ends when its user ends it.
            if wait_limited(&mut session, Duration::from_secs(3))?.is_none() {
                session.kill()?;
            }
            let ended = session.wait_with_output()?;
            let said = String::from_utf8_lossy(&ended.stderr).into_owned();
            let told = match ended.status.code() {
                Some(0) | None => true,
                Some(125) => !said.is_empty(),
                Some(137) => said.contains("killed") || said.is_empty(),
                _ => false,
            };
            ensure!(told, "signal {number}: {} {said}", ended.status);
            nothing_is_left(&before).with_context(|| format!("signal {number}: {said}"))?;
            is_unharmed(&target)?;
        }
    }
    Ok(())
}

#[test]
fn a_target_that_forks_without_end() -> Result<()> {
    let _lab = Lab::enter()?;
    let image = harassing()?;
    let target = Container::start("forks", &["--pids-limit", "50"], &image.0, &["/bin/harass", "fork"])?;
    wait_until("it is full", || Ok(target.processes()?.len() >= 45))?;
    ensure!(printed(&target.name, &[], &["id", "-u"])? == "0\n", "another answer");
    is_unharmed(&target)
}

#[test]
fn file_systems_of_the_target_are_full() -> Result<()> {
    let _lab = Lab::enter()?;
    let options = ["--tmpfs", "/tmp:size=64k", "--shm-size", "64k"];
    let target = Container::start("full", &options, IMAGE, &["sleep", "100000"])?;
    for file in ["/tmp/full", "/dev/shm/full"] {
        let fill = format!("dd if=/dev/zero of={file} bs=1k count=100 2>/dev/null; true");
        run(Command::new("docker").args(["exec", &target.name, "sh", "-c", &fill]))?;
    }
    for way in ["dev", "new"] {
        let script = "echo x >$HOME/x && cat $HOME/x; echo y >/tmp/y || echo full";
        let told = printed(&target.name, &["--root", way], &["sh", "-c", script])?;
        ensure!(told == "x\nfull\n", "{way}: {told}");
    }
    Ok(())
}

/// The list of users is the target's word: one of 100 MB, of a million lines, of zeros, with numbers that are none.
#[test]
fn a_hostile_list_of_users() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("passwd", &[])?;
    let file = format!("/proc/{}/root/etc/passwd", target.pid);
    let line = |uid: &str| format!("app:x:{uid}:1000::/:/bin/sh\n");
    let million: String = (0..1_000_000).map(|uid| format!("u{uid}:x:{uid}:{uid}::/:/\n")).collect();
    let cases: [(&str, Vec<u8>); 6] = [
        ("zeros", vec![0; 100 << 20]),
        ("lines", (million + &line("7")).into_bytes()),
        ("huge", line("99999999999999999999999").into_bytes()),
        ("negative", line("-1").into_bytes()),
        ("nobody's", line("4294967295").into_bytes()),
        ("one line", vec![b'a'; 10 << 20]),
    ];
    for (name, content) in cases {
        fs::write(&file, content)?;
        let begun = Instant::now();
        let asked = output(&mut debug(&target.name, &["--user", "app"], &["id", "-u"])?)?;
        let said = String::from_utf8_lossy(&asked.stderr).into_owned();
        ensure!(asked.status.code() == Some(125) && !said.is_empty(), "{name}: {} {said}", asked.status);
        ensure!(begun.elapsed() < LIMIT, "{name}: it took {:?}", begun.elapsed());
        ensure!(printed(&target.name, &["--user", "7"], &["id", "-u"])? == "7\n", "{name}: by number");
    }
    Ok(())
}

#[test]
fn processes_that_are_hidden() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("hidepid", &[])?;
    let remount = ["mount", "-o", "remount,hidepid=2", "/proc"];
    run(Command::new("nsenter")
        .args(["-t", &target.pid.to_string(), "-m", "-p", "/bin/busybox"])
        .args(remount))?;
    let (processes, before) = (target.processes()?, marks());
    for options in [&[][..], &["--user", "1000"]] {
        let told = printed(&target.name, options, &["sh", "-c", "sleep 100 & echo ok; cat /proc/1/comm"]);
        let told = told.or_else(|error| match options {
            // The other user does not see it.
            ["--user", _] => printed(&target.name, options, &["sh", "-c", "sleep 100 & echo ok"]),
            _ => Err(error),
        })?;
        ensure!(told.starts_with("ok\n"), "{told}");
        target.is_as_before(&processes)?;
        nothing_is_left(&before)?;
    }
    Ok(())
}

#[test]
fn a_dev_that_is_read_only() -> Result<()> {
    let _lab = Lab::enter()?;
    let root = TempDir::with_prefix_in("root-", temporary())?;
    run(Command::new("sh")
        .args(["-ec", "mkdir bin dev; cp /bin/busybox bin/sleep"])
        .current_dir(root.path()))?;
    let script = "mount -t tmpfs -o ro none \"$1/dev\"; exec chroot \"$1\" /bin/sleep 1000";
    let mut child =
        Command::new("unshare").args(["-m", "sh", "-ec", script, "sh"]).arg(root.path()).spawn()?;
    let ready = wait_until("it sleeps in its root", || {
        Ok(fs::read_to_string(format!("/proc/{}/comm", child.id()))? == "sleep\n")
    });
    let command = ["sh", "-c", "echo x >/dev/null && ls /dev/.purser"];
    let told = ready.and_then(|()| {
        let all =
            ["dev", "new"].map(|way| printed(&format!("pid:{}", child.id()), &["--root", way], &command));
        all.into_iter().collect::<Result<Vec<_>>>()
    });
    child.kill()?;
    child.wait()?;
    ensure!(told?.iter().all(|told| told == "base\n"), "another answer");
    Ok(())
}

/// The first process of a pid namespace dies at each millisecond of an attach.
#[test]
fn a_target_that_ends_meanwhile() -> Result<()> {
    let _lab = Lab::enter()?;
    kits()?;
    let (own, before) = (fs::read_link("/proc/self/ns/pid")?, marks());
    let (mut ran, mut told_why) = (0, 0);
    for after in 0..30 {
        let script = "exec unshare -m -p -f --mount-proc sleep 1000";
        let mut outer = Command::new("sh").args(["-c", script]).stdin(Stdio::null()).spawn()?;
        let mut inner = None;
        let found = wait_until("a sleep is in its own namespaces", || {
            let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", outer.id()))?;
            inner = children.split_whitespace().next().and_then(|pid| pid.parse::<u32>().ok());
            let Some(pid) = inner else { return Ok(false) };
            Ok(fs::read_to_string(format!("/proc/{pid}/comm"))? == "sleep\n"
                && fs::read_link(format!("/proc/{pid}/ns/pid"))? != own)
        });
        found?;
        let inner = inner.context("no first process")?;
        let mut session = debug(&format!("pid:{inner}"), &[], &["sh", "-c", "echo in; sleep 1000"])?
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        sleep(Duration::from_millis(after));
        signal(inner, "KILL")?;
        outer.wait()?;
        let status = wait_limited(&mut session, LIMIT)?.with_context(|| format!("{after} ms: it hangs"))?;
        let ended = session.wait_with_output()?;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        let code = status.code();
        ensure!(matches!(code, Some(125 | 137)) && !said.is_empty(), "{after} ms: {code:?} {said}");
        ran += u32::from(ended.stdout == b"in\n");
        told_why += u32::from(code == Some(125));
        nothing_is_left(&before).with_context(|| format!("{after} ms: {said}"))?;
    }
    ensure!(told_why > 0, "each of {ran} sessions was begun before the target's end");
    Ok(())
}

/// The host's directory of sessions has no room.
#[test]
fn a_host_without_room() -> Result<()> {
    let _lab = Lab::enter()?;
    let (target, before) = (Container::idle("run", &[])?, marks());
    let script = "mkdir -p /run/purser/debug; mount -t tmpfs -o size=4k,nr_inodes=1 none /run/purser/debug; exec \"$@\"";
    let session = debug(&target.name, &[], &["true"])?;
    let mut alone = Command::new("unshare");
    alone.args(["-m", "sh", "-ec", script, "sh"]).arg(session.get_program()).args(session.get_args());
    let ended = output(&mut alone)?;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    ensure!(ended.status.code() == Some(125) && said.contains("No space left"), "{} {said}", ended.status);
    nothing_is_left(&before)?;
    ensure!(target.changes()?.is_empty(), "{}", target.changes()?);
    Ok(())
}

/// The caller's cgroup has room for some of the processes that it takes, one more each time.
#[test]
fn a_caller_without_room_for_processes() -> Result<()> {
    let _lab = Lab::enter()?;
    let (target, before) = (Container::idle("pids", &[])?, marks());
    let tree = Path::new("/sys/fs/cgroup/pids");
    let tree = if tree.is_dir() { tree } else { Path::new("/sys/fs/cgroup") };
    let group = tree.join(unique("purser-test-full"));
    fs::create_dir(&group)?;
    let tried = (1..=6).map(|limit| -> Result<bool> {
        fs::write(group.join("pids.max"), limit.to_string())?;
        let session = debug(&target.name, &[], &["true"])?;
        let script = "echo $$ > \"$1/cgroup.procs\"; shift; exec \"$@\"";
        let mut narrow = Command::new("sh");
        narrow.args(["-c", script, "sh"]).arg(&group).arg(session.get_program()).args(session.get_args());
        let ended = output(narrow.stdin(Stdio::null()))?;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        let code = ended.status.code();
        ensure!(code == Some(0) || (code == Some(125) && !said.is_empty()), "{limit}: {code:?} {said}");
        nothing_is_left(&before).with_context(|| format!("{limit}: {said}"))?;
        Ok(code == Some(0))
    });
    let tried: Result<Vec<bool>> = tried.collect();
    wait_until("the cgroup can be removed", || Ok(fs::remove_dir(&group).is_ok()))?;
    let tried = tried?;
    ensure!(tried.contains(&false) && tried.contains(&true), "{tried:?}");
    Ok(())
}

#[test]
fn kits_that_are_damaged_or_for_another_machine() -> Result<()> {
    let _lab = Lab::enter()?;
    let (target, before) = (Container::idle("kits", &[])?, marks());
    let dir = TempDir::with_prefix_in("kit-", temporary())?;
    let kit = |text: &str| -> Result<()> { Ok(fs::write(dir.path().join("kit.toml"), text)?) };
    let head = "name = \"odd\"\nversion = \"1\"\nsummary = \"odd\"\npath = [\"bin\"]\n";
    fs::create_dir_all(dir.path().join("root/bin"))?;
    let busybox = fs::read("/bin/busybox")?;
    fs::write(dir.path().join("root/bin/cut"), &busybox[..200])?;
    fs::write(dir.path().join("root/bin/text"), "\u{1}\u{2}")?;
    run(Command::new("chmod")
        .arg("755")
        .args(["cut", "text"].map(|name| dir.path().join("root/bin").join(name))))?;
    let path = dir.path().display().to_string();
    for (text, command, code, word) in [
        (format!("{head}arch = \"aarch64\"\n"), "true", 125, "aarch64"),
        ("name = ".to_owned(), "true", 125, "kit.toml"),
        (format!("{head}arch = \"x86_64\"\n"), "cut", 126, "starting"),
        (format!("{head}arch = \"x86_64\"\n"), "text", 126, "starting"),
    ] {
        kit(&text)?;
        let ended = output(&mut debug(&target.name, &["--kit", &path], &[command])?)?;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        ensure!(
            ended.status.code() == Some(code) && said.contains(word),
            "{command}: {} {said}",
            ended.status
        );
        nothing_is_left(&before)?;
    }
    ensure!(fs::metadata(dir.path().join("root/bin"))?.nlink() >= 2, "the kit is gone");
    Ok(())
}
