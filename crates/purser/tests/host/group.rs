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
    /// What was not there before, in any hierarchy, outermost first: runtimes use more than those entered.
    ours: Vec<Vec<PathBuf>>,
    groups: Vec<PathBuf>,
}

impl Group {
    /// `path` is from the root of each hierarchy.
    pub(crate) fn make(path: &Path) -> Result<Group> {
        let absent = |tree: PathBuf| -> Vec<PathBuf> {
            let mut ways: Vec<PathBuf> = path.ancestors().map(|part| tree.join(part)).collect();
            ways.reverse();
            ways.into_iter().filter(|way| !way.exists()).collect()
        };
        let mut group = Group { ours: all_trees()?.into_iter().map(absent).collect(), groups: Vec::new() };
        for tree in trees() {
            let at = tree.join(path);
            fs::create_dir_all(&at)?;
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
        for ours in &self.ours {
            let mut inner = ours.iter().rev();
            inner.next().into_iter().for_each(|leaf| remove(leaf));
            // Others may be in these by now; then they stay.
            inner.for_each(|group| drop(fs::remove_dir(group)));
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

/// Every hierarchy there is.
fn all_trees() -> Result<Vec<PathBuf>> {
    let root = Path::new("/sys/fs/cgroup");
    let mut trees = vec![root.to_path_buf()];
    for entry in fs::read_dir(root)? {
        let tree = entry?.path();
        // Links such as cpu,cpuacct lead to trees that are in the list already.
        if tree.join("cgroup.procs").exists() && !tree.is_symlink() {
            trees.push(tree);
        }
    }
    Ok(trees)
}
