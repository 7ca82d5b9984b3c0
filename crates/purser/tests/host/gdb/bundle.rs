// SPDX-License-Identifier: Apache-2.0
//! Targets in user namespaces of their own, started by runc: root there is a user without rights on the host, as with
//! `userns-remap` of Docker, or the one user who started it, as in rootless engines.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::targets::Root;
use crate::debug::{status, wait_until};
use crate::lab::{output, run, unique, wait_limited};

/// Whom users of a container are on the host: nobody who has an account.
const FIRST: u32 = 200_000;
const END_LIMIT: Duration = Duration::from_secs(10);

/// Which users the container's namespace has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mapping {
    /// 65536 of them; root, with a usual set of capabilities.
    Many,
    /// The same; uid 65532 without a capability in a read-only root.
    ManyWithoutRights,
    /// One, who has started runc himself and is root there.
    One,
}

/// A container of runc that runs until it is dropped.
pub(super) struct Bundle {
    /// How purser is told.
    pub(super) target: String,
    pub(super) pid: i32,
    name: String,
    place: TempDir,
    before: BTreeSet<String>,
    runc: Child,
    mapping: Mapping,
}

impl Bundle {
    pub(super) fn start(word: &str, root: &Root, mapping: Mapping) -> Result<Bundle> {
        let name = unique(&format!("purser-test-{word}")).to_lowercase();
        // Users of the container must come as far as this.
        let place = TempDir::with_prefix("purser-test-bundle-")?;
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755))?;
        let files = place.path().join("rootfs");
        run(Command::new("cp").arg("-a").arg(root.path()).arg(&files))?;
        fs::set_permissions(&files, fs::Permissions::from_mode(0o755))?;
        fs::create_dir_all(files.join("sys"))?;
        fs::write(place.path().join("config.json"), serde_json::to_vec(&specification(mapping))?)?;
        fs::create_dir(place.path().join("state"))?;
        run(Command::new("chown").args(["-R", &format!("{FIRST}:{FIRST}")]).arg(place.path()))?;
        let runc = runc(place.path(), mapping)
            .args(["run", "--bundle"])
            .arg(place.path())
            .arg(&name)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        let target = String::new();
        let mut bundle = Bundle { target, pid: 0, name, place, before: BTreeSet::new(), runc, mapping };
        wait_until("runc has started", || bundle.look())?;
        bundle.before = bundle.files()?;
        Ok(bundle)
    }

    /// Whether it runs; then what is known of it.
    fn look(&mut self) -> Result<bool> {
        let told = output(runc(self.place.path(), self.mapping).args(["state", &self.name]))?;
        let Ok(state) = serde_json::from_slice::<Value>(&told.stdout) else { return Ok(false) };
        let pid = state["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).context("no pid")?;
        self.pid = pid;
        // A state in a user's own directory is found by nobody else.
        self.target = match self.mapping {
            Mapping::One => format!("pid:{pid}"),
            _ => format!("runc:{}", self.name),
        };
        Ok(state["status"] == "running" && status(pid, "Name").as_deref() == Some("target"))
    }

    /// What is other than it was.
    pub(super) fn changes(&self) -> Result<Vec<String>> {
        let now = self.files()?;
        Ok(self.before.symmetric_difference(&now).cloned().collect())
    }

    /// Each file of its root, with the time of the last change of anything about it.
    fn files(&self) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        let mut open = vec![self.place.path().join("rootfs")];
        while let Some(path) = open.pop() {
            let meta = fs::symlink_metadata(&path)?;
            found.insert(format!("{} {}.{}", path.display(), meta.ctime(), meta.ctime_nsec()));
            if meta.is_dir() {
                let entries = fs::read_dir(&path)?.map(|entry| Ok(entry?.path()));
                open.extend(entries.collect::<Result<Vec<PathBuf>>>()?);
            }
        }
        Ok(found)
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        drop(output(runc(self.place.path(), self.mapping).args(["delete", "-f", &self.name])));
        drop(wait_limited(&mut self.runc, END_LIMIT));
    }
}

/// runc, called by whoever has the bundle.
fn runc(place: &Path, mapping: Mapping) -> Command {
    if mapping != Mapping::One {
        return Command::new("runc");
    }
    let (user, group) = (format!("--reuid={FIRST}"), format!("--regid={FIRST}"));
    let mut command = Command::new("setpriv");
    command.args([&user, &group, "--clear-groups", "--inh-caps=-all", "--no-new-privs"]);
    command.args(["--bounding-set=-all", "runc", "--root"]).arg(place.join("state"));
    command.env_remove("XDG_RUNTIME_DIR").env("HOME", place);
    command
}

fn specification(mapping: Mapping) -> Value {
    let (size, user, read_only) = match mapping {
        Mapping::Many => (65_536, 0, false),
        Mapping::ManyWithoutRights => (65_536, 65_532, true),
        Mapping::One => (1, 0, true),
    };
    // As hardened hosts have it: nobody sees another user's processes.
    let proc: &[&str] = if mapping == Mapping::ManyWithoutRights { &["hidepid=2"] } else { &[] };
    let usual = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    let rights: &[&str] = if mapping == Mapping::Many { &usual } else { &[] };
    let ids = json!([{"containerID": 0, "hostID": FIRST, "size": size}]);
    json!({
        "ociVersion": "1.0.0",
        "root": {"path": "rootfs", "readonly": read_only},
        "process": {
            "args": ["/bin/target"], "cwd": "/", "user": {"uid": user, "gid": user}, "noNewPrivileges": true,
            "capabilities": {"bounding": rights, "effective": rights, "permitted": rights},
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": proc},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/sys", "type": "none", "source": "/sys",
             "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]},
        ],
        "linux": {
            "namespaces": [
                {"type": "pid"}, {"type": "mount"}, {"type": "uts"}, {"type": "ipc"}, {"type": "user"},
            ],
            "uidMappings": ids, "gidMappings": ids,
            // As Docker's filter does, so that the C library makes threads in the same way.
            "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
                "syscalls": [{"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}],
            },
        },
    })
}
