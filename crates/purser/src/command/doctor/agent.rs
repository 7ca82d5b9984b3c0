// SPDX-License-Identifier: Apache-2.0
//! Whether an agent runs, and what it has to say.

use super::{Line, State};
use crate::control::{ControlError, Request, Status, ask};
use crate::table::duration;
use std::path::Path;

pub(super) fn check(store: &Path) -> Line {
    match ask(store, &Request::Status).map(|reply| reply.status) {
        Ok(Some(status)) => running(&status),
        Ok(None) => bad("gives no account of itself"),
        // To be ready is not yet to run.
        Err(ControlError::NoAgent { .. }) => Line::ok("agent", "not running; start it with: purser run"),
        Err(error) => bad(&error.to_string()),
    }
}

fn running(status: &Status) -> Line {
    let uptime = duration(status.uptime_secs.saturating_mul(1_000_000_000));
    let detail = format!("version {} runs for {uptime} as pid {}", status.version, status.pid);
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
    use super::{Status, running};
    use crate::command::doctor::State;

    #[test]
    fn another_version_is_said() {
        let status = |version: &str| Status {
            version: version.to_string(),
            uptime_secs: 61,
            pid: 7,
            ..Status::default()
        };
        assert_eq!(running(&status("0.0.0")).state, State::Degraded);
        let line = running(&status(env!("CARGO_PKG_VERSION")));
        assert_eq!(line.state, State::Ok);
        assert!(line.detail.ends_with("runs for 1m01s as pid 7"), "{}", line.detail);
    }
}
