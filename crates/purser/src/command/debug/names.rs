// SPDX-License-Identifier: Apache-2.0
//! What a shell offers in the place of a target or a session: those that the one who asks may know of. There is nobody
//! to tell of an error, so what cannot be found out is not offered.

use super::target::{self, Knows};
use super::who::{self, Who};
use crate::command::place::Place;
use crate::table::harmless;
use clap_complete::CompletionCandidate;
use container::Recorded;
use debug::{DIRECTORY, Session};
use std::path::Path;

/// Containers, also those that do not run.
pub(in crate::command) fn targets() -> Vec<CompletionCandidate> {
    let Ok((config, _)) = Place::default().load() else { return Vec::new() };
    let who = Who::asks();
    let by_policy = |one: &Recorded| who.may_know(&config.debug, one);
    let knows = Knows((!config.debug.allow.is_empty()).then_some(&by_policy));
    let running = target::running(&config.runtimes).into_iter().map(|one| (one, "runs"));
    let still = target::still(&config.runtimes).into_iter().map(|one| (one, "does not run"));
    let known = running.chain(still).filter(|(one, _)| knows.of(one));
    known
        .filter_map(|(one, state)| {
            let name = if one.name.is_empty() { &one.id } else { &one.name };
            let help = format!("{}, {state}", one.runtime);
            is_plain(name).then(|| CompletionCandidate::new(name).help(Some(help.into())))
        })
        .collect()
}

/// Sessions, to end them.
pub(super) fn sessions() -> Vec<CompletionCandidate> {
    those(|_| true)
}

/// Sessions with a terminal, to take it over.
pub(super) fn terminals() -> Vec<CompletionCandidate> {
    those(|session| session.has_terminal)
}

fn those(fits: impl Fn(&Session) -> bool) -> Vec<CompletionCandidate> {
    let asks = who::comes_by_sudo().then(Who::asks);
    let is_own = |session: &Session| asks.as_ref().is_none_or(|who| session.owner == who.uid);
    let offered = debug::list(Path::new(DIRECTORY)).into_iter().filter(|one| is_own(one) && fits(one));
    offered
        .map(|session| {
            let help = format!("{}: {}", harmless(&session.target), harmless(&session.command));
            CompletionCandidate::new(session.id).help(Some(help.into()))
        })
        .collect()
}

/// Shells put it into the command line as it is, and a user may call a container what he likes.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::is_plain;

    #[test]
    fn names_that_a_shell_would_obey_are_not_offered() {
        assert!(is_plain("web-1.app_2"));
        for name in ["$(id)", "a b", "a;b", "a\nb", "\u{1b}[2J", "~x", "a'b"] {
            assert!(!is_plain(name), "{name}");
        }
    }
}
