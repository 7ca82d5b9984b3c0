// SPDX-License-Identifier: Apache-2.0
//! What a session is to be, as the client hands it to the keeper. Both are the same program, so the form is
//! nobody else's business and has no version.

use crate::rights::Capabilities;
use crate::target::Facts;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::PathBuf;

/// The most letters of a failure that are told. Each may take six bytes in a message.
const FAILURE_LIMIT: usize = 2000;

/// Everything a keeper needs to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// The session's name among others: hex digits.
    pub id: String,
    /// The name of its cgroup: the id, or a name with the id between its first two colons.
    pub cgroup: String,
    /// How the target is called, for prompts and lists.
    pub target: String,
    /// The directories with tools, in the order of their programs.
    pub kits: Vec<Kit>,
    /// What is mounted beside what the target has.
    pub binds: Vec<Bind>,
    /// What the client has open and the session is to see, whatever its name on the host is.
    pub held: Vec<Held>,
    /// The program and its arguments; the first shell that is there when empty.
    pub command: Vec<OsString>,
    /// `USER[:GROUP]` in the target, by name or number; the target's root when absent.
    pub user: Option<String>,
    /// Where the program starts; where the target's process is when absent.
    pub work_dir: Option<PathBuf>,
    /// The size of the terminal; without one the program gets the client's own descriptors.
    pub terminal: Option<Window>,
    /// Whether a letter of several bytes is one letter to it.
    pub utf8: bool,
    /// The program's environment beside what the session sets itself.
    pub environment: Vec<(OsString, OsString)>,
    /// The program's capabilities when it runs as root of the target.
    pub capabilities: Capabilities,
    /// Those of any other user's program: what was asked for, as a user has none by itself.
    pub granted: Capabilities,
    /// Room for what is written below the session's home, in memory.
    pub home_bytes: u64,
    /// Whether device nodes and set-user-ID programs work.
    pub privileged: bool,
    /// How the root is built.
    pub way: Way,
    /// What the session may use.
    pub limits: Limits,
    /// Where the sockets of sessions are.
    pub directory: PathBuf,
    /// When it began, in seconds since 1970, for lists.
    pub since_secs: u64,
    /// The user of this host who began it.
    pub owner: u32,
    /// After how many seconds it is ended.
    pub limit_secs: Option<u64>,
    /// What is known of the target's process.
    pub facts: Facts,
    /// What the caller wants handed to its [`Witness`](crate::Witness).
    pub note: String,
}

/// A directory with tools, mounted read-only at `/dev/.purser/NAME`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kit {
    /// Its name: one path component.
    pub name: String,
    /// What is mounted.
    pub root: PathBuf,
    /// A directory that has a shared lock as long as the session lasts, so that nobody removes the kit meanwhile.
    pub hold: Option<PathBuf>,
    /// Directories with programs, below the kit's prefix.
    pub path: Vec<String>,
    /// Variables for the session's programs; `@` in a value is the kit's prefix.
    pub environment: Vec<(String, String)>,
}

impl Spec {
    /// Enough for what tools leave in a home.
    pub const USUAL_HOME_BYTES: u64 = 64 << 20;
}

impl Kit {
    /// Where the session sees it.
    pub fn prefix(&self) -> String {
        format!("/dev/.purser/{}", self.name)
    }
}

/// A file or directory that the session sees at a place of its own; the target does not.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bind {
    /// What is mounted, with all that is mounted below it.
    pub source: Source,
    /// Where: an absolute path without `..`. One name below [`Bind::GIVEN`] has room in every target; any other place
    /// that the target lacks is made in the session alone.
    pub at: PathBuf,
    /// Whether nothing can be written through it.
    pub read_only: bool,
}

impl Bind {
    /// Where every session has room, whatever the target's root is like.
    pub const GIVEN: &str = crate::binds::GIVEN;
}

/// A file that the client has open until the session has begun. Mounted read-only below [`Bind::GIVEN`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Held {
    /// The client's number.
    pub pid: i32,
    /// The client's descriptor.
    pub descriptor: i32,
    /// A name of it that goes when the session has the file: one without a name cannot be mounted.
    pub passing_name: Option<PathBuf>,
    /// One name.
    pub name: String,
}

/// Whose file it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// The host's: an absolute path without links. Without device nodes and set-user-ID programs, unless the session is
    /// privileged.
    Host(PathBuf),
    /// The target's, as its own processes see it.
    Target(PathBuf),
}

/// How the session's root is built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// Over `/dev`, and by a new root where that does not go.
    #[default]
    Fitting,
    /// A new `/dev` over the old one; the target's root stays exactly what it is.
    OverDev,
    /// A new root with all of the target's top-level entries.
    NewRoot,
}

/// What a session may use, in its own cgroup. Memory and processes never count as the target's.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// Processes and threads.
    pub processes: u32,
    /// Bytes of memory.
    pub memory: Option<u64>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { processes: 2048, memory: None }
    }
}

/// The size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// Why no program runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// The exit code: 125, 126 or 127.
    pub code: u8,
    /// What to tell.
    pub text: String,
}

impl Failure {
    /// A failure of ours.
    pub(crate) fn ours(text: impl Into<String>) -> Failure {
        Failure { code: 125, text: text.into() }
    }

    /// As a message has it, in which there is room for only so much of a name.
    pub(crate) fn payload(&self) -> Vec<u8> {
        let mut told = self.clone();
        if let Some((at, _)) = told.text.char_indices().nth(FAILURE_LIMIT) {
            told.text.truncate(at);
            told.text.push('…');
        }
        serde_json::to_vec(&told).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::Failure;
    use crate::link::PAYLOAD_LIMIT;

    #[test]
    fn a_long_failure_is_told_as_far_as_there_is_room() {
        for letter in ["x", "\u{1}", "\u{1f980}"] {
            let payload = Failure::ours(format!("no user {}", letter.repeat(100_000))).payload();
            assert!(payload.len() < PAYLOAD_LIMIT);
            let told: Failure = serde_json::from_slice(&payload).unwrap();
            assert!(told.text.starts_with("no user ") && told.text.ends_with('…'));
        }
        let short: Failure = serde_json::from_slice(&Failure::ours("why").payload()).unwrap();
        assert_eq!((short.code, short.text.as_str()), (125, "why"));
    }
}
