// SPDX-License-Identifier: Apache-2.0
//! Messages as servers send them, cut, crossed and crafted.

use std::net::IpAddr;

use super::{Answer, BadName, Kind, Name, Unfit, answer, question};

const ID: u16 = 0x1234;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// The head and question of an answer to `broker.example A`, then `records`.
fn message(flags: u16, count: u16, records: &[u8]) -> Vec<u8> {
    let mut bytes = question(ID, &name("broker.example"), Kind::A);
    bytes[2..4].copy_from_slice(&flags.to_be_bytes());
    bytes[6..8].copy_from_slice(&count.to_be_bytes());
    bytes.extend(records);
    bytes
}

fn record(owner: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    let head = [kind.to_be_bytes(), [0, 1], [0, 0], [0, 60]].concat();
    [owner, &head, &(data.len() as u16).to_be_bytes(), data].concat()
}

/// Points to the name in the question.
const ASKED: &[u8] = &[0xc0, 12];

fn read(bytes: &[u8]) -> Result<Answer, Unfit> {
    answer(bytes, ID, &name("broker.example"), Kind::A)
}

fn addresses(bytes: &[u8]) -> Vec<String> {
    read(bytes).unwrap().addresses.iter().map(IpAddr::to_string).collect()
}

#[test]
fn a_question_is_what_the_standard_says() {
    let expected =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06broker\x07example\x00\x00\x1c\x00\x01";
    assert_eq!(question(ID, &name("Broker.example."), Kind::Aaaa), expected);
}

#[test]
fn names_have_limits() {
    let long_label = "x".repeat(64);
    let longest = format!("{0}.{0}.{0}.{1}", "x".repeat(63), "x".repeat(61));
    assert_eq!(longest.len(), 253);
    assert!(Name::parse(&longest).is_ok() && Name::parse(&format!("{longest}.")).is_ok());
    for (text, why) in [
        ("", BadName::Empty),
        (".", BadName::Empty),
        ("a..b", BadName::Empty),
        (".a", BadName::Empty),
        (long_label.as_str(), BadName::LongLabel),
        (format!("{longest}x").as_str(), BadName::Long),
        ("a b", BadName::Character(' ')),
        ("caf\u{e9}", BadName::Character('\u{e9}')),
        ("a\0", BadName::Character('\0')),
    ] {
        assert_eq!(Name::parse(text), Err(why), "{text:?}");
    }
    assert_eq!(name(&longest).below(&name("x")), Err(BadName::Long));
}

#[test]
fn names_that_mean_something_else() {
    for (text, number) in
        [("10.0.0.256", true), ("127.1", true), ("x.0x7f", true), ("1.x", false), ("x1", false)]
    {
        assert_eq!(name(text).ends_in_number(), number, "{text}");
    }
    assert!(name("LocalHost").is_localhost() && name("db.localhost").is_localhost());
    assert!(!name("localhost.example").is_localhost());
}

#[test]
fn addresses_are_read_in_order() {
    let both = [record(ASKED, 1, &[10, 0, 0, 1]), record(ASKED, 1, &[10, 0, 0, 2])].concat();
    assert_eq!(addresses(&message(0x8180, 2, &both)), ["10.0.0.1", "10.0.0.2"]);
    let six = record(ASKED, 28, &[0x20; 16]);
    assert_eq!(addresses(&message(0x8180, 1, &six)), [""; 0]);
}

#[test]
fn aliases_are_followed_in_any_order() {
    let chain = [
        record(b"\x01c\x00", 1, &[10, 0, 0, 3]),
        record(b"\x01B\x00", 5, b"\x01C\x00"),
        record(ASKED, 5, b"\x01b\x00"),
        record(b"\x01d\x00", 1, &[10, 0, 0, 4]),
    ];
    let bytes = message(0x8180, 4, &chain.concat());
    assert_eq!(addresses(&bytes), ["10.0.0.3"]);
    assert_eq!(read(&bytes).unwrap().canonical, name("c"));
}

#[test]
fn aliases_without_an_end_are_malformed() {
    let circle = [record(ASKED, 5, b"\x01b\x00"), record(b"\x01b\x00", 5, ASKED)].concat();
    assert_eq!(read(&message(0x8180, 2, &circle)), Err(Unfit::Malformed("its aliases have no end")));
    let chain = |length: u8| -> Vec<u8> {
        let first = record(ASKED, 5, &[1, 0, 0]);
        (0..length).fold(first, |all, n| [all, record(&[1, n, 0], 5, &[1, n + 1, 0])].concat())
    };
    assert!(read(&message(0x8180, 16, &chain(15))).is_ok());
    assert!(read(&message(0x8180, 17, &chain(16))).is_err());
}

#[test]
fn what_answers_another_question_is_not_ours() {
    let good = message(0x8180, 1, &record(ASKED, 1, &[10, 0, 0, 1]));
    assert!(read(&good).is_ok());
    let end = 12 + b"\x06broker\x07example\x00".len();
    // id, a question, another operation, number of questions, name, kind, class
    for (at, byte) in [(1, 0), (2, 0x01), (2, 0x89), (5, 0), (5, 2), (13, b'x'), (end + 1, 28), (end + 3, 3)]
    {
        let mut other = good.clone();
        other[at] = byte;
        assert_eq!(read(&other), Err(Unfit::NotOurs), "{at}");
    }
    let mut shouted = good.clone();
    shouted[13] = b'B';
    assert_eq!(read(&shouted), read(&good));
}

#[test]
fn every_cut_is_noticed() {
    let good = message(0x8180, 1, &record(ASKED, 1, &[10, 0, 0, 1]));
    for length in 0..good.len() {
        assert!(read(&good[..length]).is_err(), "{length}");
    }
    let truncated = message(0x8380, 2, &record(ASKED, 1, &[10, 0, 0, 1]));
    let answer = read(&truncated).unwrap();
    assert!(answer.truncated && answer.addresses.len() == 1);
}

#[test]
fn pointers_only_go_back() {
    let at = question(ID, &name("broker.example"), Kind::A).len() as u8;
    for owner in [[0xc0, at], [0xc0, at + 1], [0xff, 0xff], [0x80, 1], [0x40, 1]] {
        let bytes = message(0x8180, 1, &record(&owner, 1, &[10, 0, 0, 1]));
        assert_eq!(read(&bytes), Err(Unfit::Malformed("it ends within a record")), "{owner:?}");
    }
    // Two pointers that point to each other.
    let crossed = [&[1, b'a', 0xc0, at + 4], &[0xc0, at][..]].concat();
    assert!(read(&message(0x8180, 1, &crossed)).is_err());
}

#[test]
fn records_that_lie_are_malformed() {
    let short = message(0x8180, 1, &record(ASKED, 1, &[10, 0, 0]));
    assert_eq!(read(&short), Err(Unfit::Malformed("an address of a wrong length")));
    for target in [&b""[..], b"\x01b", b"\x01b\x00x", b"\xc0"] {
        let alias = message(0x8180, 1, &record(ASKED, 5, target));
        assert_eq!(read(&alias), Err(Unfit::Malformed("an alias without a name")), "{target:?}");
    }
}

#[test]
fn a_name_with_any_byte_is_shown_and_is_no_host() {
    let odd = message(0x8180, 1, &record(ASKED, 5, b"\x03a\n.\x00"));
    let canonical = read(&odd).unwrap().canonical;
    assert!(!canonical.is_host());
    assert_eq!(canonical.to_string(), "a\\n.");
}

#[test]
fn many_records_are_bounded() {
    let many: Vec<u8> = (0..2000).flat_map(|_| record(ASKED, 1, &[10, 0, 0, 1])).collect();
    assert_eq!(addresses(&message(0x8180, 2000, &many)).len(), 64);
}
