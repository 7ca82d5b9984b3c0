// SPDX-License-Identifier: Apache-2.0
//! `purser replay`: what the terminal of a debugging session showed, as it was shown, or as an asciicast
//! for other players. It all comes from the record, which `purser verify` proves.

mod calm;
mod cast;

use super::place::Place;
use super::rows::{Archive, Part};
use super::{Usage, filter, output, say};
use crate::exit::Exit;
use crate::table::Row;
use calm::Calm;
use cast::Cast;
use event::{Body, Kind, Screen, Session, SessionAction};
use jiff::Zoned;
use std::collections::BTreeMap;
use std::io::Write;
use std::thread::sleep;
use std::time::Duration;

/// Play what a debugging session's terminal showed.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The session's name, or its beginning; without one the sessions are listed.
    session: Option<String>,
    /// How many times faster than it was.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = factor)]
    speed: f64,
    /// The longest that nothing happens, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = factor)]
    idle: f64,
    /// Write an asciicast (version 2) instead of playing it.
    #[arg(long)]
    asciicast: bool,
    #[command(flatten)]
    place: Place,
}

const HELP: &str = "\
What was typed is there where the terminal showed it, so no password is. Playing sends to your
terminal what draws on it. What would ask it something, change its title, its clipboard or what its
keys send is left out; --asciicast has all of it.

Examples:
  purser replay                              which sessions there are
  purser replay 5e55ab1e --speed 4
  purser replay 5e55 --asciicast > session.cast

Exit codes: 0 done, 1 failed or no such session, 2 wrong command line or configuration";

/// Most sessions that are listed.
const LISTED_LIMIT: usize = 10_000;

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    let archive = Archive::open(&args.place.store()?)?;
    let Some(wanted) = &args.session else { return list(&archive) };
    let id = find(&archive, wanted)?;
    let mut out = output::stdout();
    let mut cast = None;
    let mut calm = Calm::default();
    let mut shown: Option<u64> = None;
    let mut is_live = true;
    for row in rows(&archive, vec![Kind::Session, Kind::Tty])? {
        let row = row?;
        match &row.event.body {
            Body::Session(session) if session.id == id => {
                is_live &= session.action != SessionAction::End;
                if args.asciicast && session.action == SessionAction::Start {
                    cast = Some(Cast::new(title(&row, session), row.event.time_ns));
                }
            }
            Body::Tty(screen) if screen.session == id => {
                if args.asciicast {
                    // A start that retention took along leaves the time of the first piece.
                    let cast = cast.get_or_insert_with(|| {
                        Cast::new(id.clone(), row.event.time_ns.saturating_sub(screen.elapsed_ns))
                    });
                    cast.show(screen, &mut out)?;
                } else {
                    let before = shown.unwrap_or(screen.elapsed_ns);
                    sleep(pause(screen.elapsed_ns.saturating_sub(before), args.speed, args.idle));
                    show(screen, &mut calm, &mut out)?;
                }
                shown = Some(screen.elapsed_ns);
            }
            _ => {}
        }
    }
    match cast {
        Some(cast) => cast.end(&mut out)?,
        None if shown.is_some() && output::is_terminal() => out.write_all(&calm.end())?,
        None => {}
    }
    out.flush()?;
    match (shown, is_live) {
        (None, _) => say(&format!("purser: session {id} had no terminal; see: purser log --grep {id}")),
        (Some(_), true) => {
            say(&format!("purser: session {id} has not ended yet, or its end is not recorded"))
        }
        _ => {}
    }
    Ok(archive.exit())
}

fn factor(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err(format!("{text:?} is not a number above 0")),
    }
}

fn rows(archive: &Archive, kinds: Vec<Kind>) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Row>>> {
    let filter = filter::Args::default().check(archive, &Zoned::now(), false)?;
    Ok(archive.rows(&filter, &Part { kinds: Some(kinds), ..Part::default() }))
}

/// The one session whose name begins so.
fn find(archive: &Archive, wanted: &str) -> anyhow::Result<String> {
    let mut found: Vec<String> = Vec::new();
    for row in rows(archive, vec![Kind::Session])? {
        if let Body::Session(session) = row?.event.body
            && session.id.starts_with(wanted)
            && !found.contains(&session.id)
        {
            found.push(session.id);
        }
    }
    match found.as_slice() {
        [] => anyhow::bail!("there is no session {wanted:?} in the record; purser replay lists them"),
        [one] => Ok(one.clone()),
        many => Err(Usage(format!("more than one session is called {wanted}…: {}", many.join(", "))).into()),
    }
}

/// How long nothing is to happen here, when it was so long there.
fn pause(waited_ns: u64, speed: f64, idle_secs: f64) -> Duration {
    let secs = (Duration::from_nanos(waited_ns).as_secs_f64() / speed).min(idle_secs);
    // A number beyond all durations is as long as any.
    Duration::try_from_secs_f64(secs).unwrap_or(Duration::MAX)
}

fn show(screen: &Screen, calm: &mut Calm, out: &mut impl Write) -> anyhow::Result<()> {
    if screen.dropped > 0 {
        write!(out, "\r\n[{} bytes were too many to be kept]\r\n", screen.dropped)?;
    }
    out.write_all(&calm.pass(&screen.bytes))?;
    Ok(out.flush()?)
}

fn title(row: &Row, session: &Session) -> String {
    let who = if session.user.is_empty() { session.uid.to_string() } else { session.user.clone() };
    let name = row.container.as_deref().map_or("", |container| container.name.as_str());
    let place = if name.is_empty() { &session.target } else { name };
    format!("{} in {place} by {who}", session.id)
}

/// One line a session, the oldest first.
fn list(archive: &Archive) -> anyhow::Result<Exit> {
    let mut sessions: BTreeMap<u64, (String, Session)> = BTreeMap::new();
    let mut begun: BTreeMap<String, u64> = BTreeMap::new();
    for row in rows(archive, vec![Kind::Session])? {
        let row = row?;
        let Body::Session(session) = &row.event.body else { continue };
        match session.action {
            SessionAction::Refused => continue,
            SessionAction::Start if sessions.len() < LISTED_LIMIT => {
                let at = event::document::rfc3339(row.event.time_ns);
                begun.insert(session.id.clone(), row.sequence);
                sessions.insert(row.sequence, (at, Session::clone(session)));
            }
            SessionAction::Start => {}
            SessionAction::End => {
                if let Some((_, known)) = begun.get(&session.id).and_then(|number| sessions.get_mut(number)) {
                    (known.action, known.code) = (SessionAction::End, session.code);
                    known.duration_ns = session.duration_ns;
                }
            }
        }
    }
    let mut out = output::stdout();
    for (at, session) in sessions.values() {
        let end = match session.action {
            SessionAction::End => {
                format!("exit {} after {} s", session.code, session.duration_ns / 1_000_000_000)
            }
            _ => "not ended".to_string(),
        };
        let line = format!("{}  {at}  {}  {}  {end}", session.id, session.target, session.user);
        writeln!(out, "{}", crate::table::harmless(&line))?;
    }
    out.flush()?;
    Ok(archive.exit())
}

#[cfg(test)]
mod tests {
    use super::{factor, pause};
    use std::time::Duration;

    #[test]
    fn pauses_are_as_long_as_was_said() {
        let second = 1_000_000_000;
        assert_eq!(pause(3 * second, 2.0, 9.0), Duration::from_millis(1500));
        assert_eq!(pause(3 * second, 1.0, 2.0), Duration::from_secs(2));
        assert_eq!(pause(0, 1.0, 2.0), Duration::ZERO);
        // What may be typed and is no duration.
        let (tiny, huge) = (factor("1e-300").unwrap(), factor("1e300").unwrap());
        assert_eq!(pause(second, tiny, 2.0), Duration::from_secs(2));
        assert_eq!(pause(second, tiny, huge), Duration::MAX);
        assert!(factor("0").is_err() && factor("nan").is_err() && factor("inf").is_err());
    }
}
