// SPDX-License-Identifier: Apache-2.0
//! Whether an agent runs, and what it has to say.

use super::{Line, State};
use crate::agent;
use crate::command::service::start_words;
use crate::control::{ControlError, Notice, Request, Status, ask};
use crate::table::duration;
use std::path::Path;

pub(super) fn check(store: &Path) -> Vec<Line> {
    match ask(store, &Request::Status).map(|reply| reply.status) {
        Ok(Some(status)) => {
            std::iter::once(running(&status)).chain(status.notices.iter().map(noticed)).collect()
        }
        Ok(None) => vec![bad("gives no account of itself")],
        Err(ControlError::NoAgent { .. }) => vec![absent(store)],
        Err(error) => vec![bad(&error.to_string())],
    }
}

fn noticed(notice: &Notice) -> Line {
    let Notice { what, consequence, advice } = notice;
    Line::bad("agent notice", State::Degraded, what, consequence, advice)
}

/// To be ready is not yet to run.
fn absent(store: &Path) -> Line {
    if !agent::is_loaded(store) {
        return Line::ok("agent", format!("not running; start it with: {}", start_words(store)));
    }
    let advice = format!(
        "go on with {}, or unload it with purser stop --unload --store {}",
        start_words(store),
        store.display()
    );
    Line::bad(
        "agent",
        State::Degraded,
        "not running, and the kernel side of an earlier one still records",
        "what its rings cannot hold is lost",
        &advice,
    )
}

fn running(status: &Status) -> Line {
    let uptime = duration(status.uptime_secs.saturating_mul(1_000_000_000));
    let (version, pid, pins) = (&status.version, status.pid, status.pins.display());
    let detail = format!("version {version} runs for {uptime} as pid {pid}, pinned in {pins}");
    if status.version == env!("CARGO_PKG_VERSION") {
        return Line::ok("agent", detail);
    }
    let consequence = format!("this is version {}: some commands may not fit", env!("CARGO_PKG_VERSION"));
    Line::bad(
        "agent",
        State::Degraded,
        detail,
        &consequence,
        "exchange it without loss: purser stop --keep, purser run",
    )
}

fn bad(detail: &str) -> Line {
    Line::bad("agent", State::Degraded, detail, "its state is not known", "see its log")
}

#[cfg(test)]
mod tests {
    use super::{Notice, Status, noticed, running};
    use crate::command::doctor::State;

    #[test]
    fn another_version_is_said() {
        let status = |version: &str| Status {
            version: version.to_string(),
            uptime_secs: 61,
            pid: 7,
            pins: "/sys/fs/bpf/purser-1".into(),
            ..Status::default()
        };
        assert_eq!(running(&status("0.0.0")).state, State::Degraded);
        let line = running(&status(env!("CARGO_PKG_VERSION")));
        assert_eq!(line.state, State::Ok);
        let notice = Notice { what: "x".into(), consequence: "y".into(), advice: "z".into() };
        assert_eq!((noticed(&notice).state, noticed(&notice).advice), (State::Degraded, "z".to_string()));
        assert!(
            line.detail.ends_with("runs for 1m01s as pid 7, pinned in /sys/fs/bpf/purser-1"),
            "{}",
            line.detail
        );
    }
}
