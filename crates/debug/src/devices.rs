// SPDX-License-Identifier: Apache-2.0
//! What is in the session's `/dev`: the target's entries, and what every program expects there.
//!
//! Device rules of a container hang on its cgroup, which the session is not in. So only nodes that do no
//! harm can be opened; a node for the host's disk, which an image or a root with MKNOD can have, cannot.

use crate::root::{self, names, place};
use rustix::fs::{AtFlags, FileType, major, minor, statat, symlinkat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
};
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::mounts::{NO_DEVICES, set_mount_attributes};

/// Nodes of the host that stand in for those the target lacks.
const EXPECTED: [(&str, &CStr); 6] = [
    ("null", c"/dev/null"),
    ("zero", c"/dev/zero"),
    ("full", c"/dev/full"),
    ("random", c"/dev/random"),
    ("urandom", c"/dev/urandom"),
    ("tty", c"/dev/tty"),
];
/// Links that programs expect.
const LINKS: [(&CStr, &CStr); 5] = [
    (c"fd", c"/proc/self/fd"),
    (c"stdin", c"/proc/self/fd/0"),
    (c"stdout", c"/proc/self/fd/1"),
    (c"stderr", c"/proc/self/fd/2"),
    (c"ptmx", c"pts/ptmx"),
];
/// Character devices that do no harm, by major and minor number: memory of nobody, terminals of whoever
/// asks, FUSE and tunnels of the own network.
const HARMLESS: [(u32, &[u32]); 3] = [(1, &[3, 5, 7, 8, 9]), (5, &[0, 1, 2]), (10, &[200, 229])];

/// Something that is taken along.
#[derive(Debug)]
pub(crate) enum Entry {
    /// A symbolic link, made again.
    Link(CString),
    /// Everything else, with what is mounted on it and below.
    Mount {
        /// Detached.
        mount: OwnedFd,
        /// Whether its place must be a directory.
        is_directory: bool,
    },
}

/// The entries of a `/dev`.
#[derive(Debug, Default)]
pub(crate) struct Devices(Vec<(CString, Entry)>);

/// Nodes of the host, where it has them.
pub(crate) fn of_host() -> Vec<(&'static str, OwnedFd)> {
    let taken = |(name, path): (&'static str, &CStr)| Some((name, root::taken(rustix::fs::CWD, path).ok()?));
    EXPECTED.into_iter().filter_map(taken).collect()
}

impl Devices {
    /// Takes what is in `dev`.
    pub(crate) fn of(dev: BorrowedFd<'_>, privileged: bool) -> io::Result<Devices> {
        let mut entries = Vec::new();
        for (name, kind) in names(dev)? {
            let Some(entry) = Entry::of(dev, &name, kind)? else { continue };
            if let Entry::Mount { mount, .. } = &entry
                && !privileged
                && !is_harmless(dev, &name, kind)
            {
                set_mount_attributes(mount.as_fd(), NO_DEVICES, true)?;
            }
            entries.push((name, entry));
        }
        Ok(Devices(entries))
    }

    /// Puts them into a new `/dev`, and what is missing.
    pub(crate) fn put_into(&self, dev: BorrowedFd<'_>, host: &[(&'static str, OwnedFd)]) -> io::Result<()> {
        // Ours, whatever the target has there.
        for (name, entry) in self.0.iter().filter(|(name, _)| name.as_bytes() != b".purser") {
            entry.put(dev, name)?;
        }
        for (name, mount) in host.iter().filter(|(name, _)| !self.has(name.as_bytes())) {
            place(mount.as_fd(), dev, &CString::new(*name)?, false)?;
        }
        if !self.has(b"pts") {
            place(terminals()?.as_fd(), dev, c"pts", true)?;
        }
        for (name, to) in LINKS.into_iter().filter(|(name, _)| !self.has(name.to_bytes())) {
            symlinkat(to, dev, name)?;
        }
        Ok(())
    }

    fn has(&self, name: &[u8]) -> bool {
        self.0.iter().any(|(known, _)| known.as_bytes() == name)
    }
}

/// Terminals of the session's own.
fn terminals() -> io::Result<OwnedFd> {
    let context = fsopen("devpts", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "ptmxmode", "666")?;
    fsconfig_set_string(&context, "mode", "620")?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

fn is_harmless(dev: BorrowedFd<'_>, name: &CStr, kind: FileType) -> bool {
    match kind {
        FileType::CharacterDevice => statat(dev, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| {
            let (major, minor) = (major(stat.st_rdev), minor(stat.st_rdev));
            // Terminals of a devpts, which a runtime mounts as the console.
            (136..=143).contains(&major)
                || HARMLESS.iter().any(|(known, minors)| *known == major && minors.contains(&minor))
        }),
        FileType::Directory => name == c"pts",
        _ => false,
    }
}
