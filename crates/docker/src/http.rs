// SPDX-License-Identifier: Apache-2.0
//! Just enough HTTP/1.1 for a daemon: one request after the other on a connection, a body of unknown length to send,
//! and a connection that becomes something else.

use crate::DockerError;
use crate::wire::Wire;
use ::http::{Head, Heads, HttpError};
use std::io::{self, Write};
use std::time::Duration;

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
    read(wire, &head, limit)
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
    read(wire, &head, limit).map(Some)
}

fn head(wire: &mut Wire) -> Result<Head, DockerError> {
    let mut heads = Heads::default();
    loop {
        let (head, used) = heads.take(wire.held()).map_err(|error| garbage(wire, error))?;
        wire.consume(used);
        match head {
            Some(head) => return Ok(head),
            None if wire.more()? => {}
            None => return Err(early(wire)),
        }
    }
}

/// The answer behind its head, of at most `limit` bytes.
fn read(wire: &mut Wire, head: &Head, limit: usize) -> Result<Answer, DockerError> {
    // No request of ours is answered without a body because of its method.
    let mut body = head.body("GET").map_err(|error| garbage(wire, error))?;
    let mut out = Vec::new();
    let mut left = limit;
    if body.length().is_some_and(|length| length > limit as u64) {
        return Err(too_long(wire));
    }
    while !body.is_whole() {
        let (data, used) = body.take(wire.held()).map_err(|error| garbage(wire, error))?;
        left = left.checked_sub(data.len()).ok_or_else(|| too_long(wire))?;
        out.extend_from_slice(data);
        wire.consume(used);
        if used == 0 && !wire.more()? {
            if body.may_end() {
                break;
            }
            return Err(early(wire));
        }
    }
    Ok(Answer { status: head.status, body: out, is_open: body.keeps() })
}

fn garbage(wire: &Wire, error: HttpError) -> DockerError {
    wire.garbage(error.words())
}

fn too_long(wire: &Wire) -> DockerError {
    wire.garbage("there is an answer longer than any should be")
}

fn early(wire: &mut Wire) -> DockerError {
    wire.broken("it was closed before the answer was whole")
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
