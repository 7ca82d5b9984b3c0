// SPDX-License-Identifier: Apache-2.0
//! Lines while things happen: an exec waits a moment for its end, then goes out without it,
//! and its end becomes a line of its own.

use super::{Ending, Painter, Row, Window};
use event::Body;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// The longest an exec is held for its end.
pub(crate) const HOLD: Duration = Duration::from_millis(8);
/// Most rows held; beyond it the oldest go out at once.
const HELD_LIMIT: usize = 4_096;

/// Rows in, lines out. The caller tells the time.
#[derive(Debug)]
pub(crate) struct Live {
    painter: Painter,
    window: Window,
    /// When each held row came, in their order.
    came: VecDeque<Instant>,
    /// Whether an end without a line before it is told.
    exits: bool,
}

impl Live {
    /// With `exits`, ends of processes whose exec was not shown are lines too.
    pub(crate) fn new(painter: Painter, exits: bool) -> Live {
        Live { painter, window: Window::default(), came: VecDeque::new(), exits }
    }

    /// Takes a row and writes what is due.
    pub(crate) fn push(&mut self, row: Row, now: Instant, out: &mut impl Write) -> io::Result<()> {
        if let Body::Exit(exit) = &row.event.body {
            let matched = row.identity().is_some_and(|identity| self.window.end(&identity, exit));
            if matched {
                return self.poll(now, out);
            }
            if let Some(line) = self.painter.ended(&row, exit) {
                // What is held came before this end.
                self.flush(out)?;
                return out.write_all(line.as_bytes());
            }
            if !self.exits {
                return self.poll(now, out);
            }
        }
        self.window.push(row);
        self.came.push_back(now);
        self.poll(now, out)
    }

    /// Writes the lines that are complete or have waited long enough.
    pub(crate) fn poll(&mut self, now: Instant, out: &mut impl Write) -> io::Result<()> {
        while let Some(&came) = self.came.front() {
            let overdue = now.saturating_duration_since(came) >= HOLD || self.window.len() > HELD_LIMIT;
            let next = if overdue { self.window.pop() } else { self.window.pop_ready() };
            let Some((row, ending)) = next else { return Ok(()) };
            self.came.pop_front();
            self.write(&row, &ending, out)?;
        }
        Ok(())
    }

    /// Writes everything that is held.
    pub(crate) fn flush(&mut self, out: &mut impl Write) -> io::Result<()> {
        self.came.clear();
        while let Some((row, ending)) = self.window.pop() {
            self.write(&row, &ending, out)?;
        }
        Ok(())
    }

    /// How long until [`Live::poll`] has something to do; `None` when nothing is held.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        let came = self.came.front()?;
        Some(HOLD.saturating_sub(now.saturating_duration_since(*came)))
    }

    fn write(&mut self, row: &Row, ending: &Ending, out: &mut impl Write) -> io::Result<()> {
        out.write_all(self.painter.line(row, ending).as_bytes())
    }
}
