// SPDX-License-Identifier: Apache-2.0
//! Lines that belong together, such as a stack trace, joined by a pattern.

use regex::bytes::Regex;
use std::time::Duration;

/// Longest pattern, and most memory it may take compiled.
const PATTERN_BYTES: usize = 4096;
const COMPILED_BYTES: usize = 1 << 20;

/// Compiles a pattern for [`Multiline`].
///
/// # Errors
/// What is wrong with it, in one line.
pub fn pattern(text: &str) -> Result<Regex, String> {
    if text.is_empty() || text.len() > PATTERN_BYTES {
        return Err(format!("a pattern has 1 to {PATTERN_BYTES} bytes"));
    }
    // Lines are bytes, and `\s`, `\d`, `\w` and `\b` mean ASCII.
    let built = regex::bytes::RegexBuilder::new(text).unicode(false).size_limit(COMPILED_BYTES).build();
    built.map_err(|error| error.to_string().lines().last().unwrap_or_default().trim().to_string())
}

/// Where a line that the pattern picks belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// To the line before it.
    After,
    /// To the line behind it.
    Before,
}

/// How lines are joined.
#[derive(Clone, Debug)]
pub struct Multiline {
    /// Picks the lines that belong to another one.
    pub pattern: Regex,
    /// Pick those the pattern does not match.
    pub negate: bool,
    /// Which other one.
    pub side: Side,
    /// Most lines that are joined; of the others only the place is kept.
    pub max_lines: usize,
    /// Time after which no further line is waited for.
    pub timeout: Duration,
}

/// A line on its way, with what its decoding has told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) text: Vec<u8>,
    pub(crate) bytes: u64,
    pub(crate) cut: bool,
    pub(crate) lines: usize,
    pub(crate) json: String,
    pub(crate) error: String,
    /// Bits of [`event::line_flags`] that are known from the start, such as the output.
    pub(crate) flags: u32,
    pub(crate) written_ns: u64,
}

/// Joins the lines of one file.
#[derive(Debug, Default)]
pub(crate) struct Joiner {
    open: Option<Piece>,
}

impl Joiner {
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_none()
    }

    /// Whether it holds a line with other bits, such as of another output.
    pub(crate) fn holds_other(&self, flags: u32) -> bool {
        self.open.as_ref().is_some_and(|open| open.flags != flags)
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.text.len() + open.json.len())
    }

    /// Takes a line and gives what is complete by it. `limit`: bytes the joined text may have.
    pub(crate) fn push(&mut self, how: &Multiline, limit: usize, piece: Piece) -> Option<Piece> {
        let picked = how.pattern.is_match(&piece.text) != how.negate;
        match how.side {
            Side::After if picked && self.open.is_some() => {
                self.join(how, limit, piece);
                None
            }
            Side::After => self.open.replace(piece),
            Side::Before => {
                self.join(how, limit, piece);
                if picked { None } else { self.open.take() }
            }
        }
    }

    /// What is held, when nothing more is waited for.
    pub(crate) fn flush(&mut self) -> Option<Piece> {
        self.open.take()
    }

    fn join(&mut self, how: &Multiline, limit: usize, piece: Piece) {
        let Some(open) = &mut self.open else {
            self.open = Some(piece);
            return;
        };
        open.bytes += piece.bytes;
        open.cut |= piece.cut;
        if open.lines >= how.max_lines || open.text.len() + 1 + piece.text.len() > limit {
            open.cut = true;
            return;
        }
        open.lines += piece.lines;
        open.text.push(b'\n');
        open.text.extend_from_slice(&piece.text);
        if open.json.is_empty() {
            open.json = piece.json;
        }
        if open.error.is_empty() {
            open.error = piece.error;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Joiner, Multiline, Piece, Side};
    use regex::bytes::Regex;
    use std::time::Duration;

    fn joined(pattern: &str, negate: bool, side: Side, lines: &[&str]) -> Vec<(String, u64, bool)> {
        let how = Multiline {
            pattern: Regex::new(pattern).unwrap(),
            negate,
            side,
            max_lines: 3,
            timeout: Duration::from_secs(1),
        };
        let mut joiner = Joiner::default();
        let mut out: Vec<Piece> = Vec::new();
        for line in lines {
            let piece = Piece {
                text: line.as_bytes().to_vec(),
                bytes: line.len() as u64 + 1,
                lines: 1,
                ..Piece::default()
            };
            out.extend(joiner.push(&how, 20, piece));
        }
        out.extend(joiner.flush());
        out.into_iter().map(|p| (String::from_utf8(p.text).unwrap(), p.bytes, p.cut)).collect()
    }

    fn texts(found: &[(String, u64, bool)]) -> Vec<&str> {
        found.iter().map(|(text, ..)| text.as_str()).collect()
    }

    #[test]
    fn joins_by_each_of_the_four_ways() {
        let found = joined(r"^\s", false, Side::After, &["a", " 1", " 2", "b", "c", " 3"]);
        assert_eq!(texts(&found), ["a\n 1\n 2", "b", "c\n 3"]);
        let found = joined(r"^\[", true, Side::After, &["lost", "[a", "1", "[b"]);
        assert_eq!(texts(&found), ["lost", "[a\n1", "[b"]);
        let found = joined(r"\\$", false, Side::Before, &["a\\", "b", "c"]);
        assert_eq!(texts(&found), ["a\\\nb", "c"]);
        let found = joined(r";$", true, Side::Before, &["a", "b;", "c;", "d"]);
        assert_eq!(texts(&found), ["a\nb;", "c;", "d"]);
    }

    #[test]
    fn limits_are_told_and_no_byte_of_the_file_goes_missing() {
        let found = joined(r"^ ", false, Side::After, &["a", " 1", " 2", " 3", "b"]);
        assert_eq!(found, [("a\n 1\n 2".to_string(), 11, true), ("b".to_string(), 2, false)]);
        let found = joined(r"^ ", false, Side::After, &["a", " 123456789012345678901"]);
        assert_eq!(found, [("a".to_string(), 25, true)]);
    }
}
