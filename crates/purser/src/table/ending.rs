// SPDX-License-Identifier: Apache-2.0
//! How an exec ended, as the last column says it.

use super::span::duration;
use event::{Exit, names};

/// What is known of the end of an exec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Nothing yet; a line of its own may follow.
    Open,
    /// No end up to the end of the record, and the boot is this one.
    Running,
    /// No end in the record although the boot is over.
    Unseen,
    /// The same process executed another program after so many nanoseconds.
    Replaced(u64),
    /// The process ended.
    Ended {
        /// Exit code.
        code: u8,
        /// Signal, or 0.
        signal: u8,
        /// With a core.
        core: bool,
        /// Nanoseconds since the exec.
        duration_ns: u64,
    },
}

/// What a result means, for its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Good,
    Bad,
    Quiet,
}

impl Ending {
    pub(crate) fn of(exit: &Exit) -> Ending {
        Ending::Ended {
            code: exit.code,
            signal: exit.signal,
            core: exit.core_dumped,
            duration_ns: exit.duration_ns,
        }
    }

    /// The word for it without the time: `ok`, `exit 3`, `SIGKILL`.
    pub(crate) fn word(&self) -> String {
        match self {
            Ending::Open => String::new(),
            Ending::Running => "running".to_string(),
            Ending::Unseen => "end not seen".to_string(),
            Ending::Replaced(_) => "replaced".to_string(),
            Ending::Ended { code: 0, signal: 0, .. } => "ok".to_string(),
            Ending::Ended { code, signal: 0, .. } => format!("exit {code}"),
            Ending::Ended { signal, core, .. } => {
                names::signal(*signal) + if *core { " (core dumped)" } else { "" }
            }
        }
    }

    /// How long it took, where that is known.
    pub(crate) fn duration_ns(&self) -> Option<u64> {
        match self {
            Ending::Replaced(ns) => Some(*ns),
            Ending::Ended { duration_ns, .. } => Some(*duration_ns),
            _ => None,
        }
    }

    /// Word and time: `ok 3.1ms`.
    pub(crate) fn text(&self) -> String {
        match self.duration_ns() {
            Some(ns) => format!("{} {}", self.word(), duration(ns)),
            None => self.word(),
        }
    }

    pub(crate) fn mood(&self) -> Mood {
        match self {
            Ending::Ended { code: 0, signal: 0, .. } => Mood::Good,
            Ending::Ended { .. } => Mood::Bad,
            _ => Mood::Quiet,
        }
    }
}
