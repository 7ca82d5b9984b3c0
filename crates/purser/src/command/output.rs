// SPDX-License-Identifier: Apache-2.0
//! Where output goes and how it looks: formats, terminals, colours, time zone.

use crate::table::Look;
use jiff::Zoned;
use serde::Serialize;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Lines for people.
    Table,
    /// One JSON document a line.
    Json,
}

/// Standard output, locked and buffered. Whoever writes also flushes.
pub(crate) fn stdout() -> BufWriter<Stdout> {
    BufWriter::with_capacity(64 << 10, Stdout(io::stdout().lock()))
}

/// Each as a JSON document on a line of its own.
pub(crate) fn json_lines(items: &[impl Serialize], out: &mut impl Write) -> anyhow::Result<()> {
    for item in items {
        serde_json::to_writer(&mut *out, item)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// Standard output whose errors say that they are its.
#[derive(Debug)]
pub(crate) struct Stdout(StdoutLock<'static>);

#[derive(Debug, thiserror::Error)]
#[error("writing to standard output: {0}")]
struct StdoutError(io::Error);

fn named(error: io::Error) -> io::Error {
    // The kind stays: interrupted writes are tried again, and a closed pipe is no failure.
    io::Error::new(error.kind(), StdoutError(error))
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(named)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(named)
    }
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
