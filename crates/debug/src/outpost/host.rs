// SPDX-License-Identifier: Apache-2.0
//! From a container with the host's processes to a copy of the host's mounts, with the container's image mounted in
//! it. The copy is this process's: nobody else sees that mount, and it ends with whoever is in there.

use crate::root::{StepError, step};
use rustix::fs::{Mode, OFlags, open};
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_change, move_mount, open_tree,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use sys::mounts::{NO_DEVICES, NO_SUID, READ_ONLY, set_mount_attributes, unshare_mounts};

/// Directories that hosts have and in which no runtime keeps its state; the first one that is there is covered.
const PLACES: [&str; 3] = ["/dev/shm", "/tmp", "/mnt"];

/// Why it may not go.
const ROOTLESS: &str = "a daemon that runs without root cannot give them";

/// Where the image is mounted afterwards.
pub(super) fn enter() -> Result<PathBuf, StepError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let image = open_tree(rustix::fs::CWD, "/", flags).map_err(step("taking the image's files along"))?;
    set_mount_attributes(image.as_fd(), READ_ONLY | NO_SUID | NO_DEVICES, false)
        .map_err(step("taking the image's files along"))?;
    move_into_link_name_space(mounts()?.as_fd(), Some(LinkNameSpaceType::Mount))
        .map_err(step(format!("entering the mounts of the host ({ROOTLESS})")))?;
    unshare_mounts().map_err(step("copying the mounts of the host"))?;
    // What the host takes away is taken away here; nothing of ours goes back.
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .map_err(step("cutting the copy off from the host"))?;
    let (place, directory) = PLACES
        .iter()
        .find_map(|place| Some((Path::new(place), directory(place)?)))
        .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        .map_err(step(format!("looking for a directory to mount on: {}", PLACES.join(", "))))?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(image.as_fd(), c"", directory.as_fd(), c"", flags).map_err(step("mounting the image"))?;
    Ok(place.to_owned())
}

/// The host's mount namespace: of its first process, or, where that lets nobody look, of the runtime's process that
/// started this one.
fn mounts() -> Result<OwnedFd, StepError> {
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_pid());
    let open_of =
        |pid: i32| open(format!("/proc/{pid}/ns/mnt"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let first = open_of(1);
    let found = parent.and_then(|pid| open_of(pid).ok());
    first
        .or_else(|error| found.ok_or(error))
        .map_err(step(format!("opening the mounts of the host ({ROOTLESS})")))
}

fn directory(path: &str) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open(path, flags, Mode::empty()).ok()
}
