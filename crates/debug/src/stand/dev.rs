// SPDX-License-Identifier: Apache-2.0
//! /dev, /sys and /proc of a stand-in, as a container has them: no device but harmless ones, and what tells of the
//! host or changes it shut off.

use super::floor::{in_root, own_directory};
use crate::devices::{Devices, of_host};
use crate::root::{StepError, memory, place, put, step};
use rustix::fs::{OFlags, symlinkat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsmount, fsopen, open_tree,
};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use sys::mounts::{READ_ONLY, set_mount_attributes};

/// What of /proc and /sys nobody sees, as Docker and Podman have it.
const MASKED: [&str; 12] = [
    "proc/acpi",
    "proc/asound",
    "proc/interrupts",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/sched_debug",
    "proc/scsi",
    "proc/timer_list",
    "proc/timer_stats",
    "sys/devices/virtual/powercap",
    "sys/firmware",
];
/// What of /proc nobody changes.
const READ_ONLY_PATHS: [&str; 5] = ["proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"];
const DEV_SIZE: &str = "64k";
const SHARED_SIZE: &str = "64m";

/// /dev, and /sys of the network namespace that this process is in.
pub(super) fn devices_and_system(root: BorrowedFd<'_>) -> Result<(), StepError> {
    let dev = own_directory(root, c"dev")?;
    let doing = || step::<io::Error>("making a /dev");
    let fresh = memory(DEV_SIZE, "755", true).map_err(doing())?;
    Devices::default().put_into(fresh.as_fd(), &of_host()).map_err(doing())?;
    let shared = memory(SHARED_SIZE, "1777", false).map_err(doing())?;
    place(shared.as_fd(), fresh.as_fd(), c"shm", true).map_err(doing())?;
    place(file_system("mqueue").map_err(doing())?.as_fd(), fresh.as_fd(), c"mqueue", true).map_err(doing())?;
    symlinkat(c"/proc/kcore", &fresh, c"core").map_err(|error| doing()(error.into()))?;
    put(fresh.as_fd(), dev.as_fd(), c"").map_err(doing())?;
    let doing = || step::<io::Error>("mounting /sys");
    let at = own_directory(root, c"sys")?;
    let system = file_system("sysfs").map_err(doing())?;
    set_mount_attributes(system.as_fd(), READ_ONLY, false).map_err(doing())?;
    put(system.as_fd(), at.as_fd(), c"").map_err(doing())
}

/// /proc of the pid namespace that this process is in; and what is to be shut off.
pub(super) fn processes(root: BorrowedFd<'_>) -> Result<(), StepError> {
    let doing = || step::<io::Error>("mounting /proc");
    let at = own_directory(root, c"proc")?;
    let system = file_system("proc").map_err(doing())?;
    put(system.as_fd(), at.as_fd(), c"").map_err(doing())?;
    for path in READ_ONLY_PATHS {
        let Ok(at) = in_root(root, Path::new(path), OFlags::PATH) else { continue };
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE
            | OpenTreeFlags::AT_EMPTY_PATH;
        let taken = open_tree(&at, c"", flags).map_err(|error| doing()(error.into()))?;
        set_mount_attributes(taken.as_fd(), READ_ONLY, true).map_err(doing())?;
        put(taken.as_fd(), at.as_fd(), c"").map_err(doing())?;
    }
    for path in MASKED {
        mask(root, Path::new(path)).map_err(doing())?;
    }
    Ok(())
}

/// Lays nothing over it: an empty directory, or an empty device.
fn mask(root: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    if let Ok(at) = in_root(root, path, OFlags::PATH | OFlags::DIRECTORY) {
        let nothing = memory("0", "555", false)?;
        set_mount_attributes(nothing.as_fd(), READ_ONLY, false)?;
        return put(nothing.as_fd(), at.as_fd(), c"");
    }
    match in_root(root, path, OFlags::PATH) {
        Ok(at) => {
            let null = in_root(root, Path::new("dev/null"), OFlags::PATH)?;
            let flags = OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC
                | OpenTreeFlags::AT_EMPTY_PATH;
            put(open_tree(&null, c"", flags)?.as_fd(), at.as_fd(), c"")
        }
        // This kernel has none.
        Err(_) => Ok(()),
    }
}

fn file_system(kind: &str) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}
