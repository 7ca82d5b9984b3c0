// SPDX-License-Identifier: Apache-2.0
//! Files and directories that somebody wants in the session, at places of their choice.
//!
//! A place that is there gets the mount on it, in the session's own copy of the mounts. One that is not would have
//! to be made in the target. Instead the nearest directory on the way that is there gets one in memory laid over
//! it, with each of its entries re-attached, and the rest of the way is made in that. Only where `/` itself would
//! be the one, the session needs a new root.

use crate::devices::Entry;
use crate::root::{ENTRIES_LIMIT, StepError, memory, names, place as place_new, put, step};
use crate::spec::{Bind, Held, Source};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, chownat, fstat, mkdirat, openat, openat2,
};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use sys::mounts::{NO_DEVICES, NO_SUID, READ_ONLY, set_mount_attributes};

/// Where every target has room for them; one name below it.
pub(crate) const GIVEN: &str = "/dev/.purser/.given";
/// The names that are made on the way to a place.
const SIZE: &str = "1m";
/// Tries to open what is renamed meanwhile.
const TRIES: usize = 64;

/// A mount that waits for its place.
#[derive(Debug)]
pub(crate) struct Taken {
    at: PathBuf,
    mount: OwnedFd,
    is_directory: bool,
}

impl Taken {
    /// The name below [`GIVEN`], if it is to be there.
    pub(crate) fn given(&self) -> Option<CString> {
        let mut rest = self.at.strip_prefix(GIVEN).ok()?.components();
        match (rest.next(), rest.next()) {
            (Some(Component::Normal(name)), None) => CString::new(name.as_bytes()).ok(),
            _ => None,
        }
    }

    /// Mounts it at a name that is not there yet.
    pub(crate) fn put_new(&self, dir: BorrowedFd<'_>, name: &CString) -> io::Result<()> {
        place_new(self.mount.as_fd(), dir, name, self.is_directory)
    }

    /// The first name of its place, and whether that is a directory.
    pub(crate) fn first_name(&self) -> Option<(CString, bool)> {
        let mut parts = parts(&self.at);
        let first = CString::new(parts.next()?.as_bytes()).ok()?;
        Some((first, self.is_directory || parts.next().is_some()))
    }
}

/// Takes those of the host. The paths have no links: what was asked for and what is mounted are the same.
pub(crate) fn of_host(binds: &[Bind], privileged: bool) -> Result<Vec<Taken>, StepError> {
    let mut taken = Vec::new();
    for bind in binds {
        let Source::Host(path) = &bind.source else { continue };
        let doing = || format!("taking {} of the host", path.display());
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let file = open(CWD, path, flags, ResolveFlags::NO_SYMLINKS).map_err(step(doing()))?;
        let one = take(file.as_fd(), bind).map_err(step(doing()))?;
        let mut attributes = if privileged { 0 } else { NO_SUID | NO_DEVICES };
        if bind.read_only {
            attributes |= READ_ONLY;
        }
        set_mount_attributes(one.mount.as_fd(), attributes, true).map_err(step(doing()))?;
        taken.push(one);
    }
    Ok(taken)
}

/// Takes what the client has open. Its link in /proc leads to the very file, also to one without a name.
pub(crate) fn of_client(held: &[Held]) -> Result<Vec<Taken>, StepError> {
    let mut taken = Vec::new();
    for held in held {
        let doing = || format!("taking {} of the client", held.name);
        let path = PathBuf::from(format!("/proc/{}/fd/{}", held.pid, held.descriptor));
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let file = open(CWD, &path, flags, ResolveFlags::empty()).map_err(step(doing()))?;
        let mount = clone(file.as_fd()).map_err(step(doing()))?;
        let attributes = READ_ONLY | NO_SUID | NO_DEVICES;
        set_mount_attributes(mount.as_fd(), attributes, true).map_err(step(doing()))?;
        taken.push(Taken { at: Path::new(GIVEN).join(&held.name), mount, is_directory: false });
    }
    Ok(taken)
}

/// Takes those of the target, before anything is changed for the session.
pub(crate) fn of_target(root: BorrowedFd<'_>, binds: &[Bind]) -> Result<Vec<Taken>, StepError> {
    let mut taken = Vec::new();
    for bind in binds {
        let Source::Target(path) = &bind.source else { continue };
        let doing = || format!("taking {} of the target", path.display());
        let file = inside(root, path).map_err(step(doing()))?;
        let one = take(file.as_fd(), bind).map_err(step(doing()))?;
        if bind.read_only {
            set_mount_attributes(one.mount.as_fd(), READ_ONLY, true).map_err(step(doing()))?;
        }
        taken.push(one);
    }
    Ok(taken)
}

fn take(file: BorrowedFd<'_>, bind: &Bind) -> io::Result<Taken> {
    let mount = clone(file)?;
    let is_directory = is_directory(&fstat(&mount)?);
    Ok(Taken { at: bind.at.clone(), mount, is_directory })
}

/// A copy of the mount, from this file on.
fn clone(file: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(open_tree(file, c"", flags)?)
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Mounts each at its place, the upper ones first; gives back those whose place is missing in `/` itself.
pub(crate) fn place(root: BorrowedFd<'_>, mut taken: Vec<Taken>) -> Result<Vec<Taken>, StepError> {
    taken.sort_by_key(|one| parts(&one.at).count());
    let mut without = Vec::new();
    for one in taken {
        let doing = || format!("mounting a volume at {}", one.at.display());
        if !place_one(root, &one).map_err(step(doing()))? {
            without.push(one);
        }
    }
    Ok(without)
}

/// False when only a new root has room for it.
fn place_one(root: BorrowedFd<'_>, one: &Taken) -> io::Result<bool> {
    let mut there = one.at.as_path();
    let found = loop {
        match inside(root, there) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => break found?,
        }
        there = there.parent().ok_or(io::ErrorKind::NotFound)?;
    };
    let stat = fstat(&found)?;
    let own = fstat(root)?;
    let is_root = (stat.st_dev, stat.st_ino) == (own.st_dev, own.st_ino);
    if parts(there).next().is_none() {
        return Ok(false);
    }
    if is_root {
        return Err(io::Error::other("a link there leads to /; write the path without it"));
    }
    if there == one.at {
        if is_directory(&stat) != one.is_directory {
            let kind = |is| if is { "a directory" } else { "a file" };
            let (theirs, ours) = (kind(is_directory(&stat)), kind(one.is_directory));
            return Err(io::Error::other(format!("{theirs} is there, and the source is {ours}")));
        }
        put(one.mount.as_fd(), found.as_fd(), c"")?;
        return Ok(true);
    }
    if !is_directory(&stat) {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    let rest = one.at.strip_prefix(there).map_err(io::Error::other)?;
    let fresh = lay_over(root, there, &stat)?;
    make_way(fresh.as_fd(), rest, one)?;
    // What the session would write here were not in the target.
    set_mount_attributes(fresh.as_fd(), READ_ONLY, false)?;
    Ok(true)
}

/// A directory in memory over one of the target's, with all that is in it.
fn lay_over(root: BorrowedFd<'_>, at: &Path, stat: &Stat) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let old = open(root, at, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)?;
    let found = names(old.as_fd())?;
    if found.len() >= ENTRIES_LIMIT {
        let text = format!("{} has {ENTRIES_LIMIT} entries or more, and none is made in it", at.display());
        return Err(io::Error::other(text));
    }
    let mut entries = Vec::new();
    for (name, kind) in found {
        entries.extend(Entry::of(old.as_fd(), &name, kind)?.map(|entry| (name, entry)));
    }
    let fresh = memory(SIZE, &format!("{:o}", stat.st_mode & 0o7777), false)?;
    let (user, group) = (rustix::fs::Uid::from_raw(stat.st_uid), rustix::fs::Gid::from_raw(stat.st_gid));
    // An owner who is nobody in the target's user namespace cannot be set; then it is the session's.
    chownat(&fresh, c"", Some(user), Some(group), AtFlags::EMPTY_PATH).unwrap_or_default();
    for (name, entry) in &entries {
        entry.put(fresh.as_fd(), name)?;
    }
    put(fresh.as_fd(), old.as_fd(), c"")?;
    Ok(fresh)
}

/// Makes the directories that are missing, and mounts at their end.
fn make_way(fresh: BorrowedFd<'_>, rest: &Path, one: &Taken) -> io::Result<()> {
    let taken = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => io::Error::other("a link that leads nowhere is in its way"),
        _ => error,
    };
    let mut names = Vec::new();
    for part in parts(rest) {
        names.push(CString::new(part.as_bytes())?);
    }
    let last = names.pop().ok_or(io::ErrorKind::InvalidInput)?;
    let mut dir = fresh.try_clone_to_owned()?;
    for name in names {
        mkdirat(&dir, &name, Mode::from_raw_mode(0o755)).map_err(|error| taken(error.into()))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        dir = openat(&dir, &name, flags, Mode::empty())?;
    }
    one.put_new(dir.as_fd(), &last).map_err(taken)
}

fn parts(path: &Path) -> impl Iterator<Item = &std::ffi::OsStr> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    })
}

/// Opens a path as the target's own processes would, links and all, and never by what `/proc` has of others.
fn inside(root: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    open(root, path, OFlags::PATH | OFlags::CLOEXEC, resolve)
}

fn open(dir: BorrowedFd<'_>, path: &Path, flags: OFlags, resolve: ResolveFlags) -> io::Result<OwnedFd> {
    let mut tries = 0;
    loop {
        match openat2(dir, path, flags, Mode::empty(), resolve) {
            // Something was renamed meanwhile and the kernel could not be sure.
            Err(Errno::AGAIN) if tries < TRIES => tries += 1,
            result => return Ok(result?),
        }
    }
}
