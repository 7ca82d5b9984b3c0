// SPDX-License-Identifier: Apache-2.0
//! What C gets to see: codes, lists, addresses in network order. Names that need no network.

use std::ffi::{CStr, CString, c_int};
use std::net::{SocketAddr, ToSocketAddrs};
use std::ptr;

use libc::{AF_INET, AF_INET6, AF_UNSPEC, addrinfo};

use super::{freeaddrinfo, getaddrinfo, map};

/// One member of a list.
#[derive(Debug, PartialEq, Eq)]
struct Member {
    family: c_int,
    socket: c_int,
    protocol: c_int,
    length: u32,
    bytes: Vec<u8>,
    canonical: Option<String>,
}

fn hints(flags: c_int, family: c_int, socket: c_int, protocol: c_int) -> addrinfo {
    addrinfo {
        ai_flags: flags,
        ai_family: family,
        ai_socktype: socket,
        ai_protocol: protocol,
        ai_addrlen: 0,
        ai_addr: ptr::null_mut(),
        ai_canonname: ptr::null_mut(),
        ai_next: ptr::null_mut(),
    }
}

fn ask(node: Option<&str>, service: Option<&str>, hints: Option<addrinfo>) -> Result<Vec<Member>, c_int> {
    let text = |text: Option<&str>| text.map(|text| CString::new(text).unwrap());
    let (node, service) = (text(node), text(service));
    let pointer = |text: &Option<CString>| text.as_ref().map_or(ptr::null(), |text| text.as_ptr());
    let hints = hints.as_ref().map_or(ptr::null(), |hints| &raw const *hints);
    let mut list = ptr::null_mut();
    // SAFETY: all pointers are of this function.
    let code = unsafe { getaddrinfo(pointer(&node), pointer(&service), hints, &raw mut list) };
    if code != 0 {
        assert!(list.is_null());
        return Err(code);
    }
    let mut members = Vec::new();
    let mut next = list;
    // SAFETY: the list is whole until it is given back, once.
    unsafe {
        while let Some(info) = next.as_ref() {
            let bytes = std::slice::from_raw_parts(info.ai_addr.cast(), info.ai_addrlen as usize).to_vec();
            let canonical = (!info.ai_canonname.is_null())
                .then(|| CStr::from_ptr(info.ai_canonname).to_str().unwrap().to_owned());
            members.push(Member {
                family: info.ai_family,
                socket: info.ai_socktype,
                protocol: info.ai_protocol,
                length: info.ai_addrlen,
                bytes,
                canonical,
            });
            next = info.ai_next;
        }
        freeaddrinfo(list);
    }
    Ok(members)
}

fn stream(flags: c_int, family: c_int) -> Option<addrinfo> {
    Some(hints(flags, family, libc::SOCK_STREAM, 0))
}

fn families(members: &[Member]) -> Vec<c_int> {
    members.iter().map(|member| member.family).collect()
}

#[test]
fn an_address_comes_back_as_the_kernel_wants_it() {
    let four = ask(Some("192.0.2.7"), Some("9092"), stream(libc::AI_CANONNAME, AF_UNSPEC)).unwrap();
    let [2, 0, 0x23, 0x84, 192, 0, 2, 7, 0, 0, 0, 0, 0, 0, 0, 0] = four[0].bytes[..] else {
        panic!("{four:?}");
    };
    assert_eq!((four.len(), four[0].socket, four[0].protocol), (1, libc::SOCK_STREAM, libc::IPPROTO_TCP));
    assert_eq!(four[0].canonical.as_deref(), Some("192.0.2.7"));
    let six = ask(Some("fe80::7%9"), Some("1"), stream(0, AF_UNSPEC)).unwrap();
    assert_eq!((six[0].family, six[0].length), (AF_INET6, 28));
    assert_eq!(six[0].bytes[..10], [10, 0, 0, 1, 0, 0, 0, 0, 0xfe, 0x80]);
    assert_eq!(six[0].bytes[23..], [7, 9, 0, 0, 0]);
    assert_eq!(six[0].canonical, None);
}

#[test]
fn without_hints_there_is_one_of_each_socket() {
    let members = ask(Some("192.0.2.7"), None, None).unwrap();
    let sockets: Vec<_> = members.iter().map(|member| (member.socket, member.protocol)).collect();
    assert_eq!(sockets, [(1, 6), (2, 17), (3, 0)]);
    let udp = ask(Some("192.0.2.7"), None, Some(hints(0, 0, 0, libc::IPPROTO_UDP))).unwrap();
    assert_eq!(udp[0].socket, libc::SOCK_DGRAM);
    let raw = ask(Some("192.0.2.7"), None, Some(hints(0, 0, libc::SOCK_RAW, 58))).unwrap();
    assert_eq!((raw[0].protocol, raw.len()), (58, 1));
}

#[test]
fn without_a_node_it_is_this_machine() {
    let connect = ask(None, Some("80"), stream(0, AF_UNSPEC)).unwrap();
    assert_eq!(connect.len(), 2);
    let four = connect.iter().find(|member| member.family == AF_INET).unwrap();
    assert_eq!(four.bytes[4..8], [127, 0, 0, 1]);
    let listen = ask(None, Some("80"), stream(libc::AI_PASSIVE, AF_INET)).unwrap();
    assert_eq!(listen[0].bytes[..8], [2, 0, 0, 80, 0, 0, 0, 0]);
}

#[test]
fn localhost_is_here() {
    assert_eq!(families(&ask(Some("localhost"), None, stream(0, AF_INET)).unwrap()), [AF_INET]);
    assert!(ask(Some("any.localhost."), None, stream(libc::AI_ADDRCONFIG, AF_UNSPEC)).is_ok());
}

#[test]
fn wrong_questions_have_their_codes() {
    let node = Some("192.0.2.7");
    for (node, service, hints, code) in [
        (None, None, None, libc::EAI_NONAME),
        (node, None, stream(0x4000, AF_UNSPEC), libc::EAI_BADFLAGS),
        (None, Some("1"), stream(libc::AI_CANONNAME, AF_UNSPEC), libc::EAI_BADFLAGS),
        (node, None, stream(0, libc::AF_UNIX), libc::EAI_FAMILY),
        (node, Some("http"), None, libc::EAI_SERVICE),
        (node, Some("65536"), None, libc::EAI_SERVICE),
        (node, None, Some(hints(0, 0, 77, 0)), libc::EAI_SOCKTYPE),
        (node, None, Some(hints(0, 0, libc::SOCK_STREAM, libc::IPPROTO_UDP)), libc::EAI_SOCKTYPE),
        (node, None, stream(0, AF_INET6), libc::EAI_NODATA),
        (Some("localhost"), None, stream(libc::AI_NUMERICHOST, AF_UNSPEC), libc::EAI_NONAME),
        (Some("300.0.0.1"), None, None, libc::EAI_NONAME),
        (Some("a b"), None, None, libc::EAI_NONAME),
        (Some(""), None, None, libc::EAI_NONAME),
    ] {
        assert_eq!(ask(node, service, hints), Err(code), "{node:?} {service:?}");
    }
}

#[test]
fn old_addresses_are_mapped_when_asked_for() {
    let members = ask(Some("192.0.2.7"), None, stream(libc::AI_V4MAPPED, AF_INET6)).unwrap();
    assert_eq!(members[0].bytes[18..24], [0xff, 0xff, 192, 0, 2, 7]);
    let both: [SocketAddr; 2] = ["[::1]:0", "192.0.2.7:0"].map(|text| text.parse().unwrap());
    for (all, expected) in [(false, 1), (true, 2)] {
        let mut addresses = both.to_vec();
        map(&mut addresses, all);
        assert!(addresses.len() == expected && addresses.iter().all(SocketAddr::is_ipv6));
    }
}

/// The linker took ours: glibc would know the service.
#[test]
fn the_standard_library_asks_us() {
    let name = CString::new("localhost").unwrap();
    let mut list = ptr::null_mut();
    // SAFETY: all pointers are of this function, and a list is given back once.
    let code = unsafe { libc::getaddrinfo(name.as_ptr(), c"http".as_ptr(), ptr::null(), &raw mut list) };
    assert_eq!(code, libc::EAI_SERVICE);
    let refused = ("300.0.0.1", 80).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
    assert!(refused.is_err());
    assert_eq!(("192.0.2.7", 80).to_socket_addrs().unwrap().collect::<Vec<_>>().len(), 1);
}
