// SPDX-License-Identifier: Apache-2.0
//! Just enough HTTP to GET from a runtime's Unix socket: one request per connection, bodies by
//! length, in chunks or to the end. Never keeps more than it is asked for, and never writes.

use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use crate::LookupError;
use crate::socket::Wire;

/// The longest line of a header or of a chunk's size.
const LINE_LIMIT: usize = 8 * 1024;
/// The most header lines.
const HEADERS_LIMIT: usize = 128;

/// The answer to a GET, its body still on the wire.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Body,
}

#[derive(Debug)]
pub(crate) struct Body {
    wire: Wire,
    framing: Framing,
    /// How many bytes may still come.
    left: usize,
    limit: usize,
}

#[derive(Clone, Copy, Debug)]
enum Framing {
    ToEnd,
    Length(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Done,
}

/// Asks for `target`; the whole exchange has `timeout`, and the body at most `limit` bytes.
pub(crate) fn get(
    socket: &Path,
    target: &str,
    timeout: Duration,
    limit: usize,
) -> Result<Response, LookupError> {
    let mut wire = Wire::connect(socket, timeout)?;
    let request = format!("GET {target} HTTP/1.0\r\nHost: localhost\r\nAccept: application/json\r\n\r\n");
    wire.send(request.as_bytes())?;
    let status = status(&line(&mut wire)?).ok_or_else(|| wire.garbage("no HTTP status line"))?;
    let mut framing = Framing::ToEnd;
    for _ in 0..HEADERS_LIMIT {
        let header = line(&mut wire)?;
        if header.is_empty() {
            return Ok(Response { status, body: Body { wire, framing, left: limit, limit } });
        }
        let text = String::from_utf8_lossy(&header).to_ascii_lowercase();
        match text.split_once(':').map(|(name, value)| (name, value.trim())) {
            Some(("transfer-encoding", "chunked")) => framing = Framing::ChunkSize,
            Some(("content-length", length)) if matches!(framing, Framing::ToEnd) => {
                framing = Framing::Length(length.parse().map_err(|_| wire.garbage("no number as length"))?);
            }
            Some(_) => {}
            None => return Err(wire.garbage("a header line without a colon")),
        }
    }
    Err(wire.garbage("too many headers"))
}

/// `HTTP/1.1 200 OK` as 200.
fn status(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.")?.get(1..)?.strip_prefix(b" ")?;
    std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok().filter(|status| (100..600).contains(status))
}

/// One line without its end. Nothing is used up when it fails, so a wait may go on later.
fn line(wire: &mut Wire) -> Result<Vec<u8>, LookupError> {
    loop {
        if let Some(end) = wire.held().iter().position(|&byte| byte == b'\n') {
            let line = wire.held().get(..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line).to_owned();
            wire.consume(end + 1);
            return Ok(line);
        }
        if wire.held().len() > LINE_LIMIT {
            return Err(wire.garbage("an endless line"));
        }
        if !wire.more()? {
            return Err(wire.garbage("the answer ended early"));
        }
    }
}

impl Body {
    /// The next bytes of the body; 0 at its end. May be called again after [`LookupError::TimedOut`].
    pub(crate) fn next(&mut self, out: &mut [u8]) -> Result<usize, LookupError> {
        loop {
            match self.framing {
                Framing::Done => return Ok(0),
                Framing::ToEnd => return self.take(out, u64::MAX),
                Framing::Length(0) => self.framing = Framing::Done,
                Framing::Length(left) => {
                    let count = self.take(out, left)?;
                    self.framing = Framing::Length(left - self.some(count)?);
                    return Ok(count);
                }
                Framing::Chunk(0) => self.framing = Framing::ChunkEnd,
                Framing::Chunk(left) => {
                    let count = self.take(out, left)?;
                    self.framing = Framing::Chunk(left - self.some(count)?);
                    return Ok(count);
                }
                Framing::ChunkEnd => {
                    if !line(&mut self.wire)?.is_empty() {
                        return Err(self.wire.garbage("a chunk longer than it says"));
                    }
                    self.framing = Framing::ChunkSize;
                }
                Framing::ChunkSize => {
                    let text = line(&mut self.wire)?;
                    let size =
                        chunk_size(&text).ok_or_else(|| self.wire.garbage("no number as chunk size"))?;
                    self.framing = if size == 0 { Framing::Done } else { Framing::Chunk(size) };
                }
            }
        }
    }

    fn take(&mut self, out: &mut [u8], most: u64) -> Result<usize, LookupError> {
        if self.wire.held().is_empty() && !self.wire.more()? {
            return Ok(0);
        }
        let held = self.wire.held();
        let count = held.len().min(out.len()).min(usize::try_from(most).unwrap_or(usize::MAX));
        if count > self.left {
            return Err(self.wire.too_long(self.limit));
        }
        for (to, from) in out.iter_mut().zip(held.iter().take(count)) {
            *to = *from;
        }
        self.wire.consume(count);
        self.left -= count;
        Ok(count)
    }

    fn some(&self, count: usize) -> Result<u64, LookupError> {
        if count == 0 { Err(self.wire.garbage("the body ended early")) } else { Ok(count as u64) }
    }

    /// The whole body.
    pub(crate) fn all(mut self) -> Result<Vec<u8>, LookupError> {
        let (mut out, mut part) = (Vec::new(), [0; 4096]);
        loop {
            match self.next(&mut part)? {
                0 => return Ok(out),
                count => out.extend_from_slice(part.get(..count).unwrap_or_default()),
            }
        }
    }

    /// Gives the reads from now on this long.
    pub(crate) fn extend(&mut self, timeout: Duration) {
        self.wire.extend(timeout);
    }

    pub(crate) fn garbage(&self, what: &'static str) -> LookupError {
        self.wire.garbage(what)
    }
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|&byte| byte == b';').next()?.trim_ascii();
    let text = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?;
    u64::from_str_radix(text, 16).ok()
}

/// For parsers that stream; the error inside is a [`LookupError`].
impl Read for Body {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() { Ok(0) } else { self.next(out).map_err(io::Error::other) }
    }
}
