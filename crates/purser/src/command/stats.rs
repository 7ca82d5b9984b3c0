// SPDX-License-Identifier: Apache-2.0
//! `purser stats`: the agent's and the kernel's counters.

use super::output::{self, Format, is_terminal};
use super::place::Place;
use crate::control::{ContainerStats, Request, Stats, ask};
use crate::exit::Exit;
use crate::table::{bytes, cut, grouped, harmless};
use anyhow::Context;
use std::borrow::Cow;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Show counters of every container, from the kernel's maps.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Again every second, with what changed in between.
    #[arg(long, short)]
    watch: bool,
    /// What to print.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
    #[command(flatten)]
    place: Place,
}

const HELP: &str = "\
EXECS counts started programs, EXITS ended processes, FAILED refused starts, BYTES what the kernel
handed over, IGNORED what rules held back, LOST what gaps tell of.

Examples:
  purser stats
  purser stats --watch
  purser stats -o json | jq '.containers[] | select(.lost > 0)'

Exit codes: 0 done, 1 failed, 2 wrong command line or configuration, 3 no agent is running";

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    let store = args.place.store()?;
    let mut before = look(&store)?;
    let mut out = output::stdout();
    match args.output {
        Format::Table => table(&before, None, &mut out)?,
        Format::Json => json(&before, &mut out)?,
    }
    out.flush()?;
    if !args.watch {
        return Ok(Exit::Success);
    }
    loop {
        let taken = Instant::now();
        std::thread::sleep(INTERVAL);
        let stats = look(&store)?;
        match args.output {
            Format::Table => {
                // Home and clear to the end; a file just gets the next table.
                out.write_all(if is_terminal() { b"\x1b[H\x1b[2J" } else { b"\n" })?;
                let secs = taken.elapsed().as_secs_f64();
                table(&stats, Some((&before, secs)), &mut out)?;
            }
            Format::Json => json(&stats, &mut out)?,
        }
        out.flush()?;
        before = stats;
    }
}

/// The narrowest and the widest column of names.
const NAME_WIDTH: (usize, usize) = (24, 63);

fn look(store: &Path) -> anyhow::Result<Stats> {
    let mut stats =
        ask(store, &Request::Stats)?.stats.context("the agent gave an answer without counters")?;
    stats.containers.sort_by(|a, b| b.execs.cmp(&a.execs).then_with(|| a.id.cmp(&b.id)));
    Ok(stats)
}

fn json(stats: &Stats, out: &mut impl Write) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *out, stats)?;
    Ok(out.write_all(b"\n")?)
}

fn table(stats: &Stats, before: Option<(&Stats, f64)>, out: &mut impl Write) -> io::Result<()> {
    let rate_heading = if before.is_some() { "EXECS/S" } else { "" };
    let names = stats.containers.iter().map(|one| name(one).chars().count());
    let width = names.max().unwrap_or(0).clamp(NAME_WIDTH.0, NAME_WIDTH.1);
    let heading = format!(
        "{:<width$} {:>12} {:>12} {:>10} {:>12} {:>10} {:>8} {:>8}",
        "CONTAINER", "EXECS", "EXITS", "FAILED", "BYTES", "IGNORED", "LOST", rate_heading
    );
    writeln!(out, "{}", heading.trim_end())?;
    let mut total = ContainerStats { name: "total".to_string(), ..ContainerStats::default() };
    for one in &stats.containers {
        let earlier = before.map(|(before, secs)| {
            let same = before.containers.iter().find(|other| other.id == one.id);
            (one.execs.saturating_sub(same.map_or(0, |same| same.execs)), secs)
        });
        line(one, width, earlier, out)?;
        total.execs = total.execs.saturating_add(one.execs);
        total.exits = total.exits.saturating_add(one.exits);
        total.failed = total.failed.saturating_add(one.failed);
        total.bytes = total.bytes.saturating_add(one.bytes);
        total.ignored = total.ignored.saturating_add(one.ignored);
        total.lost = total.lost.saturating_add(one.lost);
    }
    if stats.containers.len() > 1 {
        line(&total, width, None, out)?;
    }
    for ring in &stats.rings {
        let (used, size) = (bytes(ring.used_bytes), bytes(ring.size_bytes));
        writeln!(out, "ring {:<8} {used} of {size}", harmless(&ring.name))?;
    }
    let (events, size) = (grouped(stats.events), bytes(stats.store_bytes));
    writeln!(
        out,
        "store {events} {}, {size}; {} {}, {} {} lost",
        plural(stats.events, "event"),
        grouped(stats.gaps),
        plural(stats.gaps, "gap"),
        grouped(stats.lost),
        plural(stats.lost, "event")
    )
}

fn plural(count: u64, noun: &str) -> String {
    format!("{noun}{}", if count == 1 { "" } else { "s" })
}

fn name(one: &ContainerStats) -> Cow<'_, str> {
    harmless(match (one.name.as_str(), one.id.as_str()) {
        ("", "") => "host",
        ("", id) => id.get(..12).unwrap_or(id),
        (name, _) => name,
    })
}

fn line(
    one: &ContainerStats,
    width: usize,
    change: Option<(u64, f64)>,
    out: &mut impl Write,
) -> io::Result<()> {
    let rate = match change {
        Some((execs, secs)) if secs > 0.0 => format!("{:.0}", execs as f64 / secs),
        _ => String::new(),
    };
    let name = name(one);
    let name = cut(&name, width);
    let line = format!(
        "{name:<width$} {:>12} {:>12} {:>10} {:>12} {:>10} {:>8} {rate:>8}",
        grouped(one.execs),
        grouped(one.exits),
        grouped(one.failed),
        bytes(one.bytes),
        grouped(one.ignored),
        grouped(one.lost),
    );
    writeln!(out, "{}", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::table;
    use crate::control::{ContainerStats, RingStats, Stats};

    #[test]
    fn counters_as_a_table() {
        let one = |id: &str, name: &str, execs| ContainerStats {
            id: id.to_string(),
            name: name.to_string(),
            execs,
            bytes: 2_048,
            ..ContainerStats::default()
        };
        let stats = Stats {
            containers: vec![one("a1", "demo\u{1b}[31m", 1_500), one("b2b2b2b2b2b2b2b2", "", 3)],
            rings: vec![RingStats { name: "head".to_string(), size_bytes: 8 << 20, used_bytes: 512 }],
            events: 3_000,
            store_bytes: 1 << 20,
            gaps: 1,
            lost: 12,
            ..Stats::default()
        };
        let mut out = Vec::new();
        table(&stats, None, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert!(text.lines().all(|line| line == line.trim_end()), "{text:?}");
        assert_eq!(words[1], ["demo\\x1b[31m", "1,500", "0", "0", "2.0", "KiB", "0", "0"]);
        assert_eq!(words[2], ["b2b2b2b2b2b2", "3", "0", "0", "2.0", "KiB", "0", "0"]);
        assert_eq!(words[3][..2], ["total", "1,503"]);
        assert_eq!(text.lines().nth(4), Some("ring head     512 B of 8.0 MiB"));
        assert_eq!(text.lines().nth(5), Some("store 3,000 events, 1.0 MiB; 1 gap, 12 events lost"));
        let mut out = Vec::new();
        let earlier = Stats { containers: vec![one("a1", "", 500)], ..Stats::default() };
        table(&stats, Some((&earlier, 2.0)), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().nth(1).and_then(|line| line.split_whitespace().last()), Some("500"));
    }
}
