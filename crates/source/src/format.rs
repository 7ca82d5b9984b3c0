// SPDX-License-Identifier: Apache-2.0
//! What container runtimes wrap around a line of a container's output: Docker's JSON, or the prefix of
//! CRI. Long lines come in parts, which are put together here, each output for itself.

use crate::lines::RawLine;
use crate::multiline::Piece;
use event::line_flags;
use serde::Deserialize;
use std::borrow::Cow;

/// Longest line of such a file: a part has 16 KiB, as JSON at most six times as much, and what
/// Docker is told to add.
pub(crate) const WRAPPED_LIMIT: usize = 1 << 20;
/// Bytes that Docker cuts longer lines into.
const DOCKER_PART: usize = 16 << 10;
/// Lines that wait for the end of one that began before them.
const WAITING_LIMIT: usize = 1024;
/// Bytes of such lines.
const WAITING_BYTES: usize = 4 << 20;

/// How a file holds its lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// As they were written.
    #[default]
    Plain,
    /// Docker's log driver json-file.
    Docker,
    /// The Container Runtime Interface of Kubernetes: time, output, `P` or `F`, text.
    Cri,
}

/// A line of a container's output, or a part of one.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrapped<'a> {
    /// [`line_flags::STDOUT`] or [`line_flags::STDERR`], or 0 for another one.
    pub stream: u32,
    /// When it was written, nanoseconds since the Unix epoch; 0 when the line does not say.
    pub written_ns: u64,
    /// The text without its line end.
    pub text: Cow<'a, str>,
    /// There is more of it to come.
    pub partial: bool,
}

#[derive(Deserialize)]
struct DockerLine<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow, default)]
    stream: Cow<'a, str>,
    #[serde(borrow, default)]
    time: Cow<'a, str>,
}

impl Format {
    /// Takes off what is around a line.
    ///
    /// # Errors
    /// What is wrong with the line, in words.
    pub fn unwrap<'a>(self, line: &'a [u8]) -> Result<Wrapped<'a>, String> {
        match self {
            Format::Plain => {
                Ok(Wrapped { stream: 0, written_ns: 0, text: String::from_utf8_lossy(line), partial: false })
            }
            Format::Docker => docker(line),
            Format::Cri => cri(line),
        }
    }
}

fn docker(line: &[u8]) -> Result<Wrapped<'_>, String> {
    let found: DockerLine<'_> = serde_json::from_slice(line)
        .map_err(|error| format!("the line is not in the format of Docker's json-file: {error}"))?;
    // Docker says nowhere that a line is a part; it cuts at full buffers only, or where the output ends.
    let partial = !found.log.ends_with('\n') && found.log.len() >= DOCKER_PART;
    let text = match found.log {
        Cow::Borrowed(text) => Cow::Borrowed(trimmed(text)),
        Cow::Owned(text) => Cow::Owned(trimmed(&text).to_string()),
    };
    Ok(Wrapped { stream: stream(&found.stream), written_ns: time(&found.time), text, partial })
}

fn trimmed(text: &str) -> &str {
    match text.strip_suffix('\n') {
        Some(line) => line.strip_suffix('\r').unwrap_or(line),
        None => text,
    }
}

fn cri(line: &[u8]) -> Result<Wrapped<'_>, String> {
    let wrong = || "the line is not in the format of CRI: TIME OUTPUT TAG TEXT".to_string();
    let mut words = line.splitn(4, |&byte| byte == b' ');
    let (Some(when), Some(from), Some(tags)) = (words.next(), words.next(), words.next()) else {
        return Err(wrong());
    };
    let word = |bytes: &'_ [u8]| std::str::from_utf8(bytes).map(str::to_string).map_err(|_| wrong());
    let written_ns = time(&word(when)?);
    // Tags are parted by colons; the first says whether the line ends here.
    let partial = match tags.split(|&byte| byte == b':').next() {
        Some(b"P") => true,
        Some(b"F") => false,
        _ => return Err(wrong()),
    };
    let stream = stream(&word(from)?);
    if written_ns == 0 || stream == 0 {
        return Err(wrong());
    }
    let text = String::from_utf8_lossy(words.next().unwrap_or_default());
    Ok(Wrapped { stream, written_ns, text, partial })
}

fn stream(word: &str) -> u32 {
    match word {
        "stdout" => line_flags::STDOUT,
        "stderr" => line_flags::STDERR,
        _ => 0,
    }
}

fn time(text: &str) -> u64 {
    let time = text.parse::<jiff::Timestamp>().ok();
    time.and_then(|time| u64::try_from(time.as_nanosecond()).ok()).unwrap_or(0)
}

/// Puts the parts of lines together.
///
/// Both outputs share a file, so that the parts of a long line can have others between them. How far a
/// file was read is one number; therefore nothing is given on while a line that began before is not
/// whole, and then all at once.
#[derive(Debug, Default)]
pub(crate) struct Weaver {
    waiting: Vec<(Piece, bool)>,
    bytes: usize,
}

impl Weaver {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a line of the file and gives what is whole by it. `limit`: bytes a text may have.
    pub(crate) fn push(&mut self, format: Format, raw: RawLine, limit: usize) -> Vec<Piece> {
        let bytes = raw.bytes;
        match format.unwrap(&raw.text) {
            Ok(part) => self.add(part, bytes, limit),
            Err(error) => {
                let flags = line_flags::UNWRAPPED;
                let text = raw.text.get(..limit.min(raw.text.len())).unwrap_or_default().to_vec();
                let cut = raw.cut || text.len() < raw.text.len();
                let piece = Piece { text, bytes, cut, lines: 1, error, flags, ..Piece::default() };
                self.hold(piece, true);
            }
        }
        let full = self.waiting.len() > WAITING_LIMIT || self.bytes > WAITING_BYTES;
        if full || self.waiting.iter().all(|(_, whole)| *whole) { self.flush() } else { Vec::new() }
    }

    /// Everything, whole or not, when no more is waited for.
    pub(crate) fn flush(&mut self) -> Vec<Piece> {
        self.bytes = 0;
        std::mem::take(&mut self.waiting).into_iter().map(|(piece, _)| piece).collect()
    }

    fn add(&mut self, part: Wrapped<'_>, bytes: u64, limit: usize) {
        let open = |(piece, whole): &&mut (Piece, bool)| !whole && piece.flags == part.stream;
        let text = part.text.as_bytes();
        let Some((piece, whole)) = self.waiting.iter_mut().find(open) else {
            let mut piece =
                Piece { lines: 1, flags: part.stream, written_ns: part.written_ns, ..Piece::default() };
            piece.bytes = bytes;
            extend(&mut piece, text, limit);
            return self.hold(piece, !part.partial);
        };
        piece.bytes += bytes;
        let before = piece.text.len();
        extend(piece, text, limit);
        self.bytes += piece.text.len() - before;
        *whole = !part.partial;
    }

    fn hold(&mut self, piece: Piece, whole: bool) {
        self.bytes += piece.text.len() + piece.error.len();
        self.waiting.push((piece, whole));
    }
}

/// Appends as much as there is room for, in whole characters.
fn extend(piece: &mut Piece, text: &[u8], limit: usize) {
    let room = limit.saturating_sub(piece.text.len());
    if text.len() <= room && !piece.cut {
        return piece.text.extend_from_slice(text);
    }
    if !piece.cut {
        let head = String::from_utf8_lossy(text);
        let end = head.floor_char_boundary(room);
        piece.text.extend_from_slice(head.get(..end).unwrap_or_default().as_bytes());
    }
    piece.cut = true;
}

#[cfg(test)]
mod tests {
    use super::{Format, Weaver};
    use crate::lines::RawLine;
    use crate::multiline::Piece;
    use event::line_flags::{STDERR, STDOUT, UNWRAPPED};

    fn woven(format: Format, limit: usize, lines: &[&str]) -> (Vec<Piece>, Weaver) {
        let mut weaver = Weaver::default();
        let raw = |line: &&str| RawLine {
            text: line.as_bytes().to_vec(),
            bytes: line.len() as u64 + 1,
            cut: false,
        };
        let out = lines.iter().flat_map(|line| weaver.push(format, raw(line), limit)).collect();
        (out, weaver)
    }

    fn texts(pieces: &[Piece]) -> Vec<&str> {
        pieces.iter().map(|piece| std::str::from_utf8(&piece.text).unwrap()).collect()
    }

    #[test]
    fn docker_s_lines_lose_their_wrapping() {
        let lines = [
            r#"{"log":"hello \"you\"\n","stream":"stdout","time":"2026-01-31T07:00:00.000000001Z"}"#,
            r#"{"log":"tty\r\n","stream":"stderr","attrs":{"tag":"x"},"time":"2026-01-31T07:00:01Z"}"#,
            r#"{"log":"no end","stream":"stdout","time":"2026-01-31T07:00:02Z"}"#,
            r#"{"log":"broken"#,
            "",
        ];
        let (pieces, weaver) = woven(Format::Docker, 100, &lines);
        assert_eq!(texts(&pieces), ["hello \"you\"", "tty", "no end", "{\"log\":\"broken", ""]);
        assert_eq!(
            pieces.iter().map(|piece| piece.flags).collect::<Vec<_>>(),
            [STDOUT, STDERR, STDOUT, UNWRAPPED, UNWRAPPED]
        );
        assert_eq!(pieces[0].written_ns, 1_769_842_800_000_000_001);
        assert!(pieces[3].error.contains("json-file") && weaver.is_empty());
    }

    #[test]
    fn parts_become_lines_each_output_for_itself() {
        let lines = [
            "2026-01-31T07:00:00.5Z stdout P one ",
            "2026-01-31T08:00:01+01:00 stderr F between",
            "2026-01-31T07:00:02Z stderr P late ",
            "2026-01-31T07:00:03Z stdout F two",
            "2026-01-31T07:00:04Z stdout F after",
            "2026-01-31T07:00:05Z stderr F end",
        ];
        let (pieces, weaver) = woven(Format::Cri, 100, &lines);
        assert_eq!(texts(&pieces), ["one two", "between", "late end", "after"]);
        assert_eq!(pieces[0].written_ns, 1_769_842_800_500_000_000);
        assert_eq!(pieces[1].written_ns, 1_769_842_801_000_000_000);
        let whole: usize = lines.iter().map(|line| line.len() + 1).sum();
        assert_eq!(pieces.iter().map(|piece| piece.bytes).sum::<u64>(), whole as u64);
        assert_eq!((weaver.held_bytes(), weaver.is_empty()), (0, true));
        let (early, mut weaver) = woven(Format::Cri, 100, &lines[..5]);
        assert!(early.is_empty() && weaver.held_bytes() > 0, "nothing before its turn");
        assert_eq!(texts(&weaver.flush()), ["one two", "between", "late ", "after"]);
    }

    #[test]
    fn what_is_no_such_line_is_told_and_long_ones_are_cut() {
        for wrong in [
            "",
            "hello",
            "2026-01-31T07:00:00Z stdout X a",
            "soon stdout F a",
            "2026-01-31T07:00:00Z disk F a",
        ] {
            let (pieces, _) = woven(Format::Cri, 100, &[wrong]);
            assert!(pieces.len() == 1 && pieces[0].error.contains("CRI"), "{wrong}: {pieces:?}");
        }
        let (pieces, _) =
            woven(Format::Cri, 100, &["2026-01-31T07:00:00Z stdout F", "2026-01-31T07:00:00Z stdout F:x  a"]);
        assert_eq!(texts(&pieces), ["", " a"]);
        let part = |tag: &str| format!("2026-01-31T07:00:00Z stdout {tag} ab\u{e9}d");
        let (pieces, _) = woven(Format::Cri, 8, &[&part("P"), &part("P"), &part("F")]);
        assert_eq!((texts(&pieces), pieces[0].cut), (vec!["ab\u{e9}dab"], true));
    }

    #[test]
    fn a_line_that_never_ends_holds_up_a_bounded_number() {
        let mut lines = vec!["2026-01-31T07:00:00Z stderr P open"];
        lines.extend(vec!["2026-01-31T07:00:00Z stdout F x"; 3000]);
        let (pieces, weaver) = woven(Format::Cri, 100, &lines);
        assert_eq!(pieces.len(), 3001);
        assert!(weaver.is_empty());
    }
}
