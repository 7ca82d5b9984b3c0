// SPDX-License-Identifier: Apache-2.0
//! `purser debug sessions|attach|end`.

use super::who::{self, Who};
use super::{names, record};
use crate::command::output::{self, Format};
use crate::command::place::Place;
use crate::command::say;
use crate::exit::Exit;
use crate::policy;
use crate::table::harmless;
use clap_complete::ArgValueCandidates;
use debug::{DIRECTORY, DetachKeys, Outcome};
use event::{Body, SessionAction};
use jiff::Timestamp;
use std::io::Write;
use std::path::Path;

/// List the sessions of this host.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  purser debug sessions\n  purser debug sessions -o json")]
pub(super) struct List {
    /// What is printed.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

/// Take a session's terminal over.
#[derive(Debug, clap::Args)]
#[command(after_help = "Whoever has it now is sent away.\n\nExamples:\n  purser debug attach 3f2a")]
pub(super) struct Attach {
    /// The session's id, or its start.
    #[arg(value_name = "ID", add = ArgValueCandidates::new(names::terminals))]
    id: String,
    /// The keys that leave the session running, each a character, ctrl-CHARACTER or DEL; "" for none.
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    detach_keys: DetachKeys,
}

/// End a session and all that runs in it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  purser debug end 3f2a")]
pub(super) struct End {
    /// The session's id, or its start.
    #[arg(value_name = "ID", add = ArgValueCandidates::new(names::sessions))]
    id: String,
}

pub(super) fn list(args: &List) -> anyhow::Result<Exit> {
    debug::collect(Path::new(DIRECTORY));
    let mut sessions = debug::list(Path::new(DIRECTORY));
    if who::comes_by_sudo() {
        let who = Who::asks();
        sessions.retain(|session| session.owner == who.uid);
    }
    let mut out = output::stdout();
    if args.output == Format::Json {
        for session in &sessions {
            writeln!(out, "{}", serde_json::to_string(session)?)?;
        }
        out.flush()?;
        return Ok(Exit::Success);
    }
    writeln!(out, "{:<8}  {:<20}  {:<9}  {:<9}  {:<12}  COMMAND", "ID", "TARGET", "SINCE", "STATE", "KITS")?;
    let zone = jiff::tz::TimeZone::system();
    for session in sessions {
        let since = i64::try_from(session.since_secs).ok().and_then(|secs| Timestamp::from_second(secs).ok());
        let since = since.map(|since| since.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string());
        let state = match (session.has_terminal, session.is_attached) {
            (false, _) => "pipes",
            (true, true) => "attached",
            (true, false) => "detached",
        };
        let command = if session.command.is_empty() { "a shell" } else { &session.command };
        writeln!(
            out,
            "{:<8}  {:<20}  {:<9}  {state:<9}  {:<12}  {}",
            session.id,
            harmless(&session.target),
            since.unwrap_or_default(),
            session.kits.join(" "),
            harmless(command)
        )?;
    }
    out.flush()?;
    Ok(Exit::Success)
}

/// The id of the session that is meant. Whoever comes by sudo has his own only, as long as the policy still has an
/// entry for him and its target; another one is not there for him, and the record has that he tried.
fn own(id: &str, action: &str) -> anyhow::Result<String> {
    if !who::comes_by_sudo() {
        return Ok(id.to_owned());
    }
    let who = Who::asks();
    let config = Place::default().load()?.0;
    let fits = |session: &debug::Session| !id.is_empty() && session.id.starts_with(id);
    let found: Vec<debug::Session> = debug::list(Path::new(DIRECTORY)).into_iter().filter(fits).collect();
    let is_own = |session: &&debug::Session| {
        let place = (who.name.as_str(), who.groups.as_slice());
        session.owner == who.uid && policy::may_know(&config.debug, place, &session.target, None)
    };
    let own: Vec<&debug::Session> = found.iter().filter(is_own).collect();
    if let [one] = own.as_slice() {
        return Ok(one.id.clone());
    }
    for other in found.iter().filter(|session| !is_own(session)) {
        let refusal = event::Session {
            action: SessionAction::Refused,
            uid: who.uid,
            user: who.name.clone(),
            from: who.from.clone(),
            target: other.target.clone(),
            kits: other.kits.clone(),
            detail: format!("{action} of session {}, which user {} began", other.id, other.owner),
            ..event::Session::default()
        };
        let refusal = record::event("", Body::Session(Box::new(refusal)));
        // Without an agent nobody records, and nothing is done either.
        record::tell(&config.agent.store, &refusal).unwrap_or_default();
    }
    Err(debug::DebugError::NoSession { id: id.to_owned() }.into())
}

pub(super) fn attach(args: &Attach) -> anyhow::Result<Exit> {
    let id = match own(&args.id, "attach") {
        Ok(id) => id,
        Err(error) => return Ok(super::refused(&error)),
    };
    match debug::attach(Path::new(DIRECTORY), &id, &args.detach_keys) {
        Ok(Outcome::Exited(code)) => Ok(Exit::Command(code)),
        Ok(Outcome::Detached) => {
            say("purser: the session goes on");
            Ok(Exit::Success)
        }
        Ok(Outcome::Replaced) => {
            say("purser: somebody else has attached to the session");
            Ok(Exit::Success)
        }
        Err(error) => Ok(super::refused(&error.into())),
    }
}

pub(super) fn end(args: &End) -> anyhow::Result<Exit> {
    debug::end(Path::new(DIRECTORY), &own(&args.id, "end")?)?;
    Ok(Exit::Success)
}
