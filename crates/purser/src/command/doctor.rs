// SPDX-License-Identifier: Apache-2.0
//! `purser doctor`: what this host can do, and what follows from what it cannot.

use super::output::{self, Format, is_terminal};
use super::place::Place;
use crate::exit::Exit;
use crate::table::harmless;
use serde::Serialize;
use std::io::{self, Write};

mod agent;
mod kernel;
mod rights;
mod runtimes;
mod storage;

/// Find out what this host can and cannot do, and what to do about it.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// What to print.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
    #[command(flatten)]
    place: Place,
}

const HELP: &str = "\
Run it as root: without root most answers are \"missing\".

Examples:
  purser doctor
  purser doctor -o json | jq 'select(.state != \"ok\")'

Exit codes: 0 ready, 1 degraded: something is not recorded, 2 purser cannot run here";

/// How well something is supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// It works.
    Ok,
    /// It does not, and less is recorded.
    Degraded,
    /// It does not, and nothing can be recorded without it.
    Missing,
}

/// One capability.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    /// What it is.
    pub(crate) name: String,
    /// Whether it is there.
    pub(crate) state: State,
    /// What was found.
    pub(crate) detail: String,
    /// What follows when it is not there.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) consequence: String,
    /// What to do then.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) advice: String,
}

impl Line {
    pub(crate) fn ok(name: &str, detail: impl Into<String>) -> Line {
        let (consequence, advice) = (String::new(), String::new());
        Line { name: name.to_string(), state: State::Ok, detail: detail.into(), consequence, advice }
    }

    pub(crate) fn bad(
        name: &str,
        state: State,
        detail: impl Into<String>,
        consequence: &str,
        advice: &str,
    ) -> Line {
        let (consequence, advice) = (consequence.to_string(), advice.to_string());
        Line { name: name.to_string(), state, detail: detail.into(), consequence, advice }
    }
}

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    let (configuration, loaded) = storage::configuration(&args.place);
    let mut lines = rights::check();
    lines.extend(kernel::check());
    lines.extend(kernel::programs());
    lines.push(kernel::rule_swap());
    lines.push(configuration);
    lines.extend(runtimes::check(&loaded));
    lines.extend(storage::check(&loaded.agent.store));
    lines.extend(agent::check(&loaded.agent.store));
    let mut out = output::stdout();
    match args.output {
        Format::Table => table(&lines, output::look().colour && is_terminal(), &mut out)?,
        Format::Json => output::json_lines(&lines, &mut out)?,
    }
    out.flush()?;
    Ok(exit(&lines))
}

fn exit(lines: &[Line]) -> Exit {
    match lines.iter().map(|line| line.state).max() {
        Some(State::Missing) => Exit::Refused,
        Some(State::Degraded) => Exit::Problem,
        Some(State::Ok) | None => Exit::Success,
    }
}

fn table(lines: &[Line], colour: bool, out: &mut impl Write) -> io::Result<()> {
    let width = lines.iter().map(|line| line.name.chars().count()).max().unwrap_or(0);
    for line in lines {
        let (word, code) = match line.state {
            State::Ok => ("ok", "32"),
            State::Degraded => ("degraded", "33"),
            State::Missing => ("missing", "31"),
        };
        let padding = " ".repeat(8 - word.len());
        let word = if colour { format!("\u{1b}[{code}m{word}\u{1b}[0m") } else { word.to_string() };
        let (name, detail) = (harmless(&line.name), harmless(&line.detail));
        write!(out, "{word}{padding}  {name:<width$}  {detail}")?;
        if line.state != State::Ok {
            write!(out, "; {}; {}", harmless(&line.consequence), harmless(&line.advice))?;
        }
        out.write_all(b"\n")?;
    }
    let count = |state: State| lines.iter().filter(|line| line.state == state).count();
    let verdict = match exit(lines) {
        Exit::Success => "ready".to_string(),
        Exit::Problem => format!("ready, with {} degraded", count(State::Degraded)),
        _ => format!("purser cannot run here: {} missing", count(State::Missing)),
    };
    writeln!(out, "{verdict}")
}

#[cfg(test)]
mod tests {
    use super::{Line, State, exit, table};
    use crate::exit::Exit;

    #[test]
    fn the_worst_line_decides() {
        let good = Line::ok("BTF", "there");
        let bad = Line::bad("tracefs", State::Degraded, "not mounted", "no refused execs", "mount it");
        let worse = Line::bad("root", State::Missing, "uid 1000", "nothing works", "run it as root");
        assert_eq!(exit(std::slice::from_ref(&good)), Exit::Success);
        assert_eq!(exit(&[good.clone(), bad.clone()]), Exit::Problem);
        assert_eq!(exit(&[worse.clone(), bad.clone()]), Exit::Refused);
        let mut out = Vec::new();
        table(&[good, bad, worse], false, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "ok        BTF      there\n\
             degraded  tracefs  not mounted; no refused execs; mount it\n\
             missing   root     uid 1000; nothing works; run it as root\n\
             purser cannot run here: 1 missing\n"
        );
    }
}
