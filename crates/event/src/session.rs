// SPDX-License-Identifier: Apache-2.0
//! Somebody at work in a container with tools from outside of it, and what was on the screen meanwhile.

/// A session was begun, ended or refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// Which of these.
    pub action: SessionAction,
    /// The session's name, the same in all of its events; empty when it was refused.
    pub id: String,
    /// Who: the login uid when there is one, else the real uid.
    pub uid: u32,
    /// That user's name; empty when it is not known.
    pub user: String,
    /// From where: the terminal, and the other end of an SSH connection where there is one.
    pub from: String,
    /// The target as it was named.
    pub target: String,
    /// `NAME@DIGEST` of each kit, or `NAME` when it has no digest.
    pub kits: Vec<String>,
    /// The capabilities that the session's programs may have, one bit each.
    pub capabilities: u64,
    /// The program and its arguments, secrets replaced; empty for a shell.
    pub command: Vec<Vec<u8>>,
    /// Why, in the words of the one who asked for it.
    pub reason: String,
    /// Why it was refused, or how it ended.
    pub detail: String,
    /// At its end: the exit code, as a shell would show it.
    pub code: u8,
    /// At its end: nanoseconds since its start.
    pub duration_ns: u64,
}

/// What became of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum SessionAction {
    /// It began.
    #[default]
    Start = 0,
    /// It ended.
    End = 1,
    /// It was not allowed.
    Refused = 2,
}

impl SessionAction {
    /// Every action, in the order of its number.
    pub const ALL: [SessionAction; 3] = [SessionAction::Start, SessionAction::End, SessionAction::Refused];

    /// The word for it in documents.
    pub fn word(self) -> &'static str {
        match self {
            SessionAction::Start => "session_start",
            SessionAction::End => "session_end",
            SessionAction::Refused => "session_refused",
        }
    }
}

/// What a session's terminal showed. What is typed is there only where the terminal shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Screen {
    /// The session.
    pub session: String,
    /// Nanoseconds since the session began.
    pub elapsed_ns: u64,
    /// The bytes, secrets replaced.
    pub bytes: Vec<u8>,
    /// The terminal's width in characters.
    pub columns: u32,
    /// Its height.
    pub rows: u32,
    /// Bytes before these that were too many to be kept.
    pub dropped: u64,
    /// How many secrets were replaced by markers.
    pub redacted: u32,
}
