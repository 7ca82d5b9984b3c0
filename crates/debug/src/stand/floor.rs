// SPDX-License-Identifier: Apache-2.0
//! The root of a stand-in: an overlay of the layers with an upper one in memory, and on it what a container has
//! besides: volumes, /dev, /sys and /proc.
//!
//! Layers are given to the kernel as descriptors, by their numbers in `/proc/self/fd`: so nobody can put another
//! directory into their place, and hundreds of them fit into the one page that mount(2) takes.

use crate::root::{StepError, memory, place, put, step};
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, ResolveFlags, chownat, fchmod, fstat, mkdirat, openat, openat2, unlinkat,
};
use rustix::io::Errno;
use rustix::mount::{MountFlags, OpenTreeFlags, mount, open_tree};
use rustix::process::chdir;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use sys::mounts::{NO_DEVICES, NO_SUID, READ_ONLY, set_mount_attributes};

const DIRECTORY: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The most volumes that are told to be missing, and the most characters of each: all fit a message.
const TOLD: usize = 16;
const TOLD_CHARS: usize = 256;

/// A file system in memory, in a directory of the host that only we see it on.
pub(super) struct Room(OwnedFd);

impl Room {
    /// `at` must be a directory of root's.
    pub(super) fn make(at: &Path, bytes: u64) -> Result<Room, StepError> {
        let doing = || step::<io::Error>("making a file system in memory");
        std::fs::create_dir_all(at).map_err(doing())?;
        let fresh = memory(&bytes.to_string(), "700", true).map_err(doing())?;
        let at = openat(CWD, at, DIRECTORY, Mode::empty()).map_err(|error| doing()(error.into()))?;
        put(fresh.as_fd(), at.as_fd(), c"").map_err(doing())?;
        Ok(Room(fresh))
    }

    /// A new directory in it.
    pub(super) fn directory(&self, name: &CStr) -> Result<OwnedFd, StepError> {
        let made = mkdirat(&self.0, name, Mode::from_raw_mode(0o755))
            .and_then(|()| openat(&self.0, name, DIRECTORY, Mode::empty()));
        made.map_err(step("making a directory in memory"))
    }
}

/// Lays the layers over each other, and gives the root.
pub(super) fn overlay(room: &Room, layers: &[OwnedFd], user_marks: bool) -> Result<OwnedFd, StepError> {
    let (upper, work, root) = (room.directory(c"upper")?, room.directory(c"work")?, room.directory(c"root")?);
    let none = if layers.is_empty() { Some(room.directory(c"none")?) } else { None };
    // The root of an overlay is like that of its highest layer.
    if let Some(top) = layers.first() {
        like(upper.as_fd(), top.as_fd()).map_err(step("looking at the highest layer"))?;
    }
    chdir("/proc/self/fd").map_err(step("going to /proc/self/fd"))?;
    let numbers = layers.iter().chain(&none).map(|fd| fd.as_raw_fd().to_string()).collect::<Vec<_>>();
    let (upper, work) = (upper.as_raw_fd(), work.as_raw_fd());
    let usual = format!("lowerdir={},upperdir={upper},workdir={work}", numbers.join(":"));
    // What a container has changed the attributes of, or has renamed, may lie in its layer as a mark only.
    let marks = if user_marks { "userxattr" } else { "redirect_dir=on,metacopy=on" };
    let at = root.as_raw_fd().to_string();
    let with = |more: &str| -> io::Result<()> {
        let data = CString::new(format!("{usual}{more}"))?;
        Ok(mount("overlay", at.as_str(), "overlay", MountFlags::empty(), data.as_c_str())?)
    };
    with(&format!(",index=off,xino=off,{marks}"))
        .or_else(|error| match error.raw_os_error() {
            // A kernel without these options.
            Some(22) => with(""),
            _ => Err(error),
        })
        .map_err(|source| StepError { doing: no_overlay(&source, layers.len()), source })?;
    chdir("/").map_err(step("going to /"))?;
    // The descriptor is of what is below the mount.
    openat(&room.0, c"root", DIRECTORY, Mode::empty()).map_err(step("opening the overlay"))
}

fn no_overlay(error: &io::Error, count: usize) -> String {
    let why = match error.raw_os_error() {
        Some(19) => " (this kernel has no overlayfs: modprobe overlay)",
        Some(22) => " (are they on an overlay of overlays? then copy them out and open archive:DIR)",
        _ => "",
    };
    format!("laying {count} layers over each other{why}")
}

fn like(upper: BorrowedFd<'_>, top: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let stat = fstat(top)?;
    let (user, group) = (rustix::fs::Uid::from_raw(stat.st_uid), rustix::fs::Gid::from_raw(stat.st_gid));
    chownat(upper, c"", Some(user), Some(group), AtFlags::EMPTY_PATH)?;
    // A descriptor that is only a path cannot be changed by itself.
    let open = openat(upper, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    fchmod(open, Mode::from_raw_mode(stat.st_mode & 0o7777))
}

/// A directory of the root that is one itself. What else is there by this name is removed, which the layers below
/// do not notice.
pub(super) fn own_directory(root: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, StepError> {
    let doing = || step::<Errno>(format!("making /{}", name.to_string_lossy()));
    match openat(root, name, DIRECTORY, Mode::empty()) {
        Ok(found) => return Ok(found),
        Err(Errno::NOENT) => {}
        Err(_) => unlinkat(root, name, AtFlags::empty()).map_err(doing())?,
    }
    mkdirat(root, name, Mode::from_raw_mode(0o755)).map_err(doing())?;
    openat(root, name, DIRECTORY, Mode::empty()).map_err(doing())
}

/// Mounts what a container had of the host, read-only. What is not there any more is left out, and told as far as a
/// message has room.
pub(super) fn volumes(root: BorrowedFd<'_>, volumes: &[(PathBuf, PathBuf)]) -> Vec<String> {
    let mut left_out = Vec::new();
    for (source, destination) in volumes {
        if volume(root, source, destination).is_err() && left_out.len() < TOLD {
            left_out.push(destination.to_string_lossy().chars().take(TOLD_CHARS).collect());
        }
    }
    left_out
}

fn volume(root: BorrowedFd<'_>, source: &Path, destination: &Path) -> io::Result<()> {
    let kind = std::fs::metadata(source)?.file_type();
    // A socket would lead to whoever listens there.
    if !kind.is_dir() && !kind.is_file() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let taken = open_tree(CWD, source, flags)?;
    set_mount_attributes(taken.as_fd(), READ_ONLY | NO_SUID | NO_DEVICES, true)?;
    let parent = destination.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let name = destination.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let name = CString::new(name.as_bytes())?;
    let parent = made(root, parent)?;
    match in_root(root, destination, OFlags::PATH) {
        Ok(at) => put(taken.as_fd(), at.as_fd(), c""),
        Err(Errno::NOENT) => place(taken.as_fd(), parent.as_fd(), &name, kind.is_dir()),
        Err(error) => Err(error.into()),
    }
}

/// The directory at a path of the tree, made where it is not there.
fn made(root: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let mut at = in_root(root, Path::new("/"), OFlags::PATH | OFlags::DIRECTORY)?;
    let mut way = PathBuf::from("/");
    for part in path.components().skip(1) {
        way.push(part);
        at = match in_root(root, &way, OFlags::PATH | OFlags::DIRECTORY) {
            Err(Errno::NOENT) => {
                mkdirat(&at, part.as_os_str(), Mode::from_raw_mode(0o755))?;
                in_root(root, &way, OFlags::PATH | OFlags::DIRECTORY)?
            }
            found => found?,
        };
    }
    Ok(at)
}

/// Opens in the tree as its processes do: links lead within it.
pub(super) fn in_root(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}
