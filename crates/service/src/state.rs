// SPDX-License-Identifier: Apache-2.0
//! How a service is, read from what the init system prints about it.

use std::ops::RangeInclusive;

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
    /// Whether it failed so often that it is not started again by itself.
    pub is_given_up: bool,
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
    let code = value("ExecMainStatus");
    // What it says of a limit of starts differs from version to version.
    let failed_before_program = result.as_deref() == Some("start-limit-hit")
        || code
            .as_ref()
            .and_then(|code| code.parse().ok())
            .is_some_and(|code| BEFORE_PROGRAM.contains(&code));
    State {
        active,
        pid: value("MainPID").and_then(|pid| pid.parse().ok()).filter(|&pid| pid != 0),
        enabled: false,
        is_given_up: active == Active::Failed && failed_before_program,
        restarts: value("NRestarts").and_then(|count| count.parse().ok()),
        failure: result.map(|result| match code {
            Some(code) if result == "exit-code" => exit_code(&code),
            _ => result,
        }),
        says: value("StatusText").filter(|_| active == Active::Running),
    }
}

/// Codes that systemd's own child ends with when it cannot make what the unit asks for, so that the
/// program never runs: systemd.exec(5), "Process Exit Codes".
const BEFORE_PROGRAM: RangeInclusive<i32> = 200..=245;
/// Those that a person meets, in words.
const WORDS: [(i32, &str); 6] = [
    (200, "CHDIR: the working directory is missing"),
    (203, "EXEC: the program is missing or cannot be executed"),
    (216, "GROUP: there is no such group"),
    (217, "USER: there is no such account"),
    (226, "NAMESPACE: a directory of ReadWritePaths, or another one that the unit names, is missing"),
    (243, "CREDENTIALS: a file of LoadCredential is missing or cannot be read"),
];

fn exit_code(code: &str) -> String {
    let number = code.parse().ok().filter(|number| BEFORE_PROGRAM.contains(number));
    match (number, WORDS.iter().find(|(known, _)| Some(*known) == number)) {
        (_, Some((code, words))) => format!("{code}/{words}"),
        (Some(code), None) => format!("{code}: systemd could not set up what the unit asks for"),
        (None, None) => format!("exit-code {code}"),
    }
}

/// What systemd's child says last when it cannot make what the unit asks for, with the words above in
/// front of its own reason. `None` when `said` does not end so.
pub(crate) fn failed_step(said: &str) -> Option<String> {
    let mut lines = said.lines().rev();
    let (unit, rest) = lines.next()?.split_once(": Failed at step ")?;
    let step = rest.split(' ').next()?;
    let of_step = |(_, words): &&(i32, &str)| words.split(':').next() == Some(step);
    let words = WORDS.iter().find(of_step).map(|(code, words)| format!("{code}/{words}"));
    let words = words.unwrap_or_else(|| format!("systemd failed at the step {step}"));
    let reason = lines.next().and_then(|line| line.strip_prefix(unit)?.strip_prefix(": "));
    Some(reason.map_or(words.clone(), |reason| format!("{words} ({reason})")))
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
    use super::{Active, State, failed_step, from_exit, from_systemd, pid_in};

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
        for (code, words) in [(226, "226/NAMESPACE: a directory of ReadWritePaths"), (238, "238: systemd")] {
            let failure =
                from_systemd(&format!("Result=exit-code\nExecMainStatus={code}\n")).failure.unwrap();
            assert!(failure.starts_with(words), "{failure}");
        }
        assert!(!state.is_given_up);
        for end in ["Result=start-limit-hit", "Result=exit-code\nExecMainStatus=226"] {
            assert!(from_systemd(&format!("ActiveState=failed\n{end}\n")).is_given_up);
            assert!(!from_systemd(&format!("ActiveState=activating\n{end}\n")).is_given_up);
        }
        assert_eq!(from_systemd("ActiveState=activating\nSubState=auto-restart\n").active, Active::Starting);
        assert_eq!(from_systemd("").active, Active::Stopped);
    }

    #[test]
    fn what_systemd_fails_at_is_told_with_its_reason() {
        let step = "a.service: Failed at step USER spawning /bin/a: No such process";
        assert_eq!(failed_step(step).unwrap(), "217/USER: there is no such account");
        let reason = "a.service: Failed to determine user credentials: No such process";
        let told = failed_step(&format!("{reason}\n{step}\n")).unwrap();
        assert!(told.ends_with("account (Failed to determine user credentials: No such process)"), "{told}");
        assert_eq!(failed_step("a.service: Failed at step X y").unwrap(), "systemd failed at the step X");
        assert!(failed_step(&format!("{step}\nits own words")).is_none() && failed_step("").is_none());
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
