// SPDX-License-Identifier: Apache-2.0
//! This program as a file that nobody can write through.
//!
//! The warden runs in the target's pid namespace, where `/proc/PID/exe` leads to its program, and a root
//! there could wait for its end and write to the host's file (the class of CVE-2019-5736). So keeper and
//! warden run from a mount of that file that is read-only and in no namespace, where nobody can remount it.

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::mount::{OpenTreeFlags, open_tree};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use sys::mounts::{NO_DEVICES, NO_SUID, READ_ONLY, set_mount_attributes};

const SELF: &str = "/proc/self/exe";

/// A descriptor to execute.
pub(crate) fn unwritable() -> io::Result<OwnedFd> {
    mounted().or_else(|_| copied())
}

fn mounted() -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(rustix::fs::CWD, SELF, flags)?;
    set_mount_attributes(mount.as_fd(), READ_ONLY | NO_SUID | NO_DEVICES, false)?;
    Ok(mount)
}

/// For a program whose file is in no mount of ours, such as one that was deleted.
fn copied() -> io::Result<OwnedFd> {
    let memory = memfd_create("purser", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut memory = File::from(memory);
    io::copy(&mut File::open(SELF)?, &mut memory)?;
    fcntl_add_seals(&memory, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    Ok(memory.into())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    #[test]
    fn neither_can_be_written() {
        let root = rustix::process::geteuid().is_root();
        let copied = super::copied().unwrap();
        let mounted = root.then(|| super::mounted().unwrap());
        for fd in [Some(copied), mounted].into_iter().flatten() {
            let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
            assert!(std::fs::read(&path).unwrap().starts_with(b"\x7fELF"));
            // That it is so also when nothing runs it, the tests of the whole program show.
            let opened = std::fs::OpenOptions::new().append(true).open(&path);
            assert!(opened.and_then(|mut file| std::io::Write::write_all(&mut file, b"x")).is_err());
        }
    }
}
