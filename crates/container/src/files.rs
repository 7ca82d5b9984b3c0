// SPDX-License-Identifier: Apache-2.0
//! Reads the runtimes' state files. Below a runtime's own directory no symbolic link is followed
//! and no name may lead elsewhere; only regular files are read, and never more than a limit.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::{LookupError, unit};

/// The longest state file read.
pub(crate) const FILE_LIMIT: usize = 4 * 1024 * 1024;

/// The text of `root/names[0]/names[1]/…`; `None` when there is no such file or a name is no name.
pub(crate) fn read(root: &Path, names: &[&str], limit: usize) -> Result<Option<Vec<u8>>, LookupError> {
    match open(root, names)? {
        Some((file, path)) => content(file, path, limit).map(Some),
        None => Ok(None),
    }
}

/// Opens without following links below `root`. Each step holds the directory it goes on from.
pub(crate) fn open(root: &Path, names: &[&str]) -> Result<Option<(File, PathBuf)>, LookupError> {
    if root.as_os_str().is_empty() || !names.iter().all(|name| unit::is_one_name(name.as_bytes())) {
        return Ok(None);
    }
    let mut path = root.to_owned();
    // Root directories may be reached by links, such as /var/run.
    let mut at =
        match rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(fd) => fd,
            Err(errno) => return absent(errno, path),
        };
    for (index, name) in names.iter().enumerate() {
        path.push(name);
        let last = index + 1 == names.len();
        let how = if last { OFlags::RDONLY | OFlags::NONBLOCK } else { OFlags::PATH | OFlags::DIRECTORY };
        at = match rustix::fs::openat(&at, *name, how | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
            Ok(fd) => fd,
            Err(errno) => return absent(errno, path),
        };
    }
    Ok(Some((File::from(at), path)))
}

fn absent<T>(errno: rustix::io::Errno, path: PathBuf) -> Result<Option<T>, LookupError> {
    let source = std::io::Error::from(errno);
    match source.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Ok(None),
        _ => Err(LookupError::Read { path, source }),
    }
}

/// The whole content of an opened regular file.
pub(crate) fn content(file: File, path: PathBuf, limit: usize) -> Result<Vec<u8>, LookupError> {
    let fail = |source| LookupError::Read { path: path.clone(), source };
    if !file.metadata().map_err(fail)?.is_file() {
        return Err(LookupError::Unfit { path, limit });
    }
    let mut text = Vec::new();
    // One byte more than the limit shows that the file is longer.
    file.take(limit as u64 + 1).read_to_end(&mut text).map_err(fail)?;
    if text.len() > limit { Err(LookupError::Unfit { path, limit }) } else { Ok(text) }
}

/// The names in a directory, at most `limit`; none when it cannot be read.
pub(crate) fn names(dir: &Path, limit: usize) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.flatten().filter_map(|e| e.file_name().into_string().ok()).take(limit).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::{names, read};
    use crate::LookupError;

    #[test]
    fn links_and_odd_files_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("c")).unwrap();
        std::fs::write(dir.path().join("c/ok"), "fine").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("c/link")).unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("d")).unwrap();
        assert_eq!(read(dir.path(), &["c", "ok"], 4).unwrap().unwrap(), b"fine");
        assert!(matches!(read(dir.path(), &["c", "ok"], 3), Err(LookupError::Unfit { .. })));
        assert!(matches!(read(dir.path(), &["c", "link"], 9), Err(LookupError::Read { .. })));
        assert!(read(dir.path(), &["d", "passwd"], 9).unwrap().is_none());
        assert!(read(dir.path(), &["..", "ok"], 9).unwrap().is_none());
        assert!(read(dir.path(), &["c/ok"], 9).unwrap().is_none());
        assert!(read(dir.path(), &["gone"], 9).unwrap().is_none());
        assert!(matches!(read(dir.path(), &["c"], 9), Err(LookupError::Unfit { .. })));
        assert_eq!(names(dir.path(), 9), ["c", "d"]);
    }

    #[test]
    fn a_pipe_does_not_hang() {
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
        assert!(matches!(read(dir.path(), &["pipe"], 9), Err(LookupError::Unfit { .. })));
    }
}
