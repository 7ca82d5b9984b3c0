// SPDX-License-Identifier: Apache-2.0
//! `purser log`: what was run, from the store, and with --follow as it is run.

use super::filter::{self, Filter};
use super::output::{self, is_terminal};
use super::place::Place;
use super::rows::{Archive, Part};
use crate::exit::Exit;
use crate::table::{Live, Painter, Row, harmless};
use event::{Body, Kind, document};
use jiff::Zoned;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

mod history;

/// The longest wait for new events at a time.
const NAP: Duration = Duration::from_millis(500);
/// The wait for another event when nobody writes any more.
const LAST_NAP: Duration = Duration::from_millis(100);
/// Most rows between two writes while following.
const BATCH_LIMIT: usize = 1_024;

/// Show what was run.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    filter: filter::Args,
    /// Only the newest N events.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    limit: Option<NonZeroUsize>,
    /// Go on with what happens from now on; with --since or --limit, after what did.
    #[arg(long, short)]
    follow: bool,
    /// What to print.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: LogFormat,
    #[command(flatten)]
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum LogFormat {
    /// Lines for people; an exec and its end are one line.
    Table,
    /// One JSON document an event, nothing joined.
    Json,
    /// Arguments only, as bytes, with a space between and a line end behind; not for terminals.
    Raw,
}

const HELP: &str = "\
The table shows, for each program: when, container, command, user, and how it ended:
  ok 3.1ms, exit 3 0.9ms, SIGKILL 2.0s, running, ENOENT (it was refused), replaced (the same
  process executed another program). An end that comes much later has a line of its own.
  Arguments are quoted as for a shell; what could act on a terminal is spelled out.
  Long commands are cut there; -o json and -o raw have all of them.

Examples:
  purser log --container demo --since 10m --grep passwd
  purser log --follow --container 'web-*'
  purser log --since today --user 0 --exe /usr/bin/curl
  purser log --kind gap,agent                   was anything lost, and what did the agent do?
  purser log --kind exec_failed --limit 20      the newest 20 refused programs
  purser log --since 1h -o json | jq .process.args

Exit codes: 0 done, 1 failed, 2 wrong command line or configuration";

/// What is to be printed, opened and checked.
struct Plan {
    archive: Archive,
    filter: Filter,
    /// Where the printed part of the past begins; `None` for all that passes the filter.
    from_sequence: Option<u64>,
    /// Where it ends, when it was counted; `None` for all there is when it is read.
    until_sequence: Option<u64>,
    /// Whether there is a past to print at all.
    past: bool,
    /// The first event that is not the past.
    now_sequence: u64,
    exits: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    // Only a signal ends it.
    follow_until(args, &AtomicBool::new(false), || {})
}

/// The same. Calls `ready` when it is known from where to follow; following ends when it is `over` and
/// all that is in the store by then is printed.
pub(super) fn follow_until(args: Args, over: &AtomicBool, ready: impl FnOnce()) -> anyhow::Result<Exit> {
    let archive = Archive::open(&args.place.store()?)?;
    let filter = args.filter.check(&archive, &Zoned::now(), args.follow)?.without_screens();
    let now_sequence = archive.next_sequence()?;
    let kinds = &filter.kinds;
    let plan = Plan {
        past: !args.follow || filter.since_ns.is_some() || args.limit.is_some(),
        from_sequence: None,
        until_sequence: None,
        exits: kinds.contains(&Kind::Exit),
        now_sequence,
        archive,
        filter,
    };
    let plan = limited(plan, args.limit, args.output)?;
    ready();
    match args.output {
        LogFormat::Table => table(&plan, args.follow, over)?,
        LogFormat::Json => {
            let context = plan.archive.context();
            let escape = is_terminal();
            each(&plan, args.follow, over, |row, out| {
                let text = document::render(&context, row.sequence, &row.event, row.container.as_deref());
                writeln!(out, "{}", if escape { json_harmless(&text) } else { text })
            })?;
        }
        LogFormat::Raw => each(&plan, args.follow, over, raw)?,
    }
    Ok(plan.archive.exit())
}

fn at_least_one(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number from 1"))
}

/// Finds where the newest `limit` rows begin.
fn limited(mut plan: Plan, limit: Option<NonZeroUsize>, output: LogFormat) -> anyhow::Result<Plan> {
    let Some(limit) = limit else { return Ok(plan) };
    let mut kinds = plan.filter.kinds.clone();
    if kinds.is_empty() && output == LogFormat::Table {
        // In tables an exit is part of its exec's line.
        kinds = Kind::ALL.into_iter().filter(|&kind| kind != Kind::Exit).collect();
    }
    plan.until_sequence = Some(plan.now_sequence);
    let part = Part {
        newest_first: true,
        until_sequence: plan.until_sequence,
        kinds: (!kinds.is_empty()).then_some(kinds),
        ..Part::default()
    };
    let mut first = plan.now_sequence;
    for row in plan.archive.rows(&plan.filter, &part).take(limit.get()) {
        first = row?.sequence;
    }
    plan.from_sequence = Some(first);
    Ok(plan)
}

fn table(plan: &Plan, follow: bool, over: &AtomicBool) -> anyhow::Result<()> {
    let mut out = output::stdout();
    let mut painter = Painter::new(output::look());
    let mut next = plan.now_sequence;
    if plan.past {
        next = history::print(plan, &mut painter, &mut out, follow)?;
        out.flush()?;
    }
    if !follow {
        return Ok(());
    }
    // Ends are looked for among all exits; whether one belongs to a shown exec the lines know.
    let filter = if plan.exits { plan.filter.clone() } else { plan.filter.with_exits() };
    let mut follower = plan.archive.follow(next, &filter);
    let mut live = Live::new(painter, plan.exits);
    // What is in the store when it is over is printed yet.
    while !over.load(Ordering::Acquire) {
        let mut timeout = live.wait(Instant::now()).unwrap_or(NAP);
        // Under a flood one write takes many lines.
        for _ in 0..BATCH_LIMIT {
            let Some(row) = follower.next(timeout)? else { break };
            live.push(row, Instant::now(), &mut out)?;
            timeout = Duration::ZERO;
        }
        live.poll(Instant::now(), &mut out)?;
        out.flush()?;
    }
    while let Some(row) = follower.next(LAST_NAP)? {
        live.push(row, Instant::now(), &mut out)?;
    }
    live.flush(&mut out)?;
    Ok(out.flush()?)
}

/// Prints rows one by one, without joining.
fn each(
    plan: &Plan,
    follow: bool,
    over: &AtomicBool,
    mut print: impl FnMut(&Row, &mut dyn Write) -> io::Result<()>,
) -> anyhow::Result<()> {
    let mut out = output::stdout();
    let mut next = plan.now_sequence;
    if plan.past {
        let (from_sequence, until_sequence) = (plan.from_sequence, plan.until_sequence);
        let part = Part { from_sequence, until_sequence, ..Part::default() };
        for row in plan.archive.rows(&plan.filter, &part) {
            let row = row?;
            next = next.max(row.sequence + 1);
            print(&row, &mut out)?;
        }
        out.flush()?;
    }
    if !follow {
        return Ok(());
    }
    let mut follower = plan.archive.follow(next, &plan.filter);
    while !over.load(Ordering::Acquire) {
        let mut timeout = NAP;
        for _ in 0..BATCH_LIMIT {
            let Some(row) = follower.next(timeout)? else { break };
            print(&row, &mut out)?;
            timeout = Duration::ZERO;
        }
        out.flush()?;
    }
    while let Some(row) = follower.next(LAST_NAP)? {
        print(&row, &mut out)?;
    }
    Ok(out.flush()?)
}

fn raw(row: &Row, out: &mut dyn Write) -> io::Result<()> {
    let args = match &row.event.body {
        Body::Exec(exec) | Body::Running(exec) => &exec.args,
        Body::ExecFailed(failed) => &failed.args,
        Body::Session(session) => &session.command,
        Body::Exit(_) | Body::Gap(_) | Body::Agent(_) | Body::Line(_) | Body::Tty(_) => return Ok(()),
    };
    for (index, argument) in args.iter().enumerate() {
        if index > 0 {
            out.write_all(b" ")?;
        }
        out.write_all(argument)?;
    }
    out.write_all(b"\n")
}

/// JSON that is safe on a terminal: the same document, with what JSON leaves as it is and a
/// terminal would act upon written as `\u` escapes.
fn json_harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        let mut buffer = [0u8; 4];
        let shown: &str = character.encode_utf8(&mut buffer);
        if shown.is_ascii() && character != '\u{7f}' || harmless(shown) == shown {
            out.push(character);
            continue;
        }
        let mut units = [0u16; 2];
        for unit in character.encode_utf16(&mut units) {
            out.push_str(&format!("\\u{unit:04x}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::json_harmless;

    #[test]
    fn json_on_a_terminal_stays_the_same_document() {
        let text = "{\"a\":\"x\u{9b}31m \u{202e} \u{7f} \u{e0041} naïve\\u001b\"}";
        let safe = json_harmless(text);
        assert_eq!(safe, "{\"a\":\"x\\u009b31m \\u202e \\u007f \\udb40\\udc41 naïve\\u001b\"}");
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&safe), value(text));
    }
}
