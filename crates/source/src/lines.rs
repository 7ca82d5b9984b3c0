// SPDX-License-Identifier: Apache-2.0
//! Bytes of a file to lines: where they end, how long they may be, and their text as UTF-8.
//! It takes bytes in pieces of any size and knows no file.

/// How a file writes its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8, and any other encoding that has ASCII's line ends; bytes are kept as they are.
    #[default]
    Utf8,
    /// UTF-16, low byte first.
    Utf16Le,
    /// UTF-16, high byte first.
    Utf16Be,
    /// ISO 8859-1: each byte is the character of its number.
    Latin1,
}

/// One line of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawLine {
    /// Its text without the line end.
    pub text: Vec<u8>,
    /// Bytes of the file it takes, line end included.
    pub bytes: u64,
    /// The text was longer than the limit and its end is left out.
    pub cut: bool,
}

/// Splits a file into lines.
#[derive(Debug)]
pub struct LineDecoder {
    encoding: Encoding,
    limit: usize,
    /// The line in the making, as it stands in the file, at most `limit` bytes and a line end.
    pending: Vec<u8>,
    /// Bytes of that line so far.
    bytes: u64,
    /// Its last byte, which may be left out of `pending`.
    last: u8,
}

impl LineDecoder {
    /// `limit`: bytes of the file a line may have, without its end.
    pub fn new(encoding: Encoding, limit: usize) -> LineDecoder {
        LineDecoder { encoding, limit, pending: Vec::new(), bytes: 0, last: 0 }
    }

    /// Bytes of the line that has no end yet.
    pub fn pending_bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes the next bytes of the file and gives each line that ends in them to `line`.
    pub fn push(&mut self, bytes: &[u8], line: &mut impl FnMut(RawLine)) {
        match self.encoding {
            Encoding::Utf8 | Encoding::Latin1 => self.push_bytes(bytes, line),
            Encoding::Utf16Le => self.push_units(bytes, [b'\n', 0], line),
            Encoding::Utf16Be => self.push_units(bytes, [0, b'\n'], line),
        }
    }

    /// The line that has no end, for a file that gets no more bytes.
    pub fn finish(&mut self) -> Option<RawLine> {
        (self.bytes > 0).then(|| self.take())
    }

    fn push_bytes(&mut self, bytes: &[u8], line: &mut impl FnMut(RawLine)) {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (head, tail) = rest.split_at(end + 1);
            self.hold(head);
            line(self.take());
            rest = tail;
        }
        self.hold(rest);
    }

    fn push_units(&mut self, bytes: &[u8], end: [u8; 2], line: &mut impl FnMut(RawLine)) {
        for &byte in bytes {
            let before = self.last;
            self.hold(&[byte]);
            if self.bytes.is_multiple_of(2) && [before, byte] == end {
                line(self.take());
            }
        }
    }

    fn hold(&mut self, bytes: &[u8]) {
        let room = (self.limit + 2).saturating_sub(self.pending.len());
        self.pending.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
        self.bytes += bytes.len() as u64;
        self.last = bytes.last().copied().unwrap_or(self.last);
    }

    fn take(&mut self) -> RawLine {
        let bytes = std::mem::take(&mut self.bytes);
        let whole = self.pending.len() as u64 == bytes;
        let line_end: &[&[u8]] = match self.encoding {
            Encoding::Utf8 | Encoding::Latin1 => &[b"\n", b"\r"],
            Encoding::Utf16Le => &[b"\n\0", b"\r\0"],
            Encoding::Utf16Be => &[b"\0\n", b"\0\r"],
        };
        let mut text = self.pending.as_slice();
        if whole {
            for end in line_end {
                text = text.strip_suffix(*end).unwrap_or(text);
            }
        }
        let cut = text.len() > self.limit;
        let text = text.get(..self.limit).unwrap_or(text);
        let text = self.decode(text, cut);
        // One huge line must not hold its memory for ever.
        self.pending.clear();
        self.pending.shrink_to(4096);
        RawLine { text, bytes, cut }
    }

    fn decode(&self, bytes: &[u8], cut: bool) -> Vec<u8> {
        let units = |join: fn([u8; 2]) -> u16| {
            let (pairs, _) = bytes.as_chunks::<2>();
            let units = pairs.iter().map(|pair| join(*pair));
            let text: String =
                char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
            text.into_bytes()
        };
        match self.encoding {
            Encoding::Utf8 if cut => whole_characters(bytes).to_vec(),
            Encoding::Utf8 => bytes.to_vec(),
            Encoding::Latin1 => bytes.iter().map(|&byte| char::from(byte)).collect::<String>().into_bytes(),
            Encoding::Utf16Le => units(u16::from_le_bytes),
            Encoding::Utf16Be => units(u16::from_be_bytes),
        }
    }
}

/// Without the start of a character at the end, which a cut may leave.
fn whole_characters(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => bytes.get(..error.valid_up_to()).unwrap_or(bytes),
        _ => bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::{Encoding, LineDecoder, RawLine};
    use proptest::prelude::*;

    fn lines(encoding: Encoding, limit: usize, pieces: &[&[u8]]) -> (Vec<RawLine>, u64) {
        let mut decoder = LineDecoder::new(encoding, limit);
        let mut lines = Vec::new();
        for piece in pieces {
            decoder.push(piece, &mut |line| lines.push(line));
        }
        (lines, decoder.pending_bytes())
    }

    fn texts(lines: &[RawLine]) -> Vec<String> {
        lines.iter().map(|line| String::from_utf8_lossy(&line.text).into_owned()).collect()
    }

    #[test]
    fn splits_lines_whatever_the_pieces() {
        let (found, pending) = lines(Encoding::Utf8, 100, &[b"on", b"e\r", b"\n\ntw", b"o\nthr"]);
        assert_eq!(texts(&found), ["one", "", "two"]);
        assert_eq!(found.iter().map(|line| line.bytes).collect::<Vec<_>>(), [5, 1, 4]);
        assert_eq!(pending, 3);
    }

    #[test]
    fn cuts_long_lines_and_says_so() {
        let (found, _) =
            lines(Encoding::Utf8, 4, &[b"abcd\nabcde\n", b"abcdefghij", b"klm\nab\xc3\xa9\xc3\xa9\n"]);
        assert_eq!(texts(&found), ["abcd", "abcd", "abcd", "ab\u{e9}"]);
        assert_eq!(found.iter().map(|line| line.cut).collect::<Vec<_>>(), [false, true, true, true]);
        assert_eq!(found.iter().map(|line| line.bytes).sum::<u64>(), 5 + 6 + 14 + 7);
    }

    #[test]
    fn reads_the_encodings() {
        let text = "z\u{e9}\u{20ac}\u{1f600}\r\n\u{a0a}\n";
        let utf16 = |order: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(order).collect::<Vec<u8>>();
        for (encoding, bytes) in
            [(Encoding::Utf16Le, utf16(u16::to_le_bytes)), (Encoding::Utf16Be, utf16(u16::to_be_bytes))]
        {
            for cut in 0..bytes.len() {
                let (head, tail) = bytes.split_at(cut);
                let (found, _) = lines(encoding, 100, &[head, tail]);
                assert_eq!(texts(&found), ["z\u{e9}\u{20ac}\u{1f600}", "\u{a0a}"], "{encoding:?} {cut}");
            }
        }
        let (found, _) = lines(Encoding::Latin1, 100, &[b"caf\xe9\n"]);
        assert_eq!(texts(&found), ["caf\u{e9}"]);
    }

    proptest! {
        #[test]
        fn every_byte_is_counted_once(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(0), any::<u8>()], 0..300),
            piece in 1..40_usize, limit in 1..50_usize, which in 0..4_usize,
        ) {
            let encoding = [Encoding::Utf8, Encoding::Utf16Le, Encoding::Utf16Be, Encoding::Latin1][which];
            let pieces: Vec<&[u8]> = bytes.chunks(piece).collect();
            let (found, pending) = lines(encoding, limit, &pieces);
            let whole = lines(encoding, limit, &[&bytes]);
            prop_assert_eq!(found.iter().map(|line| line.bytes).sum::<u64>() + pending, bytes.len() as u64);
            prop_assert_eq!((found, pending), whole);
        }
    }
}
