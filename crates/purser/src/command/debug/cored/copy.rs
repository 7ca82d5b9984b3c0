// SPDX-License-Identifier: Apache-2.0
//! Copies of cores that a session can read: unpacked, or of what only its owner may read. They have no name but in the
//! moment in which a session takes them over, so nothing is left of them, whoever is killed.

use super::super::super::output;
use super::super::who;
use anyhow::Context;
use cores::{Packing, Room};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, fchmod, fstat, linkat, open, openat};
use rustix::process::{Pid, getpid, test_kill_process};
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Where they are, unless TMPDIR names another place; `/tmp` may be memory.
const PLACE: &str = "/var/lib/purser-cores";
/// Below TMPDIR.
const BELOW: &str = "purser-cores";

/// A copy's place on the disk.
#[derive(Debug)]
pub(super) struct Copy {
    directory: PathBuf,
    held: OwnedFd,
    /// Its name, where and while it has one.
    path: Option<PathBuf>,
}

impl Copy {
    /// A copy of `file`, unpacked if it is packed, to be read only.
    pub(super) fn make(file: &File, packing: Option<Packing>, name: &str) -> anyhow::Result<(File, Copy)> {
        let (directory, held) = directory()?;
        let mut copy = Copy { directory, held, path: None };
        let out = copy.file().with_context(|| format!("making a file in {}", copy.directory.display()))?;
        let watched = output::is_watched();
        let doing = if packing.is_some() { "unpacking" } else { "copying" };
        let progress = &mut |len: u64| {
            if watched {
                write!(io::stderr().lock(), "\r\x1b[K{doing} {name}: {} MiB", len >> 20).unwrap_or_default();
            }
        };
        let room = Room { file: &out, place: &copy.directory.display().to_string() };
        let unpacked = cores::unpack(file, packing, &room, progress);
        if watched {
            write!(io::stderr().lock(), "\r\x1b[K").unwrap_or_default();
        }
        unpacked.map_err(|error| anyhow::anyhow!("{name} {error}"))?;
        // Nobody but who is shown it gets to it.
        fchmod(&out, Mode::from_raw_mode(0o444)).context("letting the session read the core")?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let readable = open(of_own(&out), flags, Mode::empty()).context("opening the core again")?;
        Ok((File::from(readable), copy))
    }

    /// Gives it a name, which whoever takes it over removes; and the file as it is opened by that, for what was opened
    /// without a name cannot be mounted.
    pub(super) fn name(&mut self, file: &File) -> anyhow::Result<(PathBuf, File)> {
        let doing = || format!("giving the core a name in {}", self.directory.display());
        let path = match &self.path {
            Some(path) => path.clone(),
            None => {
                let name = new_name();
                linkat(CWD, of_own(file), &self.held, &name, AtFlags::SYMLINK_FOLLOW).with_context(doing)?;
                self.directory.join(name)
            }
        };
        self.path = Some(path.clone());
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = open(&path, flags, Mode::empty()).context("opening the core by its name")?;
        Ok((path, File::from(opened)))
    }

    /// A new file, without a name where the file system has such.
    fn file(&mut self) -> io::Result<File> {
        let (flags, mode) = (OFlags::RDWR | OFlags::CLOEXEC, Mode::from_raw_mode(0o600));
        if let Ok(file) = openat(&self.held, ".", flags | OFlags::TMPFILE, mode) {
            return Ok(File::from(file));
        }
        let name = new_name();
        let file = openat(&self.held, &name, flags | OFlags::CREATE | OFlags::EXCL, mode)?;
        self.path = Some(self.directory.join(name));
        Ok(File::from(file))
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // The session's keeper has been faster, as a rule.
            std::fs::remove_file(path).unwrap_or_default();
        }
    }
}

fn of_own(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Tells whose it is, so that what a killed one has left is found.
fn new_name() -> String {
    format!("{}-{:016x}", getpid().as_raw_pid(), RandomState::new().build_hasher().finish())
}

/// The directory for them, root's alone; what is left there of those who were killed is removed.
fn directory() -> anyhow::Result<(PathBuf, OwnedFd)> {
    let path = match std::env::var_os("TMPDIR") {
        Some(place) if !who::comes_by_sudo() => Path::new(&place).join(BELOW),
        _ => PathBuf::from(PLACE),
    };
    let doing = || format!("making {}", path.display());
    match rustix::fs::mkdir(&path, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(io::Error::from(error)).with_context(doing),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let held = open(&path, flags, Mode::empty()).with_context(doing)?;
    let stat = fstat(&held).with_context(doing)?;
    if stat.st_uid != 0 || stat.st_mode & 0o077 != 0 {
        anyhow::bail!("{} is not root's alone; remove it, or name another place with TMPDIR", path.display());
    }
    for entry in std::fs::read_dir(&path).with_context(doing)?.flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.split_once('-')?.0.parse().ok()).and_then(Pid::from_raw);
        if pid.is_some_and(|pid| test_kill_process(pid).is_err()) {
            std::fs::remove_file(entry.path()).unwrap_or_default();
        }
    }
    Ok((path, held))
}
