// SPDX-License-Identifier: Apache-2.0
//! What rustix lacks for mounts: a mount namespace of one's own, and attributes of mounts.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// A mount that nothing is written through.
pub const READ_ONLY: u64 = 0x1;
/// A mount on which no program gains rights.
pub const NO_SUID: u64 = 0x2;
/// A mount on which device nodes cannot be opened.
pub const NO_DEVICES: u64 = 0x4;

/// `struct mount_attr` of linux/mount.h.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Puts this process into a copy of its mount namespace.
///
/// # Errors
/// What the kernel says.
pub fn unshare_mounts() -> io::Result<()> {
    // SAFETY: this flag leaves the table of descriptors as it is, which is what the function is unsafe for.
    #[expect(unsafe_code, reason = "rustix has one function for this and for what is unsafe")]
    unsafe {
        rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS)?;
    }
    Ok(())
}

/// Sets attributes of the mount at `at`, and of all below it when `recursive`. Linux 5.12.
///
/// # Errors
/// What the kernel says.
pub fn set_mount_attributes(at: BorrowedFd<'_>, set: u64, recursive: bool) -> io::Result<()> {
    let attributes = Attributes { set, ..Attributes::default() };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty string with its end, and the structure is of the size given; both
    // outlive the call.
    #[expect(unsafe_code, reason = "rustix has no mount_setattr")]
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            at.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
