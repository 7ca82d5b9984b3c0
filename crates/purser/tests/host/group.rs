// SPDX-License-Identifier: Apache-2.0
//! Cgroups of our own, in every hierarchy that tells containers apart. Gone when dropped.

use std::fs;
use std::io::Result;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Enters every cgroup given before `--`, then becomes what comes after it.
const ENTER: &str =
    r#"while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs" || exit 9; shift; done; shift; exec "$@""#;

pub(crate) struct Group {
    /// In each hierarchy: what was made, outermost first; the last is the group.
    made: Vec<Vec<PathBuf>>,
    groups: Vec<PathBuf>,
}

impl Group {
    /// `path` is from the root of each hierarchy.
    pub(crate) fn make(path: &Path) -> Result<Group> {
        let mut group = Group { made: Vec::new(), groups: Vec::new() };
        for tree in trees() {
            let mut made = Vec::new();
            let mut at = tree;
            for name in path {
                at.push(name);
                if !at.exists() {
                    fs::create_dir(&at)?;
                    made.push(at.clone());
                }
            }
            group.made.push(made);
            group.groups.push(at);
        }
        Ok(group)
    }

    /// The same command, started in here.
    pub(crate) fn enter(&self, command: &Command) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", ENTER, "sh"]).args(&self.groups).arg("--");
        shell.arg(command.get_program()).args(command.get_args());
        shell
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for made in self.made.iter().flat_map(|made| made.iter().rev()) {
            remove(made);
        }
    }
}

/// Removes what runtimes made below, too. One that is in use stays.
fn remove(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    drop(fs::remove_dir(group));
}

/// The v1 controller that tells containers apart and systemd's own hierarchy, where there are any, and v2.
fn trees() -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let found = ["pids", "systemd", "unified"].map(|name| root.join(name));
    let found: Vec<PathBuf> = found.into_iter().filter(|tree| tree.exists()).collect();
    if found.is_empty() { vec![root.to_path_buf()] } else { found }
}
