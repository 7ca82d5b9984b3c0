// SPDX-License-Identifier: Apache-2.0
//! A connection to a runtime's Unix socket on which nothing waits longer than it may: neither the
//! connect to a full backlog, nor a write, nor an answer that comes one byte at a time.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::LookupError;

/// The most bytes taken from the socket at once.
const READ_BYTES: usize = 16 * 1024;

/// A connected socket with a deadline, and the bytes that came ahead of their use.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: UnixStream,
    socket: PathBuf,
    /// When the exchange must be over.
    deadline: Instant,
    held: Vec<u8>,
    used: usize,
}

impl Wire {
    /// Connects; the whole exchange has `timeout`.
    pub(crate) fn connect(socket: &Path, timeout: Duration) -> Result<Wire, LookupError> {
        let fail = |errno: rustix::io::Errno| match errno {
            rustix::io::Errno::AGAIN => LookupError::TimedOut { socket: socket.into() },
            _ => LookupError::Connect { socket: socket.into(), source: errno.into() },
        };
        let deadline = Instant::now() + timeout;
        let address = SocketAddrUnix::new(socket).map_err(fail)?;
        let fd =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .map_err(fail)?;
        // The send timeout also bounds a connect to a socket whose backlog is full.
        set_socket_timeout(&fd, Timeout::Send, Some(timeout)).map_err(fail)?;
        rustix::net::connect(&fd, &address).map_err(fail)?;
        Ok(Wire { stream: fd.into(), socket: socket.into(), deadline, held: Vec::new(), used: 0 })
    }

    /// Gives the rest of the exchange this long from now.
    pub(crate) fn extend(&mut self, timeout: Duration) {
        self.deadline = Instant::now() + timeout;
    }

    pub(crate) fn send(&mut self, mut bytes: &[u8]) -> Result<(), LookupError> {
        while !bytes.is_empty() {
            let left = self.left()?;
            self.stream.set_write_timeout(Some(left)).map_err(|source| self.broken(source))?;
            match self.stream.write(bytes) {
                Ok(0) => return Err(self.garbage("the connection was closed")),
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.broken(error)),
            }
        }
        Ok(())
    }

    /// Bytes that came and are not used yet.
    pub(crate) fn held(&self) -> &[u8] {
        self.held.get(self.used..).unwrap_or_default()
    }

    /// Marks held bytes as used.
    pub(crate) fn consume(&mut self, count: usize) {
        self.used = (self.used + count).min(self.held.len());
    }

    /// Waits for more bytes; `false` at the end. Held bytes stay when it fails.
    pub(crate) fn more(&mut self) -> Result<bool, LookupError> {
        if self.used > 0 {
            self.held.drain(..self.used);
            self.used = 0;
        }
        let start = self.held.len();
        loop {
            let left = self.left()?;
            self.stream.set_read_timeout(Some(left)).map_err(|source| self.broken(source))?;
            self.held.resize(start + READ_BYTES, 0);
            let got = self.stream.read(self.held.get_mut(start..).unwrap_or_default());
            self.held.truncate(start + got.as_ref().map_or(0, |count| *count));
            match got {
                Ok(count) => return Ok(count > 0),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.broken(error)),
            }
        }
    }

    /// Waits until at least `count` bytes are held.
    pub(crate) fn need(&mut self, count: usize) -> Result<(), LookupError> {
        while self.held().len() < count {
            if !self.more()? {
                return Err(self.garbage("it ended early"));
            }
        }
        Ok(())
    }

    pub(crate) fn garbage(&self, what: &'static str) -> LookupError {
        LookupError::Garbage { socket: self.socket.clone(), what }
    }

    pub(crate) fn too_long(&self, limit: usize) -> LookupError {
        LookupError::TooLong { socket: self.socket.clone(), limit }
    }

    fn left(&self) -> Result<Duration, LookupError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(LookupError::TimedOut { socket: self.socket.clone() }) } else { Ok(left) }
    }

    fn broken(&self, source: std::io::Error) -> LookupError {
        match source.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                LookupError::TimedOut { socket: self.socket.clone() }
            }
            _ => LookupError::Talk { socket: self.socket.clone(), source },
        }
    }
}
