// SPDX-License-Identifier: Apache-2.0
//! Asks the init system to start and stop a service, through its own commands.

use crate::error::ServiceError;
use crate::init::Init;
use crate::place::Place;
use crate::state::{self, State};
use std::io;
use std::process::{Command, Output, Stdio};

/// Most of what a failed command printed that is passed on, in bytes.
const SAID_LIMIT: usize = 4_096;

/// What an init system is doing to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// It stops it, and will not start it again by itself.
    Stop,
    /// Something else or nothing: a restart, a start, the end of the host.
    Other,
}

/// The init system's commands for one service.
#[derive(Clone, Debug)]
pub struct Manager {
    place: Place,
}

impl Manager {
    /// For the service at `place`. On an image no command is ever run.
    pub fn new(place: Place) -> Manager {
        Manager { place }
    }

    /// The service.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Starts it; with systemd waits until it is ready.
    ///
    /// # Errors
    /// When the init system says no.
    pub fn start(&self) -> Result<(), ServiceError> {
        self.act("start")
    }

    /// Stops it and waits for its end.
    ///
    /// # Errors
    /// When the init system says no.
    pub fn stop(&self) -> Result<(), ServiceError> {
        self.act("stop")
    }

    /// Stops and starts it.
    ///
    /// # Errors
    /// When the init system says no.
    pub fn restart(&self) -> Result<(), ServiceError> {
        self.act("restart")
    }

    /// Has it stopped and started, and does not wait for that where the init system can do so.
    ///
    /// # Errors
    /// When the init system says no.
    pub fn begin_restart(&self) -> Result<(), ServiceError> {
        match self.place.init {
            Init::Systemd => {
                let unit = self.place.unit();
                self.run(&mut self.systemctl(&["--no-block", "restart", &unit])).map(drop)
            }
            Init::OpenRc | Init::SysV => self.restart(),
        }
    }

    fn act(&self, verb: &str) -> Result<(), ServiceError> {
        let unit = self.place.unit();
        let script = self.place.file();
        let mut command = match self.place.init {
            Init::Systemd => self.systemctl(&[verb, &unit]),
            Init::OpenRc => words("rc-service", &[self.place.name.as_str(), verb]),
            Init::SysV => words(&script.to_string_lossy(), &[verb]),
        };
        self.run(&mut command).map(drop)
    }

    /// Has the init system read its files again.
    ///
    /// # Errors
    /// When it says no.
    pub fn reload_files(&self) -> Result<(), ServiceError> {
        match self.place.init {
            Init::Systemd => self.run(&mut self.systemctl(&["daemon-reload"])).map(drop),
            Init::OpenRc | Init::SysV => Ok(()),
        }
    }

    /// Has systemd forget that it failed once, so that nothing of a removed service is left.
    ///
    /// # Errors
    /// When systemd says no.
    pub fn forget(&self) -> Result<(), ServiceError> {
        if self.place.init != Init::Systemd {
            return Ok(());
        }
        match self.run(&mut self.systemctl(&["reset-failed", &self.place.unit()])) {
            // There is nothing to forget of a unit that is not loaded.
            Err(ServiceError::Command { said, .. }) if said.contains("not loaded") => Ok(()),
            result => result.map(drop),
        }
    }

    /// How the service is.
    ///
    /// # Errors
    /// When the init system's command cannot be started or understood.
    pub fn state(&self) -> Result<State, ServiceError> {
        let mut state = match self.place.init {
            Init::Systemd => {
                let unit = self.place.unit();
                let asked = format!("--property={}", state::PROPERTIES.join(","));
                let output = self.run(&mut self.systemctl(&["show", &asked, &unit]))?;
                state::from_systemd(&String::from_utf8_lossy(&output.stdout))
            }
            Init::OpenRc => {
                let mut command = words("rc-service", &[self.place.name.as_str(), "status"]);
                state::from_exit(self.output(&mut command)?.status.code())
            }
            Init::SysV => {
                let output = self.output(&mut words(&self.place.file().to_string_lossy(), &["status"]))?;
                let mut state = state::from_exit(output.status.code());
                state.pid = state::pid_in(&String::from_utf8_lossy(&output.stdout));
                state
            }
        };
        state.enabled = !self.place.present_links().is_empty();
        Ok(state)
    }

    /// What the service's own processes have said to the journal since a time in seconds of the Unix
    /// epoch, or why systemd could not start them. `None` when there is no journal, or nothing in it.
    pub fn said(&self, since_secs: u64) -> Option<String> {
        if self.place.init != Init::Systemd || !self.place.root.is_host() {
            return None;
        }
        // What was said just now is on its way. Not to wait for it costs the last line at most.
        self.output(&mut words("journalctl", &["--sync"])).ok();
        let field = if self.place.user_units.is_some() { "_SYSTEMD_USER_UNIT" } else { "_SYSTEMD_UNIT" };
        let (since, unit) = (format!("--since=@{since_secs}"), format!("{field}={}", self.place.unit()));
        let mut command =
            words("journalctl", &["--quiet", "--no-pager", "--output=cat", "--lines=20", &since, &unit]);
        let output = self.output(&mut command).ok()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        state::failed_step(&said).or_else(|| (!said.trim().is_empty()).then_some(said))
    }

    /// What systemd is about to do to the service: whether this is its end or one half of a restart.
    ///
    /// # Errors
    /// When systemd does not tell.
    pub fn job(&self) -> Result<Job, ServiceError> {
        if self.place.init != Init::Systemd {
            return Ok(Job::Other);
        }
        let output = self.run(&mut self.systemctl(&["list-jobs", "--no-legend", "--full", "--plain"]))?;
        Ok(job_in(&String::from_utf8_lossy(&output.stdout), &self.place.unit()))
    }

    fn systemctl(&self, arguments: &[&str]) -> Command {
        let mut command = words("systemctl", &["--no-pager", "--no-ask-password"]);
        if self.place.user_units.is_some() {
            command.arg("--user");
        }
        command.args(arguments);
        command
    }

    /// Runs a command whose exit code must be 0. On an image it is not run.
    fn run(&self, command: &mut Command) -> Result<Output, ServiceError> {
        if !self.place.root.is_host() {
            return Ok(Output { status: Default::default(), stdout: Vec::new(), stderr: Vec::new() });
        }
        let output = self.output(command)?;
        if output.status.success() {
            return Ok(output);
        }
        let mut said = String::from_utf8_lossy(&output.stderr).trim().to_string();
        if said.is_empty() {
            said = String::from_utf8_lossy(&output.stdout).trim().to_string();
        }
        let end = (0..=SAID_LIMIT.min(said.len())).rev().find(|&at| said.is_char_boundary(at)).unwrap_or(0);
        said.truncate(end);
        Err(ServiceError::Command { command: line(command), code: output.status.to_string(), said })
    }

    fn output(&self, command: &mut Command) -> Result<Output, ServiceError> {
        command.stdin(Stdio::null()).env("LC_ALL", "C").env("SYSTEMD_COLORS", "0");
        command.output().map_err(|source: io::Error| ServiceError::Start { command: line(command), source })
    }
}

fn words(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

fn line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Lines are `NUMBER UNIT TYPE STATE`. The end of the host is a stop of every unit, but nothing
/// that is unloaded then would have lived on.
fn job_in(jobs: &str, unit: &str) -> Job {
    let kind = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        (words.next().map(str::to_string), words.next().map(str::to_string))
    };
    let is = |wanted: (&str, &str)| {
        jobs.lines()
            .map(kind)
            .any(|(unit, kind)| (unit.as_deref(), kind.as_deref()) == (Some(wanted.0), Some(wanted.1)))
    };
    if is((unit, "stop")) && !is(("shutdown.target", "start")) { Job::Stop } else { Job::Other }
}

#[cfg(test)]
mod tests {
    use super::{Job, job_in};

    #[test]
    fn a_stop_is_told_from_a_restart_and_a_shutdown() {
        let stop = "81 purser.service stop running\n";
        assert_eq!(job_in(stop, "purser.service"), Job::Stop);
        assert_eq!(job_in(stop, "other.service"), Job::Other);
        assert_eq!(job_in("81 purser.service restart running\n", "purser.service"), Job::Other);
        assert_eq!(job_in("", "purser.service"), Job::Other);
        assert_eq!(job_in("No jobs running.\n", "purser.service"), Job::Other);
        let end = format!("1 shutdown.target start waiting\n{stop}");
        assert_eq!(job_in(&end, "purser.service"), Job::Other);
    }
}
