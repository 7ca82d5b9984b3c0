// SPDX-License-Identifier: Apache-2.0
//! Just enough HTTP to GET from a runtime's Unix socket: one request per connection. Never keeps
//! more than it is asked for, and never writes.

use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use ::http::{Heads, HttpError};

use crate::LookupError;
use crate::socket::Wire;

/// The answer to a GET, its body still on the wire.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Body,
}

#[derive(Debug)]
pub(crate) struct Body {
    wire: Wire,
    rest: ::http::Body,
    /// How many bytes may still come.
    left: usize,
    limit: usize,
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
    let mut heads = Heads::default();
    loop {
        let (head, used) = heads.take(wire.held()).map_err(|error| garbage(&wire, error))?;
        wire.consume(used);
        if let Some(head) = head {
            let rest = head.body("GET").map_err(|error| garbage(&wire, error))?;
            return Ok(Response { status: head.status, body: Body { wire, rest, left: limit, limit } });
        }
        if !wire.more()? {
            return Err(wire.garbage("it ended early"));
        }
    }
}

fn garbage(wire: &Wire, error: HttpError) -> LookupError {
    wire.garbage(error.words())
}

impl Body {
    /// The next bytes of the body; 0 at its end. May be called again after [`LookupError::TimedOut`].
    pub(crate) fn next(&mut self, out: &mut [u8]) -> Result<usize, LookupError> {
        while !self.rest.is_whole() {
            let held = self.wire.held();
            let part = held.get(..out.len()).unwrap_or(held);
            let (data, used) = self.rest.take(part).map_err(|error| garbage(&self.wire, error))?;
            let count = data.len();
            self.left = self.left.checked_sub(count).ok_or_else(|| self.wire.too_long(self.limit))?;
            for (to, from) in out.iter_mut().zip(data) {
                *to = *from;
            }
            self.wire.consume(used);
            if count > 0 {
                return Ok(count);
            }
            if used == 0 && !self.wire.more()? {
                return if self.rest.may_end() { Ok(0) } else { Err(self.wire.garbage("it ended early")) };
            }
        }
        Ok(0)
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

/// For parsers that stream; the error inside is a [`LookupError`].
impl Read for Body {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() { Ok(0) } else { self.next(out).map_err(io::Error::other) }
    }
}
