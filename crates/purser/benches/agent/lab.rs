// SPDX-License-Identifier: Apache-2.0
//! Where the load runs: its programs, in a short and in a usual place, and its cgroups. All of it
//! is gone when this is dropped.

use anyhow::{Context, Result, ensure};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/load");
/// As deep as programs of distributions and of language packages lie.
const DEEP: &str = "usr/lib/x86_64-linux-gnu/app/node_modules/.bin";

/// Programs and cgroups.
#[derive(Debug)]
pub(crate) struct Lab {
    programs: TempDir,
    name: String,
    /// One in each hierarchy that matters.
    cgroups: Vec<PathBuf>,
}

impl Lab {
    pub(crate) fn make() -> Result<Lab> {
        let programs = TempDir::with_prefix("purser-bench-")?;
        fs::set_permissions(programs.path(), fs::Permissions::from_mode(0o755))?;
        let name = format!("purser-bench-{}", std::process::id());
        let mut lab = Lab { programs, name, cgroups: Vec::new() };
        for dir in [lab.short(), lab.deep()] {
            fs::create_dir_all(&dir)?;
            compile("load.c", &dir.join("load"), &[])?;
            compile("target.c", &dir.join("load-target"), &["-nostdlib"])?;
        }
        for tree in trees() {
            let cgroup = tree.join(&lab.name);
            fs::create_dir(&cgroup).with_context(|| format!("making the cgroup {}", cgroup.display()))?;
            lab.cgroups.push(cgroup);
        }
        Ok(lab)
    }

    /// The directory of programs with a short path.
    pub(crate) fn short(&self) -> PathBuf {
        self.programs.path().join("bin")
    }

    /// The directory of programs with a path of usual depth.
    pub(crate) fn deep(&self) -> PathBuf {
        self.programs.path().join(DEEP)
    }

    /// Where a process of the load has to enter, in every hierarchy.
    pub(crate) fn cgroups(&self) -> &[PathBuf] {
        &self.cgroups
    }

    /// The load's cgroup in the v2 hierarchy, which is the last.
    pub(crate) fn cgroup_v2(&self) -> Option<&Path> {
        self.cgroups.last().map(PathBuf::as_path)
    }

    /// An agent's configuration that records the load and nothing else.
    pub(crate) fn config(&self) -> String {
        format!("[scope]\nids = [\"none\"]\ncgroups = [\"/{}\"]\n", self.name)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for cgroup in &self.cgroups {
            if let Err(error) = fs::remove_dir(cgroup) {
                println!("the cgroup {} is left behind: {error}", cgroup.display());
            }
        }
    }
}

/// The hierarchies: the v1 controller that tells containers apart, where there is one, and v2.
fn trees() -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let found: Vec<PathBuf> =
        ["pids", "unified"].iter().map(|name| root.join(name)).filter(|tree| tree.exists()).collect();
    if found.is_empty() { vec![root.to_path_buf()] } else { found }
}

fn compile(source: &str, program: &Path, flags: &[&str]) -> Result<()> {
    let mut gcc = Command::new("gcc");
    gcc.args(["-O1", "-static"]).args(flags).arg("-o").arg(program).arg(Path::new(SOURCES).join(source));
    let status = gcc.status().context("starting gcc")?;
    ensure!(status.success(), "{gcc:?}: {status}");
    Ok(())
}
