// SPDX-License-Identifier: Apache-2.0
//! Rows held back for a moment, so that an exec and its end make one line. Rows leave in the
//! order in which they came; how long they stay is for the owner to say.

use super::{Ending, Identity, Row};
use event::{Body, Exit};
use std::collections::{HashMap, VecDeque};

/// Rows in order, some of them waiting for their end.
#[derive(Debug, Default)]
pub(crate) struct Window {
    held: VecDeque<Held>,
    /// The latest waiting exec of each process, by its place counted from the beginning.
    waiting: HashMap<Identity, u64>,
    /// How many rows have left.
    gone: u64,
}

#[derive(Debug)]
struct Held {
    row: Row,
    ending: Ending,
    waits: bool,
}

impl Window {
    /// Takes a row. An exec, and a process that already ran, waits for its end.
    pub(crate) fn push(&mut self, row: Row) {
        let waits = matches!(row.event.body, Body::Exec(_) | Body::Running(_));
        if waits && let Some(identity) = row.identity() {
            let boot_ns = row.event.boot_ns;
            self.resolve(&identity, |earlier| {
                Ending::Replaced(boot_ns.saturating_sub(earlier.event.boot_ns))
            });
            self.waiting.insert(identity, self.gone + self.held.len() as u64);
        }
        self.held.push_back(Held { row, ending: Ending::Open, waits });
    }

    /// Gives an exit to the exec that waits for it. False when none does.
    pub(crate) fn end(&mut self, identity: &Identity, exit: &Exit) -> bool {
        self.resolve(identity, |_| Ending::of(exit))
    }

    fn resolve(&mut self, identity: &Identity, ending: impl FnOnce(&Row) -> Ending) -> bool {
        let Some(place) = self.waiting.remove(identity) else { return false };
        let index = usize::try_from(place - self.gone).unwrap_or(usize::MAX);
        let Some(held) = self.held.get_mut(index) else { return false };
        held.ending = ending(&held.row);
        held.waits = false;
        true
    }

    /// The oldest row, if it waits for nothing.
    pub(crate) fn pop_ready(&mut self) -> Option<(Row, Ending)> {
        if self.held.front()?.waits { None } else { self.pop() }
    }

    /// The oldest row, whatever it waits for.
    pub(crate) fn pop(&mut self) -> Option<(Row, Ending)> {
        let held = self.held.pop_front()?;
        if held.waits
            && let Some(identity) = held.row.identity()
        {
            self.waiting.remove(&identity);
        }
        self.gone += 1;
        Some((held.row, held.ending))
    }

    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// The sequence number of the oldest row.
    pub(crate) fn first_sequence(&self) -> Option<u64> {
        self.held.front().map(|held| held.row.sequence)
    }

    /// Whether any row waits for its end.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}
