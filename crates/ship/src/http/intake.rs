// SPDX-License-Identifier: Apache-2.0
//! Takes an HTTP/1.1 answer in pieces as they come. Each byte is looked at once, however small the
//! pieces are, and no more is kept of a body than its limit.

use super::answer::Answer;
use std::time::Duration;

/// Longest head: status line and headers.
const HEAD_LIMIT: usize = 64 << 10;
/// Longest line before a chunk or behind the last one.
const LINE_LIMIT: usize = 1024;
/// Most lines behind the last chunk.
const TRAILER_LIMIT: usize = 64;
/// Most interim answers before the real one.
const INTERIM_LIMIT: usize = 8;
/// Longest wait that a receiver can ask for.
const RETRY_LIMIT: u64 = 600;

/// What comes next.
#[derive(Debug)]
enum Part {
    Head,
    /// So many bytes of the body.
    Known(usize),
    UntilClose,
    ChunkLine,
    /// So many bytes of a chunk, and the line end behind it.
    Chunk(usize),
    ChunkEnd,
    /// So many lines behind the last chunk may still come.
    Trailer(usize),
    Whole,
}

/// An answer of which more may come.
#[derive(Debug)]
pub(super) struct Intake {
    part: Part,
    /// The beginning of the head or of a line whose end has not come yet.
    begun: Vec<u8>,
    answer: Answer,
    /// Longest body.
    limit: usize,
    interim: usize,
    /// Whether there was a byte at all.
    heard: bool,
}

impl Intake {
    /// For an answer of which at most `limit` bytes of the body are wanted.
    pub(super) fn new(limit: usize) -> Intake {
        let (part, begun, answer) = (Part::Head, Vec::new(), Answer::default());
        Intake { part, begun, answer, limit, interim: 0, heard: false }
    }

    /// Whether the receiver has said anything.
    pub(super) fn has_heard(&self) -> bool {
        self.heard
    }

    /// How long the body is so far.
    pub(super) fn kept(&self) -> usize {
        self.answer.body.len()
    }

    /// Takes what came; gives the answer when it is whole, or as long as it may be.
    pub(super) fn take(&mut self, mut input: &[u8]) -> Result<Option<Answer>, String> {
        self.heard |= !input.is_empty();
        while !input.is_empty() && !matches!(self.part, Part::Whole) {
            input = match self.part {
                Part::Head => self.head(input)?,
                Part::Known(left) => {
                    let rest = self.body(input, left);
                    self.part = self.after(left - (input.len() - rest.len()), Part::Known, Part::Whole);
                    rest
                }
                Part::UntilClose => self.body(input, usize::MAX),
                Part::Chunk(left) => {
                    let rest = self.body(input, left);
                    self.part = self.after(left - (input.len() - rest.len()), Part::Chunk, Part::ChunkEnd);
                    rest
                }
                Part::ChunkLine | Part::ChunkEnd | Part::Trailer(_) => self.line(input)?,
                Part::Whole => input,
            };
            if self.answer.cut {
                self.part = Part::Whole;
            }
        }
        if !matches!(self.part, Part::Whole) {
            return Ok(None);
        }
        // What follows belongs to no request: such a connection cannot be trusted any more.
        self.answer.closes |= !input.is_empty() || self.answer.cut;
        Ok(Some(std::mem::take(&mut self.answer)))
    }

    /// The receiver has closed the connection, which may be the end of its answer.
    pub(super) fn end(&mut self) -> Option<Answer> {
        matches!(self.part, Part::UntilClose).then(|| std::mem::take(&mut self.answer))
    }

    fn after(&self, left: usize, part: fn(usize) -> Part, then: Part) -> Part {
        if left > 0 { part(left) } else { then }
    }

    /// Appends at most `most` bytes of `input` to the body, gives the rest back, and says in the
    /// answer when not everything is kept.
    fn body<'a>(&mut self, input: &'a [u8], most: usize) -> &'a [u8] {
        let (part, rest) = input.split_at(most.min(input.len()));
        let room = self.limit - self.answer.body.len();
        self.answer.body.extend_from_slice(part.get(..room).unwrap_or(part));
        self.answer.cut = part.len() > room;
        rest
    }

    fn head<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], String> {
        let before = self.begun.len();
        let (window, _) = input.split_at((HEAD_LIMIT - before).min(input.len()));
        self.begun.extend_from_slice(window);
        let from = before.saturating_sub(3);
        let end = self.begun.get(from..).unwrap_or_default().windows(4).position(|four| four == b"\r\n\r\n");
        let Some(end) = end.map(|at| from + at + 4) else {
            if self.begun.len() >= HEAD_LIMIT {
                return Err(format!("the head of its answer is longer than {HEAD_LIMIT} bytes"));
            }
            if self.begun.len() >= 5 && !self.begun.starts_with(b"HTTP/") {
                return Err("it does not speak HTTP".to_string());
            }
            return Ok(&[]);
        };
        let length = read_head(self.begun.get(..end).unwrap_or_default(), &mut self.answer)?;
        self.begun = Vec::new();
        if (100..200).contains(&self.answer.status) {
            self.interim += 1;
            if self.interim >= INTERIM_LIMIT {
                return Err("it sends interim answers without end".to_string());
            }
        } else {
            self.part = length;
        }
        Ok(input.get(end - before..).unwrap_or_default())
    }

    /// Takes one line, or the part of it that is there.
    fn line<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], String> {
        let end = input.iter().position(|byte| *byte == b'\n').map_or(input.len(), |at| at + 1);
        let (part, rest) = input.split_at(end);
        self.begun.extend_from_slice(part);
        if self.begun.len() > LINE_LIMIT {
            return Err("it sends a chunk without a length".to_string());
        }
        let Some(line) = self.begun.strip_suffix(b"\r\n") else {
            let wrong = matches!(self.part, Part::ChunkEnd) && !b"\r\n".starts_with(&self.begun);
            return match wrong {
                true => Err("it sends a chunk that is longer than it says".to_string()),
                false => Ok(rest),
            };
        };
        self.part = match self.part {
            Part::ChunkEnd if line.is_empty() => Part::ChunkLine,
            Part::ChunkEnd => return Err("it sends a chunk that is longer than it says".to_string()),
            Part::Trailer(_) if line.is_empty() => Part::Whole,
            Part::Trailer(0) => return Err("it sends lines behind its answer without end".to_string()),
            Part::Trailer(left) => Part::Trailer(left - 1),
            _ => match chunk(line)? {
                0 => Part::Trailer(TRAILER_LIMIT),
                size => Part::Chunk(size),
            },
        };
        self.begun.clear();
        Ok(rest)
    }
}

/// The length in the line before a chunk; what stands behind a semicolon means nothing to us.
fn chunk(line: &[u8]) -> Result<usize, String> {
    let size = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let size = std::str::from_utf8(size).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
    size.ok_or_else(|| format!("it sends a chunk of length {:?}", String::from_utf8_lossy(line)))
}

/// Reads status and headers into `answer`, and how the body comes.
fn read_head(head: &[u8], answer: &mut Answer) -> Result<Part, String> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let mut words = first.splitn(3, ' ');
    let version = words.next().unwrap_or_default();
    let status =
        words.next().and_then(|word| word.parse::<u16>().ok()).filter(|status| (100..1000).contains(status));
    let (true, Some(status)) = (version.starts_with("HTTP/1."), status) else {
        return Err("it does not speak HTTP/1.1".to_string());
    };
    *answer = Answer { status, closes: version != "HTTP/1.1", ..Answer::default() };
    let mut length = None;
    for line in lines.filter(|line| !line.is_empty()) {
        let Some((name, value)) = line.split_once(':') else {
            return Err("it sends a header without a colon".to_string());
        };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" if !matches!(length, Some(Part::ChunkLine)) => {
                let known = value.parse::<usize>();
                let known = known.map_err(|_| format!("it announces an answer of {value:?} bytes"))?;
                length = Some(if known > 0 { Part::Known(known) } else { Part::Whole });
            }
            "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => length = Some(Part::ChunkLine),
            "transfer-encoding" => {
                return Err(format!("it sends its answer as {value:?}, which nobody asked for"));
            }
            "content-encoding" if !value.eq_ignore_ascii_case("identity") => {
                return Err(format!("it compresses its answer with {value:?}, which nobody asked for"));
            }
            "connection" if value.eq_ignore_ascii_case("close") => answer.closes = true,
            "location" if (300..400).contains(&status) => answer.location = Some(value.to_string()),
            "retry-after" => {
                answer.retry_after =
                    value.parse().ok().map(|secs: u64| Duration::from_secs(secs.min(RETRY_LIMIT)));
            }
            _ => {}
        }
    }
    let bodyless = status == 204 || status == 304 || status < 200;
    let length = if bodyless { Part::Whole } else { length.unwrap_or(Part::UntilClose) };
    answer.closes |= matches!(length, Part::UntilClose);
    Ok(length)
}

/// The answer at the start of `input`; `None` when it is not whole yet.
#[cfg(any(test, feature = "answers"))]
pub(crate) fn parse(input: &[u8], closed: bool) -> Result<Option<Answer>, String> {
    let mut intake = Intake::new(1 << 20);
    let answer = intake.take(input)?;
    Ok(if closed { answer.or_else(|| intake.end()) } else { answer })
}

#[cfg(test)]
mod tests {
    use super::{Intake, parse};
    use std::time::Duration;

    #[test]
    fn every_beginning_is_waited_for_and_the_whole_is_read() {
        for (text, status, body) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, ""),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nt: 1\r\n\r\n",
                200,
                "hello",
            ),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n", 204, ""),
        ] {
            let mut bytewise = Intake::new(100);
            for end in 0..text.len() {
                assert_eq!(parse(&text.as_bytes()[..end], false), Ok(None), "{end} of {text:?}");
                if end > 0 {
                    assert_eq!(bytewise.take(&text.as_bytes()[end - 1..end]), Ok(None), "{end} of {text:?}");
                }
            }
            let answer = parse(text.as_bytes(), false).unwrap().unwrap();
            assert_eq!(bytewise.take(&text.as_bytes()[text.len() - 1..]), Ok(Some(answer.clone())));
            assert_eq!(
                (answer.status, answer.body.as_slice(), answer.closes),
                (status, body.as_bytes(), false)
            );
            let more = [text.as_bytes(), b"x"].concat();
            assert!(parse(&more, false).unwrap().unwrap().closes);
        }
        let text = b"HTTP/1.0 429 Slow\r\nRetry-After: 7\r\n\r\nlater";
        assert_eq!(parse(text, false), Ok(None));
        let answer = parse(text, true).unwrap().unwrap();
        assert_eq!(
            (answer.status, answer.retry_after, answer.closes),
            (429, Some(Duration::from_secs(7)), true)
        );
        assert_eq!(answer.told(), "429: later");
    }

    #[test]
    fn no_more_is_kept_than_wanted() {
        for text in [
            "HTTP/1.1 500 X\r\ncontent-length: 11\r\n\r\nhello",
            "HTTP/1.1 500 X\r\ntransfer-encoding: chunked\r\n\r\nb\r\nhello",
            "HTTP/1.1 500 X\r\n\r\nhello",
        ] {
            let mut intake = Intake::new(5);
            assert_eq!(intake.take(text.as_bytes()), Ok(None), "{text:?}");
            let answer = intake.take(b" world").unwrap().unwrap();
            assert_eq!((answer.body.as_slice(), answer.closes), (b"hello".as_slice(), true));
            assert_eq!(answer.whole(), Err("its answer is longer than 5 bytes".to_string()));
        }
    }

    #[test]
    fn what_is_no_answer_is_said_and_bounded() {
        for wrong in [
            "SSH-2.0-OpenSSH\r\n",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 abc\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-encoding: br\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc\r\n",
        ] {
            assert!(parse(wrong.as_bytes(), false).is_err(), "{wrong:?}");
        }
        assert!(parse(&[b'H'; 70_000], false).is_err());
        let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(9);
        assert!(parse(interim.as_bytes(), false).is_err());
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        assert!(parse(format!("{head}{}", "1".repeat(2_000)).as_bytes(), false).is_err());
        assert!(parse(format!("{head}0\r\n{}", "a: b\r\n".repeat(100)).as_bytes(), false).is_err());
    }
}
