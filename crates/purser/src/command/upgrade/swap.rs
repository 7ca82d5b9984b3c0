// SPDX-License-Identifier: Apache-2.0
//! Exchanging a program's file in one step, with the old one kept. At no moment is there none.

use anyhow::{Context, bail};
use rustix::fs::{Mode, OFlags, open};
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Longest program.
const PROGRAM_LIMIT: u64 = 1 << 30;
/// Where the head of an ELF file says what it is, of how many bits and in which order, and for which processor.
const KIND: std::ops::Range<usize> = 0..6;
const PROCESSOR: std::ops::Range<usize> = 18..20;

/// The new program, beside the installed one.
#[derive(Debug)]
pub(super) struct Swap {
    fresh: PathBuf,
    program: PathBuf,
}

impl Swap {
    /// Copies `file` beside `program`. `None` when they are the same byte for byte. Whatever becomes of the
    /// file later, the copy is what is looked at and used.
    pub(super) fn prepare(file: &Path, program: &Path) -> anyhow::Result<Option<Swap>> {
        let bytes = read(file).with_context(|| format!("reading {}", file.display()))?;
        match fs::read(program) {
            Ok(installed) if installed == bytes => return Ok(None),
            Ok(installed) if head(&installed) != head(&bytes) => {
                bail!("{} is not purser for this machine: it begins like no program for it", file.display())
            }
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

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(open(path, flags, Mode::empty()).map_err(io::Error::from)?);
    let metadata = file.metadata()?;
    let mode = metadata.permissions().mode();
    if !metadata.is_file() || metadata.len() > PROGRAM_LIMIT {
        bail!("it is no file that could be a program");
    }
    if mode & 0o022 != 0 {
        bail!(
            "its mode {:04o} lets others write it; look whether it is what you want, then run chmod go-w on it",
            mode & 0o7777
        );
    }
    // Root may read every file, so only a missing x bit keeps it from running this one.
    if mode & 0o111 == 0 {
        bail!("it cannot be executed; run chmod +x on it");
    }
    let mut bytes = Vec::new();
    file.take(PROGRAM_LIMIT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What programs for one machine have in common.
fn head(program: &[u8]) -> Option<[&[u8]; 2]> {
    Some([program.get(KIND)?, program.get(PROCESSOR)?])
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
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn there_and_back() {
        let dir = tempfile::tempdir().unwrap();
        let (program, file) = (dir.path().join("purser"), dir.path().join("download"));
        let text = |end: &str| format!("\x7fELF for this machine {end}");
        let write = |path: &std::path::Path, text: String| {
            fs::write(path, text).unwrap();
            fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        };
        write(&program, text("one"));
        write(&file, text("one"));
        assert!(Swap::prepare(&file, &program).unwrap().is_none());
        write(&file, text("two"));
        let old = Swap::prepare(&file, &program).unwrap().unwrap().exchange().unwrap();
        assert_eq!(fs::read_to_string(&program).unwrap(), text("two"));
        assert_eq!(fs::read_to_string(old.kept()).unwrap(), text("one"));
        old.put_back().unwrap();
        assert_eq!(fs::read_to_string(&program).unwrap(), text("one"));
        // A refused one leaves nothing.
        drop(Swap::prepare(&file, &program).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        assert!(Swap::prepare(&file, &dir.path().join("absent")).is_err());
        let refused = |mode: u32, text: &str| {
            write(&file, text.to_string());
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            format!("{:#}", Swap::prepare(&file, &program).unwrap_err())
        };
        assert!(refused(0o757, &text("two")).contains("mode 0757 lets others write it"));
        assert!(refused(0o644, &text("two")).contains("run chmod +x on it"));
        assert!(refused(0o755, "#!/bin/sh\necho purser 9.9.9").contains("is not purser for this machine"));
        assert!(format!("{:#}", Swap::prepare(dir.path(), &program).unwrap_err()).contains("no file"));
    }
}
