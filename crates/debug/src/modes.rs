// SPDX-License-Identifier: Apache-2.0
//! What a program has changed of the terminal it is shown on and not taken back: an editor's screen, a hidden cursor, a mouse
//! that reports. Whoever leaves the program takes it back, and whoever comes sets it again. Only what makes a terminal
//! unfit for a shell is followed; colours and tabs are not.

/// Changes and how they are taken back, in the order in which a program makes them.
const CHANGES: [(&str, &str); 16] = [
    ("[?47h", "[?47l"),     // the other screen, in three ways
    ("[?1047h", "[?1047l"), //
    ("[?1049h", "[?1049l"), //
    ("[?1h", "[?1l"),       // keys with arrows
    ("=", ">"),             // keys with digits
    ("[>4;2m", "[>4m"),     // keys with ctrl
    ("[?9h", "[?9l"),       // the mouse, in what reports it and how
    ("[?1000h", "[?1000l"), //
    ("[?1002h", "[?1002l"), //
    ("[?1003h", "[?1003l"), //
    ("[?1005h", "[?1005l"), //
    ("[?1006h", "[?1006l"), //
    ("[?1015h", "[?1015l"), //
    ("[?1004h", "[?1004l"), // the window that comes to the front
    ("[?2004h", "[?2004l"), // pastes in brackets
    ("[?25l", "[?25h"),     // a hidden cursor
];
/// The longest sequence that may be one of them.
const SEQUENCE_LIMIT: usize = 64;
const ESCAPE: u8 = 0x1b;

/// Fed with all that a terminal shows.
#[derive(Clone, Debug, Default)]
pub struct Modes {
    /// Which changes are made.
    made: [bool; CHANGES.len()],
    /// A sequence whose end has not come yet, without its first byte.
    sequence: Option<Vec<u8>>,
    in_line: bool,
}

impl Modes {
    /// Takes in what is shown, in whatever pieces.
    pub fn feed(&mut self, shown: &[u8]) {
        if let Some(last) = shown.last() {
            self.in_line = *last != b'\n';
        }
        let mut rest = shown;
        loop {
            let Some(sequence) = &mut self.sequence else {
                let Some(at) = rest.iter().position(|byte| *byte == ESCAPE) else { return };
                rest = rest.get(at + 1..).unwrap_or_default();
                self.sequence = Some(Vec::new());
                continue;
            };
            let Some((&byte, more)) = rest.split_first() else { return };
            rest = more;
            if byte == ESCAPE {
                sequence.clear();
                continue;
            }
            sequence.push(byte);
            let is_open = match sequence.as_slice() {
                [b'['] => true,
                [b'[', ..] => !(0x40..=0x7e).contains(&byte) && sequence.len() < SEQUENCE_LIMIT,
                _ => false,
            };
            if !is_open && let Some(sequence) = self.sequence.take() {
                self.apply(&String::from_utf8_lossy(&sequence));
            }
        }
    }

    fn apply(&mut self, sequence: &str) {
        let several = sequence.strip_prefix("[?").filter(|rest| rest.ends_with(['h', 'l']));
        match several {
            Some(several) => {
                let (numbers, end) = several.split_at(several.len() - 1);
                numbers.split(';').for_each(|number| self.note(&format!("[?{number}{end}")));
            }
            None if sequence == "c" => self.made = Default::default(),
            None if matches!(sequence, "[>4;0m" | "[>4;m") => self.note("[>4m"),
            None => self.note(sequence),
        }
    }

    fn note(&mut self, sequence: &str) {
        for (made, (change, back)) in self.made.iter_mut().zip(CHANGES) {
            *made = (*made || sequence == change) && sequence != back;
        }
    }

    /// What takes all changes back.
    pub fn undo(&self) -> Vec<u8> {
        let mut out = self.told(|(_, back)| back, true);
        if !out.is_empty() {
            out.extend(b"\x1b[m");
        }
        out
    }

    /// What makes them again.
    pub fn redo(&self) -> Vec<u8> {
        self.told(|(change, _)| change, false)
    }

    /// What stands before words of ours, so that they are a line of their own.
    pub fn line_end(&self) -> &'static [u8] {
        if self.in_line { b"\r\n" } else { b"" }
    }

    fn told(&self, which: impl Fn((&'static str, &'static str)) -> &'static str, backwards: bool) -> Vec<u8> {
        let made = self.made.iter().zip(CHANGES).filter(|(made, _)| **made);
        let mut words: Vec<&str> = made.map(|(_, change)| which(change)).collect();
        if backwards {
            words.reverse();
        }
        words.iter().flat_map(|word| [b"\x1b", word.as_bytes()].concat()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Modes;

    fn after(parts: &[&[u8]]) -> Modes {
        let mut modes = Modes::default();
        parts.iter().for_each(|part| modes.feed(part));
        modes
    }

    #[test]
    fn what_an_editor_changes_is_taken_back_in_turn() {
        let begin = b"\x1b[?1049h\x1b[>4;2m\x1b[?1h\x1b=\x1b[?2004h\x1b[31mtext\x1b[?25l\x1b[?12h";
        let back = b"\x1b[?25h\x1b[?2004l\x1b[>4m\x1b>\x1b[?1l\x1b[?1049l\x1b[m";
        let again = b"\x1b[?1049h\x1b[?1h\x1b=\x1b[>4;2m\x1b[?2004h\x1b[?25l";
        for size in [1, 2, 5, begin.len()] {
            let modes = after(&begin.chunks(size).collect::<Vec<_>>());
            assert_eq!((modes.undo(), modes.redo()), (back.to_vec(), again.to_vec()), "in pieces of {size}");
            assert_eq!(after(&[&modes.redo(), &modes.undo()]).undo(), b"");
        }
        let end = b"\x1b[?1;25l\x1b[?2004l\x1b>\x1b[>4;m\x1b[?1049l\x1b[?25h";
        assert_eq!(after(&[begin, end]).undo(), b"");
        assert_eq!(after(&[begin, b"\x1bc"]).undo(), b"");
        assert_eq!(after(&[b"\x1b[?1000;1006h"]).undo(), b"\x1b[?1006l\x1b[?1000l\x1b[m");
    }

    #[test]
    fn what_is_no_change_is_none() {
        let long = [b"\x1b[?".as_slice(), &[b'1'; 1000], b"h"].concat();
        for shown in
            [b"[?1049h".as_slice(), b"\x1b[?1049", b"\x1b]0;title\x07", b"\x1b\x1b", b"\x1b[?\xffh", &long]
        {
            assert_eq!(after(&[shown]).undo(), b"", "{shown:?}");
        }
        // One that is begun anew counts.
        assert_eq!(after(&[b"\x1b[?10\x1b[?25l"]).undo(), b"\x1b[?25h\x1b[m");
    }

    #[test]
    fn whether_a_line_has_ended() {
        let ends = [b"".as_slice(), b"a\r\n", b"# "].map(|shown| after(&[shown]).line_end());
        assert_eq!(ends, [b"".as_slice(), b"", b"\r\n"]);
    }
}
