// SPDX-License-Identifier: Apache-2.0
//! Copies that are made before a file is truncated (`copytruncate`). What was read as the file must
//! not be read again as its copy, and what was written to the file and not read before it was
//! truncated is in the copy alone.

use crate::positions::FINGERPRINT_BYTES;
use crate::tail::{Ghost, Tail, head_print, stands_before};
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::time::{Duration, Instant};

/// Files that were written anew and are remembered.
const GHOSTS_LIMIT: usize = 256;
/// Possible copies that wait.
const WAITING_LIMIT: usize = 1024;
/// Time for a copy to become whole.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a new file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A file of its own.
    Own,
    /// A copy of one that is still read, or the start of one.
    Wait,
    /// A copy of what was read up to here.
    From(u64),
}

/// What is remembered to judge by.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    ghosts: VecDeque<Ghost>,
    /// Since when a file waits, and its size then.
    waiting: HashMap<(u64, u64), (Instant, u64)>,
}

impl Copies {
    pub(crate) fn remember(&mut self, ghost: Ghost) {
        if ghost.next == 0 {
            return;
        }
        self.ghosts.retain(|known| (&known.container, &known.path) != (&ghost.container, &ghost.path));
        self.ghosts.push_back(ghost);
        if self.ghosts.len() > GHOSTS_LIMIT {
            self.ghosts.pop_front();
        }
    }

    /// `head`: the hash of its first bytes. `others`: what it may be a copy of.
    pub(crate) fn judge<'a>(
        &mut self,
        tail: &Tail,
        file: &File,
        (size, head): (u64, Option<u64>),
        others: impl Iterator<Item = &'a Tail>,
        now: Instant,
    ) -> Verdict {
        for ghost in self.ghosts.iter().filter(|ghost| ghost.container == tail.container) {
            if is_copy_name(&tail.path, &ghost.path, ghost.next)
                && size >= ghost.next
                && starts_alike(file, ghost.next, ghost.fingerprint)
                && stands_before(file, ghost.next, &ghost.last)
            {
                self.waiting.remove(&tail.key);
                return Verdict::From(ghost.next);
            }
        }
        let is_alike = |other: &Tail| {
            if other.next == 0 || !is_copy_name(&tail.path, &other.path, other.next.min(size)) {
                return false;
            }
            // Most files differ in what is known of both; only otherwise the other one is read.
            if size >= FINGERPRINT_BYTES && other.next >= FINGERPRINT_BYTES {
                return head == Some(other.fingerprint());
            }
            let Some(of) = other.file.as_ref() else {
                // Of one that is closed only the hash is known: too little of a copy is waited for.
                return size < other.next || starts_alike(file, other.next, other.fingerprint());
            };
            let is_shorter = of.metadata().is_ok_and(|of| size <= of.len());
            is_shorter && head_print(of, size).is_ok_and(|found| found.is_some() && found == head)
        };
        let mut others = others.filter(|other| other.key != tail.key && other.container == tail.container);
        if !others.any(is_alike) {
            self.waiting.remove(&tail.key);
            return Verdict::Own;
        }
        if self.waiting.len() >= WAITING_LIMIT {
            self.waiting.retain(|_, (since, _)| now.saturating_duration_since(*since) < PATIENCE);
        }
        let (since, before) = self.waiting.entry(tail.key).or_insert((now, size));
        if *before != size {
            (*since, *before) = (now, size);
        }
        // The original is truncated right after the copy is whole. If it is not, this is no rotation.
        if now.saturating_duration_since(*since) < PATIENCE { Verdict::Wait } else { Verdict::Own }
    }
}

/// Closed files by what a copy has in common with them, so that none is compared with thousands.
#[derive(Debug, Default)]
pub(crate) struct Closed {
    by_path: HashMap<Vec<u8>, Vec<(u64, u64)>>,
    by_print: HashMap<u64, Vec<(u64, u64)>>,
}

impl Closed {
    pub(crate) fn new<'a>(tails: impl Iterator<Item = &'a Tail>) -> Closed {
        let mut closed = Closed::default();
        for tail in tails.filter(|tail| tail.file.is_none() && tail.next > 0) {
            closed.by_path.entry(tail.path.clone()).or_default().push(tail.key);
            if tail.next >= FINGERPRINT_BYTES {
                closed.by_print.entry(tail.fingerprint()).or_default().push(tail.key);
            }
        }
        closed
    }

    /// Those that a file of this path with these first bytes may be a copy of.
    pub(crate) fn like(&self, path: &[u8], head: Option<u64>) -> impl Iterator<Item = (u64, u64)> {
        let start = directory(path).len() + 1;
        let before = (start..path.len()).filter_map(|end| self.by_path.get(path.get(..end)?));
        let alike = head.and_then(|head| self.by_print.get(&head));
        before.chain(alike).flatten().copied()
    }
}

/// Whether a file of this name may be a copy of the one of that name: beside it, and called like it
/// with something added unless much of it is the same.
fn is_copy_name(path: &[u8], original: &[u8], next: u64) -> bool {
    path != original
        && directory(path) == directory(original)
        && (next >= FINGERPRINT_BYTES || path.starts_with(original))
}

/// The first bytes of the file against the hash of as many of another one's.
fn starts_alike(file: &File, next: u64, print: u64) -> bool {
    head_print(file, next).is_ok_and(|found| found == Some(print))
}

fn directory(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
    path.get(..end).unwrap_or_default()
}
