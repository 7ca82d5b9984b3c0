// SPDX-License-Identifier: Apache-2.0
//! Whose a user namespace is, which /proc does not tell.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `_IO(0xb7, 0x4)` of linux/nsfs.h.
const NS_GET_OWNER_UID: libc::Ioctl = 0xb704;

/// The user who made the user namespace behind this descriptor, as the caller's namespace numbers it.
///
/// # Errors
/// `InvalidInput` for what is no user namespace; else what the kernel says.
pub fn owner(namespace: BorrowedFd<'_>) -> io::Result<u32> {
    let mut owner: libc::uid_t = 0;
    // SAFETY: this request writes one user number, to a place for one that outlives the call.
    #[expect(unsafe_code, reason = "rustix has no safe form of this request")]
    let result = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_OWNER_UID, &raw mut owner) };
    if result == 0 { Ok(owner) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::owner;
    use std::fs::File;
    use std::os::fd::AsFd;

    #[test]
    fn the_first_namespace_is_roots() {
        assert_eq!(
            owner(
                File::open("/proc/1/ns/user").or_else(|_| File::open("/proc/self/ns/user")).unwrap().as_fd()
            )
            .unwrap(),
            0
        );
        assert!(owner(File::open("/proc/self/ns/uts").unwrap().as_fd()).is_err());
        assert!(owner(File::open("/proc/self/stat").unwrap().as_fd()).is_err());
    }
}
