// SPDX-License-Identifier: Apache-2.0
//! runc and crun without anybody above them: in the usual state directory, in another one, and a user's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::podman::User;
use super::{Running, refused, running, sessions_work, start};
use crate::lab::{Lab, output, run, temporary, unique};

/// A bundle with a program that sleeps.
struct Bundle {
    dir: TempDir,
    time: String,
}

impl Bundle {
    fn make(root: &Path, number: u32, more: &Value) -> Result<Bundle> {
        let dir = TempDir::with_prefix_in("bundle-", temporary())?;
        let time = format!("{}.{number}", 400_000 + std::process::id());
        let kinds = ["pid", "mount", "network", "uts", "ipc"].map(|kind| json!({"type": kind}));
        let mut spec = json!({
            "ociVersion": "1.0.0",
            "root": {"path": root, "readonly": true},
            "process": {"args": ["/bin/sleep", &time], "cwd": "/", "user": {"uid": 0, "gid": 0}},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            ],
            "linux": {"namespaces": kinds},
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            spec["linux"][name] = value.clone();
        }
        fs::write(dir.path().join("config.json"), serde_json::to_vec(&spec)?)?;
        Ok(Bundle { dir, time })
    }

    fn path(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    fn pid(&self) -> Result<i32> {
        running(&["/bin/sleep", &self.time])
    }
}

/// Starts what goes on in the background, with the streams that it is given.
fn detach(command: &mut Command) -> Result<()> {
    let status = start(command)?.wait()?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

#[test]
fn runc_by_its_state() -> Result<()> {
    let lab = Lab::enter()?;
    let (bundle, name) = (Bundle::make(lab.root(), 1, &Value::Null)?, unique("purser-test-runc"));
    detach(Command::new("runc").args(["run", "-d", "-b"]).arg(bundle.path()).arg(&name))?;
    let worked = bundle
        .pid()
        .and_then(|pid| sessions_work(&Running { words: &[&name, &format!("runc:{name}")], pid, id: &name }));
    run(Command::new("runc").args(["delete", "-f", &name]))?;
    worked?;
    let said = refused(&name, &[])?;
    ensure!(said.contains("no container is called"), "{said}");
    Ok(())
}

/// A runc that is still there says by its command line where its state is; else it is named.
#[test]
fn runc_with_another_state_directory() -> Result<()> {
    let lab = Lab::enter()?;
    let (bundle, name) = (Bundle::make(lab.root(), 2, &Value::Null)?, unique("purser-test-root"));
    let state = TempDir::with_prefix_in("runc-", temporary())?;
    let runc = || {
        let mut runc = Command::new("runc");
        runc.arg("--root").arg(state.path());
        runc
    };
    let mut child = start(runc().args(["run", "-b"]).arg(bundle.path()).arg(&name))?;
    let path = format!("runc:{}/{name}", state.path().display());
    let worked =
        bundle.pid().and_then(|pid| sessions_work(&Running { words: &[&name, &path], pid, id: &name }));
    drop(output(runc().args(["delete", "-f", &name])));
    child.wait()?;
    worked?;

    detach(runc().args(["run", "-d", "-b"]).arg(bundle.path()).arg(&name))?;
    let worked = bundle.pid().and_then(|pid| {
        let by_name = refused(&format!("runc:{name}"), &[]);
        sessions_work(&Running { words: &[&path], pid, id: &name })?;
        by_name
    });
    run(runc().args(["delete", "-f", &name]))?;
    let said = worked?;
    ensure!(said.contains("runc:/DIRECTORY/ID"), "{said}");
    let said = refused(&path, &[])?;
    ensure!(said.contains("no container") && said.contains(&name), "{said}");
    Ok(())
}

/// crun runs on cgroup v2 alone: where there is v1 beside it, it is shown a host without.
#[test]
fn crun_by_its_state() -> Result<()> {
    let lab = Lab::enter()?;
    let (bundle, name) = (Bundle::make(lab.root(), 3, &Value::Null)?, unique("purser-test-crun"));
    let crun = |words: &[&str]| {
        let script = "mount -t cgroup2 none /sys/fs/cgroup && exec crun \"$@\"";
        let mut crun = Command::new("unshare");
        crun.args(["-m", "sh", "-c", script, "crun"]).args(words);
        crun
    };
    let at = bundle.path().display().to_string();
    if Path::new("/sys/fs/cgroup/memory").exists() {
        let tried = output(Command::new("crun").args(["run", "-b", &at, &name]))?;
        let said = String::from_utf8_lossy(&tried.stderr).into_owned();
        ensure!(!tried.status.success() && said.contains("hybrid mode not supported"), "{said}");
    }
    detach(&mut crun(&["run", "-d", "-b", &at, &name]))?;
    let worked = bundle
        .pid()
        .and_then(|pid| sessions_work(&Running { words: &[&name, &format!("crun:{name}")], pid, id: &name }));
    run(&mut crun(&["delete", "-f", &name]))?;
    worked
}

/// By an ordinary user, in a user namespace and without cgroups.
#[test]
fn runc_of_a_user() -> Result<()> {
    let lab = Lab::enter()?;
    let user = User::make(&lab, 45_679)?;
    let map = json!([{"containerID": 0, "hostID": user.number, "size": 1}]);
    let kinds = ["pid", "mount", "network", "uts", "ipc", "user"].map(|kind| json!({"type": kind}));
    let more = json!({"uidMappings": &map, "gidMappings": &map, "namespaces": kinds});
    let (bundle, name) = (Bundle::make(&user.root(), 4, &more)?, unique("purser-test-rootless"));
    let at = user.home().join("bundle");
    fs::create_dir(&at)?;
    fs::copy(bundle.path().join("config.json"), at.join("config.json"))?;
    user.owns(&at)?;
    let state = format!("/run/user/{}/runc", user.number);
    let runc = |words: &[&str]| user.command(&["runc", "--root", &state], words);
    detach(&mut runc(&["run", "-d", "-b", &at.display().to_string(), &name]))?;
    let worked = bundle.pid().and_then(|pid| {
        sessions_work(&Running { words: &[&name, &format!("runc:{name}")], pid, id: &name })?;
        let said = refused("purser-test-nobody", &[])?;
        let wanted = format!("{name} (runc, of user {})", user.number);
        said.contains(&wanted).then_some(()).with_context(|| said.clone())
    });
    run(&mut runc(&["delete", "-f", &name]))?;
    worked
}

/// A runtime in a container: its containers have no name on the host, and are entered by their processes.
#[test]
fn a_container_in_a_container() -> Result<()> {
    let lab = Lab::enter()?;
    let (bundle, name) = (Bundle::make(lab.root(), 5, &Value::Null)?, unique("purser-test-nested"));
    let script = "mount -t proc proc /proc && mount -t tmpfs run /run && exec runc run -b \"$1\" \"$2\"";
    let mut outer = Command::new("unshare");
    outer.args(["-m", "-p", "-f", "--kill-child", "sh", "-c", script, "outer"]).arg(bundle.path()).arg(&name);
    let mut child = start(&mut outer)?;
    let worked = bundle.pid().and_then(|pid| {
        let numbers = super::super::status(pid, "NSpid").unwrap_or_default();
        ensure!(numbers.split_whitespace().count() == 3, "not a container in a container: {numbers}");
        sessions_work(&Running { words: &[&format!("pid:{pid}")], pid, id: &name })?;
        let said = refused(&format!("runc:{name}"), &[])?;
        ensure!(said.contains("no container of") || said.contains("no container is called"), "{said}");
        crate::lab::signal(u32::try_from(pid)?, "KILL")
    });
    if worked.is_err() {
        child.kill()?;
    }
    child.wait()?;
    worked
}
