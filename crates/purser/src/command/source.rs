// SPDX-License-Identifier: Apache-2.0
//! `purser source`: which log files are read, and how far.

use super::output::{self, Format};
use super::place::Place;
use crate::control::{Request, SourceState, ask};
use crate::exit::Exit;
use crate::table::{grouped, harmless};
use anyhow::Context;
use std::io::{self, Write};

/// See the log files and containers that lines are read from.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: SourceCommand,
}

const HELP: &str = "\
Sources are configured as [source.NAME]; purser reload puts a changed configuration in force.

Examples:
  purser source ls                            files, lines, bytes left and last error of each
  purser source ls --files                    how far each file was read

Exit codes: 0 done, 1 failed or refused, 2 wrong command line or configuration, 3 no agent is running";

#[derive(Debug, clap::Subcommand)]
enum SourceCommand {
    Ls(List),
}

/// List the sources with their files, lines read and cut, bytes left to read and last error.
#[derive(Debug, clap::Args)]
#[command(after_help = LIST_HELP)]
struct List {
    /// Show each file with its position, at most 1,000 a source, those with the most bytes left first.
    #[arg(long)]
    files: bool,
    /// What to print; JSON has the files, too.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
    #[command(flatten)]
    place: Place,
}

const LIST_HELP: &str = "\
Examples:
  purser source ls
  purser source ls --files
  purser source ls -o json | jq '.followed[] | select(.lag_bytes > 1000000) | .path'";

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    match args.action {
        SourceCommand::Ls(list) => list.run(),
    }
}

impl List {
    fn run(self) -> anyhow::Result<Exit> {
        let reply = ask(&self.place.store()?, &Request::SourceList)?;
        let sources = reply.sources.context("the agent gave an answer without sources")?;
        let mut out = output::stdout();
        match self.output {
            Format::Table => table(&sources, self.files, &mut out)?,
            Format::Json => output::json_lines(&sources, &mut out)?,
        }
        out.flush()?;
        Ok(Exit::Success)
    }
}

fn table(sources: &[SourceState], files: bool, out: &mut impl Write) -> io::Result<()> {
    let width = sources.iter().map(|source| source.name.len()).max().unwrap_or(0).max(4);
    writeln!(
        out,
        "{:<width$}  {:<9}  {:>7}  {:>7}  {:>13}  {:>7}  {:>13}  {:>6}",
        "NAME", "TYPE", "FILES", "OPEN", "LINES", "CUT", "LAG BYTES", "ERRORS"
    )?;
    for source in sources {
        let status = &source.status;
        writeln!(
            out,
            "{:<width$}  {:<9}  {:>7}  {:>7}  {:>13}  {:>7}  {:>13}  {:>6}",
            source.name,
            source.kind,
            grouped(status.files as u64),
            grouped(status.open as u64),
            grouped(status.lines),
            grouped(status.cut),
            grouped(status.lag_bytes),
            grouped(status.errors),
        )?;
        if let Some(error) = &status.error {
            writeln!(out, "{:<width$}  last error: {}", "", harmless(error))?;
        }
        for unread in &status.unread {
            let (container, reason) = (harmless(&unread.container), harmless(&unread.reason));
            writeln!(out, "{:<width$}  not read: {container}: {reason}", "")?;
        }
        for file in source.followed.iter().filter(|_| files) {
            let of = if file.container.is_empty() { "" } else { file.container.get(..12).unwrap_or("?") };
            let state = if file.open { "open" } else { "closed" };
            let (position, size, path) = (grouped(file.position), grouped(file.size), harmless(&file.path));
            writeln!(out, "{:<width$}  {position:>13} of {size:>13}  {state:<6}  {of:<12}  {path}", "")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::table;
    use crate::control::SourceState;
    use source::{FileState, Status, Unread};

    #[test]
    fn sources_as_a_table() {
        let file = FileState {
            container: "ab".repeat(32),
            path: "/var/log/\u{1b}a.log".to_string(),
            position: 1_000,
            size: 5_321,
            lag_bytes: 4_321,
            open: true,
            ..FileState::default()
        };
        let unread =
            Unread { container: "web".to_string(), reason: "its log driver is \"none\"".to_string() };
        let status = Status {
            files: 1,
            lines: 1_234_567,
            lag_bytes: 4_321,
            errors: 2,
            error: Some("/x: no\n".to_string()),
            unread: vec![unread],
            ..Status::default()
        };
        let source = SourceState { name: "app".into(), kind: "file".into(), status, followed: vec![file] };
        let mut out = Vec::new();
        table(std::slice::from_ref(&source), true, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for wanted in [
            "1,234,567",
            "4,321",
            "last error: /x: no\\n\n",
            "not read: web: its log driver",
            "1,000 of         5,321  open    abababababab  /var/log/\\x1ba.log\n",
        ] {
            assert!(text.contains(wanted), "{wanted} is not in\n{text}");
        }
        let mut out = Vec::new();
        table(&[source], false, &mut out).unwrap();
        assert!(!String::from_utf8(out).unwrap().contains("a.log"));
    }
}
