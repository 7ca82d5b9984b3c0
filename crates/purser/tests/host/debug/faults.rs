// SPDX-License-Identifier: Apache-2.0
//! Targets that are hostile, frozen, full or half gone: a session all the same, or a clear word why not.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::{Container, debug, kits, marks, nothing_is_left, printed};
use crate::lab::{Lab, output, run, source_dir, temporary, unique, wait_limited};

const LIMIT: Duration = Duration::from_secs(20);

/// An image from a shell script that fills a directory; removed when dropped.
pub(super) struct Image(pub(super) String);

impl Image {
    pub(super) fn make(word: &str, script: &str) -> Result<Image> {
        let root = TempDir::with_prefix_in("image-", temporary())?;
        run(Command::new("sh").args(["-ec", script]).current_dir(root.path()))?;
        let name = unique(&format!("purser-test:{word}"));
        let import = "tar -C \"$1\" -c . | docker import - \"$2\"";
        run(Command::new("sh").args(["-c", import, "sh"]).arg(root.path()).arg(&name))?;
        Ok(Image(name))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        drop(output(Command::new("docker").args(["rmi", "-f", &self.0])));
    }
}

#[test]
fn an_image_of_one_file() -> Result<()> {
    let _lab = Lab::enter()?;
    let image = Image::make("scratch", "cp /bin/busybox sleep")?;
    let target = Container::start("scratch", &[], &image.0, &["/sleep", "100000"])?;
    for way in ["dev", "new"] {
        let names = printed(&target.name, &["--root", way], &["ls", "/"])?;
        ensure!(names.split_whitespace().eq(["dev", "etc", "proc", "sleep", "sys"]), "{way}: {names}");
    }
    ensure!(target.changes()?.is_empty(), "{}", target.changes()?);
    Ok(())
}

/// A node for the host's memory, which this target's device rules forbid and the session is not under.
#[test]
fn device_nodes_of_an_image() -> Result<()> {
    let _lab = Lab::enter()?;
    let image =
        Image::make("nodes", "mkdir bin; cp /bin/busybox bin/sleep; mknod kmsg c 1 11; mknod disk b 7 0")?;
    let target = Container::start("nodes", &["--cap-add", "SYS_ADMIN"], &image.0, &["/bin/sleep", "100000"])?;
    // And one that the target's root makes in its /dev while it runs.
    run(Command::new("nsenter").args([
        "-t",
        &target.pid.to_string(),
        "-m",
        "mknod",
        "/dev/kmsg2",
        "c",
        "1",
        "11",
    ]))
    .or_else(|_| {
        run(Command::new("nsenter").args(["-t", &target.pid.to_string(), "-m", "/bin/sleep", "0"]))
    })?;
    for way in ["dev", "new"] {
        let script =
            "for n in /kmsg /disk; do head -c 1 $n >/dev/null 2>&1 && echo open $n; done; echo tried";
        let told = printed(&target.name, &["--root", way], &["sh", "-c", script])?;
        ensure!(told == "tried\n", "{way}: {told}");
        let made = "rm -f $HOME/n; busybox mknod $HOME/n b 7 0 2>&1 && echo made; echo tried";
        let told = printed(&target.name, &["--root", way], &["sh", "-c", made])?;
        ensure!(told.ends_with("tried\n") && !told.contains("made"), "{way}: {told}");
    }
    Ok(())
}

#[test]
fn hostile_files() -> Result<()> {
    let _lab = Lab::enter()?;
    let script = "mkdir -p bin etc lib; cp /bin/busybox bin/sleep; \
                  echo /lib/evil.so > etc/ld.so.preload; echo 'exit 66' > etc/profile; ln -s /proc/1/root/etc etc/loop";
    let image = Image::make("files", script)?;
    let target =
        Container::start("files", &["-e", "LD_PRELOAD=/lib/evil.so"], &image.0, &["/bin/sleep", "100000"])?;
    let told = printed(&target.name, &[], &["sh", "-c", "echo ${LD_PRELOAD-none}"])?;
    ensure!(told == "none\n", "{told}");
    // A passwd that is a pipe holds nobody up but runc, so it comes later.
    run(Command::new("mkfifo").arg(format!("/proc/{}/root/etc/passwd", target.pid)))?;
    let asked = output(&mut debug(&target.name, &["--user", "app"], &["true"])?)?;
    let said = String::from_utf8_lossy(&asked.stderr).into_owned();
    ensure!(asked.status.code() == Some(125) && said.contains("has no user"), "{said}");
    Ok(())
}

/// A process in a root without a /dev, or with one that leads elsewhere.
#[test]
fn a_dev_that_is_none() -> Result<()> {
    let _lab = Lab::enter()?;
    for (word, make) in [("none", "true"), ("link", "ln -s /etc dev"), ("file", "echo > dev")] {
        let root = TempDir::with_prefix_in("root-", temporary())?;
        run(Command::new("sh")
            .args(["-ec", &format!("mkdir bin etc; cp /bin/busybox bin/sleep; {make}")])
            .current_dir(root.path()))?;
        let mut child = Command::new("unshare")
            .args(["-m", "chroot"])
            .arg(root.path())
            .args(["/bin/sleep", "1000"])
            .spawn()?;
        let target = format!("pid:{}", child.id());
        let ready = super::wait_until("it sleeps in its root", || {
            Ok(fs::read_to_string(format!("/proc/{}/comm", child.id()))? == "sleep\n")
        });
        let told = ready.and_then(|()| {
            printed(&target, &[], &["sh", "-c", "ls -d /bin /dev/.purser/base; echo x >/dev/null"])
        });
        let forced = output(&mut debug(&target, &["--root", "dev"], &["true"])?)?;
        child.kill()?;
        child.wait()?;
        let told = told.with_context(|| word.to_owned())?;
        ensure!(told == "/bin\n/dev/.purser/base\n", "{word}: {told}");
        let said = String::from_utf8_lossy(&forced.stderr).into_owned();
        ensure!(forced.status.code() == Some(125) && said.contains("laying a new /dev"), "{word}: {said}");
        let names: Vec<_> = fs::read_dir(root.path().join("etc"))?.collect();
        ensure!(names.is_empty(), "{word}: something was made in the target: {names:?}");
    }
    Ok(())
}

#[test]
fn a_frozen_target_can_be_looked_at() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("frozen", &[])?;
    run(Command::new("docker").args(["pause", &target.name]))?;
    let mut session = debug(&target.name, &[], &["cat", "/proc/1/comm"])?
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let status = wait_limited(&mut session, LIMIT)?;
    run(Command::new("docker").args(["unpause", &target.name]))?;
    ensure!(status.context("it hangs")?.success(), "{status:?}");
    Ok(())
}

#[test]
fn a_stopped_container_has_its_files() -> Result<()> {
    let _lab = Lab::enter()?;
    let (target, before) = (Container::idle("stopped", &[])?, marks());
    run(Command::new("docker").args(["kill", &target.name]))?;
    let asked = output(&mut debug(&target.name, &[], &["true"])?)?;
    let said = String::from_utf8_lossy(&asked.stderr).into_owned();
    // Its files are still there.
    ensure!(asked.status.success(), "{said}");
    let asked = output(&mut debug(&target.name, &["-L", "80"], &["true"])?)?;
    let said = String::from_utf8_lossy(&asked.stderr).into_owned();
    ensure!(asked.status.code() == Some(2) && said.contains("does not run"), "{said}");
    nothing_is_left(&before)
}

/// Root of a user namespace of one user, as an unprivileged user can make it.
#[test]
fn user_namespaces() -> Result<()> {
    let _lab = Lab::enter()?;
    let script = "exec unshare -U -r -m -p -f --mount-proc sh -c 'exec sleep 1000'";
    let mut child = Command::new("setsid").args(["sh", "-c", script]).spawn()?;
    let own = fs::read_link("/proc/self/ns/pid")?;
    let mut inner = None;
    let found = super::wait_until("a sleep is in its own namespaces", || {
        inner = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id()))?
            .split_whitespace()
            .next()
            .map(str::to_owned);
        let Some(inner) = &inner else { return Ok(false) };
        Ok(fs::read_to_string(format!("/proc/{inner}/comm"))? == "sleep\n"
            && fs::read_link(format!("/proc/{inner}/ns/pid"))? != own)
    });
    let inner = inner.unwrap_or_default();
    let told: Result<Vec<String>> = ["dev", "new"]
        .iter()
        .map(|way| printed(&format!("pid:{inner}"), &["--root", way], &["sh", "-c", "id -u; ls /dev/.purser; cat /proc/self/uid_map; echo x >/dev/null; touch $HOME/x; ps | wc -l"]))
        .collect();
    let volumes = ["-v", "/usr/bin:/purser-test-new/bin:ro", "-v", "/usr/bin:/usr/lib/purser-test-new:ro"];
    let script = "ls -d /purser-test-new/bin/env /usr/lib/purser-test-new/env";
    let seen = printed(&format!("pid:{inner}"), &volumes, &["sh", "-c", script]);
    drop(output(Command::new("kill").args(["-9", &inner])));
    child.wait()?;
    found?;
    ensure!(seen? == "/purser-test-new/bin/env\n/usr/lib/purser-test-new/env\n", "other volumes");
    for told in told? {
        ensure!(told.starts_with("0\nbase\n         0          0          1\n"), "{told}");
    }
    Ok(())
}

/// Whoever may trace every process in the target stops each that comes, and looks at what it has: never the host's
/// root, nor rights beyond those that the program gets and those to become its user.
#[test]
fn who_comes_has_nothing_of_the_host() -> Result<()> {
    let _lab = Lab::enter()?;
    kits()?;
    let spy = temporary().join("kits/base/root/bin/spy");
    let source = source_dir().join("debug/spy.c");
    run(Command::new("gcc").args(["-O1", "-static", "-o"]).arg(&spy).arg(source))?;
    let target = Container::idle("spied", &["--cap-add", "SYS_PTRACE"])?;
    run(Command::new("docker").args(["cp"]).arg(&spy).arg(format!("{}:/bin/spy", target.name)))?;
    let mut watch = Command::new("docker");
    watch.args(["exec", &target.name, "/bin/spy"]).stdout(Stdio::piped());
    let watch = watch.spawn().context("starting the spy")?;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(15) {
        output(&mut debug(&target.name, &[], &["true"])?)?;
    }
    let seen = String::from_utf8(watch.wait_with_output()?.stdout)?;
    ensure!(seen.lines().count() >= 3, "the spy met nobody: {seen:?}");
    ensure!(!seen.contains("HOST"), "the host's root was in there:\n{seen}");
    // Docker's usual set, SYS_PTRACE with it, and what confine() adds to that, which is nothing more.
    let allowed = 0xa804_25fb_u64 | 1 << 19;
    for line in seen.lines() {
        let held = u64::from_str_radix(line.split(' ').nth(1).unwrap_or_default(), 16)?;
        ensure!(held & !allowed == 0, "rights of the host were in there: {line}");
    }
    Ok(())
}

/// A target's file system that never answers, where its process looks for programs: nobody waits for it longer than a
/// moment.
#[test]
fn a_file_system_that_never_answers() -> Result<()> {
    let _lab = Lab::enter()?;
    let dir = TempDir::with_prefix_in("mute-", temporary())?;
    let script = "mkdir -p root/bin root/dev root/etc shelf/other/root/bin; cp /bin/busybox root/bin/; \
                  cp /bin/busybox shelf/other/root/bin/only-here; ln -s only-here shelf/other/root/bin/true";
    run(Command::new("sh").args(["-ec", script]).current_dir(dir.path()))?;
    let text = "name = \"other\"\nversion = \"1\"\narch = \"x86_64\"\nsummary = \"x\"\npath = [\"bin\"]\n";
    fs::write(dir.path().join("shelf/other/kit.toml"), text)?;
    let mute = super::compiled("mute", dir.path())?;
    let mut target = Command::new("unshare");
    target.args(["-m", "--"]).arg(mute).arg(dir.path().join("root")).arg("/bin").env("PATH", "/bin");
    let mut target = target.stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(target.stdout.take().context("no output")?).read_line(&mut line)?;
    let mut session = crate::agent::purser();
    session.args(["debug", &format!("pid:{}", target.id()), "--kits"]).arg(dir.path().join("shelf"));
    let mut session = session.args(["--", "true"]).stdin(Stdio::null()).spawn()?;
    let status = wait_limited(&mut session, LIMIT)?;
    session.kill().unwrap_or_default();
    target.kill()?;
    target.wait()?;
    ensure!(line == "mute\n", "there is no such file system: {line}");
    ensure!(status.context("it hangs")?.success(), "{status:?}");
    Ok(())
}

/// Whoever starts it has blocked all signals, or ignores that children end.
#[test]
fn signals_that_were_blocked_or_ignored() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("signals", &[])?;
    for how in ["--block-signal", "--ignore-signal=CHLD"] {
        let session = debug(&target.name, &[], &["sh", "-c", "sleep 0 & wait; kill -TERM $$; exit 9"])?;
        let mut started = Command::new("env");
        started.arg(how).arg(session.get_program()).args(session.get_args()).stdin(Stdio::null());
        let mut started = started.spawn()?;
        let status = wait_limited(&mut started, LIMIT)?;
        started.kill().unwrap_or_default();
        ensure!(status.with_context(|| how.to_owned())?.code() == Some(143), "{how}: {status:?}");
    }
    Ok(())
}

/// The target's process is in a directory whose path is longer than any may be.
#[test]
fn a_directory_that_is_too_deep() -> Result<()> {
    let _lab = Lab::enter()?;
    // Links in /proc lead to where no path does.
    let deep = "i=0; while [ $i -lt 30 ]; do mkdir $1; cd -P $1; i=$((i+1)); done; sleep 100000 & wait";
    let target = Container::start(
        "deep",
        &["-w", "/tmp"],
        crate::lab::IMAGE,
        &["sh", "-c", deep, "sh", &"d".repeat(200)],
    )?;
    super::wait_until("it is there", || {
        Ok(fs::read_link(format!("/proc/{}/cwd", target.pid))
            .is_err_and(|error| error.raw_os_error() == Some(36)))
    })?;
    ensure!(printed(&target.name, &[], &["pwd"])? == "/\n", "another directory");
    Ok(())
}
