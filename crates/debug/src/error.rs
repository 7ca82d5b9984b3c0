// SPDX-License-Identifier: Apache-2.0
//! Why a session cannot be, and what to do about it.

use crate::spec::Failure;
use std::io;
use std::path::PathBuf;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum DebugError {
    /// The process does not exist, or no longer.
    #[error("process {pid} is not there; it may just have ended")]
    Gone {
        /// Its number on the host.
        pid: i32,
    },
    /// The process has ended and waits for its parent.
    #[error("process {pid} has ended already (a zombie): it has no namespaces to enter")]
    Zombie {
        /// Its number on the host.
        pid: i32,
    },
    /// Something about the target that cannot be read.
    #[error("reading {path}")]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A step of our own on the host.
    #[error("{doing}")]
    Host {
        /// What was being done.
        doing: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The session ended before its program ran.
    #[error("{}", .0.text)]
    Failed(Failure),
    /// The keeper is gone.
    #[error("the session's keeper was killed; what ran in the session was ended")]
    KeeperGone,
    /// Something that is no message of ours.
    #[error("an unreadable message from the session's keeper; it may be of another version of purser")]
    Message,
    /// There is no such session.
    #[error("no session {id:?}; see purser debug sessions")]
    NoSession {
        /// What was asked for.
        id: String,
    },
    /// A keeper that says nothing.
    #[error(
        "the keeper of session {id} has not ended it within 10 s; is it stopped? kill -CONT it, or kill -9, which ends all"
    )]
    Silent {
        /// The session.
        id: String,
    },
    /// A session without a terminal.
    #[error("session {id} has no terminal to attach to; end it with: purser debug end {id}")]
    NoTerminal {
        /// The session.
        id: String,
    },
    /// A terminal is needed.
    #[error(
        "the input device is not a TTY: standard input and output must be a terminal for this (leave -t out to use pipes)"
    )]
    NotATerminal,
    /// A specification that is too long to hand over.
    #[error("the command and its environment take {length} bytes, more than {limit}")]
    TooLong {
        /// How long.
        length: usize,
        /// The limit.
        limit: usize,
    },
}

impl DebugError {
    /// The exit code that says so: docker's 125 for our own failure, a shell's 126 and 127, and 137 for what was killed.
    pub fn code(&self) -> u8 {
        match self {
            DebugError::Failed(failure) => failure.code,
            DebugError::KeeperGone => 137,
            _ => 125,
        }
    }
}

/// Names the step that failed.
pub(crate) fn host(doing: impl Into<String>) -> impl FnOnce(io::Error) -> DebugError {
    let doing = doing.into();
    move |source| DebugError::Host { doing, source }
}
