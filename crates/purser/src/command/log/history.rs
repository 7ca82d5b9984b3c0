// SPDX-License-Identifier: Apache-2.0
//! The past as a table: two streams out of the store, merged by sequence number. One gives the
//! rows asked for, the other the ends of the processes among them. Memory is bounded: an exec
//! whose end is far away is printed without it, and the end gets a line of its own.

use super::Plan;
use crate::command::rows::{Part, Rows};
use crate::command::{host, say};
use crate::table::{Ending, Painter, Row, Window};
use event::{Body, Kind};
use std::io::Write;

/// Rows held back at most.
const WINDOW_LIMIT: usize = 4_096;
/// Exits looked at behind the latest row asked for, before the search for ends is given up.
const LOOKAHEAD_LIMIT: u64 = 200_000;
/// Events passed over to reach the next row, rather than opening the second stream again there.
const NEAR: u64 = 8_192;
/// Times the second stream is opened: each one reads a segment's index.
const OPEN_LIMIT: u32 = 256;

/// Prints the past; returns the first sequence that was not looked at.
pub(super) fn print(
    plan: &Plan,
    painter: &mut Painter,
    out: &mut impl Write,
    follow: bool,
) -> anyhow::Result<u64> {
    let mut merge = Merge::new(plan);
    let mut window = Window::default();
    let mut next = plan.now_sequence;
    while let Some(row) = merge.next(&window, painter)? {
        next = next.max(row.sequence + 1);
        if let Body::Exit(exit) = &row.event.body {
            if row.identity().is_some_and(|identity| window.end(&identity, exit)) {
                drain(&mut window, painter, out)?;
                continue;
            }
            if let Some(line) = painter.ended(&row, exit) {
                out.write_all(line.as_bytes())?;
                continue;
            }
            if !plan.exits {
                continue;
            }
        }
        window.push(row);
        while (window.len() > WINDOW_LIMIT || merge.given_up)
            && let Some((row, ending)) = window.pop()
        {
            out.write_all(painter.line(&row, &ending).as_bytes())?;
        }
        drain(&mut window, painter, out)?;
    }
    let boot_id = host::boot_id();
    while let Some((row, ending)) = window.pop() {
        // While following, the end may still come and have its own line. Where the search was
        // given up nothing is known.
        let ending = if follow || merge.given_up { ending } else { closed(&row, ending, &boot_id) };
        out.write_all(painter.line(&row, &ending).as_bytes())?;
    }
    if !follow {
        painter.close_all();
    }
    if merge.given_up {
        say(
            "purser: how some of these programs ended was not looked for; narrow it, or see purser log --kind exit --pid PID",
        );
    }
    Ok(next)
}

fn drain(window: &mut Window, painter: &mut Painter, out: &mut impl Write) -> std::io::Result<()> {
    while let Some((row, ending)) = window.pop_ready() {
        out.write_all(painter.line(&row, &ending).as_bytes())?;
    }
    Ok(())
}

fn closed(row: &Row, ending: Ending, boot_id: &[u8; 16]) -> Ending {
    let waits = matches!(row.event.body, Body::Exec(_) | Body::Running(_)) && ending == Ending::Open;
    match waits {
        true if row.event.boot_id == *boot_id => Ending::Running,
        true => Ending::Unseen,
        false => ending,
    }
}

/// The rows asked for, with the exits in between.
struct Merge<'a> {
    plan: &'a Plan,
    rows: Rows,
    row: Option<Row>,
    /// A second stream, when the first does not give the exits too.
    apart: bool,
    exits: Option<Rows>,
    exit: Option<Row>,
    started: bool,
    /// Exits since the latest row.
    looked_at: u64,
    opened: u32,
    /// Whether ends are no longer looked for.
    given_up: bool,
}

impl<'a> Merge<'a> {
    fn new(plan: &'a Plan) -> Merge<'a> {
        let asked = &plan.filter.kinds;
        let wanted = |kind: Kind| asked.is_empty() || asked.contains(&kind);
        let joins = wanted(Kind::Exec) || wanted(Kind::Running);
        let apart = joins && plan.filter.parts_exits();
        let mut kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|&kind| wanted(kind)).collect();
        let mut filter = plan.filter.clone();
        if apart && !plan.exits {
            kinds.retain(|&kind| kind != Kind::Exit);
        } else if joins && !kinds.contains(&Kind::Exit) {
            kinds.push(Kind::Exit);
            filter = filter.with_exits();
        }
        let (from_sequence, until_sequence) = (plan.from_sequence, plan.until_sequence);
        let part = Part { from_sequence, until_sequence, kinds: Some(kinds), ..Part::default() };
        let rows = plan.archive.rows(&filter, &part);
        Merge {
            plan,
            rows,
            row: None,
            apart,
            exits: None,
            exit: None,
            started: false,
            looked_at: 0,
            opened: 0,
            given_up: false,
        }
    }

    /// The next row of either stream; `None` when nothing more can change a line.
    fn next(&mut self, window: &Window, painter: &Painter) -> anyhow::Result<Option<Row>> {
        if !self.started {
            self.started = true;
            self.row = self.rows.next().transpose()?;
        }
        let waiting = self.apart && !self.given_up && (window.is_waiting() || painter.has_open());
        if waiting {
            self.open_exits(window)?;
        }
        let exit_first = match (&self.exit, &self.row) {
            _ if !waiting => false,
            (Some(exit), Some(row)) => exit.sequence < row.sequence,
            (exit, _) => exit.is_some(),
        };
        if exit_first {
            self.looked_at += 1;
            self.given_up |= self.looked_at >= LOOKAHEAD_LIMIT;
            let next = match &mut self.exits {
                Some(exits) => exits.next().transpose()?,
                None => None,
            };
            return Ok(std::mem::replace(&mut self.exit, next));
        }
        let far = self
            .row
            .as_ref()
            .zip(self.exit.as_ref())
            .is_some_and(|(row, exit)| row.sequence > exit.sequence + NEAR);
        if far {
            (self.exits, self.exit) = (None, None);
        }
        self.looked_at = 0;
        let next = if self.row.is_some() { self.rows.next().transpose()? } else { None };
        Ok(std::mem::replace(&mut self.row, next))
    }

    fn open_exits(&mut self, window: &Window) -> anyhow::Result<()> {
        if self.exits.is_some() {
            return Ok(());
        }
        self.opened += 1;
        self.given_up |= self.opened > OPEN_LIMIT;
        let part =
            Part { from_sequence: window.first_sequence(), kinds: Some(vec![Kind::Exit]), ..Part::default() };
        let mut exits = self.plan.archive.rows(&self.plan.filter.for_exits(), &part);
        self.exit = exits.next().transpose()?;
        self.exits = Some(exits);
        Ok(())
    }
}
