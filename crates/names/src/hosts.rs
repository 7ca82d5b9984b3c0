// SPDX-License-Identifier: Apache-2.0
//! The hosts file: lines of an address and its names. It is read as a stream, for some are long lists
//! of names nobody should reach.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;

use crate::settings::address;

const FILE_LIMIT_BYTES: u64 = 64 * 1024 * 1024;
/// What stands beyond it in a line is not looked at.
const LINE_LIMIT_BYTES: u64 = 64 * 1024;
const ADDRESS_LIMIT: usize = 64;

/// What the file says about a name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// In the file's order, without a port.
    pub addresses: Vec<SocketAddr>,
    /// The first name of the first line that has the name.
    pub canonical: Option<String>,
}

/// Looks `name` up in the file; without one nothing is found.
pub fn read(path: &Path, name: &str) -> io::Result<Entry> {
    match File::open(path) {
        Ok(file) => find(BufReader::new(file.take(FILE_LIMIT_BYTES)), name),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Entry::default()),
        Err(error) => Err(error),
    }
}

/// Looks `name` up in the text of a hosts file.
pub fn find(mut text: impl BufRead, name: &str) -> io::Result<Entry> {
    let mut entry = Entry::default();
    let mut line = Vec::new();
    while entry.addresses.len() < ADDRESS_LIMIT
        && text.by_ref().take(LINE_LIMIT_BYTES).read_until(b'\n', &mut line)? > 0
    {
        if line.len() as u64 == LINE_LIMIT_BYTES && line.last() != Some(&b'\n') {
            text.skip_until(b'\n')?;
        }
        if let Ok(line) = std::str::from_utf8(&line) {
            entry.line(line, name);
        }
        line.clear();
    }
    Ok(entry)
}

impl Entry {
    fn line(&mut self, line: &str, name: &str) {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let Some(first) = words.next() else { return };
        let mut names = words.clone();
        if !words.any(|word| word.trim_end_matches('.').eq_ignore_ascii_case(name)) {
            return;
        }
        let Some(address) = address(first, 0) else { return };
        if !self.addresses.contains(&address) {
            self.addresses.push(address);
        }
        if self.canonical.is_none() {
            self.canonical = names.next().map(str::to_owned);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{find, read};
    use std::path::Path;

    const TEXT: &[u8] = b"# who is who\n127.0.0.1 localhost\n::1\tlocalhost ip6-localhost\n\
        10.0.0.7 Broker.example broker # 10.0.0.8 commented\n10.0.0.9 broker\n10.0.0.9 broker\nnonsense broker\n\
        \xff broker\n10.0.0.10";

    fn shown(name: &str) -> (Vec<String>, Option<String>) {
        let entry = find(TEXT, name).unwrap();
        (entry.addresses.iter().map(|address| address.ip().to_string()).collect(), entry.canonical)
    }

    #[test]
    fn finds_every_address_of_a_name() {
        assert_eq!(
            shown("BROKER"),
            (vec!["10.0.0.7".into(), "10.0.0.9".into()], Some("Broker.example".into()))
        );
        assert_eq!(shown("localhost").0, ["127.0.0.1", "::1"]);
        assert_eq!(shown("broker.example").0, ["10.0.0.7"]);
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for name in ["commented", "10.0.0.8", "brok", ""] {
            assert_eq!(shown(name), (vec![], None), "{name}");
        }
        assert_eq!(read(Path::new("/nowhere/hosts"), "x").unwrap().addresses, []);
    }

    #[test]
    fn a_long_line_hides_no_other() {
        let text = format!("10.0.0.1 x{} broker\n10.0.0.2 broker\n", " y".repeat(100_000));
        assert_eq!(find(text.as_bytes(), "broker").unwrap().addresses, ["10.0.0.2:0".parse().unwrap()]);
    }

    #[test]
    fn addresses_are_bounded() {
        let text: String = (0..200).map(|n| format!("10.0.0.{n} many\n")).collect();
        assert_eq!(find(text.as_bytes(), "many").unwrap().addresses.len(), 64);
    }
}
