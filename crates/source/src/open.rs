// SPDX-License-Identifier: Apache-2.0
//! Opens what others may have put there: only regular files, never outside a given root, and
//! without a side effect on what turns out to be something else.
//!
//! A path is first looked up without opening what it leads to. A pipe whose reader appears, or a
//! device that is opened, would be felt by others; here they are refused by their type alone.

use crate::error::Error;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, open, openat2};
use std::fs::File;
use std::os::fd::AsRawFd;

/// Most entries of one directory that are looked at.
pub(crate) const ENTRIES_LIMIT: usize = 100_000;
/// Symbolic links cannot lead out of the root, and `/proc/PID/fd` and the like are no way either.
const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// Something found at a path, looked at and not opened.
#[derive(Debug)]
pub(crate) struct Found {
    handle: OwnedFd,
    pub(crate) stat: Stat,
}

/// The kind of something.
fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

impl Found {
    pub(crate) fn is_regular(&self) -> bool {
        kind(&self.stat) == FileType::RegularFile
    }

    pub(crate) fn is_directory(&self) -> bool {
        kind(&self.stat) == FileType::Directory
    }

    /// Opens it for reading, without waiting.
    pub(crate) fn open(&self) -> Result<File, Error> {
        let path = format!("/proc/self/fd/{}", self.handle.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = open(path.as_str(), flags, Mode::empty()).map_err(Error::kernel("opening the file"))?;
        Ok(File::from(file))
    }

    /// Names and inodes of a directory's entries.
    pub(crate) fn entries(&self) -> Result<Vec<(Vec<u8>, u64)>, Error> {
        let reading = Error::kernel("listing the directory");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.handle, ".", flags, Mode::empty()).map_err(&reading)?;
        let mut entries = Vec::new();
        for entry in Dir::read_from(fd).map_err(&reading)? {
            let entry = entry.map_err(&reading)?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            if entries.len() == ENTRIES_LIMIT {
                break;
            }
            entries.push((name.to_vec(), entry.ino()));
        }
        Ok(entries)
    }
}

/// What is at `path` inside `root`. `follow`: what a symbolic link at its end leads to.
pub(crate) fn look(root: BorrowedFd<'_>, path: &[u8], follow: bool) -> Result<Found, Error> {
    let mut flags = OFlags::PATH | OFlags::CLOEXEC;
    if !follow {
        flags |= OFlags::NOFOLLOW;
    }
    look_with(root, path, flags, INSIDE)
}

fn look_with(
    root: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<Found, Error> {
    let path = if path.is_empty() { b"/" } else { path };
    let handle = loop {
        // EAGAIN: something was renamed meanwhile and the kernel could not be sure (openat2(2)).
        match openat2(root, path, flags, Mode::empty(), resolve) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other.map_err(Error::kernel("looking at the path"))?,
        }
    };
    let stat = fstat(&handle).map_err(Error::kernel("looking at the file"))?;
    Ok(Found { handle, stat })
}

/// What is at `path` inside `root`, where only the first `fixed` bytes of the path may hold symbolic links: the rest
/// was found in directories that others may write to, who could put a link where a directory was a moment ago.
pub(crate) fn look_below(root: BorrowedFd<'_>, path: &[u8], fixed: usize) -> Result<Found, Error> {
    let Some((above, below)) = path.split_at_checked(fixed).filter(|(_, below)| !below.is_empty()) else {
        return look(root, path, true);
    };
    let above = look(root, above, true)?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    look_with(above.handle.as_fd(), below, flags, INSIDE | ResolveFlags::NO_SYMLINKS)
}

/// The root of the host, as this process sees it.
pub(crate) fn host_root() -> Result<OwnedFd, Error> {
    root_of("/")
}

/// A directory to take for the root of paths, such as `/proc/1/root`.
///
/// # Errors
/// When it cannot be opened.
pub fn root_of(path: &str) -> Result<OwnedFd, Error> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open(path, flags, Mode::empty()).map_err(Error::kernel("opening the root"))
}

#[cfg(test)]
mod tests {
    use super::{look, look_below, root_of};
    use rustix::fd::AsFd;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    #[test]
    fn stays_inside_and_takes_files_only() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "secret").unwrap();
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("log")).unwrap();
        std::fs::write(root.path().join("log/a"), "inside").unwrap();
        symlink(outside.path(), root.path().join("away")).unwrap();
        symlink("../../../../../../etc/passwd", root.path().join("log/up")).unwrap();
        symlink("/log/a", root.path().join("log/in")).unwrap();
        symlink("loop", root.path().join("loop")).unwrap();
        let fifo = root.path().join("log/fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let fd = root_of(root.path().to_str().unwrap()).unwrap();
        let see = |path: &str, follow| look(fd.as_fd(), path.as_bytes(), follow);
        let mut text = String::new();
        see("/log/../../../log/a", false).unwrap().open().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "inside");
        assert!(see("/log/in", true).unwrap().is_regular());
        assert!(!see("/log/in", false).unwrap().is_regular());
        for path in ["/away/secret", "/log/up", "/loop", "/nothing"] {
            see(path, true).unwrap_err();
        }
        // Links count in what is fixed only.
        symlink("log", root.path().join("link")).unwrap();
        let below = |path: &str, fixed| look_below(fd.as_fd(), path.as_bytes(), fixed);
        assert!(below("/link/a", "/link".len()).unwrap().is_regular());
        assert!(below("/log/a", 0).unwrap().is_regular());
        assert!(below("/link", "/link".len()).unwrap().is_directory());
        below("/link/a", 0).unwrap_err();
        assert!(!below("/log/in", "/log".len()).unwrap().is_regular());
        // Nobody waits for the other end of a pipe: it is not opened.
        assert!(!see("/log/fifo", true).unwrap().is_regular());
        assert!(see("/log", true).unwrap().is_directory());
        let names: Vec<_> = see("/log", true).unwrap().entries().unwrap();
        assert_eq!(names.len(), 4);
    }
}
