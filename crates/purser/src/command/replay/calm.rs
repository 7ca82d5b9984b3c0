// SPDX-License-Identifier: Apache-2.0
//! What a recorded program may do to the terminal of who looks at it: draw. Left out is what asks the terminal something,
//! for its answer would be typed at the shell afterwards; what gives it something to keep, such as a clipboard or a title; and
//! what changes what keys and the mouse send.

/// The longest sequence that is waited for; a longer one is none.
const SEQUENCE_LIMIT: usize = 256;
/// Modes in which the terminal sends more than what is typed: mouse, focus, pasted text, sizes, colours.
const TELLING: [&str; 12] =
    ["9", "1000", "1001", "1002", "1003", "1004", "1005", "1006", "1015", "1016", "2004", "2031"];
/// The second page of a terminal, which full-screen programs draw on.
const PAGES: [&str; 3] = ["47", "1047", "1049"];

/// Where in the bytes it is. A sequence may be in two pieces.
#[derive(Debug, Default)]
enum State {
    #[default]
    Text,
    /// Behind an ESC, with what stood between.
    Escape,
    /// Behind the first byte of a control character in two.
    Wide,
    /// In a control sequence.
    Sequence,
    /// In a string for the terminal.
    String,
}

/// Passes on what draws.
#[derive(Debug, Default)]
pub(super) struct Calm {
    state: State,
    held: Vec<u8>,
    is_on_second_page: bool,
    has_no_cursor: bool,
}

impl Calm {
    pub(super) fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            self.take(byte, &mut out);
        }
        out
    }

    /// What puts a terminal back to text on its first page.
    pub(super) fn end(&self) -> Vec<u8> {
        let mut out = b"\x1b[0m".to_vec();
        out.extend(self.is_on_second_page.then_some(b"\x1b[?1049l").into_iter().flatten());
        out.extend(self.has_no_cursor.then_some(b"\x1b[?25h").into_iter().flatten());
        out
    }

    fn take(&mut self, byte: u8, out: &mut Vec<u8>) {
        match (&self.state, byte) {
            // It ends a string, too, whatever comes then.
            (_, 0x1b) => (self.state, self.held) = (State::Escape, vec![byte]),
            (State::String, 0x07 | 0x18 | 0x1a) => self.state = State::Text,
            (State::String, _) => {}
            (State::Escape, b'[') => self.go(State::Sequence, byte),
            (State::Escape, b']' | b'P' | b'X' | b'^' | b'_') => self.state = State::String,
            // "Who are you?", and what ends a string.
            (State::Escape, b'Z' | b'\\') => self.state = State::Text,
            (State::Escape, 0x20..=0x2f) => self.go(State::Escape, byte),
            (State::Escape, 0x30..=0x7e) => self.let_go(byte, out),
            (State::Sequence, 0x20..=0x3f) => self.go(State::Sequence, byte),
            (State::Sequence, 0x40..=0x7e) => {
                if self.draws(byte) {
                    self.let_go(byte, out);
                }
                self.state = State::Text;
            }
            // Those are obeyed in the middle of a sequence, too.
            (State::Escape | State::Sequence, 0x08..=0x0d) => out.push(byte),
            (State::Escape | State::Sequence, _) => self.state = State::Text,
            // ESC and a letter, in the two bytes that UTF-8 has for them.
            (State::Wide, 0x80..=0x9f) => self.state = State::Text,
            (State::Wide, _) => {
                out.push(0xc2);
                self.state = State::Text;
                self.take(byte, out);
            }
            (State::Text, 0xc2) => self.state = State::Wide,
            // "Answer me".
            (State::Text, 0x05) => {}
            (State::Text, _) => out.push(byte),
        }
    }

    fn go(&mut self, state: State, byte: u8) {
        self.held.push(byte);
        self.state = if self.held.len() > SEQUENCE_LIMIT { State::Text } else { state };
    }

    fn let_go(&mut self, byte: u8, out: &mut Vec<u8>) {
        out.append(&mut self.held);
        out.push(byte);
        self.state = State::Text;
    }

    /// Whether the sequence that ends so only draws.
    fn draws(&mut self, last: u8) -> bool {
        let inner = self.held.get(2..).unwrap_or_default();
        let has = |wanted: u8| inner.contains(&wanted);
        let is_private = inner.first().is_some_and(|first| (0x3c..=0x3f).contains(first));
        match last {
            b'h' | b'l' if has(b'?') => {
                let modes = String::from_utf8_lossy(inner.get(1..).unwrap_or_default()).into_owned();
                let mut modes = modes.split(';');
                let is_set = last == b'h';
                self.is_on_second_page = match modes.clone().any(|mode| PAGES.contains(&mode)) {
                    true => is_set,
                    false => self.is_on_second_page,
                };
                self.has_no_cursor = match modes.clone().any(|mode| mode == "25") {
                    true => !is_set,
                    false => self.has_no_cursor,
                };
                !modes.any(|mode| TELLING.contains(&mode))
            }
            b'h' | b'l' => true,
            // The set-up of a cursor's form; with another prefix it is a question.
            b'q' => !is_private,
            // A reset of what was drawn with; with a dollar it is a question.
            b'p' => has(b'!'),
            b'c' | b'i' | b'n' | b't' | b'w' | b'x' | b'y' | b'|' => false,
            b'm' | b'u' | b'S' => !is_private,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Calm;

    fn pass(bytes: &[u8]) -> Vec<u8> {
        let whole = Calm::default().pass(bytes);
        // The same in pieces of one.
        let mut calm = Calm::default();
        let pieces: Vec<u8> = bytes.iter().flat_map(|byte| calm.pass(&[*byte])).collect();
        assert_eq!(whole, pieces);
        whole
    }

    #[test]
    fn what_draws_is_as_it_was() {
        for text in [
            "plain\r\n\ttext\x07\x08",
            "\x1b[1;31mred\x1b[0m\x1b[K\x1b[2J\x1b[H\x1b[3;4H\x1b[?25l\x1b[?1049h\x1b[?7h\x1b[4h",
            "\x1b7\x1b8\x1bM\x1b(0lqk\x1b(B\x1b=\x1b>\x1b[2 q\x1b[!p\x1b[r\x1b[5S\x1b[u",
            "grün \u{bd} \u{a3} \u{2591} \u{1f980} \u{a0}",
        ] {
            assert_eq!(pass(text.as_bytes()), text.as_bytes(), "{text:?}");
        }
        assert_eq!(pass(b"\xff\xc2\xc2x\x80"), b"\xff\xc2\xc2x\x80");
    }

    #[test]
    fn what_asks_or_leaves_something_is_left_out() {
        for odd in [
            "\x1b[6n",
            "\x1b[?6n",
            "\x1b[c",
            "\x1b[>0c",
            "\x1b[=c",
            "\x1bZ",
            "\x05",
            "\x1b[21t",
            "\x1b[8;500;500t",
            "\x1b[x",
            "\x1b[>q",
            "\x1b[?2026$p",
            "\x1b[?u",
            "\x1b[>1u",
            "\x1b[>4;2m",
            "\x1b[?4m",
            "\x1b[5i",
            "\x1b[1;1;1;1;1;1*y",
            "\x1b[?1;1;0S",
            "\x1b[?1000h",
            "\x1b[?1002;1006h",
            "\x1b[?2004h",
            "\x1b]0;title\x07",
            "\x1b]52;c;aGk=\x1b\\",
            "\x1b]10;?\x07",
            "\x1bP$q\"p\x1b\\",
            "\x1bP+q544e\x1b\\",
            "\x1b_Ga=q;AAAA\x1b\\",
            "\x1b^pm\x1b\\",
            "\u{9b}6n\u{9d}",
        ] {
            let passed = String::from_utf8(pass(format!("<{odd}>").as_bytes())).unwrap();
            let rest = if odd.contains('\u{9b}') { "<6n>" } else { "<>" };
            assert_eq!(passed, rest, "{odd:?}");
        }
        // A sequence without an end, and one within another.
        assert_eq!(pass(&[b"\x1b[".as_slice(), &[b'1'; 400]].concat()).len(), 400 - 255);
        assert_eq!(pass(b"\x1b[3\x1b[6nx\x1b]0;a\x1b[6ny"), b"xy");
    }

    #[test]
    fn the_terminal_is_put_back() {
        let mut calm = Calm::default();
        calm.pass(b"\x1b[?1049h\x1b[?25l");
        assert_eq!(calm.end(), b"\x1b[0m\x1b[?1049l\x1b[?25h");
        calm.pass(b"\x1b[?25h\x1b[?1049l");
        assert_eq!(calm.end(), b"\x1b[0m");
    }
}
