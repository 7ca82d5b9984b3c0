// SPDX-License-Identifier: Apache-2.0
//! Just enough HTTP/1.1 for a daemon: one request after the other on a connection, bodies by length, in chunks or to
//! the end, a body of unknown length to send, and a connection that becomes something else.

use crate::DockerError;
use crate::wire::Wire;
use std::io::{self, Write};
use std::time::Duration;

/// The longest line of a header or of a chunk's size.
const LINE_LIMIT: usize = 16 << 10;
/// The most header lines.
const HEADERS_LIMIT: usize = 128;
/// The largest piece of a body that is sent.
const PIECE: usize = 64 << 10;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// Whether the connection may be used again.
    pub(crate) is_open: bool,
}

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    framing: Framing,
    is_open: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    ToEnd,
    Length(usize),
    Chunks,
}

/// Asks, with a JSON document if there is one, and takes an answer of at most `limit` bytes.
pub(crate) fn ask(
    wire: &mut Wire,
    method: &str,
    target: &str,
    document: Option<&[u8]>,
    limit: usize,
) -> Result<Answer, DockerError> {
    let length = document.map_or(0, <[u8]>::len);
    let kind = if document.is_some() { "Content-Type: application/json\r\n" } else { "" };
    let mut request =
        format!("{method} {target} HTTP/1.1\r\nHost: docker\r\n{kind}Content-Length: {length}\r\n\r\n")
            .into_bytes();
    request.extend_from_slice(document.unwrap_or_default());
    wire.send(&request)?;
    answer(wire, limit)
}

/// The answer to what was sent.
pub(crate) fn answer(wire: &mut Wire, limit: usize) -> Result<Answer, DockerError> {
    late_answer(wire, Duration::ZERO, limit)
}

/// An answer that may take this long, when that is longer than usual.
pub(crate) fn late_answer(wire: &mut Wire, time: Duration, limit: usize) -> Result<Answer, DockerError> {
    wire.extend_to(time);
    let head = head(wire)?;
    let body = body(wire, &head, limit)?;
    Ok(Answer { status: head.status, body, is_open: head.is_open && head.framing != Framing::ToEnd })
}

/// Asks for the connection itself. After 101, and after 200 from old daemons, all that comes is the other protocol's;
/// anything else is an answer.
pub(crate) fn take_over(wire: &mut Wire, target: &str, limit: usize) -> Result<Option<Answer>, DockerError> {
    let request = format!(
        "POST {target} HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    );
    wire.send(request.as_bytes())?;
    wire.extend_to(Duration::ZERO);
    let head = head(wire)?;
    if matches!(head.status, 101 | 200) {
        return Ok(None);
    }
    let body = body(wire, &head, limit)?;
    Ok(Some(Answer { status: head.status, body, is_open: head.is_open }))
}

fn head(wire: &mut Wire) -> Result<Head, DockerError> {
    loop {
        let head = one_head(wire)?;
        // Such as 100 Continue; the answer itself follows.
        if head.status != 101 && head.status < 200 {
            continue;
        }
        return Ok(head);
    }
}

fn one_head(wire: &mut Wire) -> Result<Head, DockerError> {
    let status = line(wire)?;
    let status = status_of(&status).ok_or_else(|| wire.garbage("there is no HTTP status line"))?;
    let mut head = Head { status, framing: Framing::ToEnd, is_open: true };
    if matches!(status, 204 | 304) {
        head.framing = Framing::Length(0);
    }
    for _ in 0..HEADERS_LIMIT {
        let header = line(wire)?;
        if header.is_empty() {
            return Ok(head);
        }
        if !take_header(&mut head, &header) {
            return Err(wire.garbage("there is a header that makes no sense"));
        }
    }
    Err(wire.garbage("there are too many headers"))
}

/// What a header line says; false for what is none.
fn take_header(head: &mut Head, line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line).to_ascii_lowercase();
    match text.split_once(':').map(|(name, value)| (name, value.trim())) {
        Some(("transfer-encoding", "chunked")) => head.framing = Framing::Chunks,
        Some(("content-length", length)) => match length.parse() {
            Ok(length) if head.framing == Framing::ToEnd => head.framing = Framing::Length(length),
            Ok(_) => {}
            Err(_) => return false,
        },
        Some(("connection", "close")) => head.is_open = false,
        Some(_) => {}
        None => return false,
    }
    true
}

/// `HTTP/1.1 200 OK` as 200.
fn status_of(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.")?.get(1..)?.strip_prefix(b" ")?;
    std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok().filter(|status| (100..600).contains(status))
}

/// One line without its end.
fn line(wire: &mut Wire) -> Result<Vec<u8>, DockerError> {
    loop {
        if let Some(end) = wire.held().iter().position(|&byte| byte == b'\n') {
            let line = wire.held().get(..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line).to_owned();
            wire.consume(end + 1);
            return Ok(line);
        }
        if wire.held().len() > LINE_LIMIT {
            return Err(wire.garbage("there is an endless line"));
        }
        need_more(wire)?;
    }
}

fn need_more(wire: &mut Wire) -> Result<(), DockerError> {
    if wire.more()? { Ok(()) } else { Err(wire.broken("it was closed before the answer was whole")) }
}

fn body(wire: &mut Wire, head: &Head, limit: usize) -> Result<Vec<u8>, DockerError> {
    let mut out = Vec::new();
    match head.framing {
        Framing::Length(length) => take(wire, length, limit, &mut out)?,
        Framing::ToEnd => loop {
            let held = wire.held().len();
            take(wire, held, limit, &mut out)?;
            if !wire.more()? {
                return Ok(out);
            }
        },
        Framing::Chunks => loop {
            let size = line(wire)?;
            let size =
                chunk_size(&size).ok_or_else(|| wire.garbage("there is no number as the size of a chunk"))?;
            if size == 0 {
                // Trailers, of which nobody sends any, and the empty line.
                for _ in 0..HEADERS_LIMIT {
                    if line(wire)?.is_empty() {
                        return Ok(out);
                    }
                }
                return Err(wire.garbage("there are too many headers"));
            }
            take(wire, size, limit, &mut out)?;
            if !line(wire)?.is_empty() {
                return Err(wire.garbage("there is a chunk longer than it says"));
            }
        },
    }
    Ok(out)
}

fn take(wire: &mut Wire, mut count: usize, limit: usize, out: &mut Vec<u8>) -> Result<(), DockerError> {
    if count > limit.saturating_sub(out.len()) {
        return Err(wire.garbage("there is an answer longer than any should be"));
    }
    while count > 0 {
        if wire.held().is_empty() {
            need_more(wire)?;
        }
        let part = wire.held().get(..count.min(wire.held().len())).unwrap_or_default();
        out.extend_from_slice(part);
        let taken = part.len();
        wire.consume(taken);
        count -= taken;
    }
    Ok(())
}

fn chunk_size(line: &[u8]) -> Option<usize> {
    let digits = line.split(|&byte| byte == b';').next()?.trim_ascii();
    let text = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?;
    usize::from_str_radix(text, 16).ok()
}

/// A body of a length that is not known before, in chunks.
#[derive(Debug)]
pub(crate) struct Upload<'a> {
    wire: &'a mut Wire,
    buffer: Vec<u8>,
    /// Why sending failed, which an error of a writer cannot carry.
    failure: Option<DockerError>,
}

impl<'a> Upload<'a> {
    pub(crate) fn begin(wire: &'a mut Wire, target: &str) -> Result<Upload<'a>, DockerError> {
        let request = format!(
            "POST {target} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/x-tar\r\n\
             Transfer-Encoding: chunked\r\n\r\n"
        );
        wire.send(request.as_bytes())?;
        Ok(Upload { wire, buffer: Vec::with_capacity(PIECE), failure: None })
    }

    /// The end of the body. What went wrong on the way is told here.
    pub(crate) fn finish(mut self, written: io::Result<()>) -> Result<(), DockerError> {
        let flushed = written.and_then(|()| self.flush());
        match (self.failure.take(), flushed) {
            (Some(failure), _) => Err(failure),
            (None, Err(source)) => Err(DockerError::Local { doing: "packing the image".into(), source }),
            (None, Ok(())) => self.wire.send(b"0\r\n\r\n"),
        }
    }
}

impl Write for Upload<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(PIECE - self.buffer.len());
        self.buffer.extend_from_slice(bytes.get(..count).unwrap_or_default());
        if self.buffer.len() == PIECE {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let mut piece = format!("{:x}\r\n", self.buffer.len()).into_bytes();
        piece.append(&mut self.buffer);
        piece.extend_from_slice(b"\r\n");
        self.wire.send(&piece).map_err(|error| {
            let text = error.to_string();
            self.failure = Some(error);
            io::Error::other(text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Framing, Head, chunk_size, status_of, take_header};

    #[test]
    fn heads() {
        assert_eq!(status_of(b"HTTP/1.1 101 UPGRADED"), Some(101));
        assert_eq!(status_of(b"HTTP/1.0 200 OK"), Some(200));
        for wrong in ["HTTP/2 200", "HTTP/1.1 20", "HTTP/1.1 999 x", "", "HTTP/1.1200 OK"] {
            assert_eq!(status_of(wrong.as_bytes()), None, "{wrong}");
        }
        let mut head = Head { status: 200, framing: Framing::ToEnd, is_open: true };
        assert!(take_header(&mut head, b"Content-Length: 12"));
        assert_eq!(head.framing, Framing::Length(12));
        assert!(
            take_header(&mut head, b"Transfer-Encoding: chunked")
                && take_header(&mut head, b"Connection: close")
        );
        assert_eq!(head, Head { status: 200, framing: Framing::Chunks, is_open: false });
        assert!(!take_header(&mut head, b"Content-Length: -1") && !take_header(&mut head, b"nonsense"));
    }

    #[test]
    fn sizes_of_chunks() {
        assert_eq!(chunk_size(b"1f;x=y"), Some(31));
        assert_eq!(chunk_size(b"+1"), None);
        assert_eq!(chunk_size(b"fffffffffffffffff"), None);
    }
}
