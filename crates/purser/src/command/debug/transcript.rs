// SPDX-License-Identifier: Apache-2.0
//! What a terminal showed, gathered into pieces, and held back until no secret can be in two parts that the agent gets
//! apart: it looks for secrets in what it gets at once. So a line waits for its end, however slowly it is typed.

use event::Screen;
use std::time::Duration;

/// Most bytes that are sent at once, and so held back; each may take six on the way to the agent, which has a limit for
/// a request.
pub(super) const BYTES: usize = 6 << 10;
/// Most pieces that are sent at once, each with its own time.
const PIECES: usize = 64;
/// How long bytes are gathered for one piece.
pub(super) const GATHER: Duration = Duration::from_millis(100);

/// The heads and tails of a key in text, which has many lines.
const KEY_BEGINS: &[u8] = b"-----BEGIN ";
const KEY_ENDS: &[u8] = b"-----END ";

/// Pieces that wait.
#[derive(Debug, Default)]
pub(super) struct Held {
    pieces: Vec<Screen>,
    length: usize,
}

impl Held {
    /// Takes at most [`BYTES`] bytes, and gives what must not wait any longer for want of room.
    pub(super) fn add(&mut self, piece: Screen) -> Vec<Vec<Screen>> {
        self.length += piece.bytes.len();
        let is_full = self.pieces.len() >= PIECES;
        match self.pieces.last_mut() {
            Some(last) if is_same(last, &piece, is_full) => last.bytes.extend(piece.bytes),
            _ => self.pieces.push(piece),
        }
        let mut out = Vec::new();
        while self.length > BYTES || self.pieces.len() > PIECES {
            let text = self.text();
            let text = text.get(..BYTES).unwrap_or(&text);
            let at = match settled(text) {
                0 => seam(text),
                at => at,
            };
            out.push(self.take(at));
        }
        out
    }

    /// Whole lines.
    pub(super) fn settled(&mut self) -> Option<Vec<Screen>> {
        let at = settled(&self.text());
        (at > 0).then(|| self.take(at))
    }

    /// Everything, because nothing comes any more.
    pub(super) fn rest(&mut self) -> Option<Vec<Screen>> {
        (self.length > 0 || !self.pieces.is_empty()).then(|| self.take(self.length))
    }

    fn text(&self) -> Vec<u8> {
        self.pieces.iter().flat_map(|piece| piece.bytes.iter().copied()).collect()
    }

    /// The first `count` bytes, with the times they came at.
    fn take(&mut self, count: usize) -> Vec<Screen> {
        self.length = self.length.saturating_sub(count);
        let mut left = count;
        let mut taken = Vec::new();
        let mut waiting = Vec::new();
        for mut piece in std::mem::take(&mut self.pieces) {
            if piece.bytes.len() <= left {
                left -= piece.bytes.len();
                taken.push(piece);
                continue;
            }
            let rest = piece.bytes.split_off(left);
            if left > 0 {
                let bytes = std::mem::replace(&mut piece.bytes, rest);
                taken.push(Screen { bytes, ..piece.clone() });
                piece.dropped = 0;
                left = 0;
            } else {
                piece.bytes = rest;
            }
            waiting.push(piece);
        }
        self.pieces = waiting;
        taken
    }
}

/// Whether the times of both need not be told apart; with `is_full` there is no room for another.
fn is_same(last: &Screen, next: &Screen, is_full: bool) -> bool {
    let gather = u64::try_from(GATHER.as_nanos()).unwrap_or(u64::MAX);
    let is_soon = is_full || next.elapsed_ns.saturating_sub(last.elapsed_ns) < gather;
    is_soon && next.dropped == 0 && (last.columns, last.rows) == (next.columns, next.rows)
}

/// How many bytes are whole lines, and no part of a key whose end has not come.
fn settled(text: &[u8]) -> usize {
    let lines = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let lines = text.get(..lines).unwrap_or_default();
    let find = |part: &[u8], wanted: &[u8]| part.windows(wanted.len()).rposition(|window| window == wanted);
    let open = find(lines, KEY_BEGINS).filter(|at| {
        let key = lines.get(*at..).unwrap_or_default();
        find(key, KEY_ENDS).is_none()
    });
    open.unwrap_or(lines.len())
}

/// Where a text without a line end is cut: where the cursor is moved, else at a space, else at its end.
fn seam(text: &[u8]) -> usize {
    let last = |wanted: &[u8]| text.iter().rposition(|byte| wanted.contains(byte)).filter(|at| *at > 0);
    last(b"\x1b\r").or_else(|| last(b" \t")).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::{BYTES, Held, PIECES};
    use event::Screen;

    fn piece(at_ms: u64, text: &str) -> Screen {
        Screen { elapsed_ns: at_ms * 1_000_000, bytes: text.as_bytes().to_vec(), ..Screen::default() }
    }

    fn shown(pieces: &[Screen]) -> String {
        pieces.iter().map(|piece| String::from_utf8_lossy(&piece.bytes).into_owned()).collect()
    }

    #[test]
    fn a_line_waits_for_its_end_wherever_it_is_split() {
        let line = "export TOKEN=hunter2hunter2\n";
        for at in 0..line.len() {
            let mut held = Held::default();
            assert!(held.add(piece(0, &line[..at])).is_empty());
            assert_eq!(held.settled(), None, "{at}");
            assert!(held.add(piece(5000, &format!("{}$ ", &line[at..]))).is_empty());
            let settled = held.settled().unwrap();
            assert_eq!(shown(&settled), line);
            assert_eq!(settled.last().unwrap().elapsed_ns, 5_000_000_000);
            assert_eq!(shown(&held.rest().unwrap()), "$ ");
            assert_eq!(held.rest(), None);
        }
    }

    #[test]
    fn byte_by_byte_and_for_ever() {
        let mut held = Held::default();
        let mut all = String::new();
        for at in 0..3 * BYTES {
            // A bar that goes on and on, with a seam here and there.
            let text = if at % 100 == 99 { "\r" } else { "#" };
            for group in held.add(piece(at as u64 * 200, text)) {
                assert!(group.len() <= PIECES + 1 && shown(&group).len() <= BYTES);
                all += &shown(&group);
            }
            assert!(held.length <= BYTES);
        }
        all += &shown(&held.rest().unwrap());
        assert_eq!(all.len(), 3 * BYTES);
    }

    #[test]
    fn a_key_is_one_piece() {
        let mut held = Held::default();
        held.add(piece(0, "$ cat key\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\n"));
        assert_eq!(shown(&held.settled().unwrap()), "$ cat key\n");
        held.add(piece(900, "abcd\n-----END RSA PRIVATE KEY-----\n$ "));
        assert!(shown(&held.settled().unwrap()).ends_with("KEY-----\n"));
        // One without an end is held back as long as there is room.
        held.add(piece(0, "-----BEGIN X-----\n"));
        assert_eq!(shown(&held.settled().unwrap()), "$ ");
        assert_eq!(held.settled(), None);
    }
}
