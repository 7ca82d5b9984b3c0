// SPDX-License-Identifier: Apache-2.0
//! `getnameinfo`, which shows addresses and ports as numbers and looks nothing up.
#![allow(unsafe_code, reason = "C hands pointers over")]

use std::ffi::{c_char, c_int};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::ptr;

use libc::{sa_family_t, sockaddr, sockaddr_in, sockaddr_in6, socklen_t};

/// Writes the numbers of `address`, see `man 3 getnameinfo`.
///
/// # Safety
/// `address` points to `length` bytes; `host` and `service` are null or may be written for as many bytes as
/// their lengths say.
#[cfg_attr(target_feature = "crt-static", unsafe(no_mangle))]
pub unsafe extern "C" fn getnameinfo(
    address: *const sockaddr,
    length: socklen_t,
    host: *mut c_char,
    host_length: socklen_t,
    service: *mut c_char,
    service_length: socklen_t,
    flags: c_int,
) -> c_int {
    // SAFETY: the caller keeps this promise.
    let Some(address) = (unsafe { read(address, length) }) else { return libc::EAI_FAMILY };
    let host_wanted = !host.is_null() && host_length > 0;
    let service_wanted = !service.is_null() && service_length > 0;
    if !host_wanted && !service_wanted || host_wanted && flags & libc::NI_NAMEREQD != 0 {
        return libc::EAI_NONAME;
    }
    // SAFETY: the caller lets us write that much there.
    let written = unsafe {
        (!host_wanted || write(&shown(&address), host, host_length))
            && (!service_wanted || write(&address.port().to_string(), service, service_length))
    };
    if written { 0 } else { libc::EAI_OVERFLOW }
}

/// # Safety
/// `address` is null or points to `length` bytes.
unsafe fn read(address: *const sockaddr, length: socklen_t) -> Option<SocketAddr> {
    let length = length as usize;
    if address.is_null() || length < size_of::<sa_family_t>() {
        return None;
    }
    // SAFETY: the family comes first, and it is there.
    let family = unsafe { address.cast::<sa_family_t>().read_unaligned() };
    match c_int::from(family) {
        libc::AF_INET if length >= size_of::<sockaddr_in>() => {
            // SAFETY: so many bytes are there, and every pattern is a value.
            let v4 = unsafe { address.cast::<sockaddr_in>().read_unaligned() };
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Some((ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 if length >= size_of::<sockaddr_in6>() => {
            // SAFETY: so many bytes are there, and every pattern is a value.
            let v6 = unsafe { address.cast::<sockaddr_in6>().read_unaligned() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), 0, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

fn shown(address: &SocketAddr) -> String {
    match address {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
        _ => address.ip().to_string(),
    }
}

/// False when there is not enough room for `text` and its zero.
///
/// # Safety
/// `room` may be written for `length` bytes.
unsafe fn write(text: &str, room: *mut c_char, length: socklen_t) -> bool {
    if text.len() >= length as usize {
        return false;
    }
    // SAFETY: text and zero fit, and what was just made does not overlap with the caller's room.
    unsafe {
        ptr::copy_nonoverlapping(text.as_ptr().cast(), room, text.len());
        room.add(text.len()).write(0);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::getnameinfo;
    use crate::symbols::{freeaddrinfo, getaddrinfo};
    use std::ffi::{CStr, CString, c_char, c_int};
    use std::ptr;

    /// Through `getaddrinfo` and back, with so much room for each text.
    fn there_and_back(host: &str, room: (u32, u32), flags: c_int) -> Result<(String, String), c_int> {
        let (host, service) = (CString::new(host).unwrap(), c"65535");
        let mut list = ptr::null_mut();
        let mut texts: [[c_char; 64]; 2] = [[1; 64]; 2];
        // SAFETY: all pointers are of this function; the list is given back once.
        unsafe {
            assert_eq!(getaddrinfo(host.as_ptr(), service.as_ptr(), ptr::null(), &raw mut list), 0);
            let [host, service] = &mut texts;
            let code = getnameinfo(
                (*list).ai_addr,
                (*list).ai_addrlen,
                host.as_mut_ptr(),
                room.0,
                service.as_mut_ptr(),
                room.1,
                flags,
            );
            freeaddrinfo(list);
            if code != 0 {
                return Err(code);
            }
            let shown = |text: &[c_char; 64]| CStr::from_ptr(text.as_ptr()).to_str().unwrap().to_owned();
            Ok((shown(host), if room.1 > 0 { shown(service) } else { String::new() }))
        }
    }

    #[test]
    fn shows_numbers() {
        let both = |host: &str| there_and_back(host, (64, 64), 0).unwrap();
        assert_eq!(both("192.0.2.7"), ("192.0.2.7".into(), "65535".into()));
        assert_eq!(both("2001:db8::7").0, "2001:db8::7");
        assert_eq!(both("fe80::1%3").0, "fe80::1%3");
    }

    #[test]
    fn writes_no_byte_too_many() {
        assert_eq!(there_and_back("192.0.2.7", (10, 6), 0).unwrap().0, "192.0.2.7");
        assert_eq!(there_and_back("192.0.2.7", (9, 6), 0), Err(libc::EAI_OVERFLOW));
        assert_eq!(there_and_back("192.0.2.7", (10, 5), 0), Err(libc::EAI_OVERFLOW));
        assert_eq!(there_and_back("192.0.2.7", (10, 0), 0).unwrap().1, "");
    }

    #[test]
    fn names_are_never_found() {
        assert_eq!(there_and_back("192.0.2.7", (64, 64), libc::NI_NAMEREQD), Err(libc::EAI_NONAME));
        assert_eq!(there_and_back("192.0.2.7", (0, 0), 0), Err(libc::EAI_NONAME));
    }

    #[test]
    fn an_address_of_another_family_or_too_short_is_refused() {
        let mut unix = [0_u8; 32];
        unix[0] = libc::AF_UNIX as u8;
        let mut short = [0_u8; 15];
        short[0] = libc::AF_INET as u8;
        let mut room: [c_char; 64] = [0; 64];
        for bytes in [&unix[..], &short[..], &[][..]] {
            let length = bytes.len() as u32;
            // SAFETY: both are of this function, with their true lengths.
            let code = unsafe {
                let room = room.as_mut_ptr();
                getnameinfo(bytes.as_ptr().cast(), length, room, 64, ptr::null_mut(), 0, 0)
            };
            assert_eq!(code, libc::EAI_FAMILY);
        }
    }
}
