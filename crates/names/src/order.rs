// SPDX-License-Identifier: Apache-2.0
//! Which address to try first: one that can be reached, IPv6 before IPv4. The short form of RFC 6724,
//! which asks the kernel for the way to each address. Nothing is sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Any port will do to ask for the way.
const PORT: u16 = 65535;

/// Puts the best address first. Among equals the order stays.
pub(crate) fn sort(addresses: &mut [SocketAddr]) {
    if addresses.len() > 1 {
        addresses.sort_by_cached_key(|address| rank(*address, source(*address)));
    }
}

/// Lower is better; `source` is the address we would have towards `address`.
fn rank(address: SocketAddr, source: Option<IpAddr>) -> u8 {
    match (address.ip(), source) {
        (_, None) => 3,
        (IpAddr::V4(_), Some(_)) => 1,
        // From a private network's address the open network is not reached.
        (IpAddr::V6(to), Some(IpAddr::V6(from))) if from.is_unique_local() && !to.is_unique_local() => 2,
        (IpAddr::V6(_), Some(_)) => 0,
    }
}

fn source(address: SocketAddr) -> Option<IpAddr> {
    let socket = match address {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = socket.ok()?;
    let mut address = address;
    address.set_port(PORT);
    socket.connect(address).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::{rank, sort};

    #[test]
    fn what_can_be_reached_comes_first() {
        let rank =
            |to: &str, from: Option<&str>| rank(to.parse().unwrap(), from.map(|from| from.parse().unwrap()));
        let global = rank("[2001:db8::1]:0", Some("2001:db8::2"));
        let private = rank("[fd00::1]:0", Some("fd00::2"));
        let old = rank("192.0.2.1:0", Some("10.0.0.2"));
        let mixed = rank("[2001:db8::1]:0", Some("fd00::2"));
        let none = rank("[2001:db8::1]:0", None);
        assert!(global == private && private < old && old < mixed && mixed < none);
    }

    #[test]
    fn equals_keep_their_order() {
        let mut addresses = ["127.0.0.3:1", "127.0.0.1:1", "127.0.0.2:1"].map(|text| text.parse().unwrap());
        let before = addresses;
        sort(&mut addresses);
        assert_eq!(addresses, before);
    }
}
