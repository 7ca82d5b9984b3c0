// SPDX-License-Identifier: Apache-2.0
//! What `/etc/resolv.conf` says: servers, search list, options. What it does not know it passes over,
//! and values beyond glibc's limits become the limit.

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::Path;
use std::time::Duration;

use rustix::net::netdevice::name_to_index;

use crate::message::Name;

const FILE_LIMIT_BYTES: u64 = 64 * 1024;
const SERVER_LIMIT: usize = 3;
const SEARCH_LIMIT: usize = 32;
const DOTS_LIMIT: u64 = 15;
const TIMEOUT_LIMIT_SECS: u64 = 30;
const ATTEMPTS_LIMIT: u64 = 5;

/// How to ask DNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// From one to three, asked in this order.
    pub servers: Vec<SocketAddr>,
    /// Domains below which a name is looked for.
    pub search: Vec<Name>,
    /// A name with fewer dots is looked for below `search` first.
    pub dots: usize,
    /// How long one server has for one question.
    pub timeout: Duration,
    /// How often all servers are asked.
    pub attempts: usize,
    /// Begin with another server each time.
    pub rotate: bool,
    /// Ask by TCP only.
    pub tcp: bool,
}

impl Settings {
    /// Reads the file; without one there is a server on this machine, as glibc has it.
    pub fn read(path: &Path, port: u16) -> io::Result<Settings> {
        let mut text = Vec::new();
        match File::open(path) {
            Ok(file) => file.take(FILE_LIMIT_BYTES).read_to_end(&mut text).map(drop)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(Settings::parse(&text, port))
    }

    /// Understands the text of the file; `port` is that of the servers.
    pub fn parse(text: &[u8], port: u16) -> Settings {
        let mut settings = Settings {
            servers: Vec::new(),
            search: Vec::new(),
            dots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
            tcp: false,
        };
        for line in text.split(|byte| *byte == b'\n') {
            let Ok(line) = std::str::from_utf8(line) else { continue };
            let line = line.split(['#', ';']).next().unwrap_or_default();
            settings.line(line, port);
        }
        if settings.servers.is_empty() {
            settings.servers.push((Ipv4Addr::LOCALHOST, port).into());
        }
        settings
    }

    fn line(&mut self, line: &str, port: u16) {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("nameserver") if self.servers.len() < SERVER_LIMIT => {
                self.servers.extend(words.next().and_then(|word| address(word, port)));
            }
            // The last line of either kind holds.
            Some("domain") => self.search = domains(words.take(1)),
            Some("search") => self.search = domains(words),
            Some("options") => words.for_each(|word| self.option(word)),
            _ => {}
        }
    }

    fn option(&mut self, word: &str) {
        let (name, value) = word.split_once(':').unwrap_or((word, ""));
        let value = value.parse::<u64>().ok();
        match (name, value) {
            ("ndots", Some(value)) => self.dots = value.min(DOTS_LIMIT) as usize,
            ("timeout", Some(value)) => {
                self.timeout = Duration::from_secs(value.clamp(1, TIMEOUT_LIMIT_SECS))
            }
            ("attempts", Some(value)) => self.attempts = value.clamp(1, ATTEMPTS_LIMIT) as usize,
            ("rotate", _) => self.rotate = true,
            ("use-vc", _) => self.tcp = true,
            _ => {}
        }
    }

    /// The names to ask for in place of `name`, in order. One with a dot at its end is asked as it is.
    pub fn candidates(&self, name: &Name, absolute: bool) -> Vec<Name> {
        let mut candidates = Vec::new();
        if !absolute {
            candidates.extend(self.search.iter().filter_map(|domain| name.below(domain).ok()));
        }
        let at = if name.dots() >= self.dots { 0 } else { candidates.len() };
        candidates.insert(at, name.clone());
        candidates
    }
}

fn domains<'a>(words: impl Iterator<Item = &'a str>) -> Vec<Name> {
    words.filter_map(|word| Name::parse(word).ok()).take(SEARCH_LIMIT).collect()
}

/// An address as people write it: IPv6 possibly with an interface, `fe80::1%eth0` or `fe80::1%2`.
pub fn address(text: &str, port: u16) -> Option<SocketAddr> {
    let Some((address, scope)) = text.split_once('%') else {
        return text.parse::<IpAddr>().ok().map(|address| (address, port).into());
    };
    let address: Ipv6Addr = address.parse().ok()?;
    let scope = scope.parse().ok().or_else(|| interface(scope))?;
    Some(SocketAddrV6::new(address, port, 0, scope).into())
}

/// The number of a network interface.
fn interface(name: &str) -> Option<u32> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    name_to_index(&socket, name).ok()
}

#[cfg(test)]
mod tests {
    use super::{Settings, address};
    use crate::message::Name;
    use std::time::Duration;

    fn parse(text: &str) -> Settings {
        Settings::parse(text.as_bytes(), 53)
    }

    fn shown(settings: &Settings, name: &str, absolute: bool) -> Vec<String> {
        let name = Name::parse(name).unwrap();
        settings.candidates(&name, absolute).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_empty_file_means_this_machine() {
        let settings = parse("");
        assert_eq!(settings.servers, ["127.0.0.1:53".parse().unwrap()]);
        assert_eq!((settings.dots, settings.attempts, settings.timeout), (1, 2, Duration::from_secs(5)));
    }

    #[test]
    fn reads_servers_of_both_families_up_to_three() {
        let settings = parse(
            "# a comment\nnameserver 10.0.0.1 ; first\n nameserver\tfe80::53%lo\nnameserver nonsense\nnameserver ::1\nnameserver 10.0.0.4\n",
        );
        let shown: Vec<String> = settings.servers.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.0.0.1:53", "[fe80::53%1]:53", "[::1]:53"]);
    }

    #[test]
    fn numbers_stay_within_their_limits() {
        let settings = parse("options ndots:99 timeout:99 attempts:0 rotate edns0 use-vc ndots:x\n");
        assert_eq!((settings.dots, settings.attempts, settings.timeout), (15, 1, Duration::from_secs(30)));
        assert!(settings.rotate && settings.tcp);
        assert_eq!(parse("options timeout:18446744073709551616").timeout, Duration::from_secs(5));
    }

    #[test]
    fn the_last_of_domain_and_search_holds() {
        let settings = parse("search a.example b.example\ndomain c.example d.example\n");
        assert_eq!(shown(&settings, "web", false), ["web.c.example", "web"]);
        let many = format!("search{}", " x".repeat(99));
        assert_eq!(parse(&many).search.len(), 32);
    }

    #[test]
    fn dots_decide_what_is_asked_first() {
        let settings = parse("search a.example b.example\noptions ndots:2\n");
        assert_eq!(shown(&settings, "web.x", false), ["web.x.a.example", "web.x.b.example", "web.x"]);
        assert_eq!(shown(&settings, "a.b.c", false), ["a.b.c", "a.b.c.a.example", "a.b.c.b.example"]);
        assert_eq!(shown(&settings, "web", true), ["web"]);
        let long = format!("{}x", "x.".repeat(124));
        assert_eq!(shown(&settings, &long, false).len(), 1);
    }

    #[test]
    fn bytes_that_are_no_text_are_passed_over() {
        let settings = Settings::parse(b"nameserver \xff\nnameserver 10.0.0.9\n\0", 5353);
        assert_eq!(settings.servers, ["10.0.0.9:5353".parse().unwrap()]);
    }

    #[test]
    fn addresses_may_name_an_interface() {
        assert_eq!(address("fe80::1%lo", 1), Some("[fe80::1%1]:1".parse().unwrap()));
        assert_eq!(address("fe80::1%7", 1), Some("[fe80::1%7]:1".parse().unwrap()));
        for bad in ["fe80::1%there-is-no-such", "fe80::1%", "10.0.0.1%lo", "10.0.0", "", "[::1]"] {
            assert_eq!(address(bad, 1), None, "{bad}");
        }
    }
}
