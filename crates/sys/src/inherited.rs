// SPDX-License-Identifier: Apache-2.0
//! Descriptors that were open when this program was started, as a service manager hands them over.

use rustix::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

/// Takes the descriptor `number`, which is closed in programs started from now on. `None` when nothing was handed
/// over there: what is opened here closes with the next program from the beginning, and so does what was taken.
///
/// To be called before anything is opened that does not.
pub fn take_inherited(number: RawFd) -> Option<OwnedFd> {
    // Standard input, output and error belong to everybody.
    if number < 3 {
        return None;
    }
    // SAFETY: the number is not -1, and used in this call only; one that is not open gives EBADF.
    #[expect(unsafe_code, reason = "a descriptor is known by its number only")]
    let flags = unsafe { fcntl_getfd(BorrowedFd::borrow_raw(number)) };
    if flags.ok()?.contains(FdFlags::CLOEXEC) {
        return None;
    }
    // SAFETY: it is open, and without the flag that everything has which this process has opened or taken, so
    // nobody else owns it.
    #[expect(unsafe_code, reason = "this is where it gets its owner")]
    let taken = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl_setfd(&taken, FdFlags::CLOEXEC).ok()?;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::take_inherited;
    use rustix::fd::{AsRawFd, IntoRawFd};
    use rustix::io::{FdFlags, dup, fcntl_setfd};

    #[test]
    fn only_what_was_handed_over_is_taken_and_once() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let number = file.as_raw_fd();
        assert!(take_inherited(number).is_none());
        let passed = dup(&file).unwrap();
        fcntl_setfd(&passed, FdFlags::empty()).unwrap();
        let number = passed.into_raw_fd();
        let taken = take_inherited(number).unwrap();
        assert_eq!(taken.as_raw_fd(), number);
        assert!(take_inherited(number).is_none());
        for number in [-1, 0, 1, 2, 1_000_000] {
            assert!(take_inherited(number).is_none());
        }
    }
}
