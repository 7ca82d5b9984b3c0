// SPDX-License-Identifier: Apache-2.0
//! Asciicasts, version 2: a line of JSON that says how large the terminal is, then one for each piece.

use event::Screen;
use serde_json::json;
use std::io::{self, Write};

/// One that is being written.
#[derive(Debug)]
pub(super) struct Cast {
    title: String,
    began_ns: u64,
    /// Once the head is written.
    size: Option<(u32, u32)>,
    /// The beginning of a character whose rest comes with the next piece.
    rest: Vec<u8>,
    elapsed_ns: u64,
}

impl Cast {
    pub(super) fn new(title: String, began_ns: u64) -> Cast {
        Cast { title, began_ns, size: None, rest: Vec::new(), elapsed_ns: 0 }
    }

    /// Writes one piece, and before it what comes before it.
    pub(super) fn show(&mut self, screen: &Screen, out: &mut impl Write) -> io::Result<()> {
        // A terminal that never told its size is one of the usual size.
        let usual = |number: u32, usual: u32| if number == 0 { usual } else { number };
        let size = (usual(screen.columns, 80), usual(screen.rows, 24));
        self.elapsed_ns = screen.elapsed_ns;
        match self.size {
            None => {
                let head = json!({
                    "version": 2,
                    "width": size.0,
                    "height": size.1,
                    "timestamp": self.began_ns / 1_000_000_000,
                    "title": self.title,
                });
                writeln!(out, "{head}")?;
            }
            Some(known) if known != size => self.line("r", &format!("{}x{}", size.0, size.1), out)?,
            Some(_) => {}
        }
        self.size = Some(size);
        if screen.dropped > 0 {
            self.line("m", &format!("{} bytes were too many to be kept", screen.dropped), out)?;
        }
        let mut bytes = std::mem::take(&mut self.rest);
        bytes.extend_from_slice(&screen.bytes);
        let whole = whole_characters(&bytes);
        self.rest = bytes.split_off(whole);
        self.line("o", &String::from_utf8_lossy(&bytes), out)
    }

    /// Writes what is left of a character that never came to its end.
    pub(super) fn end(mut self, out: &mut impl Write) -> io::Result<()> {
        let rest = std::mem::take(&mut self.rest);
        if rest.is_empty() { Ok(()) } else { self.line("o", &String::from_utf8_lossy(&rest), out) }
    }

    fn line(&self, kind: &str, text: &str, out: &mut impl Write) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let micros = self.elapsed_ns / 1_000;
        // As a number of JSON with all its digits, which a float would not always have.
        writeln!(out, "[{}.{:06}, {}, {}]", micros / 1_000_000, micros % 1_000_000, json!(kind), json!(text))
    }
}

/// How many bytes from the start are whole characters, or no characters at all.
fn whole_characters(bytes: &[u8]) -> usize {
    match bytes.utf8_chunks().last() {
        // Only a character that could still become one is held back.
        Some(last) if std::str::from_utf8(last.invalid()).is_err_and(|error| error.error_len().is_none()) => {
            bytes.len() - last.invalid().len()
        }
        _ => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::Cast;
    use event::Screen;

    #[test]
    fn pieces_become_lines_and_characters_stay_whole() {
        let mut out = Vec::new();
        let mut cast = Cast::new("5e55 in web by ann".to_string(), 1_700_000_000_000_000_000);
        let piece = |elapsed_ns, bytes: &[u8], columns| Screen {
            elapsed_ns,
            bytes: bytes.to_vec(),
            columns,
            rows: 24,
            ..Screen::default()
        };
        cast.show(&piece(1_500_000, b"$ \xc3", 80), &mut out).unwrap();
        cast.show(&piece(2_000_000_000, b"\xa4\xff\r\n\x1b[1m", 100), &mut out).unwrap();
        cast.show(&Screen { dropped: 7, ..piece(2_100_000_000, b"end\xe2\x82", 100) }, &mut out).unwrap();
        cast.end(&mut out).unwrap();
        let expected = "\
{\"height\":24,\"timestamp\":1700000000,\"title\":\"5e55 in web by ann\",\"version\":2,\"width\":80}
[0.001500, \"o\", \"$ \"]
[2.000000, \"r\", \"100x24\"]
[2.000000, \"o\", \"\u{e4}\u{fffd}\\r\\n\\u001b[1m\"]
[2.100000, \"m\", \"7 bytes were too many to be kept\"]
[2.100000, \"o\", \"end\"]
[2.100000, \"o\", \"\u{fffd}\"]
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
