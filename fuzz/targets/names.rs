// SPDX-License-Identifier: Apache-2.0
//! Answers of name servers, and the files that say where to look.
#![no_main]

use libfuzzer_sys::fuzz_target;
use names::{Kind, Name, hosts, message, settings::Settings};

fuzz_target!(|data: &[u8]| {
    let asked = Name::parse("a.example").expect("a name");
    // What an attacker gets right at once: id, flags, and the question.
    let mut bytes = message::question(7, &asked, Kind::A);
    bytes[2] = 0x80;
    bytes[3] = data.first().copied().unwrap_or_default();
    bytes[6..8].copy_from_slice(&[0, 255]);
    bytes.extend(data);
    for bytes in [&bytes[..], data] {
        if let Ok(answer) = message::answer(bytes, 7, &asked, Kind::A) {
            assert!(answer.addresses.len() <= bytes.len() / 4, "addresses from nowhere");
            assert!(answer.canonical.to_string().len() <= 4 * 255, "a name longer than names are");
        }
    }
    files(data, &asked);
});

fn files(data: &[u8], asked: &Name) {
    let settings = Settings::parse(data, 53);
    assert!((1..=3).contains(&settings.servers.len()), "servers beyond the limit");
    assert!(settings.candidates(asked, false).len() <= 33, "a search list beyond the limit");
    let entry = hosts::find(data, "a").expect("bytes in memory can be read");
    assert!(entry.addresses.len() <= 64, "addresses beyond the limit");
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(name) = Name::parse(text)
    {
        let shown = name.to_string();
        assert_eq!(Name::parse(&shown), Ok(name), "a name that is another when shown");
    }
}
