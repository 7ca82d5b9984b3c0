// SPDX-License-Identifier: Apache-2.0
//! Free memory that glibc keeps for itself.

use std::ffi::c_int;

#[expect(unsafe_code, reason = "a function of the C library")]
unsafe extern "C" {
    /// malloc_trim(3).
    fn malloc_trim(pad: usize) -> c_int;
}

/// Gives memory back to the kernel that was freed and is kept for later, of all threads. It takes
/// milliseconds when there is much, and other threads wait for it when they need memory.
pub fn give_back_free_memory() {
    // SAFETY: it takes a number and may be called at any time and from any thread.
    #[expect(unsafe_code, reason = "a function of the C library")]
    let outcome = unsafe { malloc_trim(0) };
    // Whether there was any is of no use to anybody.
    let _ = outcome;
}
