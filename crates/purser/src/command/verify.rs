// SPDX-License-Identifier: Apache-2.0
//! `purser verify`: is the record whole?

use super::output::{self, Format, is_watched};
use super::place::Place;
use super::{Usage, say};
use crate::exit::Exit;
use crate::table::{grouped, harmless};
use anyhow::Context;
use jiff::Timestamp;
use serde_json::json;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};
use store::{Finding, FindingKind, Reader, Report};

/// The end of a finding's range that stands for the whole store.
const EVERYTHING: u64 = u64::MAX - 1;
/// Time between two words on the progress.
const PROGRESS: Duration = Duration::from_millis(200);

/// Check that the record is whole: nothing edited, removed, swapped or cut off.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The store's first public key, kept elsewhere: 64 hexadecimal digits, or a file with them.
    #[arg(long, value_name = "HEX|FILE")]
    key: Option<String>,
    /// Only print the store's first public key, in the form --key takes.
    #[arg(long, conflicts_with = "key")]
    print_key: bool,
    /// What to print.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
    #[command(flatten)]
    place: Place,
}

const HELP: &str = "\
Without --key the store is checked against the key it came with: that shows damage and careless
edits, and not that somebody replaced the whole store. So note the key once, on another machine,
right after the first start. Works while the agent writes. Events after the last signature are
counted and named, but a cut among them does not show.

Examples:
  purser verify
  purser verify --print-key                       note this elsewhere
  purser verify --key /root/purser.key
  purser verify --store /mnt/evidence/purser -o json

Exit codes: 0 whole, 1 not whole or failed, 2 wrong command line or configuration";

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    let store = args.place.store()?;
    if args.print_key {
        return print_key(&store);
    }
    let key = args.key.as_deref().map(key).transpose()?;
    let watched = is_watched();
    let mut told: Option<Instant> = None;
    let mut progress = |done: u64, all: u64| {
        let due = told.is_none_or(|told| told.elapsed() >= PROGRESS);
        if watched && due {
            told = Some(Instant::now());
            let percent = if all == 0 { 100 } else { u128::from(done) * 100 / u128::from(all) };
            write!(io::stderr().lock(), "\r{percent:>3} %").unwrap_or_default();
        }
    };
    let report = store::verify(&store, key.as_ref(), &mut progress)
        .with_context(|| format!("verifying the store {}", store.display()))?;
    if told.is_some() {
        write!(io::stderr().lock(), "\r     \r").unwrap_or_default();
    }
    let mut out = output::stdout();
    match args.output {
        Format::Table => table(&report, &mut out)?,
        Format::Json => writeln!(out, "{}", document(&report))?,
    }
    out.flush()?;
    if !report.whole() {
        say("purser: the record is not whole");
        return Ok(Exit::Problem);
    }
    Ok(Exit::Success)
}

fn print_key(store: &Path) -> anyhow::Result<Exit> {
    let reader = Reader::open(store)?;
    let key = reader.first_key().with_context(|| {
        format!("the store {} has no key: its file \"origin\" is missing or damaged", store.display())
    })?;
    let mut out = output::stdout();
    writeln!(out, "{}", key.iter().map(|byte| format!("{byte:02x}")).collect::<String>())?;
    out.flush()?;
    Ok(Exit::Success)
}

/// A key given as it is or in a file.
fn key(text: &str) -> Result<[u8; 32], Usage> {
    if let Some(key) = hex(text) {
        return Ok(key);
    }
    let wrong = |why: String| {
        Usage(format!("--key {text:?} is neither 64 hexadecimal digits nor a file with them: {why}"))
    };
    let mut content = String::new();
    let file = std::fs::File::open(text).map_err(|error| wrong(error.to_string()))?;
    file.take(256).read_to_string(&mut content).map_err(|error| wrong(error.to_string()))?;
    hex(content.trim()).ok_or_else(|| wrong("its text is something else".to_string()))
}

fn hex(text: &str) -> Option<[u8; 32]> {
    let mut key = [0u8; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, place) in key.iter_mut().zip(0..) {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(key)
}

fn table(report: &Report, out: &mut impl Write) -> io::Result<()> {
    for finding in &report.findings {
        let range = match (finding.first_sequence, finding.last_sequence) {
            (0, 0) => "no events".to_string(),
            (_, last) if last >= EVERYTHING => "every event".to_string(),
            (first, last) if first == last => format!("event {}", grouped(first)),
            (first, last) => format!("events {} to {}", grouped(first), grouped(last)),
        };
        let (file, detail) = (harmless(&finding.file), harmless(&finding.detail));
        writeln!(out, "{:<8} {file}: {range}: {detail}", word(finding.kind))?;
    }
    let events = counted(report.events, "event");
    let segments = counted(report.segments, "segment");
    let result = match report.findings.len() {
        0 => "whole".to_string(),
        count => format!("not whole: {}", counted(count as u64, "finding")),
    };
    writeln!(out, "{events}, {segments}, {result}")?;
    unproven(report, out)
}

/// What the result does not speak of: nothing proves the tail behind the last signature.
fn unproven(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let signed = match report.signed_ns.map(|time_ns| Timestamp::from_nanosecond(i128::from(time_ns))) {
        Some(Ok(time)) => format!("the last signature is of {time:.0}"),
        _ => "nothing is signed".to_string(),
    };
    if let Some((first, last)) = report.unsigned {
        let count = last.saturating_sub(first).saturating_add(1);
        writeln!(
            out,
            "the newest {} not signed yet ({signed}): a cut or a change among them would not show here",
            are(count)
        )?;
    }
    if !report.live && !report.closed {
        writeln!(
            out,
            "the agent did not end in order ({signed}): what it wrote last may have been cut off unseen"
        )?;
    }
    Ok(())
}

fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count), if count == 1 { "" } else { "s" })
}

fn are(count: u64) -> String {
    format!("{} {}", counted(count, "event"), if count == 1 { "is" } else { "are" })
}

fn word(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::Edited => "edited",
        FindingKind::Missing => "missing",
        FindingKind::Reordered => "swapped",
        FindingKind::Truncated => "cut off",
        FindingKind::Unexpected => "foreign",
        FindingKind::Foreign => "wrong key",
        FindingKind::Version => "newer",
        _ => "damaged",
    }
}

fn document(report: &Report) -> serde_json::Value {
    let finding = |finding: &Finding| {
        json!({
            "kind": word(finding.kind),
            "file": finding.file,
            "first_sequence": finding.first_sequence,
            // No number that no event has: null is "up to the end".
            "last_sequence": (finding.last_sequence < EVERYTHING).then_some(finding.last_sequence),
            "detail": finding.detail,
        })
    };
    json!({
        "whole": report.whole(),
        "events": report.events,
        "segments": report.segments,
        "signed_until": report.signed_ns.and_then(|time_ns| {
            Timestamp::from_nanosecond(i128::from(time_ns)).ok().map(|time| time.to_string())
        }),
        "ended_in_order": if report.live { None } else { Some(report.closed) },
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
        "unsigned": report.unsigned.map(|(first, last)| json!({ "first_sequence": first, "last_sequence": last })),
    })
}

#[cfg(test)]
mod tests {
    use super::{counted, document, hex, key, table};
    use store::Report;

    fn printed(report: &Report) -> String {
        let mut out = Vec::new();
        table(report, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_tail_that_is_not_signed_is_named_with_the_time_of_the_last_signature() {
        let mut report = Report { events: 5, segments: 1, closed: true, ..Report::default() };
        report.signed_ns = Some(1_700_000_000_123_456_789);
        assert_eq!(printed(&report), "5 events, 1 segment, whole\n");
        assert_eq!(document(&report)["signed_until"], "2023-11-14T22:13:20.123456789Z");
        assert_eq!(document(&report)["ended_in_order"], true);
        (report.closed, report.unsigned) = (false, Some((3, 5)));
        let text = printed(&report);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[1],
            "the newest 3 events are not signed yet (the last signature is of 2023-11-14T22:13:20Z): \
             a cut or a change among them would not show here"
        );
        assert!(lines[2].starts_with("the agent did not end in order"), "{text}");
        report.live = true;
        assert_eq!(printed(&report).lines().count(), 2);
        assert!(document(&report)["ended_in_order"].is_null());
    }

    #[test]
    fn keys_as_digits_or_in_a_file() {
        let digits = "0a".repeat(32);
        assert_eq!(hex(&digits), Some([10; 32]));
        assert_eq!(hex("0a"), None);
        assert_eq!(hex(&"é".repeat(32)), None);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("{digits}\n")).unwrap();
        assert_eq!(key(file.path().to_str().unwrap()).unwrap(), [10; 32]);
        assert!(key("/no/such/file").is_err());
    }

    #[test]
    fn numbers_of_things() {
        assert_eq!(counted(1_204_332, "event"), "1,204,332 events");
        assert_eq!(counted(1, "segment"), "1 segment");
    }
}
