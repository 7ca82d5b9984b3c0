// SPDX-License-Identifier: Apache-2.0
//! This program as a file that nobody can write through.
//!
//! The warden runs in the target's pid namespace, where `/proc/PID/exe` leads to its program, and a root
//! there could wait for its end and write to the host's file (the class of CVE-2019-5736). So keeper and
//! warden run from a file system that cannot be made writable, or from a copy in memory.

use crate::sealed::{self, Sealer};
use rustix::fs::{AtFlags, MemfdFlags, SealFlags, Stat, fcntl_add_seals, fstat, memfd_create, statat};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

const SELF: &str = "/proc/self/exe";

/// A descriptor to execute. `directory` is that of the sessions' sockets.
pub(crate) fn unwritable(directory: &Path) -> io::Result<OwnedFd> {
    sealed_file(directory).or_else(|_| copied())
}

fn sealed_file(directory: &Path) -> io::Result<OwnedFd> {
    let path = std::fs::read_link(SELF)?;
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let dir = sealed::directory(dir)?;
    let own = rustix::fs::stat(SELF)?;
    // A newer version may be there by now, or another directory.
    let there = statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let file = Sealer::at(directory)?.seal_file(dir.as_fd(), name)?;
    match own.st_dev == there.st_dev && is_same(&own, &there) && is_same(&own, &fstat(&file)?) {
        true => Ok(file),
        false => Err(io::ErrorKind::NotFound.into()),
    }
}

/// As far as an overlay tells.
fn is_same(one: &Stat, other: &Stat) -> bool {
    let told = |stat: &Stat| (stat.st_ino, stat.st_size, stat.st_ctime, stat.st_ctime_nsec);
    told(one) == told(other)
}

/// For a program whose file is in no directory of ours, such as one that was deleted.
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
        let dir = tempfile::tempdir().unwrap();
        let copied = super::copied().unwrap();
        let sealed = root.then(|| super::sealed_file(dir.path()).unwrap());
        for fd in [Some(copied), sealed].into_iter().flatten() {
            let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
            assert!(std::fs::read(&path).unwrap().starts_with(b"\x7fELF"));
            // That it is so also when nothing runs it, the tests of the whole program show.
            let opened = std::fs::OpenOptions::new().append(true).open(&path);
            assert!(opened.and_then(|mut file| std::io::Write::write_all(&mut file, b"x")).is_err());
        }
    }
}
