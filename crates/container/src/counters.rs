// SPDX-License-Identifier: Apache-2.0
//! What the look-up threads count. Counters only grow; nothing here decides anything.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::LookupError;

/// How the look-ups went since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Questions taken.
    pub asked: u64,
    /// Questions refused because a queue was full.
    pub refused: u64,
    /// Questions answered with a description.
    pub resolved: u64,
    /// Questions answered with "no runtime knows it".
    pub unknown: u64,
    /// Look-ups tried again later.
    pub retries: u64,
    /// Exchanges that took too long.
    pub timeouts: u64,
    /// Answers that made no sense or were too long, from sockets and files.
    pub garbage: u64,
    /// Every other failure: no access, refused, broken connections.
    pub errors: u64,
    /// Container events heard from runtimes.
    pub events: u64,
    /// Times an event stream was opened.
    pub streams: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) asked: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) resolved: AtomicU64,
    pub(crate) unknown: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) timeouts: AtomicU64,
    pub(crate) garbage: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) events: AtomicU64,
    pub(crate) streams: AtomicU64,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    /// Counts a failure by its kind.
    pub(crate) fn failure(&self, error: &LookupError) {
        count(match error {
            LookupError::TimedOut { .. } => &self.timeouts,
            LookupError::Garbage { .. }
            | LookupError::TooLong { .. }
            | LookupError::TooMany { .. }
            | LookupError::Json { .. }
            | LookupError::Unfit { .. } => &self.garbage,
            _ => &self.errors,
        });
    }

    pub(crate) fn read(&self) -> Statistics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Statistics {
            asked: read(&self.asked),
            refused: read(&self.refused),
            resolved: read(&self.resolved),
            unknown: read(&self.unknown),
            retries: read(&self.retries),
            timeouts: read(&self.timeouts),
            garbage: read(&self.garbage),
            errors: read(&self.errors),
            events: read(&self.events),
            streams: read(&self.streams),
        }
    }
}
