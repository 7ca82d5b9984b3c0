// SPDX-License-Identifier: Apache-2.0
//! `purser tree`: who started what, and how it ended.

use super::filter;
use super::output::{self, Format};
use super::place::Place;
use super::rows::{Archive, Part};
use super::{host, say};
use crate::exit::Exit;
use crate::table::{Forest, Node, grouped};
use event::{Kind, document};
use jiff::Zoned;
use serde_json::json;
use std::io::Write;

/// Most processes in a tree.
const PROCESSES_LIMIT: usize = 200_000;

/// Show who started what, with exit codes and durations.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    filter: filter::Args,
    /// What to print.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
    #[command(flatten)]
    place: Place,
}

const HELP: &str = "\
A process stands below its parent, or below the nearest ancestor that executed a program and is in
the tree itself. Arrows separate programs that one process executed one after the other.

Examples:
  purser tree --container demo
  purser tree --container demo --since 10m
  purser tree --since today --user 0 -o json    one process a line, with its parent and depth

Exit codes: 0 done, 1 failed, 2 wrong command line or configuration";

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    let archive = Archive::open(&args.place.store()?)?;
    let filter = args.filter.check(&archive, &Zoned::now(), false)?.with_exits();
    let kinds = Some(vec![Kind::Exec, Kind::Running, Kind::Exit]);
    let mut forest = Forest::new(PROCESSES_LIMIT);
    for row in archive.rows(&filter, &Part { kinds, ..Part::default() }) {
        forest.add(&row?);
    }
    forest.close(&host::boot_id());
    match args.output {
        Format::Table => draw(&forest)?,
        Format::Json => lines(&forest)?,
    }
    if forest.left_out > 0 {
        let (shown, left) = (grouped(PROCESSES_LIMIT as u64), grouped(forest.left_out));
        say(&format!(
            "purser: the tree shows the first {shown} processes; {left} execs are not in it; narrow it with --since or --container"
        ));
        return Ok(Exit::Problem);
    }
    Ok(archive.exit())
}

fn draw(forest: &Forest) -> std::io::Result<()> {
    let mut out = output::stdout();
    let mut heading = String::new();
    forest.walk(|drawing, node, above| {
        if above.is_none() {
            let new = Forest::heading(node);
            if new != heading {
                writeln!(out, "{new}")?;
                heading = new;
            }
        }
        writeln!(out, "{drawing}{}  {}", node.command(), node.result())
    })?;
    out.flush()
}

fn lines(forest: &Forest) -> std::io::Result<()> {
    let mut out = output::stdout();
    forest.walk(|_, node, above| writeln!(out, "{}", line(node, above)))?;
    out.flush()
}

fn line(node: &Node, above: Option<&Node>) -> serde_json::Value {
    let id = |node: &Node| node.identity.1.entity_id(&node.identity.0);
    let args: Vec<String> = node.args.iter().map(|argument| document::text(argument)).collect();
    let mut line = json!({
        "process": {
            "entity_id": id(node),
            "pid": node.identity.1.pid,
            "executable": document::text(&node.executable),
            "args": args,
            "parent": above.map(|above| json!({ "entity_id": id(above), "pid": above.identity.1.pid })),
        },
        "@timestamp": document::rfc3339(node.time_ns),
        "depth": node.depth,
        "user": { "id": node.process.uid.to_string() },
        "result": node.ending.word(),
        "duration": node.ending.duration_ns(),
    });
    if !node.container.is_empty() {
        line["container"] = json!({ "id": node.container, "name": node.container_name });
    }
    line
}
