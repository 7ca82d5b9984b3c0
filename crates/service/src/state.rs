// SPDX-License-Identifier: Apache-2.0
//! How a service is, read from what the init system prints about it.

/// What the init system does with a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Active {
    /// It runs.
    Running,
    /// It is on its way up, or about to be started again.
    Starting,
    /// It is on its way down.
    Stopping,
    /// It does not run, and nobody wanted it to.
    #[default]
    Stopped,
    /// It does not run, and should.
    Failed,
}

impl Active {
    /// One word for people and programs.
    pub fn word(self) -> &'static str {
        match self {
            Active::Running => "running",
            Active::Starting => "starting",
            Active::Stopping => "stopping",
            Active::Stopped => "stopped",
            Active::Failed => "failed",
        }
    }
}

/// What is known of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Whether it runs.
    pub active: Active,
    /// Its process.
    pub pid: Option<u32>,
    /// Whether it starts with the host.
    pub enabled: bool,
    /// How often it was started again since somebody asked for it last.
    pub restarts: Option<u64>,
    /// How it ended last, when that was no success.
    pub failure: Option<String>,
    /// What it says of itself.
    pub says: Option<String>,
}

/// What systemd is asked for.
pub(crate) const PROPERTIES: [&str; 8] = [
    "LoadState",
    "ActiveState",
    "SubState",
    "MainPID",
    "NRestarts",
    "Result",
    "ExecMainStatus",
    "StatusText",
];

/// Reads `systemctl show`: lines `NAME=VALUE`.
pub(crate) fn from_systemd(text: &str) -> State {
    let value = |name: &str| {
        let of = |line: &'_ str| line.strip_prefix(name)?.strip_prefix('=').map(str::to_string);
        text.lines().find_map(of).filter(|value| !value.is_empty())
    };
    let (active, sub) = (value("ActiveState"), value("SubState"));
    let active = match (active.as_deref(), sub.as_deref()) {
        (Some("active" | "reloading"), _) => Active::Running,
        (Some("activating"), _) => Active::Starting,
        (Some("deactivating"), _) => Active::Stopping,
        (Some("failed"), _) => Active::Failed,
        _ => Active::Stopped,
    };
    let result = value("Result").filter(|result| result != "success");
    State {
        active,
        pid: value("MainPID").and_then(|pid| pid.parse().ok()).filter(|&pid| pid != 0),
        enabled: false,
        restarts: value("NRestarts").and_then(|count| count.parse().ok()),
        failure: result.map(|result| match value("ExecMainStatus") {
            Some(code) if result == "exit-code" => format!("{result} {code}"),
            _ => result,
        }),
        says: value("StatusText").filter(|_| active == Active::Running),
    }
}

/// The codes of the Linux Standard Base for `status`; 32 is OpenRC's for a service that crashed.
pub(crate) fn from_exit(code: Option<i32>) -> State {
    let active = match code {
        Some(0) => Active::Running,
        Some(8) => Active::Starting,
        Some(1 | 2 | 32) => Active::Failed,
        _ => Active::Stopped,
    };
    State { active, ..State::default() }
}

/// The number in `running, pid 123`, which our scripts print.
pub(crate) fn pid_in(text: &str) -> Option<u32> {
    text.split_once("pid ")?.1.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Active, State, from_exit, from_systemd, pid_in};

    #[test]
    fn systemd_is_understood() {
        let text = "Result=success\nNRestarts=3\nExecMainStatus=0\nMainPID=42\nStatusText=recording\n\
                    LoadState=loaded\nActiveState=active\nSubState=running\n";
        let state = State {
            active: Active::Running,
            pid: Some(42),
            restarts: Some(3),
            says: Some("recording".to_string()),
            ..State::default()
        };
        assert_eq!(from_systemd(text), state);
        let text = "Result=exit-code\nExecMainStatus=2\nMainPID=0\nActiveState=failed\nSubState=failed\n";
        let state = from_systemd(text);
        assert_eq!((state.active, state.pid), (Active::Failed, None));
        assert_eq!(state.failure.as_deref(), Some("exit-code 2"));
        assert_eq!(from_systemd("ActiveState=activating\nSubState=auto-restart\n").active, Active::Starting);
        assert_eq!(from_systemd("").active, Active::Stopped);
    }

    #[test]
    fn scripts_are_understood() {
        assert_eq!(from_exit(Some(0)).active, Active::Running);
        assert_eq!(from_exit(Some(3)).active, Active::Stopped);
        assert_eq!(from_exit(Some(1)).active, Active::Failed);
        assert_eq!(from_exit(None).active, Active::Stopped);
        assert_eq!(pid_in("running, pid 123\n"), Some(123));
        assert_eq!(pid_in("stopped\n"), None);
    }
}
