// SPDX-License-Identifier: Apache-2.0
//! The command in the target gets what it would get at home: its bytes, its exit code, its user, and the
//! target's own root, whichever way the session's is built.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Container, debug, printed, wait_until};
use crate::kill9::setting;
use crate::lab::{Lab, output, run, temporary, unique, wait_limited};

const BYTES: u64 = 64 << 20;

#[test]
fn exit_codes_are_the_commands() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("codes", &[])?;
    let code = |command: &[&str]| -> Result<(Option<i32>, String)> {
        let output = output(&mut debug(&target.name, &[], command)?)?;
        Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    for wanted in [0, 1, 2, 7, 125, 126, 127, 128, 255] {
        let (got, said) = code(&["sh", "-c", &format!("exit {wanted}")])?;
        ensure!(got == Some(wanted) && said.is_empty(), "{got:?} is not {wanted}: {said}");
    }
    for signal in [1, 2, 6, 9, 15] {
        let (got, _) = code(&["sh", "-c", &format!("kill -{signal} $$; sleep 9")])?;
        ensure!(got == Some(128 + signal), "{got:?} for signal {signal}");
    }
    for (command, wanted, word) in [
        ("/no/such", 127, "starting /no/such"),
        ("no-such", 127, "no such command"),
        ("/etc", 126, "starting /etc"),
    ] {
        let (got, said) = code(&[command])?;
        ensure!(got == Some(wanted) && said.contains(word), "{command}: {got:?} {said}");
    }
    let (got, said) = (output(&mut debug("purser-test-nobody", &[], &["true"])?)?, "these run here");
    let text = String::from_utf8_lossy(&got.stderr).into_owned();
    ensure!(got.status.code() == Some(125) && text.contains(said) && text.contains(&target.name), "{text}");
    Ok(())
}

#[test]
fn pipes_carry_every_byte() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("pipes", &[])?;
    let blob = temporary().join("blob");
    let size = u64::from(setting("PURSER_PIPE_MIB", 64)?) << 20;
    run(Command::new("dd")
        .args(["if=/dev/urandom", "bs=1M", "status=none"])
        .arg(format!("count={}", size >> 20))
        .arg(format!("of={}", blob.display())))?;
    ensure!(size >= BYTES && fs::metadata(&blob)?.len() == size, "the blob is short");
    let home = run(Command::new("sha256sum").stdin(Stdio::null()).arg(&blob))?;
    let there = debug(&target.name, &[], &["sha256sum"])?.stdin(fs::File::open(&blob)?).output()?;
    let back = temporary().join("blob.back");
    let status = debug(&target.name, &[], &["sh", "-c", "cat; echo said >&2; exit 5"])?
        .stdin(fs::File::open(&blob)?)
        .stdout(fs::File::create(&back)?)
        .stderr(Stdio::piped())
        .output()?;
    let again = run(Command::new("sha256sum").arg(&back))?;
    let sum = |text: &str| text.split_whitespace().next().unwrap_or_default().to_owned();
    ensure!(sum(&home) == sum(&String::from_utf8_lossy(&there.stdout)), "what went in is another");
    ensure!(sum(&home) == sum(&again), "what came out is another");
    ensure!(status.status.code() == Some(5) && status.stderr == b"said\n", "{status:?}");
    fs::remove_file(blob)?;
    Ok(fs::remove_file(back)?)
}

#[test]
fn the_root_is_the_targets() -> Result<()> {
    let _lab = Lab::enter()?;
    for target in [Container::idle("root", &[])?, Container::hardened("hard")?] {
        let real = fs::metadata(format!("/proc/{}/root/", target.pid))?;
        let seen = printed(&target.name, &["--root", "dev"], &["stat", "-c", "%d %i", "/"])?;
        ensure!(seen.trim() == format!("{} {}", real.dev(), real.ino()), "{seen} is not the target's root");
        for way in ["dev", "new"] {
            let names = printed(&target.name, &["--root", way], &["ls", "/"])?;
            ensure!(
                names.split_whitespace().eq(["bin", "dev", "etc", "proc", "run", "sys", "tmp"]),
                "{way}: {names}"
            );
            let script = "echo $KIT_SHARE $HOME; cat /dev/.purser/.nssw; touch /dev/x 2>&1; touch /dev/.purser/base/x 2>&1; \
                          ls /proc/1/root/bin/sh 2>&1; echo ok >/dev/null; head -c 3 /dev/zero | wc -c; env";
            let told = printed(&target.name, &["--root", way], &["sh", "-c", script])?;
            ensure!(
                told.starts_with("/dev/.purser/base/share /dev/.purser/.home\npasswd: files\n"),
                "{told}"
            );
            ensure!(
                told.matches("Read-only file system").count() == 2,
                "{way}: /dev or a kit can be written: {told}"
            );
            ensure!(told.contains("\n3\n"), "{way}: /dev/zero does not work: {told}");
            ensure!(!told.contains("LD_") && told.contains("PATH=/dev/.purser/base/bin:"), "{told}");
        }
        ensure!(target.changes()?.is_empty(), "{}", target.changes()?);
    }
    Ok(())
}

#[test]
fn users_and_capabilities() -> Result<()> {
    let _lab = Lab::enter()?;
    let (plain, hard) = (Container::idle("plain", &[])?, Container::hardened("caps")?);
    let show = ["sh", "-c", "id -u; id -g; id -G; grep -E '^Cap(Eff|Bnd|Prm)|NoNew' /proc/self/status"];
    let rights = |target: &Container, options: &[&str]| printed(&target.name, options, &show);
    let nothing =
        "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\n";
    let of = rights(&hard, &[])?;
    ensure!(of == format!("0\n0\n0\n{nothing}"), "{of}");
    let of = rights(&plain, &["--user", "33:44"])?;
    ensure!(of == format!("33\n44\n44\n{nothing}"), "{of}");
    let of = rights(&hard, &["--cap-add", "SYS_PTRACE"])?;
    // Another user's files are read and its threads are stopped, too: 1 << 19, 1 << 1 and 1 << 5.
    ensure!(of.contains("CapEff:\t0000000000080022") && of.contains("CapBnd:\t0000000000080022"), "{of}");
    let of = rights(&plain, &[])?;
    // What docker gives but for MKNOD, 1 << 27.
    ensure!(of.contains("CapEff:\t00000000a00425fb") && of.contains("NoNewPrivs:\t1"), "{of}");
    let of = rights(&plain, &["--privileged"])?;
    ensure!(of.contains("NoNewPrivs:\t0") && !of.contains("CapEff:\t00000000a"), "{of}");
    Ok(())
}

/// The daemon's socket is out of the way, so nobody can have asked it.
#[test]
fn no_daemon_is_asked() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("daemon", &[])?;
    let script = "mount --bind /dev/null /run/docker.sock && mount --bind /dev/null /run/containerd/containerd.sock 2>/dev/null; \
                  docker version >/dev/null 2>&1 && exit 99; exec \"$@\"";
    let debug = debug(&target.name, &[], &["id", "-u"])?;
    let mut alone = Command::new("unshare");
    alone.args(["-m", "sh", "-c", script, "sh"]).arg(debug.get_program()).args(debug.get_args());
    ensure!(run(&mut alone)? == "0\n", "it ran as another user");
    Ok(())
}

#[test]
fn a_bare_process_and_runc() -> Result<()> {
    let lab = Lab::enter()?;
    let mut child = Command::new("sleep").arg("1000").spawn()?;
    let told = printed(&format!("pid:{}", child.id()), &[], &["sh", "-c", "id -u; ls /dev/.purser"]);
    child.kill()?;
    child.wait()?;
    ensure!(told? == "0\nbase\n", "another answer from a bare process");

    let (name, bundle) = (unique("purser-test-runc"), temporary().join("runc-debug"));
    fs::create_dir_all(&bundle)?;
    let mut spec = serde_json::to_value(serde_json::Map::new())?;
    spec["ociVersion"] = "1.0.0".into();
    spec["root"] = serde_json::json!({"path": lab.root(), "readonly": true});
    spec["process"] =
        serde_json::json!({"args": ["/bin/sleep", "1000"], "cwd": "/", "user": {"uid": 65532, "gid": 65532}});
    // Nothing in /dev.
    spec["mounts"] = serde_json::json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
    spec["linux"] = serde_json::json!({"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "network"}, {"type": "uts"}, {"type": "ipc"}]});
    fs::write(bundle.join("config.json"), serde_json::to_vec(&spec)?)?;
    let mut runc = Command::new("runc")
        .args(["run", "--bundle"])
        .arg(&bundle)
        .arg(&name)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    let started = || Ok(output(Command::new("runc").args(["state", &name]))?.status.success());
    let told = super::wait_until("runc has started", started).and_then(|()| {
        ["dev", "new"]
            .iter()
            .map(|way| {
                printed(
                    &format!("runc:{name}"),
                    &["--root", way],
                    &["sh", "-c", "id -u; ls /dev/.purser; echo x > /dev/null"],
                )
            })
            .collect::<Result<Vec<_>>>()
    });
    output(Command::new("runc").args(["delete", "-f", &name]))?;
    wait_limited(&mut runc, Duration::from_secs(10))?.context("runc does not end")?;
    ensure!(told?.iter().all(|told| told == "0\nbase\n"), "another answer from runc");
    Ok(())
}

/// A file of the host is behind a pipe: opened anew in the target it is nobody's file.
#[test]
fn files_of_the_host_are_out_of_reach() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("streams", &[])?;
    let dir = tempfile::TempDir::new()?;
    let (input, out) = (dir.path().join("in"), dir.path().join("out"));
    let text = "x".repeat(300_000);
    fs::write(&input, &text)?;
    let script = "cat; for fd in 0 1 2; do echo over >/proc/self/fd/$fd; done; exit 7";
    let mut command = debug(&target.name, &[], &["sh", "-c", script])?;
    command.stdin(fs::File::open(&input)?).stdout(fs::File::create(&out)?).stderr(Stdio::null());
    ensure!(command.status()?.code() == Some(7), "another exit code");
    ensure!(fs::read_to_string(&input)? == text, "the input was written over");
    let got = fs::read_to_string(&out)?;
    ensure!(
        got.starts_with(&text) && got.trim_start_matches('x').trim() == "over",
        "{} bytes came",
        got.len()
    );
    Ok(())
}

/// Output and errors in one file, as a shell's `> FILE 2>&1` has them: nothing is written over, and the order stays, also
/// of what others have written to the file.
#[test]
fn one_file_holds_output_and_errors() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("both", &[])?;
    let dir = tempfile::TempDir::new()?;
    let path = dir.path().join("both");
    let script = "i=0; while [ $i -lt 300 ]; do echo o$i; echo e$i >&2; i=$((i+1)); done";
    let wanted: String = (0..300).map(|i| format!("o{i}\ne{i}\n")).collect();
    let mut file = fs::File::create(&path)?;
    file.write_all(b"before\n")?;
    let mut command = debug(&target.name, &[], &["sh", "-c", script])?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file.try_clone()?);
    ensure!(command.status()?.success(), "it failed");
    file.write_all(b"behind\n")?;
    let got = fs::read_to_string(&path)?;
    ensure!(got == format!("before\n{wanted}behind\n"), "another text: {got}");
    // What comes while the session lasts stays, too.
    let file = fs::File::create(&path)?;
    let mut command = debug(&target.name, &[], &["sh", "-c", "echo first; read line; echo last"])?;
    let mut child = command.stdin(Stdio::piped()).stdout(file.try_clone()?).stderr(Stdio::null()).spawn()?;
    wait_until("the first line is there", || Ok(fs::read_to_string(&path)? == "first\n"))?;
    (&file).write_all(b"between\n")?;
    child.stdin.take().context("no input")?.write_all(b"go\n")?;
    ensure!(child.wait()?.success(), "it failed");
    let got = fs::read_to_string(&path)?;
    ensure!(got == "first\nbetween\nlast\n", "another text: {got}");
    Ok(())
}
