// SPDX-License-Identifier: Apache-2.0
//! How names are looked up: order, search list, servers in turn, both families, TCP.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use names::{Family, NameError, Resolver};
use tempfile::TempDir;

use crate::server::{A, AAAA, ALIAS, Asked, Server, add, free_address, wire};

/// Every server of these tests listens here, on an address of its own; below the ports the kernel gives away.
const PORT: u16 = 15_353;
/// Nothing that is silent on purpose is waited for longer.
const QUICK: &str = "options timeout:1 attempts:1\n";

/// A root with these two files.
pub(crate) struct Root {
    pub(crate) folder: TempDir,
}

impl Root {
    pub(crate) fn new(hosts: &str, servers: &[&Server], options: &str) -> Root {
        let addresses: Vec<IpAddr> = servers.iter().map(|server| server.address.ip()).collect();
        Root::with(hosts, &addresses, options)
    }

    pub(crate) fn with(hosts: &str, servers: &[IpAddr], options: &str) -> Root {
        let folder = tempfile::tempdir().unwrap();
        let etc = folder.path().join("etc");
        std::fs::create_dir(&etc).unwrap();
        let servers: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
        std::fs::write(etc.join("hosts"), hosts).unwrap();
        std::fs::write(etc.join("resolv.conf"), servers + options).unwrap();
        Root { folder }
    }

    pub(crate) fn resolver(&self) -> Resolver {
        Resolver::at(self.folder.path(), PORT)
    }

    /// The addresses, sorted as text.
    pub(crate) fn find(&self, host: &str) -> Result<Vec<String>, NameError> {
        let mut addresses: Vec<String> =
            self.resolver().resolve(host, 9092)?.iter().map(ToString::to_string).collect();
        addresses.sort();
        Ok(addresses)
    }
}

pub(crate) fn start(script: impl Fn(&Asked) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Server {
    Server::start(PORT, script)
}

/// Knows one name.
fn knows(name: &'static str, addresses: &'static [&'static str]) -> Server {
    start(move |asked| vec![if asked.name == name { asked.addresses(addresses) } else { asked.code(3) }])
}

#[test]
fn both_families_are_found_at_the_end_of_aliases() {
    let server = start(|asked| {
        let mut bytes = asked.code(0);
        add(&mut bytes, &asked.name, ALIAS, &wire("real.example"));
        match asked.kind {
            A => add(&mut bytes, "real.example", A, &[10, 0, 0, 1]),
            _ => add(&mut bytes, "real.example", AAAA, &[0x20; 16]),
        }
        vec![bytes]
    });
    let root = Root::new("", &[&server], "");
    let expected = ["10.0.0.1:9092", "[2020:2020:2020:2020:2020:2020:2020:2020]:9092"];
    assert_eq!(root.find("broker.example").unwrap(), expected);
    assert_eq!(root.resolver().find("broker.example", Family::Any).unwrap().canonical, "real.example");
    assert_eq!(root.resolver().find("broker.example", Family::V4).unwrap().addresses.len(), 1);
    assert_eq!(server.asked().len(), 5);
}

#[test]
fn one_family_is_enough_when_the_other_is_refused_failing_or_silent() {
    for reply in [Some(5), Some(2), Some(4), Some(3), Some(0), None] {
        for lost in [A, AAAA] {
            let server = start(move |asked| match reply {
                Some(code) if asked.kind == lost => vec![asked.code(code)],
                None if asked.kind == lost => vec![],
                _ => vec![asked.addresses(&["10.0.0.1", "2001:db8::1"])],
            });
            let expected = if lost == A { "[2001:db8::1]:9092" } else { "10.0.0.1:9092" };
            let root = Root::new("", &[&server], "");
            assert_eq!(root.find("broker.example").unwrap(), [expected], "{reply:?} to {lost}");
            assert_eq!(server.asked().len(), 2, "nobody is asked again");
        }
    }
}

#[test]
fn servers_are_asked_in_turn() {
    let nobody = free_address();
    let silent = start(|_| vec![]);
    let good = knows("broker.example", &["10.0.0.1"]);
    let servers = [nobody.into(), silent.address.ip(), good.address.ip()];
    let root = Root::with("", &servers, "options timeout:1\n");
    assert_eq!(root.find("broker.example").unwrap(), ["10.0.0.1:9092"]);
    assert_eq!((silent.asked().len(), good.asked().len()), (2, 2));
}

#[test]
fn an_error_says_what_each_server_said() {
    let nobody = free_address();
    let silent = start(|_| vec![]);
    let refusing = start(|asked| vec![asked.code(5)]);
    let servers = [nobody.into(), silent.address.ip(), refusing.address.ip()];
    let root = Root::with("", &servers, QUICK);
    let error = root.find("broker.example").unwrap_err();
    assert!(matches!(error, NameError::Unanswered { .. }), "{error:?}");
    let text = error.to_string();
    for part in [
        "resolving broker.example: ".to_owned(),
        format!("{nobody}:{PORT} on broker.example A: connection refused"),
        format!("{} on broker.example AAAA: timed out", silent.address),
        format!("{} on broker.example A: refused", refusing.address),
        "etc/resolv.conf".to_owned(),
    ] {
        assert!(text.contains(&part), "{part:?} is not in {text:?}");
    }
}

#[test]
fn an_unknown_name_is_told_from_one_without_addresses() {
    let server = start(|asked| vec![asked.code(if asked.name.starts_with("empty.") { 0 } else { 3 })]);
    let root = Root::new("", &[&server], "");
    assert!(matches!(root.find("none.example"), Err(NameError::Unknown { .. })));
    assert!(matches!(root.find("empty.example"), Err(NameError::NoAddress { .. })));
    assert_eq!(server.asked().len(), 4, "no is an answer");
}

#[test]
fn the_search_list_is_gone_through() {
    let server = knows("web.b.example", &["10.0.0.1"]);
    let root = Root::new("", &[&server], "search a.example b.example\n");
    assert_eq!(root.find("web").unwrap(), ["10.0.0.1:9092"]);
    assert_eq!(server.names(A), ["web.a.example", "web.b.example"]);
    assert_eq!(root.resolver().find("web", Family::V4).unwrap().canonical, "web.b.example");
    assert!(root.find("web.").is_err());
    assert_eq!(server.names(AAAA)[2..], ["web"]);
}

#[test]
fn a_failing_server_does_not_change_what_a_name_means() {
    let server = start(|asked| match asked.name.as_str() {
        "web.a.example" => vec![asked.code(2)],
        _ => vec![asked.addresses(&["10.0.0.1"])],
    });
    let root = Root::new("", &[&server], "search a.example b.example\noptions attempts:1\n");
    assert!(matches!(root.find("web"), Err(NameError::Unanswered { .. })));
    assert_eq!(server.names(A), ["web.a.example"]);
}

#[test]
fn a_cut_answer_is_fetched_by_tcp() {
    let addresses: Vec<String> = (0..60).map(|n| format!("10.0.0.{n}")).collect();
    let server = start(move |asked| {
        let all: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let mut bytes = asked.addresses(if asked.tcp { &all } else { &all[..1] });
        bytes[2] |= if asked.tcp { 0 } else { 2 };
        vec![bytes]
    });
    let root = Root::new("", &[&server], "");
    assert_eq!(root.find("many.example").unwrap().len(), 60);
    let root = Root::new("", &[&server], "options use-vc\n");
    let before = server.asked().len();
    assert_eq!(root.find("many.example").unwrap().len(), 60);
    assert!(server.asked()[before..].iter().all(|asked| asked.tcp));
}

#[test]
fn what_was_not_cut_is_used_when_tcp_is_not_there() {
    let address = free_address();
    let socket = UdpSocket::bind((address, PORT)).unwrap();
    let taken = TcpListener::bind((address, PORT)).unwrap();
    drop(taken);
    let root = Root::with("", &[address.into()], QUICK);
    let asking = std::thread::spawn(move || root.resolver().find("many.example", Family::V4));
    let mut bytes = [0; 512];
    let (length, from) = socket.recv_from(&mut bytes).unwrap();
    let mut answer = bytes[..length].to_vec();
    (answer[2], answer[3]) = (0x83, 0x80);
    add(&mut answer, "many.example", A, &[10, 0, 0, 1]);
    socket.send_to(&answer, from).unwrap();
    let found = asking.join().unwrap().unwrap();
    assert_eq!(found.addresses, ["10.0.0.1:0".parse::<SocketAddr>().unwrap()]);
}

#[test]
fn the_hosts_file_comes_first() {
    let server = knows("both.example", &["10.0.0.9", "2001:db8::9"]);
    let root = Root::new("10.0.0.1 both.example\n10.0.0.2 alone x.y\n", &[&server], "search a.example\n");
    assert_eq!(root.find("both.example").unwrap(), ["10.0.0.1:9092"]);
    assert_eq!(root.find("Alone.").unwrap(), ["10.0.0.2:9092"]);
    assert_eq!(root.find("x.y").unwrap(), ["10.0.0.2:9092"]);
    assert_eq!(server.asked().len(), 0);
    let six = root.resolver().find("both.example", Family::V6).unwrap();
    assert_eq!(six.addresses, ["[2001:db8::9]:0".parse::<SocketAddr>().unwrap()]);
}

#[test]
fn what_needs_no_network_uses_none() {
    let server = start(|asked| vec![asked.addresses(&["10.0.0.66", "2001:db8::66"])]);
    let root = Root::new("", &[&server], "search example\noptions ndots:9\n");
    assert_eq!(root.find("localhost").unwrap(), ["127.0.0.1:9092", "[::1]:9092"]);
    assert_eq!(root.find("x.LOCALHOST.").unwrap(), ["127.0.0.1:9092", "[::1]:9092"]);
    assert_eq!(root.find("10.0.0.1").unwrap(), ["10.0.0.1:9092"]);
    assert_eq!(root.find("::ffff:10.0.0.1").unwrap(), ["[::ffff:10.0.0.1]:9092"]);
    let only_four = Root::new("127.0.0.1 localhost\n", &[&server], "");
    let six = only_four.resolver().find("localhost", Family::V6).unwrap();
    assert_eq!(six.addresses, ["[::1]:0".parse::<SocketAddr>().unwrap()]);
    for bad in ["", "10.0.1", "10.0.0.256", "a b", "a..b", "[::1]", &"x".repeat(300)] {
        assert!(matches!(root.find(bad), Err(NameError::BadName { .. })), "{bad}");
    }
    assert_eq!(server.asked().len(), 0);
}

#[test]
fn files_that_are_not_there_are_empty() {
    let folder = tempfile::tempdir().unwrap();
    let resolver = Resolver::at(folder.path(), PORT);
    assert_eq!(resolver.resolve("localhost", 1).unwrap().len(), 2);
    assert!(matches!(resolver.resolve("broker.example", 1), Err(NameError::Unanswered { .. })));
    std::fs::create_dir_all(folder.path().join("etc/hosts")).unwrap();
    let error = resolver.resolve("localhost", 1).unwrap_err();
    assert!(matches!(error, NameError::Read { .. }), "{error:?}");
}

#[test]
fn rotation_begins_with_each_server() {
    let servers = [0, 1, 2].map(|_| knows("broker.example", &["10.0.0.1"]));
    let root = Root::new("", &[&servers[0], &servers[1], &servers[2]], "options rotate\n");
    // Each stays out with a chance of (2/3)^200, which is 10^-35.
    for _ in 0..200 {
        root.find("broker.example").unwrap();
    }
    assert!(servers.iter().all(|server| !server.asked().is_empty()));
}

#[test]
fn a_forger_has_to_guess_id_and_port() {
    let server = knows("broker.example", &["10.0.0.1"]);
    let root = Root::new("", &[&server], "");
    for _ in 0..100 {
        root.find("broker.example").unwrap();
    }
    let asked = server.asked();
    let ids: HashSet<u16> = asked.iter().map(|asked| asked.id).collect();
    let ports: HashSet<u16> = asked.iter().map(|asked| asked.from.port()).collect();
    assert_eq!(asked.len(), 200);
    assert!(ids.len() > 150 && ports.len() > 150, "{} ids, {} ports", ids.len(), ports.len());
}
