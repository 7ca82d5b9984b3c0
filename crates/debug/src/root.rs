// SPDX-License-Identifier: Apache-2.0
//! The session's root, in a private copy of the target's mounts.
//!
//! The usual way lays a fresh `/dev` over the old one, takes the old entries along, and mounts the kits below
//! `/dev/.purser`; the target's own `/` stays what it is, to the inode. Where there is no `/dev` to lay it over,
//! or the kernel refuses, the root is a new one that holds each of the target's top-level entries.
//!
//! Nothing is created in the target's file systems: all that is new is in file systems of the session, counted
//! for the session's cgroup. Device nodes work only where [`crate::devices`] brings harmless ones, for the
//! session is not under the target's device rules.

use crate::binds::{self, Taken};
use crate::devices::{Devices, Entry};
use crate::rights::Capabilities;
use crate::sealed::{self, Sealer};
use crate::spec::{Bind, Spec, Way};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, mkdirat, openat, readlinkat, statat, symlinkat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount_change, move_mount, open_tree,
    unmount,
};
use rustix::process::{chroot, fchdir, pivot_root};
use rustix::thread::{CapabilitySet, ThreadNameSpaceType};
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::mounts::{NO_DEVICES, NO_SUID, READ_ONLY, set_mount_attributes, unshare_mounts};

/// The most entries of a directory that are taken along.
pub(crate) const ENTRIES_LIMIT: usize = 4096;
/// The names in the session's `/dev`.
const DEV_SIZE: &str = "1m";

/// Why a kit is not taken as a plain read-only mount.
const SEAL_NEEDED: &str = " as a file system that cannot be made writable, which a target or session with SYS_ADMIN needs \
                           (is the overlay file system there? modprobe overlay)";

/// A directory for the session's own files, gone with it.
pub const HOME: &str = "/dev/.purser/.home";

/// The kit that has the locales of all kits, and where, as a link beside it.
const LOCALES: (&str, &str) = ("base", "base/usr/lib/locale");
/// What the tools of kits read in place of the target's nsswitch.conf.
const NAME_SERVICES: &str = "\
passwd: files
group: files
shadow: files
hosts: files dns
networks: files
protocols: files
services: files
";

/// Kits, device nodes and volumes of the host, as mounts that are in no namespace yet.
#[derive(Debug)]
pub(crate) struct Parts {
    kits: Vec<(String, OwnedFd)>,
    host_devices: Vec<(&'static str, OwnedFd)>,
    binds: Vec<Taken>,
    home_bytes: u64,
    /// Those of the target that are still to be taken.
    own: Vec<Bind>,
}

/// A step that failed.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {source}")]
pub(crate) struct StepError {
    pub(crate) doing: String,
    pub(crate) source: io::Error,
}

/// Names the step that failed.
pub(crate) fn step<E: Into<io::Error>>(doing: impl Into<String>) -> impl FnOnce(E) -> StepError {
    let doing = doing.into();
    move |source| StepError { doing, source: source.into() }
}

impl Parts {
    /// Takes them on the host.
    pub(crate) fn gather(spec: &Spec) -> Result<Parts, StepError> {
        let sealer = Sealer::at(&spec.directory).map_err(step("making an empty directory"))?;
        let mut taken = Vec::new();
        for kit in &spec.kits {
            let doing = || format!("taking kit {} from {}", kit.name, kit.root.display());
            let dir = sealed::directory(&kit.root).map_err(step(doing()))?;
            let mount = sealer.seal(dir.as_fd()).or_else(|error| match may_remount(spec) {
                true => Err(step(doing() + SEAL_NEEDED)(error)),
                false => read_only(dir.as_fd()).map_err(step(doing())),
            })?;
            taken.push((kit.name.clone(), mount));
        }
        let mut binds = binds::of_host(&spec.binds, spec.privileged)?;
        binds.extend(binds::of_client(&spec.held)?);
        let host_devices = crate::devices::of_host();
        Ok(Parts { kits: taken, host_devices, binds, home_bytes: spec.home_bytes, own: spec.binds.clone() })
    }
}

/// Whether anybody in the session's mount namespace may have the right to make a mount writable.
fn may_remount(spec: &Spec) -> bool {
    let admin = Capabilities::one(CapabilitySet::SYS_ADMIN);
    let all = spec.facts.bounding.and(spec.capabilities).and(spec.granted);
    // Who shares the host's mounts needs no kit to change it.
    let is_apart =
        ThreadNameSpaceType::from_bits_retain(spec.facts.namespaces).contains(ThreadNameSpaceType::MOUNT);
    is_apart && all.has(admin)
}

/// For kernels without overlay, or file systems that it cannot take.
fn read_only(dir: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mount = open_tree(dir, c"", clone_flags() | OpenTreeFlags::AT_EMPTY_PATH)?;
    set_mount_attributes(mount.as_fd(), READ_ONLY | NO_SUID | NO_DEVICES, true)?;
    Ok(mount)
}

fn clone_flags() -> OpenTreeFlags {
    OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW
}

/// A detached copy of what is mounted at `name`, and below it.
pub(crate) fn taken(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    Ok(open_tree(dir, name, clone_flags())?)
}

/// Copies the mounts, makes `root` of the target's process the root again, and builds the session's.
/// What the caller holds of the target's mounts is of the old namespace and good for nothing afterwards.
pub(crate) fn build(
    root: BorrowedFd<'_>,
    mut parts: Parts,
    way: Way,
    privileged: bool,
) -> Result<Way, StepError> {
    fchdir(root).map_err(step("going to the target's root"))?;
    unshare_mounts().map_err(step("making a mount namespace"))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(step("cutting the mounts off from the target's"))?;
    chroot(".").map_err(step("entering the target's root"))?;
    let rootless = place_binds(&mut parts, way)?;
    let devices = match directory(c"/dev") {
        Ok(dev) => Devices::of(dev.as_fd(), privileged).map_err(step("looking at the target's /dev"))?,
        Err(_) => Devices::default(),
    };
    let opening = || step::<rustix::io::Errno>("opening the target's root");
    if !privileged {
        // Nodes that an image or the target's root has made: its device rules do not hold for the session.
        let old = directory(c"/").map_err(opening())?;
        deny_devices(old.as_fd()).map_err(step("shutting off the target's device nodes"))?;
    }
    let old = directory(c"/").map_err(opening())?;
    if way != Way::NewRoot && rootless.is_empty() {
        let laying = step("laying a new /dev over the old one");
        let laid = directory(c"/dev").map_err(laying).and_then(|dev| new_dev(dev.as_fd(), &parts, &devices));
        match laid {
            Err(_) if way == Way::Fitting => {}
            laid => return laid.map(|()| Way::OverDev),
        }
    }
    let entries = top_level(old.as_fd()).map_err(step("looking at the target's root"))?;
    new_root(old.as_fd(), &entries, &parts, &devices, &rootless)?;
    let own = directory(c"/").map_err(step("opening the new root"))?;
    binds::place(own.as_fd(), rootless)?;
    Ok(Way::NewRoot)
}

/// Puts volumes where there is a place for them, which stays theirs in whatever is taken along later. Those below
/// `/dev/.purser` stay with the parts; those for which only a new root has room are given back.
fn place_binds(parts: &mut Parts, way: Way) -> Result<Vec<Taken>, StepError> {
    if parts.own.is_empty() {
        return Ok(Vec::new());
    }
    let root = directory(c"/").map_err(step("opening the target's root"))?;
    let of_target = binds::of_target(root.as_fd(), &parts.own)?;
    let all = std::mem::take(&mut parts.binds).into_iter().chain(of_target);
    let (given, others) = all.partition(|one| one.given().is_some());
    parts.binds = given;
    let rootless = binds::place(root.as_fd(), others)?;
    match rootless.first() {
        Some(_) if way == Way::OverDev => Err(StepError {
            doing: "mounting a volume where the target's root has no directory".into(),
            source: io::Error::other("only a new root has room for it; leave --root dev out"),
        }),
        _ => Ok(rootless),
    }
}

/// A directory that is one itself: a link would lead to where the target wants.
fn directory(path: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(rustix::fs::CWD, path, flags, Mode::empty())
}

/// Attributes belong to whole mounts, and a process's root need not be one.
fn deny_devices(root: BorrowedFd<'_>) -> io::Result<()> {
    match set_mount_attributes(root, NO_DEVICES, true) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            // A root inside a mount: bind it onto itself, which makes it one in our namespace only.
            let own = taken(root, c".")?;
            set_mount_attributes(own.as_fd(), NO_DEVICES, true)?;
            put(own.as_fd(), root, c"")?;
            fchdir(own.as_fd())?;
            Ok(chroot(".")?)
        }
        result => result,
    }
}

/// Mounts a detached mount at `name` in `dir`; an empty name is `dir` itself.
pub(crate) fn put(mount: BorrowedFd<'_>, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let mut flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    if name.is_empty() {
        flags |= MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    }
    Ok(move_mount(mount, c"", dir, name, flags)?)
}

/// An empty file system in memory; programs and device nodes in it work when `is_plain`.
pub(crate) fn memory(size: &str, mode: &str, is_plain: bool) -> io::Result<OwnedFd> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "size", size)?;
    fsconfig_set_string(&context, "mode", mode)?;
    fsconfig_create(&context)?;
    let attributes = match is_plain {
        true => MountAttrFlags::empty(),
        false => {
            MountAttrFlags::MOUNT_ATTR_NOSUID
                | MountAttrFlags::MOUNT_ATTR_NODEV
                | MountAttrFlags::MOUNT_ATTR_NOEXEC
        }
    };
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Lays a new directory over `dev`.
fn new_dev(dev: BorrowedFd<'_>, parts: &Parts, devices: &Devices) -> Result<(), StepError> {
    let fresh = memory(DEV_SIZE, "755", false).map_err(step("making a file system in memory"))?;
    put(fresh.as_fd(), dev, c"").map_err(step("laying a new /dev over the old one"))?;
    let fresh = fresh.as_fd();
    devices.put_into(fresh, &parts.host_devices).map_err(step("taking the target's devices along"))?;
    kits(fresh, parts)?;
    // Nothing of the session can put anything here that tools of kits would take for ours.
    set_mount_attributes(fresh, READ_ONLY, false).map_err(step("making /dev read-only"))
}

fn kits(dev: BorrowedFd<'_>, parts: &Parts) -> Result<(), StepError> {
    let making = || step::<rustix::io::Errno>("making /dev/.purser");
    mkdirat(dev, c".purser", Mode::from_raw_mode(0o755)).map_err(making())?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = openat(dev, c".purser", flags, Mode::empty()).map_err(making())?;
    for (name, mount) in &parts.kits {
        let doing = || format!("mounting kit {name}");
        let name = CString::new(name.as_str()).map_err(step(doing()))?;
        mkdirat(&dir, &name, Mode::from_raw_mode(0o755)).map_err(step(doing()))?;
        put(mount.as_fd(), dir.as_fd(), &name).map_err(step(doing()))?;
    }
    write_file(dir.as_fd(), c".nssw", NAME_SERVICES).map_err(step("writing .nssw"))?;
    if !parts.binds.is_empty() {
        let doing = || format!("making {}", binds::GIVEN);
        mkdirat(&dir, c".given", Mode::from_raw_mode(0o755)).map_err(step(doing()))?;
        let given = openat(&dir, c".given", flags, Mode::empty()).map_err(step(doing()))?;
        for bind in &parts.binds {
            let Some(name) = bind.given() else { continue };
            let doing = || format!("mounting a volume at {}/{}", binds::GIVEN, name.to_string_lossy());
            bind.put_new(given.as_fd(), &name).map_err(step(doing()))?;
        }
    }
    if parts.kits.iter().any(|(name, _)| name == LOCALES.0) {
        symlinkat(LOCALES.1, &dir, c".l").map_err(step("linking the locales"))?;
    }
    mkdirat(&dir, c".home", Mode::from_raw_mode(0o700)).map_err(step("making a home"))?;
    let home = memory(&parts.home_bytes.to_string(), "1777", false).map_err(step("making a home"))?;
    put(home.as_fd(), dir.as_fd(), c".home").map_err(step("making a home"))
}

fn write_file(dir: BorrowedFd<'_>, name: &CStr, text: &str) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(dir, name, flags, Mode::from_raw_mode(0o644))?;
    io::Write::write_all(&mut std::fs::File::from(file), text.as_bytes())
}

/// Every entry of the target's root but /dev, each with what is mounted below it.
fn top_level(root: BorrowedFd<'_>) -> io::Result<Vec<(CString, Entry)>> {
    let mut entries = Vec::new();
    for (name, kind) in names(root)? {
        if name.as_bytes() != b"dev" {
            entries.extend(Entry::of(root, &name, kind)?.map(|entry| (name, entry)));
        }
    }
    Ok(entries)
}

/// The names in a directory, with their kinds.
pub(crate) fn names(dir: BorrowedFd<'_>) -> io::Result<Vec<(CString, FileType)>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if names.len() == ENTRIES_LIMIT {
            break;
        }
        // It may have gone meanwhile.
        let Ok(stat) = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        names.push((name.to_owned(), FileType::from_raw_mode(stat.st_mode)));
    }
    Ok(names)
}

/// Makes a new file system the root and puts everything into it.
fn new_root(
    old: BorrowedFd<'_>,
    entries: &[(CString, Entry)],
    parts: &Parts,
    devices: &Devices,
    rootless: &[Taken],
) -> Result<(), StepError> {
    let fresh = memory(DEV_SIZE, "755", false).map_err(step("making a file system in memory"))?;
    put(fresh.as_fd(), old, c"").map_err(step("laying a new root over the old one"))?;
    for (name, entry) in entries {
        let doing = || format!("taking /{} along", name.to_string_lossy());
        entry.put(fresh.as_fd(), name).map_err(step(doing()))?;
    }
    let first = rootless.iter().filter_map(Taken::first_name);
    for (name, is_directory) in first.filter(|(name, _)| name.as_bytes() != b"dev") {
        let doing = || format!("making /{}", name.to_string_lossy());
        new_place(fresh.as_fd(), &name, is_directory).or_else(already).map_err(step(doing()))?;
    }
    mkdirat(&fresh, c"dev", Mode::from_raw_mode(0o755)).map_err(step("making /dev"))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dev = openat(&fresh, c"dev", flags, Mode::empty()).map_err(step("making /dev"))?;
    new_dev(dev.as_fd(), parts, devices)?;
    set_mount_attributes(fresh.as_fd(), READ_ONLY, false).map_err(step("making / read-only"))?;
    fchdir(fresh.as_fd()).map_err(step("entering the new root"))?;
    match pivot_root(".", ".") {
        Ok(()) => {
            // The old root is stacked on the new one now, and comes off.
            fchdir(old).map_err(step("leaving the old root"))?;
            unmount(".", UnmountFlags::DETACH).map_err(step("leaving the old root"))?;
            rustix::process::chdir("/").map_err(step("entering the new root"))
        }
        // The root of a process in a chroot need not be a mount.
        Err(_) => chroot(".").map_err(step("entering the new root")),
    }
}

impl Entry {
    /// What is to be taken along of `name`; nothing when it cannot be had.
    pub(crate) fn of(dir: BorrowedFd<'_>, name: &CStr, kind: FileType) -> io::Result<Option<Entry>> {
        if kind == FileType::Symlink {
            return Ok(Some(Entry::Link(readlinkat(dir, name, Vec::new())?)));
        }
        let is_directory = kind == FileType::Directory;
        match taken(dir, name) {
            Ok(mount) => Ok(Some(Entry::Mount { mount, is_directory })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts it at `name` in a directory of ours.
    pub(crate) fn put(&self, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        match self {
            Entry::Link(to) => Ok(symlinkat(to.as_c_str(), dir, name)?),
            Entry::Mount { mount, is_directory } => place(mount.as_fd(), dir, name, *is_directory),
        }
    }
}

/// Mounts at a name that is not there yet.
pub(crate) fn place(mount: BorrowedFd<'_>, dir: BorrowedFd<'_>, name: &CStr, is_dir: bool) -> io::Result<()> {
    new_place(dir, name, is_dir)?;
    put(mount, dir, name)
}

/// An empty directory or file of ours.
fn new_place(dir: BorrowedFd<'_>, name: &CStr, is_dir: bool) -> io::Result<()> {
    if is_dir {
        return Ok(mkdirat(dir, name, Mode::from_raw_mode(0o755))?);
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    openat(dir, name, flags, Mode::from_raw_mode(0o644)).map(drop)?;
    Ok(())
}

/// Two volumes may have the same first name.
fn already(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
}
