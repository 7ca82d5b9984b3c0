// SPDX-License-Identifier: Apache-2.0
//! Directories of the host as file systems that nobody can write through, whatever rights somebody has.
//!
//! A read-only mount is one as long as nobody with SYS_ADMIN says otherwise, and a session's mounts are in a mount
//! namespace where its program, and the target's, may have that right. An overlay without an upper layer is
//! read-only as a file system: it has no place to write to, and the kernel refuses to make it writable. It takes
//! two layers at least, so the other one is an empty directory.

use rustix::fs::{Mode, OFlags, open, openat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
};
use std::fs::DirBuilder;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// The empty directory beside the sockets of sessions.
const EMPTY: &str = ".empty";

/// What it takes to seal directories.
#[derive(Debug)]
pub(crate) struct Sealer {
    empty: OwnedFd,
}

/// A directory, whatever it is mounted on; a link is none.
pub(crate) fn directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(open(path, flags, Mode::empty())?)
}

impl Sealer {
    /// With an empty directory in `directory`, which is made when it is not there.
    pub(crate) fn at(directory: &Path) -> io::Result<Sealer> {
        let path = directory.join(EMPTY);
        DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        Ok(Sealer { empty: self::directory(&path)? })
    }

    /// `dir` as a mount that is in no namespace yet. What is mounted below it is not in there.
    pub(crate) fn seal(&self, dir: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        // Descriptors and not paths, which may hold colons and come to mean others.
        let layers = format!("/proc/self/fd/{}:/proc/self/fd/{}", dir.as_raw_fd(), self.empty.as_raw_fd());
        fsconfig_set_string(&context, "lowerdir", layers)?;
        // Files keep their numbers.
        fsconfig_set_string(&context, "xino", "off")?;
        fsconfig_create(&context)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV;
        Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
    }

    /// A file in a sealed mount of its directory, to be executed.
    pub(crate) fn seal_file(&self, dir: BorrowedFd<'_>, name: &std::ffi::OsStr) -> io::Result<OwnedFd> {
        let mount = self.seal(dir)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(mount.as_fd(), name, flags, Mode::empty())?)
    }
}

#[cfg(test)]
mod tests {
    use super::{Sealer, directory};
    use rustix::fs::{Mode, OFlags, openat};
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn what_is_sealed_is_what_was_there() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let kit = dir.path().join("a:b,c");
        fs::create_dir_all(kit.join("bin")).unwrap();
        fs::write(kit.join("bin/x"), "x").unwrap();
        let sealer = Sealer::at(&dir.path().join("run")).unwrap();
        let mount = sealer.seal(std::os::fd::AsFd::as_fd(&directory(&kit).unwrap())).unwrap();
        let read = |flags| openat(&mount, "bin/x", flags, Mode::empty());
        let file = fs::File::from(read(OFlags::RDONLY).unwrap());
        assert_eq!(file.metadata().unwrap().ino(), fs::metadata(kit.join("bin/x")).unwrap().ino());
        assert_eq!(read(OFlags::WRONLY).unwrap_err(), rustix::io::Errno::ROFS);
        let names = rustix::fs::Dir::read_from(openat(&mount, ".", OFlags::RDONLY, Mode::empty()).unwrap());
        assert_eq!(names.unwrap().count(), 3);
    }
}
