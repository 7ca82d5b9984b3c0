// SPDX-License-Identifier: Apache-2.0
//! Secrets in what a terminal showed. A shell shows a long or pasted line with colours, moves and second thoughts in
//! between, so secrets are looked for in the bytes and in the text that a person reads in the end.

use event::Screen;

/// Most spaces that nobody typed, in all: what moves the cursor is a few bytes, and the agent has others to serve.
const SPACES_LIMIT: usize = 1 << 14;
/// The width that is meant when none is told.
const USUAL_WIDTH: usize = 80;

/// The pieces as they are, or one with markers in place of secrets. `redact` replaces them and says how many.
pub(super) fn without_secrets(mut pieces: Vec<Screen>, redact: impl Fn(&mut Vec<u8>) -> u32) -> Vec<Screen> {
    let raw: Vec<u8> = pieces.iter().flat_map(|piece| piece.bytes.iter().copied()).collect();
    let width = pieces.last().map_or(0, |piece| piece.columns as usize);
    let mut bytes = raw.clone();
    let mut redacted = redact(&mut bytes);
    let mut text = read(&raw, width);
    let in_text = redact(&mut text);
    // What a person reads goes before what moved the cursor: that may hold the secret a second time.
    if in_text > 0 && text != bytes {
        (bytes, redacted) = (text, in_text);
    }
    if redacted == 0 {
        return pieces;
    }
    let dropped = pieces.iter().map(|piece| piece.dropped).sum();
    let last = pieces.pop().unwrap_or_default();
    vec![Screen { bytes, redacted, dropped, ..last }]
}

/// Lines as they stand when each is over.
fn read(raw: &[u8], width: usize) -> Vec<u8> {
    let mut page = Page {
        width: if width == 0 { USUAL_WIDTH } else { width },
        text: Vec::new(),
        line: Vec::new(),
        at: 0,
        spaces: SPACES_LIMIT,
    };
    let mut rest = raw;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            0x1b => rest = page.escape(after),
            b'\n' => page.end_line(b"\r\n"),
            b'\r' => page.at -= page.at % page.width,
            0x08 => page.at = page.at.saturating_sub(1),
            b'\t' | b' '.. => page.show(byte),
            _ => {}
        }
    }
    page.end_line(b"");
    page.text
}

struct Page {
    width: usize,
    text: Vec<u8>,
    line: Vec<u8>,
    at: usize,
    /// How many spaces may still be put where nothing was shown.
    spaces: usize,
}

impl Page {
    fn show(&mut self, byte: u8) {
        if let Some(gap) = self.at.checked_sub(self.line.len()) {
            let gap = self.spared(gap);
            self.line.resize(self.line.len() + gap + 1, b' ');
            self.at = self.line.len() - 1;
        }
        if let Some(place) = self.line.get_mut(self.at) {
            *place = byte;
        }
        self.at += 1;
    }

    /// As many of so many spaces as there may be.
    fn spared(&mut self, count: usize) -> usize {
        let count = count.min(self.spaces);
        self.spaces -= count;
        count
    }

    fn end_line(&mut self, end: &[u8]) {
        self.text.append(&mut self.line);
        self.text.extend_from_slice(end);
        self.at = 0;
    }

    /// Obeys a control sequence; what comes behind it.
    fn escape<'a>(&mut self, after: &'a [u8]) -> &'a [u8] {
        match after.split_first() {
            Some((b'[', sequence)) => {
                let is_final = |byte: &u8| (0x40..=0x7e).contains(byte);
                let Some(end) = sequence.iter().position(is_final) else { return &[] };
                let (numbers, rest) = sequence.split_at(end);
                if let Some((&last, rest)) = rest.split_first() {
                    self.obey(last, numbers);
                    return rest;
                }
                &[]
            }
            // A title, until its end.
            Some((b']', title)) => {
                let end = title.iter().position(|byte| matches!(byte, 0x07 | 0x1b));
                end.and_then(|end| title.get(end + 1..)).unwrap_or_default()
            }
            Some((_, rest)) => rest,
            None => &[],
        }
    }

    fn obey(&mut self, last: u8, numbers: &[u8]) {
        let number = std::str::from_utf8(numbers).ok().and_then(|text| text.parse::<usize>().ok());
        let count = number.unwrap_or(1);
        let from = self.at.min(self.line.len());
        match last {
            b'A' => self.at = self.at.saturating_sub(count.saturating_mul(self.width)),
            b'C' => self.at = self.at.saturating_add(count),
            b'D' => self.at = self.at.saturating_sub(count),
            b'K' | b'J' if number.unwrap_or(0) == 0 => self.line.truncate(from),
            b'P' => drop(self.line.drain(from..from.saturating_add(count).min(self.line.len()))),
            b'@' => {
                let spaces = std::iter::repeat_n(b' ', self.spared(count));
                self.line.splice(from..from, spaces).for_each(drop);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SPACES_LIMIT, read, without_secrets};
    use event::Screen;
    use redact::{Redactor, Rules};

    fn recorded(pieces: &[&str]) -> (String, usize) {
        let redactor = Redactor::new(&Rules::default()).unwrap();
        let piece = |(at, text): (usize, &&str)| Screen {
            elapsed_ns: at as u64,
            bytes: text.as_bytes().to_vec(),
            columns: 20,
            ..Screen::default()
        };
        let pieces = pieces.iter().enumerate().map(piece).collect();
        let found = without_secrets(pieces, |text| redactor.line(text));
        let text = found.iter().map(|piece| String::from_utf8_lossy(&piece.bytes).into_owned()).collect();
        (text, found.len())
    }

    #[test]
    fn a_secret_is_found_wherever_it_is_split() {
        let line = "export PASSWORD=hunter2hunter2\r\n";
        for at in 1..line.len() {
            let (text, count) = recorded(&[&line[..at], &line[at..]]);
            assert_eq!((text.as_str(), count), ("export PASSWORD=[redacted:14]\r\n", 1), "{at}");
        }
        let bytes: Vec<String> = line.chars().map(String::from).collect();
        let bytes: Vec<&str> = bytes.iter().map(String::as_str).collect();
        assert_eq!(recorded(&bytes).0, "export PASSWORD=[redacted:14]\r\n");
        assert_eq!(recorded(&["l", "s\r\n"]), ("ls\r\n".to_owned(), 2));
    }

    #[test]
    fn also_with_second_thoughts_in_between() {
        for shown in [
            // Typed over the edge of a narrow screen.
            "export PASSWORD=hunt \rer2hunter2\r\n",
            // Pasted, shown in reverse, and once more.
            "export PASSWORD=\x1b[7mhunter2hunter2\x1b[27m\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08hunter2hunter2\r\n",
            // A letter too many, and one that was forgotten.
            "export PASSWORD=huntt\x08\x1b[Ker2hunter2\r\n",
            "export PASSWORD=hnter2hunter2\x1b[12D\x1b[1@u\r\n",
        ] {
            let (text, _) = recorded(&[shown]);
            assert!(text.contains("[redacted:") && !text.contains("unter2"), "{shown:?}: {text:?}");
        }
    }

    #[test]
    fn odd_sequences_end() {
        let odd = b"\x1b[99999999999999999999C\x1b[65535Cx\x1b[\x1b]\x1b[A\x1b[1000000@y\x1b[5Pz\x1b";
        for from in 0..odd.len() {
            assert!(read(&odd[from..], 0).len() <= odd.len() + SPACES_LIMIT);
        }
        // What a program shows that means harm, a whole request of it.
        for odd in ["\x1b[65535Cx", "\x1b[65535Cx\n", "x\x1b[65535@\r"] {
            let shown = odd.repeat((6 << 10) / odd.len());
            assert!(read(shown.as_bytes(), 0).len() <= 2 * shown.len() + SPACES_LIMIT, "{odd:?}");
        }
    }
}
