// SPDX-License-Identifier: Apache-2.0
//! Where output goes and how it looks: formats, terminals, colours, time zone.

use crate::table::Look;
use jiff::Zoned;
use std::io::{self, BufWriter, IsTerminal, StdoutLock};

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Lines for people.
    Table,
    /// One JSON document a line.
    Json,
}

/// Standard output, locked and buffered. Whoever writes also flushes.
pub(crate) fn stdout() -> BufWriter<StdoutLock<'static>> {
    BufWriter::with_capacity(64 << 10, io::stdout().lock())
}

/// Whether standard output is a terminal.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether standard error is a terminal: only then there is progress to see.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// How lines look here and now.
pub(crate) fn look() -> Look {
    let now = Zoned::now();
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    Look { zone: now.time_zone().clone(), today: now.date(), colour: is_terminal() && !forbidden && !dumb }
}
