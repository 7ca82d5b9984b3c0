// SPDX-License-Identifier: Apache-2.0
//! Roots in which the program of a core may be: files are opened as the processes in there would open them, and nothing
//! leads out.

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Tries to open what is renamed meanwhile.
const TRIES: usize = 64;

/// The root of a process, held.
#[derive(Debug)]
pub(super) struct Root(OwnedFd);

impl Root {
    /// Of the process with this number.
    pub(super) fn of(pid: i32) -> io::Result<Root> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Root(open(format!("/proc/{pid}/root"), flags, Mode::empty())?))
    }

    /// The regular file that a path means in there; `None` when there is none.
    pub(super) fn open(&self, path: &Path) -> io::Result<Option<File>> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        regular(self.0.as_fd(), path, resolve)
    }
}

/// The regular file of the host that a path means; `None` when there is none.
pub(super) fn of_host(path: &Path) -> io::Result<Option<File>> {
    regular(CWD, path, ResolveFlags::empty())
}

/// Looked at before it is opened: opening a device does something, and opening a pipe waits.
fn regular(dir: BorrowedFd<'_>, path: &Path, resolve: ResolveFlags) -> io::Result<Option<File>> {
    let mut tries = 0;
    let held = loop {
        match openat2(dir, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
            // Something was renamed meanwhile and the kernel could not be sure.
            Err(Errno::AGAIN) if tries < TRIES => tries += 1,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            result => break result?,
        }
    };
    if FileType::from_raw_mode(fstat(&held)?.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = open(format!("/proc/self/fd/{}", held.as_raw_fd()), flags, Mode::empty())?;
    Ok(Some(File::from(file)))
}

#[cfg(test)]
mod tests {
    use super::{Root, of_host};
    use std::path::Path;

    #[test]
    fn nothing_but_regular_files() {
        let own = i32::try_from(std::process::id()).unwrap();
        let root = Root::of(own).unwrap();
        assert!(root.open(Path::new("/bin/sh")).unwrap().is_some());
        assert!(root.open(Path::new("/../../bin/sh")).unwrap().is_some());
        assert!(root.open(Path::new("/nonexistent/x")).unwrap().is_none());
        assert!(root.open(Path::new("/dev/null")).unwrap().is_none());
        assert!(root.open(Path::new("/proc/self/exe")).is_err());
        assert!(of_host(Path::new("/etc")).unwrap().is_none());
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert!(of_host(&pipe).unwrap().is_none());
    }
}
