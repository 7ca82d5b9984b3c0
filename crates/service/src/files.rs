// SPDX-License-Identifier: Apache-2.0
//! Files that are there whole or not at all, and what it takes to put them back.

use crate::error::ServiceError;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Largest unit or script that is looked at; a real one has a few KiB.
const SIZE_LIMIT: u64 = 1 << 20;
/// Copies that are kept of one file.
const BACKUPS_LIMIT: u32 = 100;

/// How to take one change back.
#[derive(Debug)]
pub(crate) enum Undo {
    /// The file or link was not there.
    Remove(PathBuf),
    /// The file had these bytes and this mode.
    Restore(PathBuf, Vec<u8>, u32),
    /// The link pointed there.
    Relink(PathBuf, PathBuf),
}

impl Undo {
    pub(crate) fn run(self) -> Result<(), (PathBuf, io::Error)> {
        match self {
            Undo::Remove(path) => fs::remove_file(&path).map_err(|error| (path, error)),
            Undo::Restore(path, bytes, mode) => replace(&path, &bytes, mode).map_err(|error| (path, error)),
            Undo::Relink(path, target) => relink(&path, &target).map_err(|error| (path, error)),
        }
    }
}

fn told(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ServiceError {
    let path = path.to_path_buf();
    move |source| ServiceError::Files { doing, path, source }
}

/// The bytes of a file; `None` when there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, ServiceError> {
    let size = match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        result => result.map_err(told("looking at", path))?.len(),
    };
    if size > SIZE_LIMIT {
        return Err(told("reading", path)(io::Error::other("it is larger than any unit or script")));
    }
    fs::read(path).map(Some).map_err(told("reading", path))
}

/// Writes a file in one step. Directories above it are made.
pub(crate) fn write(path: &Path, text: &str, mode: u32) -> Result<Undo, ServiceError> {
    let before = read(path)?;
    if let Some(above) = path.parent() {
        fs::create_dir_all(above).map_err(told("making the directory", above))?;
    }
    let undo = match before {
        Some(bytes) => {
            let mode = fs::metadata(path).map_err(told("looking at", path))?.permissions().mode();
            Undo::Restore(path.to_path_buf(), bytes, mode)
        }
        None => Undo::Remove(path.to_path_buf()),
    };
    replace(path, text.as_bytes(), mode).map_err(told("writing", path))?;
    Ok(undo)
}

/// Beside the file, synced, renamed over it, and the directory synced.
fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let (above, fresh) = beside(path)?;
    let written = write_new(&fresh, bytes, mode).and_then(|()| fs::rename(&fresh, path));
    if let Err(error) = written {
        // What was written half is of no use; the first error is the one that is told.
        fs::remove_file(&fresh).unwrap_or_default();
        return Err(error);
    }
    File::open(above)?.sync_all()
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // Whatever the umask left out.
    file.set_permissions(Permissions::from_mode(mode & 0o7777))?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The directory of `path`, and a name in it that init systems do not read.
fn beside(path: &Path) -> io::Result<(&Path, PathBuf)> {
    let (Some(above), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err(io::Error::from(ErrorKind::InvalidInput));
    };
    Ok((above, above.join(format!(".{name}.{}", std::process::id()))))
}

/// Makes a link in one step.
pub(crate) fn link(path: &Path, target: &Path) -> Result<Undo, ServiceError> {
    if let Some(above) = path.parent() {
        fs::create_dir_all(above).map_err(told("making the directory", above))?;
    }
    let undo = match fs::read_link(path) {
        Ok(before) => Undo::Relink(path.to_path_buf(), before),
        Err(error) if error.kind() == ErrorKind::NotFound => Undo::Remove(path.to_path_buf()),
        Err(error) => return Err(told("looking at the link", path)(error)),
    };
    relink(path, target).map_err(told("linking", path))?;
    Ok(undo)
}

fn relink(path: &Path, target: &Path) -> io::Result<()> {
    let (_, fresh) = beside(path)?;
    symlink(target, &fresh)?;
    fs::rename(&fresh, path).inspect_err(|_| fs::remove_file(&fresh).unwrap_or_default())
}

/// Removes a file or link.
pub(crate) fn remove(path: &Path) -> Result<Undo, ServiceError> {
    let undo = match fs::read_link(path) {
        Ok(target) => Undo::Relink(path.to_path_buf(), target),
        Err(_) => {
            let mode = fs::metadata(path).map_err(told("looking at", path))?.permissions().mode();
            Undo::Restore(path.to_path_buf(), read(path)?.unwrap_or_default(), mode)
        }
    };
    fs::remove_file(path).map_err(told("removing", path))?;
    Ok(undo)
}

fn backup(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".bak");
    if number > 0 {
        name.push(number.to_string());
    }
    PathBuf::from(name)
}

/// The copies of `path` that are there.
pub(crate) fn backups(path: &Path) -> impl Iterator<Item = PathBuf> {
    (0..BACKUPS_LIMIT).map(move |number| backup(path, number)).filter(|path| path.exists())
}

/// A free name for a copy of `path`: `.bak`, `.bak1`, …
pub(crate) fn backup_name(path: &Path) -> Result<PathBuf, ServiceError> {
    let free = (0..BACKUPS_LIMIT)
        .map(|number| backup(path, number))
        .find(|path| !path.exists() && !path.is_symlink());
    free.ok_or_else(|| {
        let many = io::Error::other("there are a hundred copies already: remove some");
        told("keeping a copy of", path)(many)
    })
}

#[cfg(test)]
mod tests {
    use super::{backup_name, link, remove, write};
    use std::fs;
    use std::path::Path;

    #[test]
    fn every_change_can_be_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let (file, entry) = (dir.path().join("a/b.service"), dir.path().join("w/b.service"));
        let first = write(&file, "one", 0o644).unwrap();
        let second = write(&file, "two", 0o755).unwrap();
        let linked = link(&entry, Path::new("../a/b.service")).unwrap();
        assert_eq!(fs::read_to_string(&entry).unwrap(), "two");
        let relinked = link(&entry, Path::new("/x")).unwrap();
        relinked.run().unwrap();
        assert_eq!(fs::read_link(&entry).unwrap(), Path::new("../a/b.service"));
        let removed = remove(&entry).unwrap();
        removed.run().unwrap();
        assert!(entry.is_symlink());
        linked.run().unwrap();
        second.run().unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "one");
        first.run().unwrap();
        assert_eq!(fs::read_dir(dir.path().join("a")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(dir.path().join("w")).unwrap().count(), 0);
    }

    #[test]
    fn a_failed_write_leaves_nothing_beside() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("b.service");
        fs::create_dir(&file).unwrap();
        fs::write(file.join("x"), "").unwrap();
        let error = write(&file, "x", 0o644).unwrap_err().to_string();
        assert!(error.contains("b.service"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn copies_do_not_replace_copies() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("u");
        fs::write(dir.path().join("u.bak"), "").unwrap();
        assert_eq!(backup_name(&file).unwrap(), dir.path().join("u.bak1"));
    }
}
