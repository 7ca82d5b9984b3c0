// SPDX-License-Identifier: Apache-2.0
//! One client of the control socket: what it has said so far, and what it still has to take.
//! Nothing here waits; each stage of the talk has one deadline for the whole of it.

use super::protocol::{REQUEST_LIMIT, Reply, Request};
use rustix::event::{PollFd, PollFlags};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Time a client has to say all it wants, and the same again to take the whole answer.
const CLIENT_PATIENCE: Duration = Duration::from_secs(2);
/// Time the main line has to answer: longer than any client waits.
const ANSWER_PATIENCE: Duration = Duration::from_secs(35);
/// Bytes read at a time.
const CHUNK: usize = 4 << 10;

#[derive(Debug)]
pub(super) struct Caller {
    pub(super) number: u64,
    stream: UnixStream,
    stage: Stage,
    deadline: Instant,
}

#[derive(Debug)]
enum Stage {
    /// It is asking; what came of the request.
    Asking(Vec<u8>),
    /// The main line has its request.
    Waiting,
    /// It takes the answer: all its bytes, and how many are gone.
    Taking(Vec<u8>, usize),
    Over,
}

impl Caller {
    /// `None` for a connection that is broken already.
    pub(super) fn new(number: u64, stream: UnixStream) -> Option<Caller> {
        stream.set_nonblocking(true).ok()?;
        let deadline = Instant::now() + CLIENT_PATIENCE;
        Some(Caller { number, stream, stage: Stage::Asking(Vec::new()), deadline })
    }

    /// The process at the other end.
    pub(super) fn process(&self) -> Option<i32> {
        sys::process::peer(self.stream.as_fd())
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// Who has the least right to stay, when not all can: the smallest claim goes.
    pub(super) fn claim(&self) -> (u8, u64) {
        let stage = match self.stage {
            Stage::Over => 0,
            Stage::Asking(_) => 1,
            Stage::Taking(..) => 2,
            Stage::Waiting => 3,
        };
        (stage, self.number)
    }

    /// What is waited for; nothing while the main line has the word.
    pub(super) fn poll_fd(&self) -> Option<PollFd<'_>> {
        match self.stage {
            Stage::Asking(_) => Some(PollFd::new(&self.stream, PollFlags::IN)),
            Stage::Taking(..) => Some(PollFd::new(&self.stream, PollFlags::OUT)),
            Stage::Waiting | Stage::Over => None,
        }
    }

    /// Goes as far as it goes without waiting. A request is to be passed on, and answered with
    /// [`Caller::reply`].
    pub(super) fn step(&mut self) -> Option<Request> {
        if let Stage::Asking(said) = &mut self.stage {
            match hear(&self.stream, said) {
                Heard::Nothing => {}
                Heard::Line => {
                    let line = std::mem::take(said);
                    return self.understand(&line);
                }
                Heard::TooMuch => {
                    self.reply(&Reply::failed(format!("the request is longer than {REQUEST_LIMIT} bytes")));
                }
                Heard::Gone => self.stage = Stage::Over,
            }
        }
        self.hand_over();
        if Instant::now() >= self.deadline {
            self.time_is_over();
        }
        None
    }

    fn understand(&mut self, line: &[u8]) -> Option<Request> {
        match serde_json::from_slice(line) {
            Ok(request) => {
                self.stage = Stage::Waiting;
                self.deadline = Instant::now() + ANSWER_PATIENCE;
                Some(request)
            }
            Err(error) => {
                let example = r#"{"command":"status"}"#;
                self.reply(&Reply::failed(format!(
                    "the request is not understood: {error}; a request is one line of JSON such as {example}"
                )));
                None
            }
        }
    }

    /// Answers, and hands over what the client takes at once.
    pub(super) fn reply(&mut self, reply: &Reply) {
        let mut line = serde_json::to_vec(reply).unwrap_or_default();
        line.push(b'\n');
        self.stage = Stage::Taking(line, 0);
        self.deadline = Instant::now() + CLIENT_PATIENCE;
        self.hand_over();
    }

    fn hand_over(&mut self) {
        let Stage::Taking(bytes, gone) = &mut self.stage else { return };
        while let Some(rest) = bytes.get(*gone..).filter(|rest| !rest.is_empty()) {
            match (&self.stream).write(rest) {
                Ok(count) => *gone += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => break,
            }
        }
        self.stage = Stage::Over;
    }

    fn time_is_over(&mut self) {
        let secs = CLIENT_PATIENCE.as_secs();
        match self.stage {
            Stage::Asking(_) => self.reply(&Reply::failed(format!(
                "no whole line within {secs} s; a request is one line of JSON and a line end"
            ))),
            Stage::Waiting => self.reply(&Reply::failed("the agent did not answer in time")),
            Stage::Taking(..) | Stage::Over => self.stage = Stage::Over,
        }
    }

    /// Its place is needed.
    pub(super) fn send_away(mut self) {
        if matches!(self.stage, Stage::Asking(_)) {
            self.reply(&Reply::failed("the agent has too many clients, and this one was silent; try again"));
        }
    }
}

/// What came of listening.
enum Heard {
    /// Not all of it yet.
    Nothing,
    /// A whole line, or all that a client said before it closed its end.
    Line,
    TooMuch,
    /// The client is gone and has said nothing.
    Gone,
}

fn hear(mut stream: &UnixStream, said: &mut Vec<u8>) -> Heard {
    let mut chunk = [0; CHUNK];
    loop {
        let count = match stream.read(&mut chunk) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Heard::Nothing,
            Err(_) => return Heard::Gone,
        };
        let new = chunk.get(..count).unwrap_or_default();
        let end = new.iter().position(|&byte| byte == b'\n');
        said.extend_from_slice(new.get(..end.unwrap_or(count)).unwrap_or_default());
        if said.len() > REQUEST_LIMIT {
            return Heard::TooMuch;
        }
        match (end, count) {
            (Some(_), _) => return Heard::Line,
            (None, 0) => return if said.is_empty() { Heard::Gone } else { Heard::Line },
            (None, _) => {}
        }
    }
}
