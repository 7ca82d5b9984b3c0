// SPDX-License-Identifier: Apache-2.0
//! `purser export`: the record for other programs, as JSON lines or CSV.

use super::filter;
use super::output;
use super::place::Place;
use super::rows::{Archive, Part};
use crate::exit::Exit;
use crate::table::{Ending, Row};
use event::{Body, Line, Session, SessionAction, document, names};
use jiff::Zoned;
use std::borrow::Cow;
use std::io::{self, Write};

/// Write events for other programs.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// How.
    #[arg(long, value_name = "FORMAT")]
    format: ExportFormat,
    #[command(flatten)]
    filter: filter::Args,
    #[command(flatten)]
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ExportFormat {
    /// One JSON document a line.
    Jsonl,
    /// Comma-separated values (RFC 4180) with a heading.
    Csv,
}

const HELP: &str = "\
In CSV, arguments stand in one column as a JSON array, and lines end with CR LF. A value that a
spreadsheet would take for a formula (it begins with = + - @, a tab or a carriage return) gets an
apostrophe in front; JSON lines change nothing.

Examples:
  purser export --format jsonl --since today > today.jsonl
  purser export --format csv --container demo --kind exec,exec_failed > demo.csv
  purser export --format jsonl --since 1h --kind exec | jq -r '.process.args | @sh'

Exit codes: 0 done, 1 failed, 2 wrong command line or configuration";

const COLUMNS: [&str; 20] = [
    "sequence",
    "time",
    "action",
    "container_id",
    "container_name",
    "image",
    "pid",
    "entity_id",
    "parent_entity_id",
    "uid",
    "euid",
    "executable",
    "args",
    "working_directory",
    "exit_code",
    "signal",
    "duration_ns",
    "error",
    "lost",
    "message",
];

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    let archive = Archive::open(&args.place.store()?)?;
    let filter = args.filter.check(&archive, &Zoned::now(), false)?;
    let context = archive.context();
    let mut out = output::stdout();
    if args.format == ExportFormat::Csv {
        record(&mut out, COLUMNS.into_iter().map(Cow::Borrowed))?;
    }
    for row in archive.rows(&filter, &Part::default()) {
        let row = row?;
        match args.format {
            ExportFormat::Jsonl => {
                let text = document::render(&context, row.sequence, &row.event, row.container.as_deref());
                writeln!(out, "{text}")?;
            }
            ExportFormat::Csv => record(&mut out, values(&row).into_iter())?,
        }
    }
    out.flush()?;
    Ok(archive.exit())
}

/// What differs between kinds of events.
#[derive(Default)]
struct Cells {
    executable: String,
    args: String,
    working_directory: String,
    exit_code: String,
    signal: String,
    duration_ns: String,
    error: String,
    lost: String,
    message: String,
}

fn cells(body: &Body) -> Cells {
    match body {
        Body::Exec(exec) | Body::Running(exec) => Cells {
            executable: document::text(&exec.executable),
            args: array(&exec.args),
            working_directory: document::text(&exec.working_directory),
            ..Cells::default()
        },
        Body::ExecFailed(failed) => Cells {
            executable: document::text(&failed.filename),
            args: array(&failed.args),
            error: names::errno(failed.errno),
            ..Cells::default()
        },
        Body::Exit(exit) => Cells {
            executable: document::text(&exit.executable),
            exit_code: if exit.signal == 0 { exit.code.to_string() } else { String::new() },
            signal: if exit.signal == 0 { String::new() } else { names::signal(exit.signal) },
            duration_ns: Ending::of(exit).duration_ns().map_or(String::new(), |ns| ns.to_string()),
            ..Cells::default()
        },
        Body::Gap(gap) => {
            let message = format!("{} {}", gap.cause.word(), gap.detail).trim_end().to_string();
            Cells { lost: gap.count.to_string(), message, ..Cells::default() }
        }
        Body::Agent(agent) => Cells { message: agent.message.clone(), ..Cells::default() },
        Body::Line(line) => Cells { message: line_text(line), error: line.error.clone(), ..Cells::default() },
        Body::Session(session) => session_cells(session),
        Body::Tty(screen) => Cells { message: document::text(&screen.bytes), ..Cells::default() },
    }
}

fn session_cells(session: &Session) -> Cells {
    let is_end = session.action == SessionAction::End;
    let ended = |number: u64| if is_end { number.to_string() } else { String::new() };
    Cells {
        args: if session.command.is_empty() { String::new() } else { array(&session.command) },
        exit_code: ended(session.code.into()),
        duration_ns: ended(session.duration_ns),
        message: [&session.user, &session.target, &session.reason, &session.detail]
            .into_iter()
            .filter(|part| !part.is_empty())
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(" · "),
        ..Cells::default()
    }
}

/// The text of a line, or its fields where it is made of them.
fn line_text(line: &Line) -> String {
    if line.message.is_empty() { line.json.clone() } else { document::text(&line.message) }
}

fn values(row: &Row) -> [Cow<'_, str>; 20] {
    let event = &row.event;
    let container = row.container.as_deref();
    let process = event.process();
    let action = match &event.body {
        Body::Agent(agent) => agent.action.as_str(),
        Body::Session(session) => session.action.word(),
        _ => event.kind().word(),
    };
    let cells = cells(&event.body);
    let of = |number: Option<u32>| Cow::Owned(number.map_or(String::new(), |number| number.to_string()));
    let id = |key: Option<event::ProcessKey>| {
        Cow::Owned(key.map_or(String::new(), |key| key.entity_id(&event.boot_id)))
    };
    [
        Cow::Owned(row.sequence.to_string()),
        Cow::Owned(document::rfc3339(event.time_ns)),
        Cow::Borrowed(action),
        Cow::Borrowed(event.container.as_str()),
        Cow::Borrowed(container.map_or("", |container| container.name.as_str())),
        Cow::Borrowed(container.map_or("", |container| container.image.as_str())),
        of(process.map(|process| process.key.pid)),
        id(process.map(|process| process.key)),
        id(process.map(|process| process.parent)),
        of(process.map(|process| process.uid)),
        of(process.map(|process| process.euid)),
        Cow::Owned(cells.executable),
        Cow::Owned(cells.args),
        Cow::Owned(cells.working_directory),
        Cow::Owned(cells.exit_code),
        Cow::Owned(cells.signal),
        Cow::Owned(cells.duration_ns),
        Cow::Owned(cells.error),
        Cow::Owned(cells.lost),
        Cow::Owned(cells.message),
    ]
}

fn array(args: &[Vec<u8>]) -> String {
    let args: Vec<String> = args.iter().map(|argument| document::text(argument)).collect();
    serde_json::Value::from(args).to_string()
}

fn record<'a>(out: &mut impl Write, values: impl Iterator<Item = Cow<'a, str>>) -> io::Result<()> {
    for (index, value) in values.enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        out.write_all(field(&value).as_bytes())?;
    }
    out.write_all(b"\r\n")
}

/// A field as RFC 4180 has it, and no formula.
fn field(value: &str) -> Cow<'_, str> {
    let formula = value.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let quoted = formula || value.contains(['"', ',', '\n', '\r']);
    match (quoted, formula) {
        (false, _) => Cow::Borrowed(value),
        (true, false) => Cow::Owned(format!("\"{}\"", value.replace('"', "\"\""))),
        (true, true) => Cow::Owned(format!("\"'{}\"", value.replace('"', "\"\""))),
    }
}

#[cfg(test)]
mod tests {
    use super::{COLUMNS, field, record, values};
    use crate::table::sample;
    use std::borrow::Cow;

    #[test]
    fn fields_are_quoted_and_harmless() {
        assert_eq!(field("plain"), "plain");
        assert_eq!(field("a,b"), "\"a,b\"");
        assert_eq!(field("a \"b\"\n"), "\"a \"\"b\"\"\n\"");
        assert_eq!(field("=HYPERLINK(1)"), "\"'=HYPERLINK(1)\"");
        assert_eq!(field("-x"), "\"'-x\"");
        assert_eq!(field(""), "");
        let mut out = Vec::new();
        record(&mut out, ["a", "b,c", ""].into_iter().map(Cow::Borrowed)).unwrap();
        assert_eq!(out, b"a,\"b,c\",\r\n");
    }

    #[test]
    fn columns_hold_what_they_say() {
        let row = sample::exec(5, 7, 1, &[b"sh", b"-c", b"a,\"b\""]);
        let at =
            |name: &str| values(&row)[COLUMNS.iter().position(|column| *column == name).unwrap()].to_string();
        assert_eq!(at("args"), r#"["sh","-c","a,\"b\""]"#);
        assert_eq!(at("action"), "exec");
        assert_eq!(at("container_name"), "demo-1");
        assert_eq!(at("pid"), "7");
        let row = sample::exit(9, 7, 0, 9, 1_500);
        let at =
            |name: &str| values(&row)[COLUMNS.iter().position(|column| *column == name).unwrap()].to_string();
        assert_eq!(
            (at("signal"), at("exit_code"), at("duration_ns")),
            ("SIGKILL".into(), String::new(), "1500".into())
        );
    }
}
