// SPDX-License-Identifier: Apache-2.0
//! `getaddrinfo` and `freeaddrinfo` (POSIX, RFC 3493). Services are numbers: `/etc/services` is not read.
#![allow(unsafe_code, reason = "C hands pointers over")]

use std::ffi::{CStr, CString, c_char, c_int};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::panic::catch_unwind;
use std::ptr;

use libc::{AF_INET, AF_INET6, AF_UNSPEC, addrinfo, sockaddr_in, sockaddr_in6, socklen_t};

use crate::resolver::{Family, Found, Resolver};
use crate::{NameError, settings};

/// Flags that glibc knows; those about international names change nothing for names in ASCII.
const FLAGS_KNOWN: c_int = 0x07ff;
/// A socket type and its protocol. A raw socket takes every protocol.
const SOCKETS: [(c_int, c_int); 3] =
    [(libc::SOCK_STREAM, libc::IPPROTO_TCP), (libc::SOCK_DGRAM, libc::IPPROTO_UDP), (libc::SOCK_RAW, 0)];

/// The addresses of `node`, see `man 3 getaddrinfo`.
///
/// # Safety
/// `node` and `service` are null or texts that end in zero; `hints` is null or points to an `addrinfo`;
/// `result` may be written.
#[cfg_attr(target_feature = "crt-static", unsafe(no_mangle))]
pub unsafe extern "C" fn getaddrinfo(
    node: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    result: *mut *mut addrinfo,
) -> c_int {
    // SAFETY: the caller keeps these promises.
    let (node, service, hints) = unsafe { (text(node), text(service), hints.as_ref()) };
    let answered = catch_unwind(|| {
        let question = Question::new(node, service, hints)?;
        let found = question.find(&Resolver::system())?;
        Ok((question.sockets()?, found, question.flags & libc::AI_CANONNAME != 0, question.port))
    });
    match answered.unwrap_or(Err(libc::EAI_FAIL)) {
        Ok((sockets, found, named, port)) => {
            let list = list(&sockets, found, named, port);
            // SAFETY: the caller lets us write there.
            unsafe { result.write(list) };
            0
        }
        Err(code) => code,
    }
}

/// Gives back what [`getaddrinfo`] gave.
///
/// # Safety
/// `list` is null, or a list of that function or a tail of one, and is not used again.
#[cfg_attr(target_feature = "crt-static", unsafe(no_mangle))]
pub unsafe extern "C" fn freeaddrinfo(list: *mut addrinfo) {
    let mut next = list;
    while !next.is_null() {
        // SAFETY: each member came from `Box::into_raw` of a `Node`, whose first field it is.
        let node = unsafe { Box::from_raw(next.cast::<Node>()) };
        next = node.info.ai_next;
    }
}

/// # Safety
/// Null or a text that ends in zero and lives as long as the caller uses it.
unsafe fn text<'a>(pointer: *const c_char) -> Option<&'a CStr> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: the caller promises the zero.
    Some(unsafe { CStr::from_ptr(pointer) })
}

/// What is asked, checked.
#[derive(Debug)]
struct Question<'a> {
    node: Option<&'a str>,
    port: u16,
    flags: c_int,
    family: c_int,
    socket: c_int,
    protocol: c_int,
}

impl<'a> Question<'a> {
    fn new(
        node: Option<&'a CStr>,
        service: Option<&'a CStr>,
        hints: Option<&addrinfo>,
    ) -> Result<Question<'a>, c_int> {
        let unspecified = (libc::AI_V4MAPPED | libc::AI_ADDRCONFIG, AF_UNSPEC, 0, 0);
        let (flags, family, socket, protocol) = hints.map_or(unspecified, |hints| {
            (hints.ai_flags, hints.ai_family, hints.ai_socktype, hints.ai_protocol)
        });
        if node.is_none() && service.is_none() {
            return Err(libc::EAI_NONAME);
        }
        if flags & !FLAGS_KNOWN != 0 || flags & libc::AI_CANONNAME != 0 && node.is_none() {
            return Err(libc::EAI_BADFLAGS);
        }
        if ![AF_UNSPEC, AF_INET, AF_INET6].contains(&family) {
            return Err(libc::EAI_FAMILY);
        }
        let port = match service.map(CStr::to_str) {
            None => 0,
            Some(Ok(text)) => text.parse().map_err(|_| libc::EAI_SERVICE)?,
            Some(Err(_)) => return Err(libc::EAI_SERVICE),
        };
        let node = node.map(CStr::to_str).transpose().map_err(|_| libc::EAI_NONAME)?;
        Ok(Question { node, port, flags, family, socket, protocol })
    }

    fn has(&self, flag: c_int) -> bool {
        self.flags & flag != 0
    }

    /// The kinds of sockets the addresses are for.
    fn sockets(&self) -> Result<Vec<(c_int, c_int)>, c_int> {
        let fits = |(socket, protocol): &(c_int, c_int)| {
            (self.socket == 0 || self.socket == *socket)
                && (self.protocol == 0 || self.protocol == *protocol || self.socket == libc::SOCK_RAW)
        };
        let mut sockets: Vec<_> = SOCKETS.into_iter().filter(fits).collect();
        if self.socket == libc::SOCK_RAW {
            sockets = vec![(libc::SOCK_RAW, self.protocol)];
        }
        if sockets.is_empty() { Err(libc::EAI_SOCKTYPE) } else { Ok(sockets) }
    }

    fn find(&self, resolver: &Resolver) -> Result<Found, c_int> {
        let Some(node) = self.node else { return Ok(self.own()) };
        if self.has(libc::AI_NUMERICHOST) && settings::address(node, 0).is_none() {
            return Err(libc::EAI_NONAME);
        }
        let mapped = self.family == AF_INET6 && self.has(libc::AI_V4MAPPED);
        let family = match self.family {
            AF_INET => Family::V4,
            AF_INET6 if !mapped => Family::V6,
            _ => self.configured(settings::address(node, 0).is_some()),
        };
        let mut found = resolver.find(node, family).map_err(|error| code(&error))?;
        if mapped {
            map(&mut found.addresses, self.has(libc::AI_ALL));
        }
        Ok(found)
    }

    /// Without a node: this machine, for those who listen or those who connect.
    fn own(&self) -> Found {
        let mut addresses: Vec<SocketAddr> = if self.has(libc::AI_PASSIVE) {
            vec![(Ipv4Addr::UNSPECIFIED, 0).into(), (Ipv6Addr::UNSPECIFIED, 0).into()]
        } else {
            vec![(Ipv6Addr::LOCALHOST, 0).into(), (Ipv4Addr::LOCALHOST, 0).into()]
        };
        addresses.retain(|address| self.family == AF_UNSPEC || (self.family == AF_INET) == address.is_ipv4());
        Found { addresses, canonical: String::new() }
    }

    /// Both families, or with AI_ADDRCONFIG only those this machine can use at all.
    fn configured(&self, numeric: bool) -> Family {
        let usable = |address: SocketAddr| UdpSocket::bind(address).is_ok();
        if numeric || !self.has(libc::AI_ADDRCONFIG) {
            return Family::Any;
        }
        match (usable((Ipv4Addr::LOCALHOST, 0).into()), usable((Ipv6Addr::LOCALHOST, 0).into())) {
            (true, false) => Family::V4,
            (false, true) => Family::V6,
            _ => Family::Any,
        }
    }
}

/// IPv4 addresses as IPv6 ones: all of them, or only where there is no real one.
fn map(addresses: &mut Vec<SocketAddr>, all: bool) {
    if !all && addresses.iter().any(SocketAddr::is_ipv6) {
        addresses.retain(SocketAddr::is_ipv6);
    }
    for address in addresses {
        if let SocketAddr::V4(old) = address {
            *address = (old.ip().to_ipv6_mapped(), 0).into();
        }
    }
}

/// The code C knows for an error; for a system error `errno` says more.
fn code(error: &NameError) -> c_int {
    match error {
        NameError::BadName { .. } | NameError::Unknown { .. } => libc::EAI_NONAME,
        NameError::NoAddress { .. } => libc::EAI_NODATA,
        NameError::Unanswered { .. } => libc::EAI_AGAIN,
        NameError::Read { source, .. } | NameError::Random { source, .. } => {
            // SAFETY: the C library gives each thread its own, valid while the thread lives.
            unsafe { libc::__errno_location().write(source.raw_os_error().unwrap_or(libc::EIO)) };
            libc::EAI_SYSTEM
        }
    }
}

/// One member of a list, with what it points to. C sees the first field.
#[repr(C)]
struct Node {
    info: addrinfo,
    address: Address,
    canonical: Option<CString>,
}

#[repr(C)]
union Address {
    v4: sockaddr_in,
    v6: sockaddr_in6,
}

/// Every address with every kind of socket, as a list for [`freeaddrinfo`].
fn list(sockets: &[(c_int, c_int)], found: Found, named: bool, port: u16) -> *mut addrinfo {
    let mut canonical = if named { CString::new(found.canonical).ok() } else { None };
    let members =
        found.addresses.iter().flat_map(|address| sockets.iter().map(move |socket| (address, socket)));
    let mut nodes: Vec<Box<Node>> =
        members.map(|(address, socket)| node(*address, port, *socket, canonical.take())).collect();
    let mut next = ptr::null_mut();
    while let Some(mut node) = nodes.pop() {
        node.info.ai_next = next;
        next = Box::into_raw(node).cast();
    }
    next
}

fn node(address: SocketAddr, port: u16, socket: (c_int, c_int), canonical: Option<CString>) -> Box<Node> {
    let (family, length, address) = match address {
        SocketAddr::V4(v4) => {
            let sin_addr = libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) };
            let sin_family = AF_INET as libc::sa_family_t;
            let v4 = sockaddr_in { sin_family, sin_port: port.to_be(), sin_addr, sin_zero: [0; 8] };
            (AF_INET, size_of::<sockaddr_in>(), Address { v4 })
        }
        SocketAddr::V6(v6) => {
            let v6 = sockaddr_in6 {
                sin6_family: AF_INET6 as libc::sa_family_t,
                sin6_port: port.to_be(),
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            (AF_INET6, size_of::<sockaddr_in6>(), Address { v6 })
        }
    };
    let info = addrinfo {
        ai_flags: 0,
        ai_family: family,
        ai_socktype: socket.0,
        ai_protocol: socket.1,
        ai_addrlen: length as socklen_t,
        ai_addr: ptr::null_mut(),
        ai_canonname: ptr::null_mut(),
        ai_next: ptr::null_mut(),
    };
    let mut node = Box::new(Node { info, address, canonical });
    node.info.ai_addr = (&raw mut node.address).cast();
    if let Some(name) = &node.canonical {
        node.info.ai_canonname = name.as_ptr().cast_mut();
    }
    node
}

#[cfg(test)]
#[path = "addrinfo_tests.rs"]
mod tests;
