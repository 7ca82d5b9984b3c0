// SPDX-License-Identifier: Apache-2.0
//! What is said of a session before it begins, to who watches.

use super::arguments::Session;
use super::{kits, target};
use crate::command::{Usage, output, say};
use crate::table::harmless;
use debug::{Capabilities, Spec, Target};

/// What a session in something that does not run is, for who watches.
pub(super) fn tell_still(session: &Session, spec: &Spec, found: &target::Found) -> Result<(), Usage> {
    let target::Subject::Still(still) = &found.subject else { return Ok(()) };
    if !session.forward.is_empty() {
        return Err(Usage(format!("-L leads nowhere: {} does not run", session.target)));
    }
    if let Some(of) = still.foreign().map(harmless) {
        let here = image::architecture();
        say(&format!(
            "purser: {} is for {of} and this host is {here}: only tools of kits run",
            session.target
        ));
    }
    if output::is_watched() && spec.terminal.is_some() {
        say(&format!(
            "purser: {} is {}: nothing of it runs, and all changes are discarded",
            session.target, still.what
        ));
        if let Some(user) = still.user().map(harmless) {
            say(&format!("purser: it is made to run as {user}; you are root, or give --user"));
        }
    }
    Ok(())
}

/// What the session is and may, for who watches.
pub(super) fn tell(spec: &Spec, target: &Target, kits: &[kits::Chosen], word: &str) {
    if target.is_stopped() {
        say(&format!(
            "purser: process {} of the target is stopped, or traced by another debugger",
            target.pid()
        ));
    }
    for place in target.left_out() {
        say(&format!("purser: {} was a volume that is not on this host any more", harmless(place)));
    }
    if !output::is_watched() || spec.terminal.is_none() {
        return;
    }
    let names: Vec<&str> = kits.iter().map(|chosen| chosen.kit.name.as_str()).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(" ") };
    say(&format!("purser: session {} in {word}, kits: {names}", spec.id));
    say(&format!("purser: capabilities: {}", spec.capabilities));
    let more = spec.capabilities.without(target.capabilities()).without(Capabilities::shield());
    if !more.is_empty() {
        say(&format!("purser: of these the target's process does not have: {more}"));
    }
}
