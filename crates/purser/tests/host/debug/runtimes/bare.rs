// SPDX-License-Identifier: Apache-2.0
//! Processes that no runtime knows of: in a chroot, in one new namespace, in all of them.

use std::process::{Child, Command};

use anyhow::Result;
use tempfile::TempDir;

use super::{Running, running, sessions_work, start};
use crate::lab::{Lab, run, temporary, unique};

/// A process of the host, killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Gone already is as good.
        drop(self.0.kill().and_then(|()| self.0.wait()));
    }
}

#[test]
fn namespaces_and_a_chroot() -> Result<()> {
    let lab = Lab::enter()?;
    let root = TempDir::with_prefix_in("chroot-", temporary())?;
    run(Command::new("cp").arg("-a").arg(lab.root().join(".")).arg(root.path()))?;
    let home = root.path().display().to_string();
    let ways: [(&str, &[&str]); 7] = [
        ("host", &["env"]),
        ("chroot", &["chroot", &home]),
        ("net", &["unshare", "-n"]),
        ("mount", &["unshare", "-m"]),
        ("ipc and uts", &["unshare", "-i", "-u"]),
        ("user", &["unshare", "-U", "-r"]),
        ("user, mount and chroot", &["unshare", "-U", "-r", "-m", "chroot", &home]),
    ];
    for (number, (_, way)) in ways.iter().enumerate() {
        let time = format!("{}.{number}", 100_000 + std::process::id());
        let command = ["/bin/busybox", "sleep", &time];
        let child = Process(start(Command::new(way[0]).args(&way[1..]).args(command))?);
        let pid = running(&command)?;
        assert_eq!(u32::try_from(pid)?, child.0.id());
        let word = format!("pid:{pid}");
        sessions_work(&Running { words: &[&word], pid, id: &unique("nothing") })?;
    }
    Ok(())
}
