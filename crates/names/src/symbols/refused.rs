// SPDX-License-Identifier: Apache-2.0
//! The functions that are refused: users of the host's database, hosts by the old way, and the loading
//! of libraries, which would bring another C library into this program.
#![allow(unsafe_code, reason = "C hands pointers over")]

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};
use std::ptr;

use libc::{Dl_info, hostent, passwd};

/// `h_errno` for a name that was not found (netdb.h).
const HOST_NOT_FOUND: c_int = 1;
const REFUSAL: &std::ffi::CStr = c"a static program loads no libraries";

thread_local! {
    /// Whether `dlerror` has something to tell.
    static REFUSED: Cell<bool> = const { Cell::new(false) };
}

unsafe extern "C" {
    /// Where the C library keeps this thread's `h_errno`.
    safe fn __h_errno_location() -> *mut c_int;
}

/// There is no user: ENOENT. `std::env::home_dir` asks this when `HOME` is not set.
///
/// # Safety
/// `result` may be written.
#[cfg_attr(target_feature = "crt-static", unsafe(no_mangle))]
pub unsafe extern "C" fn getpwuid_r(
    _user: libc::uid_t,
    _entry: *mut passwd,
    _buffer: *mut c_char,
    _length: usize,
    result: *mut *mut passwd,
) -> c_int {
    // SAFETY: the caller lets us write there.
    unsafe { result.write(ptr::null_mut()) };
    libc::ENOENT
}

/// There is no user: ENOENT.
///
/// # Safety
/// `result` may be written.
#[cfg_attr(target_feature = "crt-static", unsafe(no_mangle))]
pub unsafe extern "C" fn getpwnam_r(
    _name: *const c_char,
    _entry: *mut passwd,
    _buffer: *mut c_char,
    _length: usize,
    result: *mut *mut passwd,
) -> c_int {
    // SAFETY: the caller lets us write there.
    unsafe { result.write(ptr::null_mut()) };
    libc::ENOENT
}

/// There is no host: whoever asks this way should ask `getaddrinfo`.
#[cfg_attr(target_feature = "crt-static", unsafe(no_mangle))]
pub extern "C" fn gethostbyname(_name: *const c_char) -> *mut hostent {
    // SAFETY: the C library gives each thread its own, valid while the thread lives.
    unsafe { __h_errno_location().write(HOST_NOT_FOUND) };
    ptr::null_mut()
}

/// No library is loaded.
#[cfg_attr(target_feature = "crt-static", unsafe(no_mangle))]
pub extern "C" fn dlopen(_path: *const c_char, _flags: c_int) -> *mut c_void {
    REFUSED.set(true);
    ptr::null_mut()
}

/// No symbol is found; those who ask (Rust's standard library among them) have another way.
#[cfg_attr(target_feature = "crt-static", unsafe(no_mangle))]
pub extern "C" fn dlsym(_library: *mut c_void, _name: *const c_char) -> *mut c_void {
    REFUSED.set(true);
    ptr::null_mut()
}

/// Nothing can be closed.
#[cfg_attr(target_feature = "crt-static", unsafe(no_mangle))]
pub extern "C" fn dlclose(_library: *mut c_void) -> c_int {
    REFUSED.set(true);
    -1
}

/// Why the last of these calls failed, once.
#[cfg_attr(target_feature = "crt-static", unsafe(no_mangle))]
pub extern "C" fn dlerror() -> *mut c_char {
    if REFUSED.replace(false) { REFUSAL.as_ptr().cast_mut() } else { ptr::null_mut() }
}

/// No address belongs to a library: 0, which is failure here.
#[cfg_attr(target_feature = "crt-static", unsafe(no_mangle))]
pub extern "C" fn dladdr(_address: *const c_void, _found: *mut Dl_info) -> c_int {
    0
}

#[cfg(test)]
mod tests {
    use super::{__h_errno_location, dladdr, dlclose, dlerror, dlopen, dlsym, gethostbyname};
    use super::{getpwnam_r, getpwuid_r};
    use std::ffi::CStr;
    use std::ptr;

    #[test]
    fn libraries_are_refused_with_a_reason() {
        assert!(dlerror().is_null());
        assert!(dlopen(c"libc.so.6".as_ptr(), libc::RTLD_NOW).is_null());
        // SAFETY: dlerror gives null or a text that ends in zero and lives for ever.
        let reason = unsafe { CStr::from_ptr(dlerror()) };
        assert_eq!(reason.to_str(), Ok("a static program loads no libraries"));
        assert!(dlerror().is_null());
        assert!(dlsym(ptr::null_mut(), c"malloc".as_ptr()).is_null());
        assert!(!dlerror().is_null());
        assert_ne!(dlclose(ptr::null_mut()), 0);
        assert_eq!(dladdr(ptr::null(), ptr::null_mut()), 0);
    }

    #[test]
    fn users_and_old_hosts_are_not_there() {
        let mut result = ptr::dangling_mut();
        // SAFETY: only `result` is used, and it is of this function.
        let code = unsafe { getpwuid_r(0, ptr::null_mut(), ptr::null_mut(), 0, &raw mut result) };
        assert!(code == libc::ENOENT && result.is_null());
        let mut result = ptr::dangling_mut();
        // SAFETY: as above.
        let code =
            unsafe { getpwnam_r(c"root".as_ptr(), ptr::null_mut(), ptr::null_mut(), 0, &raw mut result) };
        assert!(code == libc::ENOENT && result.is_null());
        assert!(gethostbyname(c"localhost".as_ptr()).is_null());
        // SAFETY: this thread's own.
        assert_eq!(unsafe { __h_errno_location().read() }, 1);
    }
}
