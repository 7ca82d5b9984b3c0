// SPDX-License-Identifier: Apache-2.0
//! Reads below one directory: no symbolic link is followed, nothing leads out of it, only regular files are
//! read, and only up to a limit.

use crate::ImageError;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The longest document of one image or container.
pub(crate) const DOCUMENT_LIMIT: u64 = 4 << 20;
/// The longest table of a store.
pub(crate) const TABLE_LIMIT: u64 = 64 << 20;
/// The most names of a directory that are looked at.
const NAMES_LIMIT: usize = 100_000;

/// A directory that is held.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    fd: OwnedFd,
}

impl Place {
    /// The directory at `path`, which may be reached by links: it is the administrator's word.
    pub(crate) fn open(path: &Path) -> Option<Place> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).ok()?;
        Some(Place { path: path.to_path_buf(), fd })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Where this is.
    pub(crate) fn join(&self, below: &str) -> PathBuf {
        self.path.join(below)
    }

    /// The bytes of a file; `None` when there is none.
    pub(crate) fn read(&self, below: &str, limit: u64) -> Result<Option<Vec<u8>>, ImageError> {
        let Some(file) = self.file(below)? else { return Ok(None) };
        let mut bytes = Vec::new();
        let read = file.take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|source| ImageError::Read { path: self.join(below), source })?;
        if bytes.len() as u64 > limit {
            return Err(self.damaged(below, format!("it is longer than {limit} bytes")));
        }
        Ok(Some(bytes))
    }

    /// A regular file, open for reading; `None` when there is none.
    pub(crate) fn file(&self, below: &str) -> Result<Option<File>, ImageError> {
        let fail = |source| ImageError::Read { path: self.join(below), source };
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match beneath(self.fd.as_fd(), below.as_ref(), flags) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(errno) => return Err(fail(errno.into())),
        };
        if file.metadata().map_err(fail)?.is_file() {
            return Ok(Some(file));
        }
        Err(self.damaged(below, "it is no regular file"))
    }

    /// A document in JSON; `None` when there is none.
    pub(crate) fn json<T: DeserializeOwned>(&self, below: &str, limit: u64) -> Result<Option<T>, ImageError> {
        let Some(bytes) = self.read(below, limit)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| self.damaged(below, error.to_string()))
    }

    /// A line of text, as engines keep single ids; `None` when there is none.
    pub(crate) fn line(&self, below: &str) -> Result<Option<String>, ImageError> {
        let Some(bytes) = self.read(below, 4096)? else { return Ok(None) };
        let text = String::from_utf8(bytes).map_err(|_| self.damaged(below, "it is no text"))?;
        Ok(Some(text.trim().to_owned()))
    }

    /// Whether a directory is there, and no link to one.
    pub(crate) fn has_directory(&self, below: &str) -> bool {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        beneath(self.fd.as_fd(), below.as_ref(), flags).is_ok()
    }

    /// The names in a directory, sorted; none when it cannot be read.
    pub(crate) fn names(&self, below: &str) -> Vec<String> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(fd) = beneath(self.fd.as_fd(), below.as_ref(), flags) else { return Vec::new() };
        let Ok(entries) = rustix::fs::Dir::new(fd) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned));
        let mut names: Vec<String> =
            names.filter(|name| name != "." && name != "..").take(NAMES_LIMIT).collect();
        names.sort();
        names
    }

    pub(crate) fn damaged(&self, below: &str, why: impl Into<String>) -> ImageError {
        ImageError::Damaged { path: self.join(below), why: why.into() }
    }
}

/// Opens below a directory, never through a link and never out of it.
pub(crate) fn beneath(dir: BorrowedFd<'_>, below: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    // A directory that somebody renames just now makes the kernel say AGAIN.
    for _ in 0..16 {
        match openat2(dir, below, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            done => return done,
        }
    }
    Err(Errno::AGAIN)
}

/// Whether a text from a file can be one name in a directory.
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 255 && text != "." && text != ".." && !text.contains(['/', '\0'])
}

/// Whether it is a digest's 64 hexadecimal digits.
pub(crate) fn is_hex(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// The digits behind `sha256:`.
pub(crate) fn digits(digest: &str) -> Option<&str> {
    digest.strip_prefix("sha256:").filter(|hex| is_hex(hex))
}

#[cfg(test)]
mod tests {
    use super::{Place, digits, is_name};
    use crate::ImageError;
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_leads_out() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("in")).unwrap();
        std::fs::write(dir.path().join("in/file"), "line\n").unwrap();
        symlink("/etc", dir.path().join("out")).unwrap();
        symlink("file", dir.path().join("in/link")).unwrap();
        let place = Place::open(dir.path()).unwrap();
        assert_eq!(place.line("in/file").unwrap().unwrap(), "line");
        assert!(place.read("in/none", 9).unwrap().is_none());
        assert!(matches!(place.read("in/file", 3), Err(ImageError::Damaged { .. })));
        for odd in ["in/link", "out/passwd", "../x", "/etc/passwd"] {
            assert!(place.read(odd, 99).is_err(), "{odd}");
        }
        assert!(matches!(place.read("in", 9), Err(ImageError::Damaged { .. })));
        assert!(place.has_directory("in") && !place.has_directory("out") && !place.has_directory("in/file"));
        assert_eq!(place.names("in"), ["file", "link"]);
        assert!(place.names("out").is_empty());
    }

    #[test]
    fn names_and_digests() {
        assert!(is_name("a.b") && !is_name("..") && !is_name("a/b") && !is_name(""));
        let digest = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(digits(&digest).unwrap().len(), 64);
        assert!(digits(&digest.to_uppercase()).is_none() && digits("sha256:../..").is_none());
    }
}
