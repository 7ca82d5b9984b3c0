// SPDX-License-Identifier: Apache-2.0
//! Whether a session may be: the policy is asked, and the start goes into the record before anything begins.

use super::arguments::Session;
use super::target::{self, Knows};
use super::{behalf, kits, record, volumes, who};
use crate::command::{output, say};
use crate::config::Config;
use crate::control::ControlError;
use crate::policy::{self, Granted, Wanted};
use debug::{Bind, Capabilities, Spec};
use event::{Body, SessionAction};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// Most bytes of a command that are told with its session; its exec events have all of it.
const COMMAND_LIMIT: usize = 8 << 10;

/// Asks the policy, and has the start recorded; what the end needs for the same is given back. A session that is
/// refused is recorded, too.
pub(super) fn allowed(
    session: &Session,
    config: &Config,
    (who, knows): (&who::Who, Knows<'_>),
    found: &target::Found,
    kits: &[kits::Chosen],
    spec: &mut Spec,
) -> anyhow::Result<record::Note> {
    // A number of another host is nobody's here, whoever has it.
    spec.owner = if session.behalf.is_some() { who::NOBODY } else { who.uid };
    let names: Vec<String> = kits.iter().map(|chosen| chosen.kit.name.clone()).collect();
    let capabilities = beyond_target(session, found, spec.capabilities);
    let container = found.container.as_ref();
    // An image is not the container that is called so, and may have been typed in several ways.
    let target = if found.is_image() { &found.name } else { &session.target };
    let wanted = Wanted {
        user: &who.name,
        groups: &who.groups,
        target,
        container: container.filter(|_| !found.is_image()).map_or("", |container| container.name.as_str()),
        image: container.map_or("", |container| container.image.as_str()),
        kits: &names,
        capabilities: capabilities.as_slice(),
        privileged: session.privileged,
        volumes: &spec.binds,
        forwards: &session.forward,
        reason: &session.reason,
    };
    let start = event::Session {
        action: SessionAction::Start,
        id: spec.id.clone(),
        uid: who.uid,
        user: who.name.clone(),
        from: who.from.clone(),
        target: target.clone(),
        kits: kits.iter().map(kits::Chosen::told).collect(),
        capabilities: spec.capabilities.bits(),
        command: recorded_words(&session.command),
        reason: session.reason.clone(),
        detail: detail(session, &spec.binds),
        ..event::Session::default()
    };
    let container = container.map_or("", |container| container.id.as_str());
    let store = config.agent.store.as_path();
    let Granted { max_time, .. } = policy::decide(&config.debug, &wanted).map_err(|why| {
        let (action, id, detail) = (SessionAction::Refused, String::new(), why.clone());
        let refusal = event::Session { action, id, detail, ..start.clone() };
        let unrecorded =
            record::tell(store, &record::event(container, Body::Session(Box::new(refusal)))).err();
        let unrecorded =
            unrecorded.map_or(String::new(), |error| format!(" (and this is not recorded: {error})"));
        // Who is not to know of a container hears the same as when there is none.
        let why = match found.container.as_ref().filter(|one| !knows.of(one)) {
            Some(_) => {
                let sources = behalf::sources(session.behalf.as_ref(), &config.runtimes);
                target::unknown(&session.target, &sources, knows)
            }
            None => why,
        };
        anyhow::anyhow!("{why}{unrecorded}")
    })?;
    let start = record::event(container, Body::Session(Box::new(start)));
    let limits =
        [max_time.map(|time| time.as_secs()), session.behalf.as_ref().and_then(|behalf| behalf.limit_secs)];
    spec.limit_secs = limits.into_iter().flatten().min();
    let recorded = match record::tell(store, &start) {
        Ok(()) => true,
        Err(error) if config.debug.require_record || !matches!(error, ControlError::NoAgent { .. }) => {
            return Err(anyhow::Error::from(error).context("no session without a record"));
        }
        Err(_) => false,
    };
    if !recorded && spec.terminal.is_some() && output::is_watched() {
        say("purser: no agent is running, so nobody records this session");
    }
    let store = recorded.then(|| store.to_path_buf());
    Ok(record::Note { store, start: record::encoded(&start), transcript: config.debug.transcript })
}

/// The capabilities that the policy is asked about, by name.
fn beyond_target(session: &Session, found: &target::Found, all: Capabilities) -> Vec<String> {
    // A process that somebody picked by its number may have more rights than its container has.
    let usual = match session.target.starts_with("pid:") {
        true => Capabilities::default(),
        false => found.capabilities(),
    };
    let beyond = all.without(usual.and(Capabilities::shield())).to_string();
    beyond.split(' ').filter(|word| *word != "none").map(str::to_string).collect()
}

/// What the record says of a session beside its command.
fn detail(session: &Session, binds: &[Bind]) -> String {
    let core: Vec<String> = session.core.iter().cloned().collect();
    let forwards: Vec<String> = session.forward.iter().map(ToString::to_string).collect();
    let volumes: Vec<String> = binds.iter().map(volumes::told).collect();
    let all = [("core", core), ("forwards", forwards), ("volumes", volumes)].into_iter();
    let all = all.filter(|(_, words)| !words.is_empty());
    all.map(|(what, words)| format!("{what} {}", words.join(", "))).collect::<Vec<_>>().join("; ")
}

/// The words of a command as far as the record takes them; what is left out is marked.
pub(super) fn recorded_words(command: &[OsString]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut room = COMMAND_LIMIT;
    for word in command {
        let word = word.as_bytes();
        let Some(left) = room.checked_sub(word.len() + 1) else {
            words.push(b"...".to_vec());
            break;
        };
        room = left;
        words.push(word.to_vec());
    }
    words
}
