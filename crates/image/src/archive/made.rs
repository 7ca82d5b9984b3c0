// SPDX-License-Identifier: Apache-2.0
//! Single steps of unpacking, each below a directory that is held: no step follows a symbolic link or leads out.

use super::extended::{Extended, Owner};
use crate::files::beneath;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, XattrFlags, fchmod, fchown, fsetxattr, linkat, mkdirat, mknodat, openat,
    statat, unlinkat,
};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The longest path and text of a link.
pub(super) const PATH_LIMIT: usize = 4096;
pub(super) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
pub(super) const GONE: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
pub(super) const OPAQUE_MARK: &str = "trusted.overlay.opaque";

/// Gives a file or a directory its owner, its mode and its attributes, in this order: each takes away some of what comes
/// behind it.
pub(super) fn dress(file: &OwnedFd, owner: &Owner, extended: &Extended) -> io::Result<()> {
    fchown(file, Some(owner.user), Some(owner.group))?;
    fchmod(file, owner.mode)?;
    for (name, value) in &extended.attributes {
        match fsetxattr(file, name.as_os_str(), value, XattrFlags::empty()) {
            // Files in memory have those of users as of Linux 6.6.
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(error) => {
                let name = name.to_string_lossy();
                let why = format!("its attribute {}: {error}", name.escape_debug());
                return Err(io::Error::other(why));
            }
        }
    }
    Ok(())
}

/// Another name for what came before in the same archive.
pub(super) fn linked(
    into: &OwnedFd,
    link: &[u8],
    (above, parent): (&Path, &OwnedFd),
    name: &OsStr,
) -> io::Result<()> {
    let Some((there, target)) = parted(link)? else { return Err(odd("it leads nowhere")) };
    if (there.as_path(), target.as_os_str()) == (above, name) {
        return Ok(());
    }
    let held = beneath(into.as_fd(), &there, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC);
    let missing = || odd("it is another name of what is not in the same layer");
    let held = held.map_err(|error| if error == Errno::NOENT { missing() } else { error.into() })?;
    // Before anything is removed: that may be above what is linked to.
    let kind = match statat(&held, &target, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Err(missing()),
        found => FileType::from_raw_mode(found?.st_mode),
    };
    if kind == FileType::Directory {
        return Err(odd("it is another name of a directory"));
    }
    remove(parent, name)?;
    match linkat(&held, &target, parent, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Err(missing()),
        done => Ok(done?),
    }
}

/// The directory above and the name; nothing for the root itself.
pub(super) fn parted(path: &[u8]) -> io::Result<Option<(PathBuf, OsString)>> {
    if path.len() > PATH_LIMIT || path.contains(&0) {
        return Err(odd("its path is none"));
    }
    let mut parts: Vec<&[u8]> =
        path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    if parts.iter().any(|part| *part == b"..") {
        return Err(odd("it leads out"));
    }
    let Some(name) = parts.pop() else { return Ok(None) };
    let above: PathBuf = parts.iter().map(|part| OsStr::from_bytes(part)).collect();
    let above = if above.as_os_str().is_empty() { PathBuf::from(".") } else { above };
    Ok(Some((above, OsString::from_vec(name.to_vec()))))
}

/// One directory, made where it is not there. A mark that said so far only that the layers below have something there
/// becomes one on the directory.
pub(super) fn made_directory(parent: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    match mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) => return Ok(openat(parent, name, DIRECTORY, Mode::empty())?),
        Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    match openat(parent, name, DIRECTORY, Mode::empty()) {
        Err(Errno::LOOP | Errno::NOTDIR) if is_mark(parent, name) => {
            unlinkat(parent, name, AtFlags::empty())?;
            mkdirat(parent, name, Mode::from_raw_mode(0o755))?;
            let made = openat(parent, name, DIRECTORY, Mode::empty())?;
            fsetxattr(&made, OPAQUE_MARK, b"y", XattrFlags::empty())?;
            Ok(made)
        }
        Err(Errno::LOOP) => Err(Errno::NOTDIR.into()),
        opened => Ok(opened?),
    }
}

/// Whether it is the mark for something that is gone.
fn is_mark(parent: &OwnedFd, name: &OsStr) -> bool {
    statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
    })
}

/// What comes later in an archive replaces what came before, also a directory with all that is in it.
pub(super) fn remove(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        // It follows no link, and the directory it begins at is held.
        Err(Errno::ISDIR) => std::fs::remove_dir_all(
            Path::new("/proc/self/fd").join(parent.as_raw_fd().to_string()).join(name),
        ),
        Err(error) => Err(error.into()),
    }
}

/// A mark for something that layers below have. What the layer itself has by this name is not meant.
pub(super) fn gone(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let bytes = name.as_bytes();
    if bytes == OPAQUE {
        return Ok(fsetxattr(parent, OPAQUE_MARK, b"y", XattrFlags::empty())?);
    }
    let name = OsStr::from_bytes(bytes.get(GONE.len()..).unwrap_or_default());
    if name.as_bytes().starts_with(GONE) || ["", ".", ".."].iter().any(|odd| name == *odd) {
        return Ok(());
    }
    match mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), 0) {
        Err(Errno::EXIST) => match openat(parent, name, DIRECTORY, Mode::empty()) {
            Ok(own) => Ok(fsetxattr(&own, OPAQUE_MARK, b"y", XattrFlags::empty())?),
            // A file hides what is below it anyway.
            Err(_) => Ok(()),
        },
        done => Ok(done?),
    }
}

pub(super) fn odd(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
