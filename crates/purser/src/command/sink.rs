// SPDX-License-Identifier: Apache-2.0
//! `purser sink`: where events go, how far they got, and what to do about it.

mod setup;
mod test;

use super::output::{self, Format};
use super::place::Place;
use super::{Usage, stop, when};
use crate::control::{Request, RewindTo, SinkState, ask};
use crate::exit::Exit;
use crate::table::{grouped, harmless};
use anyhow::Context;
use jiff::Zoned;
use std::io::{self, Write};

/// See, test, pause and move the sinks that events are sent to.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: SinkCommand,
}

const HELP: &str = "\
Sinks are configured as [sink.NAME]; purser reload puts a changed configuration in force.

Examples:
  purser sink ls                              state, lag and last error of each
  purser sink test kafka                      does it work? step by step
  purser sink setup search                    what a search cluster needs, and make it with --yes
  purser sink rewind kafka --to 2h            send the last two hours again

Exit codes: 0 done, 1 failed or refused, 2 wrong command line or configuration, 3 no agent is running";

#[derive(Debug, clap::Subcommand)]
enum SinkCommand {
    Ls(List),
    Test(test::Test),
    Setup(setup::Setup),
    Rewind(Rewind),
    Pause(Pause),
    Resume(Resume),
}

/// List the sinks with their state, cursor, lag, rate, retries and last error.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  purser sink ls\n  purser sink ls -o json | jq 'select(.lag_events > 1000) | .name'"
)]
struct List {
    /// What to print.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
    #[command(flatten)]
    place: Place,
}

/// Have a sink go on elsewhere: what comes after is sent, again if need be.
#[derive(Debug, clap::Args)]
#[command(after_help = REWIND_HELP)]
struct Rewind {
    /// The sink.
    name: String,
    /// Where to: an event's sequence, a time (2h, 2026-01-31T07:00) or `start` or `end`.
    #[arg(long, value_name = "PLACE")]
    to: String,
    #[command(flatten)]
    place: Place,
}

const REWIND_HELP: &str = "\
A sink moved back sends events again, also one with exactly_once; moved forward it leaves out those
between, and that is not told as a gap.

Examples:
  purser sink rewind kafka --to 2h            events of the last two hours again
  purser sink rewind kafka --to 4711          event 4711 and those after it
  purser sink rewind kafka --to start         everything the store has
  purser sink rewind kafka --to end           nothing of what waits";

/// Send nothing to a sink for now; events wait in the store. A restart of the agent ends the pause.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  purser sink pause kafka")]
struct Pause {
    /// The sink.
    name: String,
    #[command(flatten)]
    place: Place,
}

/// Send again, and try again at once what failed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  purser sink resume kafka")]
struct Resume {
    /// The sink.
    name: String,
    #[command(flatten)]
    place: Place,
}

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    match args.action {
        SinkCommand::Ls(list) => list.run(),
        SinkCommand::Test(test) => test.run(),
        SinkCommand::Setup(setup) => setup.run(),
        SinkCommand::Rewind(rewind) => {
            let to = place_of(&rewind.to, &Zoned::now())?;
            let request = Request::SinkRewind { name: rewind.name, to };
            stop::ask_and_tell(&rewind.place.store()?, &request, &mut output::stdout())
        }
        SinkCommand::Pause(pause) => {
            let request = Request::SinkPause { name: pause.name };
            stop::ask_and_tell(&pause.place.store()?, &request, &mut output::stdout())
        }
        SinkCommand::Resume(resume) => {
            let request = Request::SinkResume { name: resume.name };
            stop::ask_and_tell(&resume.place.store()?, &request, &mut output::stdout())
        }
    }
}

fn place_of(text: &str, now: &Zoned) -> Result<RewindTo, Usage> {
    match text {
        "start" => return Ok(RewindTo::Start),
        "end" => return Ok(RewindTo::End),
        _ => {}
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let sequence = text.parse().ok().filter(|&sequence| sequence > 0);
        return sequence
            .map(RewindTo::Sequence)
            .ok_or_else(|| Usage(format!("--to: there is no event {text}")));
    }
    let time = when::parse(text, now)
        .map_err(|wrong| Usage(format!("--to: {wrong}, nor a sequence, start or end")))?;
    Ok(RewindTo::TimeNs(time))
}

impl List {
    fn run(self) -> anyhow::Result<Exit> {
        let reply = ask(&self.place.store()?, &Request::SinkList)?;
        let sinks = reply.sinks.context("the agent gave an answer without sinks")?;
        let mut out = output::stdout();
        match self.output {
            Format::Table => table(&sinks, &mut out)?,
            Format::Json => output::json_lines(&sinks, &mut out)?,
        }
        out.flush()?;
        Ok(Exit::Success)
    }
}

fn table(sinks: &[SinkState], out: &mut impl Write) -> io::Result<()> {
    let width = sinks.iter().map(|sink| sink.name.len()).max().unwrap_or(0).max(4);
    writeln!(
        out,
        "{:<width$}  {:<13}  {:<8}  {:>12}  {:>10}  {:>8}  {:>8}  {:>7}  {:>5}  {:>8}",
        "NAME", "TYPE", "STATE", "CURSOR", "LAG", "BEHIND", "RATE/S", "RETRIES", "DEAD", "CANARY"
    )?;
    for sink in sinks {
        let status = &sink.status;
        writeln!(
            out,
            "{:<width$}  {:<13}  {:<8}  {:>12}  {:>10}  {:>8}  {:>8}  {:>7}  {:>5}  {:>8}",
            sink.name,
            sink.kind,
            status.state.word(),
            grouped(status.cursor),
            grouped(sink.lag_events),
            behind(sink.lag_ms),
            grouped(status.rate),
            grouped(status.retried),
            grouped(status.dead),
            status.canary_us.map_or_else(|| "-".to_string(), |us| behind(us.div_ceil(1_000))),
        )?;
        if let Some(error) = &status.error {
            writeln!(out, "{:<width$}  {}", "", harmless(error))?;
        }
    }
    Ok(())
}

fn behind(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{} s", ms / 1_000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        _ => format!("{} h", ms / 3_600_000),
    }
}

#[cfg(test)]
mod tests {
    use super::{place_of, table};
    use crate::control::{RewindTo, SinkState};
    use jiff::Zoned;

    #[test]
    fn places_to_go_on() {
        let now: Zoned = "2026-01-31T07:00[UTC]".parse().unwrap();
        assert_eq!(place_of("start", &now).unwrap(), RewindTo::Start);
        assert_eq!(place_of("end", &now).unwrap(), RewindTo::End);
        assert_eq!(place_of("4711", &now).unwrap(), RewindTo::Sequence(4711));
        let RewindTo::TimeNs(time) = place_of("2h", &now).unwrap() else { panic!("2h is a time") };
        assert_eq!(i128::from(time), now.timestamp().as_nanosecond() - 7_200_000_000_000);
        for wrong in ["", "0", "soon", "99999999999999999999999"] {
            assert!(place_of(wrong, &now).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sinks_as_a_table() {
        let mut sink = SinkState {
            name: "kafka".into(),
            kind: "kafka".into(),
            lag_events: 1_234,
            ..SinkState::default()
        };
        sink.status.canary_us = Some(11_200);
        sink.status.error = Some("no \u{1b}broker".to_string());
        let mut out = Vec::new();
        table(&[sink], &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.contains("1,234") && text.contains("   12 ms\n") && text.ends_with("no \\x1bbroker\n"),
            "{text}"
        );
    }
}
