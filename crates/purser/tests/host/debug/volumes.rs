// SPDX-License-Identifier: Apache-2.0
//! Files of the host in a session: at any place, in both ways to build the root, with nothing made in the target,
//! and for nobody in there but the session.

use std::fs;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::{Container, debug, printed, wait_until};
use crate::lab::{Lab, output, run, signal};

/// A directory of the host with a file in it.
fn given() -> Result<(TempDir, String)> {
    let dir = TempDir::new()?;
    fs::write(dir.path().join("file"), "of the host\n")?;
    let path = dir.path().display().to_string();
    Ok((dir, path))
}

fn said(target: &Container, options: &[&str], command: &[&str]) -> Result<String> {
    let output = output(&mut debug(&target.name, options, command)?)?;
    ensure!(!output.status.success(), "{command:?} should have failed");
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn they_are_anywhere_and_nothing_is_made() -> Result<()> {
    let _lab = Lab::enter()?;
    let (dir, path) = given()?;
    let file = format!("{path}/file");
    for target in [Container::idle("volumes", &[])?, Container::hardened("volhard")?] {
        let before =
            run(std::process::Command::new("docker").args(["exec", &target.name, "ls", "/tmp", "/run"]))?;
        // There already, missing below a directory, missing in the root, below what all sessions have, in /dev.
        for at in [
            "/tmp",
            "/tmp/a/b",
            "/run/x",
            "/mnt/container/y",
            "/new",
            "/dev/.purser/.given/z",
            "/dev/shm",
            "/dev/w",
        ] {
            for ways in [&["--root", "new"][..], &[]] {
                let volume = format!("{path}:{at}:ro");
                let script =
                    format!("cat {at}/file; touch {at}/made; echo >/dev/null; ls /bin/sh /etc/hosts");
                let options = [&["-v", &volume], ways].concat();
                let told = output(&mut debug(&target.name, &options, &["sh", "-c", &script])?)?;
                let (out, err) =
                    (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
                ensure!(out == "of the host\n/bin/sh\n/etc/hosts\n", "{at} {ways:?}: {out} {err}");
                ensure!(err.contains("Read-only file system"), "{at} {ways:?}: {err}");
            }
        }
        // A file, which takes the place of one, and written to.
        let script = "echo more >> /etc/hosts; echo and more >> /one/two; cat /etc/hosts";
        let volumes = ["-v", &format!("{file}:/etc/hosts"), "-v", &format!("{file}:/one/two:rw")];
        let told = printed(&target.name, &volumes, &["sh", "-c", script])?;
        ensure!(told == fs::read_to_string(&file)? && told.ends_with("more\nand more\n"), "{told}");
        fs::write(&file, "of the host\n")?;
        ensure!(target.changes()?.is_empty(), "{}", target.changes()?);
        let after =
            run(std::process::Command::new("docker").args(["exec", &target.name, "ls", "/tmp", "/run"]))?;
        ensure!(after == before, "the target has {after}, and had {before}");
    }
    ensure!(fs::read_dir(dir.path())?.count() == 1, "something was made in the host's directory");
    Ok(())
}

#[test]
fn several_within_each_other() -> Result<()> {
    let _lab = Lab::enter()?;
    let (target, (dir, path)) = (Container::idle("nested", &[])?, given()?);
    fs::create_dir(dir.path().join("sub"))?;
    let of = |at: &str| format!("{path}:{at}");
    let options =
        ["-v", &of("/new/deep/er"), "-v", &of("/new"), "-v", &of("/new/sub"), "-v", "$c/:/mnt/all:ro"];
    let script = "cat /new/file /new/sub/file /new/deep/er/file; ls -d /mnt/all/new; ls /mnt/all/bin/sh; \
                  echo x > /new/sub/wrote; touch /mnt/all/tmp/x";
    let told = output(&mut debug(&target.name, &options, &["sh", "-c", script])?)?;
    let (out, err) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    ensure!(out == format!("{}/mnt/all/bin/sh\n", "of the host\n".repeat(3)), "{out} {err}");
    ensure!(err.contains("/mnt/all/new: No such file") && err.contains("Read-only file system"), "{err}");
    ensure!(fs::read_to_string(dir.path().join("wrote"))? == "x\n", "nothing was written");
    let mut names: Vec<_> =
        fs::read_dir(dir.path())?.map(|one| Ok(one?.file_name())).collect::<Result<_>>()?;
    names.sort();
    ensure!(names == ["file", "sub", "wrote"], "made in the host's directory: {names:?}");
    ensure!(target.changes()?.is_empty(), "{}", target.changes()?);
    Ok(())
}

/// Set-user-ID programs and device nodes of the host do nothing, links of the target lead nowhere else.
#[test]
fn what_a_volume_cannot_do() -> Result<()> {
    let _lab = Lab::enter()?;
    let (dir, path) = given()?;
    let links = "ln -s / /tmp/root; ln -s /dev/.purser /tmp/kits; ln -s nowhere /tmp/gone; ln -s /proc/1/root /tmp/magic; \
                 ln -s /run /tmp/run; mkdir /dev/.purser; sleep 100000";
    let target = Container::start("links", &[], crate::lab::IMAGE, &["sh", "-c", links])?;
    wait_until("the links are there", || {
        Ok(fs::symlink_metadata(format!("/proc/{}/root/dev/.purser", target.pid)).is_ok())
    })?;
    for (at, why) in [
        ("/tmp/root", "a link there leads to /"),
        ("/tmp/root/x", "a link there leads to /"),
        ("/tmp/gone", "a link that leads nowhere"),
        ("/tmp/magic/x", "mounting a volume at /tmp/magic/x: "),
        ("/etc/hosts", "a file is there, and the source is a directory"),
        ("/etc/hosts/x", "Not a directory"),
    ] {
        let told = said(&target, &["-v", &format!("{path}:{at}")], &["true"])?;
        ensure!(told.contains(why), "{at}: {told}");
    }
    // More than would be re-attached.
    let many = "mkdir /run/many && cd /run/many && for i in $(seq 5000); do : > $i; done";
    run(std::process::Command::new("docker").args(["exec", &target.name, "sh", "-c", many]))?;
    let told = said(&target, &["-v", &format!("{path}:/run/many/x")], &["true"])?;
    ensure!(told.contains("entries or more"), "{told}");
    let told = printed(
        &target.name,
        &["-v", &format!("{path}:/run/many/1:ro"), "-v", &format!("{path}/file:/run/many/2")],
        &["cat", "/run/many/2"],
    );
    ensure!(told.is_err(), "a directory took the place of a file");
    let told = printed(&target.name, &["-v", &format!("{path}/file:/run/many/2")], &["cat", "/run/many/2"])?;
    ensure!(told == "of the host\n", "{told}");
    let told = said(&target, &["--root", "dev", "-v", &format!("{path}:/new")], &["true"])?;
    ensure!(told.contains("leave --root dev out"), "{told}");
    // As the target's own programs follow it, but the kits stay what they are.
    let told = printed(&target.name, &["-v", &format!("{path}:/tmp/run/x")], &["cat", "/run/x/file"])?;
    ensure!(told == "of the host\n", "{told}");
    let told = printed(&target.name, &["-v", &format!("{path}:/tmp/kits/base")], &["ls", "/dev/.purser"])?;
    ensure!(told == "base\n", "{told}");
    // A link below a source that appears later does not lead to what it names.
    std::os::unix::fs::symlink("/etc", dir.path().join("link"))?;
    let told = printed(&target.name, &["-v", &format!("{path}/link:/host:ro")], &["ls", "/host/fstab"]);
    ensure!(told.is_ok() == fs::exists("/etc/fstab")?, "a link is followed on the host: {told:?}");
    run(std::process::Command::new("mknod").arg(dir.path().join("null")).args(["c", "1", "3"]))?;
    let node = [format!("{path}:/node")];
    let told = said(&target, &["-v", &node[0]], &["sh", "-c", "echo > /node/null"])?;
    ensure!(told.contains("ermission denied"), "{told}");
    printed(&target.name, &["-p", "-v", &node[0]], &["sh", "-c", "echo > /node/null"])?;
    let told = printed(&target.name, &["-v", &node[0]], &["sh", "-c", "grep ' /node ' /proc/self/mounts"])?;
    ensure!(told.contains("nosuid,nodev"), "{told}");
    Ok(())
}

/// A process of the target with the same user may look into one with no more rights than its own. So the session has
/// one that the target lacks.
#[test]
fn the_target_does_not_reach_them() -> Result<()> {
    let _lab = Lab::enter()?;
    let (target, (_dir, path)) = (Container::idle("reach", &[])?, given()?);
    for user in ["0", "33"] {
        let volume = format!("{path}:/given");
        let mut session = debug(
            &target.name,
            &["-v", &volume, "--user", user],
            &["sh", "-c", "cat /given/file; sleep 1000"],
        )?
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
        let mut line = String::new();
        let out = session.stdout.take().context("no output")?;
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line)?;
        ensure!(line == "of the host\n", "{line}");
        let look = "for root in /proc/[0-9]*/root; do ls $root/ 2>/dev/null | grep -q given && cat $root/given/file; done; \
                    echo looked; ls -d /given /tmp/.. ";
        let looked = output(std::process::Command::new("docker").args([
            "exec",
            "-u",
            user,
            &target.name,
            "sh",
            "-c",
            look,
        ]))?;
        let text = String::from_utf8_lossy(&looked.stdout).into_owned();
        signal(session.id(), "TERM")?;
        session.wait()?;
        ensure!(text == "looked\n/tmp/..\n", "user {user} of the target saw {text}");
    }
    Ok(())
}
