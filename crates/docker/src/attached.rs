// SPDX-License-Identifier: Apache-2.0
//! The streams of a container on a connection that is no HTTP any more. What it writes comes in pieces with a head of
//! eight bytes: which stream, three zeros, how long. Nothing here waits: whoever has it polls.

use crate::DockerError;
use crate::wire::Wire;
use rustix::event::PollFlags;
use std::io::ErrorKind;
use std::os::fd::BorrowedFd;

/// Which of a container's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Output,
    /// Standard error.
    Errors,
}

/// What an attempt to read gives.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// Bytes of one stream.
    Bytes(Output, Vec<u8>),
    /// Nothing now.
    Nothing,
    /// Nothing ever again.
    End,
}

/// A container's streams.
#[derive(Debug)]
pub struct Attached {
    wire: Wire,
    streams: Streams,
    out: Vec<u8>,
    is_over: bool,
}

impl Attached {
    pub(crate) fn new(mut wire: Wire) -> Result<Attached, DockerError> {
        wire.set_nonblocking()?;
        Ok(Attached { wire, streams: Streams::default(), out: Vec::new(), is_over: false })
    }

    /// What is polled, with [`Attached::wants`].
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.wire.fd()
    }

    /// What to wait for. Whoever can take bytes reads until there are none before waiting.
    pub fn wants(&self) -> PollFlags {
        if self.out.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT }
    }

    /// How many bytes wait to be sent.
    pub fn waiting(&self) -> usize {
        self.out.len()
    }

    /// Bytes for standard input, behind those that wait.
    pub fn queue(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Sends what goes now.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn flush(&mut self) -> Result<(), DockerError> {
        while !self.out.is_empty() {
            match self.wire.write(&self.out) {
                Ok(0) => return Err(self.wire.broken("it was closed")),
                Ok(count) => drop(self.out.drain(..count.min(self.out.len()))),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(self.wire.failed(&error)),
            }
        }
        Ok(())
    }

    /// What the container has written.
    ///
    /// # Errors
    /// When the connection is broken, or what comes are no streams.
    pub fn take(&mut self) -> Result<Taken, DockerError> {
        loop {
            match self.streams.next(self.wire.held()) {
                Some((used, Ok(Some((output, bytes))))) => {
                    self.wire.consume(used);
                    return Ok(Taken::Bytes(output, bytes));
                }
                Some((used, Ok(None))) => self.wire.consume(used),
                Some((_, Err(what))) => return Err(self.wire.garbage(what)),
                None if self.is_over => return Ok(Taken::End),
                None => match self.wire.take_in() {
                    Ok(0) => self.is_over = true,
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Taken::Nothing),
                    Err(error) => return Err(self.wire.failed(&error)),
                },
            }
        }
    }

    /// Why the connection ended, for one that has.
    pub fn why_ended(&mut self) -> DockerError {
        self.wire.broken("it was closed")
    }
}

/// How far the pieces are.
#[derive(Debug, Default)]
struct Streams {
    /// Of the present piece: whose it is, and what is left of it.
    piece: Option<(Output, usize)>,
}

type Step = (usize, Result<Option<(Output, Vec<u8>)>, &'static str>);

impl Streams {
    /// The next step: how many bytes it uses up and what they are; `None` when more are needed.
    fn next(&mut self, held: &[u8]) -> Option<Step> {
        let Some((output, left)) = self.piece else {
            let &[stream, a, b, c, d, e, f, g] = held.get(..8)? else { return None };
            let output = match (stream, [a, b, c]) {
                (1, [0, 0, 0]) => Output::Output,
                (2, [0, 0, 0]) => Output::Errors,
                _ => return Some((0, Err("there is something else than the streams of a container"))),
            };
            let length = usize::try_from(u32::from_be_bytes([d, e, f, g])).unwrap_or(usize::MAX);
            self.piece = (length > 0).then_some((output, length));
            return Some((8, Ok(None)));
        };
        if held.is_empty() {
            return None;
        }
        let bytes = held.get(..left.min(held.len())).unwrap_or_default().to_vec();
        let left = left - bytes.len();
        self.piece = (left > 0).then_some((output, left));
        Some((bytes.len(), Ok(Some((output, bytes)))))
    }
}

#[cfg(test)]
mod tests {
    use super::{Output, Streams};
    use proptest::prelude::{any, prop_assert_eq, proptest};

    /// All bytes of both streams, fed `step` by `step`.
    fn read(mut bytes: &[u8], step: usize) -> Result<(Vec<u8>, Vec<u8>), &'static str> {
        let (mut streams, mut held) = (Streams::default(), Vec::new());
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        loop {
            while let Some((used, step)) = streams.next(&held) {
                match step? {
                    Some((Output::Output, bytes)) => output.extend(bytes),
                    Some((Output::Errors, bytes)) => errors.extend(bytes),
                    None => {}
                }
                held.drain(..used);
            }
            if bytes.is_empty() {
                return Ok((output, errors));
            }
            let (now, later) = bytes.split_at(step.min(bytes.len()));
            held.extend_from_slice(now);
            bytes = later;
        }
    }

    #[test]
    fn pieces_of_two_streams() {
        let bytes = b"\x01\0\0\0\0\0\0\x03abc\x02\0\0\0\0\0\0\x01!\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x01d";
        for step in [1, 3, 100] {
            assert_eq!(read(bytes, step), Ok((b"abcd".to_vec(), b"!".to_vec())));
        }
        assert!(read(b"\x03\0\0\0\0\0\0\x01x", 9).is_err());
        assert!(read(b"hello world", 9).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in any::<Vec<u8>>(), step in 1_usize..9) {
            prop_assert_eq!(read(&bytes, step).is_ok(), read(&bytes, 1000).is_ok());
        }
    }
}
