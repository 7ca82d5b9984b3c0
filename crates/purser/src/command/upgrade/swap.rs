// SPDX-License-Identifier: Apache-2.0
//! Exchanging a program's file in one step, with the old one kept. At no moment is there none.

use anyhow::{Context, bail};
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The new program, beside the installed one.
#[derive(Debug)]
pub(super) struct Swap {
    fresh: PathBuf,
    program: PathBuf,
}

impl Swap {
    /// Copies `file` beside `program`. `None` when they are the same byte for byte.
    pub(super) fn prepare(file: &Path, program: &Path) -> anyhow::Result<Option<Swap>> {
        let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        match fs::read(program) {
            Ok(installed) if installed == bytes => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!("the service's program {} is not there; put one there first", program.display())
            }
            Err(error) => return Err(error).with_context(|| format!("reading {}", program.display())),
        }
        let swap = Swap { fresh: beside(program, "new"), program: program.to_path_buf() };
        remove_if_there(&swap.fresh)?;
        write(&swap.fresh, &bytes).with_context(|| format!("writing {}", swap.fresh.display()))?;
        Ok(Some(swap))
    }

    /// Where the copy is.
    pub(super) fn fresh(&self) -> &Path {
        &self.fresh
    }

    /// Puts the copy in the program's place.
    pub(super) fn exchange(self) -> anyhow::Result<Old> {
        let old = Old { kept: old_of(&self.program), program: self.program.clone() };
        remove_if_there(&old.kept)?;
        let doing = || format!("exchanging {}", self.program.display());
        fs::hard_link(&self.program, &old.kept).with_context(doing)?;
        fs::rename(&self.fresh, &self.program).with_context(doing)?;
        sync_directory(&self.program).with_context(doing)?;
        Ok(old)
    }
}

impl Drop for Swap {
    /// A copy that was refused is of no use.
    fn drop(&mut self) {
        fs::remove_file(&self.fresh).unwrap_or_default();
    }
}

/// The old program, kept.
#[derive(Debug)]
pub(super) struct Old {
    kept: PathBuf,
    program: PathBuf,
}

impl Old {
    /// Where it is.
    pub(super) fn kept(&self) -> &Path {
        &self.kept
    }

    /// Puts it back into its place.
    pub(super) fn put_back(self) -> anyhow::Result<()> {
        let doing = || format!("putting {} back to {}", self.kept.display(), self.program.display());
        fs::rename(&self.kept, &self.program).with_context(doing)?;
        sync_directory(&self.program).with_context(doing)
    }
}

/// Where the program is that an upgrade exchanged for `program`.
pub(in crate::command) fn old_of(program: &Path) -> PathBuf {
    beside(program, "old")
}

/// `purser.old` beside `purser`.
fn beside(program: &Path, suffix: &str) -> PathBuf {
    let mut name = program.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::write(path, bytes)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))?;
    File::open(path)?.sync_all()
}

fn sync_directory(program: &Path) -> io::Result<()> {
    program.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

fn remove_if_there(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::Swap;
    use std::fs;

    #[test]
    fn there_and_back() {
        let dir = tempfile::tempdir().unwrap();
        let (program, file) = (dir.path().join("purser"), dir.path().join("download"));
        fs::write(&program, "one").unwrap();
        fs::write(&file, "one").unwrap();
        assert!(Swap::prepare(&file, &program).unwrap().is_none());
        fs::write(&file, "two").unwrap();
        let old = Swap::prepare(&file, &program).unwrap().unwrap().exchange().unwrap();
        assert_eq!(fs::read_to_string(&program).unwrap(), "two");
        assert_eq!(fs::read_to_string(old.kept()).unwrap(), "one");
        old.put_back().unwrap();
        assert_eq!(fs::read_to_string(&program).unwrap(), "one");
        // A refused one leaves nothing.
        drop(Swap::prepare(&file, &program).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        assert!(Swap::prepare(&file, &dir.path().join("absent")).is_err());
    }
}
