// SPDX-License-Identifier: Apache-2.0
//! One line on a terminal that tells how far something is. Anywhere else there is none.

use super::super::output;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

/// How far something is, from any thread.
#[derive(Debug)]
pub(super) struct Progress {
    doing: &'static str,
    whole: u64,
    done: AtomicU64,
    watched: bool,
}

impl Progress {
    pub(super) fn new(doing: &'static str, whole: u64) -> Progress {
        Progress { doing, whole: whole.max(1), done: AtomicU64::new(0), watched: output::is_watched() }
    }

    /// That much more is done. Writes when a hundredth is full.
    pub(super) fn add(&self, more: u64) {
        let before = self.done.fetch_add(more, Ordering::Relaxed);
        let percent = |done: u64| done.saturating_mul(100) / self.whole;
        if self.watched && percent(before) != percent(before + more) {
            let mut err = io::stderr().lock();
            write!(err, "\r{} {:>3} %", self.doing, percent(before + more).min(100)).unwrap_or_default();
            err.flush().unwrap_or_default();
        }
    }

    /// What is done by now, when it has no size.
    pub(super) fn note(&self, what: &str) {
        if self.watched {
            write!(io::stderr().lock(), "\r\x1b[K{} {what}", self.doing).unwrap_or_default();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.watched {
            write!(io::stderr().lock(), "\r\x1b[K").unwrap_or_default();
        }
    }
}
