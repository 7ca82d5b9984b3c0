// SPDX-License-Identifier: Apache-2.0
//! `purser status`: how a service is, from its init system and from the agent itself.

use super::output::{self, Format};
use super::service::{Which, last_words, store_of};
use crate::agent;
use crate::control::{Request, SinkState, Status, ask};
use crate::exit::Exit;
use crate::table::{bytes, duration, grouped, harmless};
use jiff::Timestamp;
use serde_json::{Value, json};
use service::{Active, Installed, Manager, State};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Show how a service is.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// What to print.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

const HELP: &str = "\
Examples:
  purser status
  purser status -o json | jq .events
  purser status --name backup

Exit codes, those of the Linux Standard Base: 0 running, 3 stopped, 4 unknown;
1 failed to find out, 2 wrong command line or configuration";

/// Longer than the longest wait between two tries to start the agent.
const RECENTLY: Duration = Duration::from_secs(60);

/// Everything that is known.
struct Report {
    installed: Installed,
    manager: Manager,
    state: State,
    store: Option<PathBuf>,
    agent: Option<Status>,
    sinks: Vec<SinkState>,
    /// Why the agent gave no answer although it runs, or would not start again.
    silence: Option<String>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    let (installed, manager) = args.which.installed()?;
    let report = look(installed, manager)?;
    let mut out = output::stdout();
    match args.output {
        Format::Table => {
            for (name, value) in lines(&report) {
                writeln!(out, "{name:<12}{}", harmless(&value))?;
            }
        }
        Format::Json => writeln!(out, "{}", document(&report))?,
    }
    out.flush()?;
    Ok(match report.state.active {
        Active::Running | Active::Stopping => Exit::Success,
        Active::Starting | Active::Stopped | Active::Failed => Exit::NoAgent,
    })
}

fn look(installed: Installed, manager: Manager) -> anyhow::Result<Report> {
    let state = manager.state()?;
    let (mut store, mut agent, mut silence) = (None, None, None);
    let mut sinks = Vec::new();
    if installed.is_agent {
        let found = store_of(&installed);
        store = Some(found.store);
        silence = found.trouble.map(|trouble| trouble.to_string());
    }
    if let Some(store) = &store
        && state.active == Active::Running
    {
        match ask(store, &Request::Status) {
            Ok(reply) => {
                agent = reply.status;
                // An agent without sinks, or of another version, has none to tell of.
                sinks = ask(store, &Request::SinkList).ok().and_then(|reply| reply.sinks).unwrap_or_default();
            }
            Err(error) => silence = Some(error.to_string()),
        }
    }
    // Between two tries systemd knows nothing any more of how the last one ended.
    let since = match state.active {
        Active::Starting if state.restarts.is_some_and(|restarts| restarts > 0) => {
            Some(SystemTime::now() - RECENTLY)
        }
        Active::Failed if state.is_given_up => Some(UNIX_EPOCH),
        _ => None,
    };
    silence = silence.or_else(|| last_words(&manager, since?));
    Ok(Report { installed, manager, state, store, agent, sinks, silence })
}

impl Report {
    fn pid(&self) -> Option<u32> {
        self.agent.as_ref().map(|agent| agent.pid).or(self.state.pid)
    }

    fn uptime_secs(&self) -> Option<u64> {
        self.agent.as_ref().map(|agent| agent.uptime_secs).or_else(|| uptime(self.pid()?))
    }

    /// An agent that died and was not started again leaves its kernel side recording.
    fn is_left_loaded(&self) -> bool {
        let down = matches!(self.state.active, Active::Stopped | Active::Failed);
        down && self.store.as_deref().is_some_and(agent::is_loaded)
    }

    /// What went wrong last, with its time where that is known.
    fn last_error(&self) -> Option<(String, Option<u64>)> {
        let mishap = self.agent.as_ref().and_then(|agent| agent.last_error.as_ref());
        let told = mishap.map(|mishap| (mishap.text.clone(), Some(mishap.time_secs)));
        let silence = || self.silence.clone().map(|text| (text, None));
        let ended = || self.state.failure.clone().map(|text| (format!("it ended with {text}"), None));
        told.or_else(silence).or_else(ended)
    }
}

fn lines(report: &Report) -> Vec<(&'static str, String)> {
    let place = report.manager.place();
    let start = if report.state.enabled { "starts with the host" } else { "does not start with the host" };
    let mut lines = vec![("service", format!("{} ({}), {start}", place.name, place.init))];
    let mut state = report.state.active.word().to_string();
    if let Some(pid) = report.pid() {
        state.push_str(&format!(", pid {pid}"));
    }
    if let Some(secs) = report.uptime_secs() {
        state.push_str(&format!(", for {}", duration(secs.saturating_mul(1_000_000_000))));
    }
    if let Some(restarts) = report.state.restarts.filter(|&restarts| restarts > 0) {
        let times = if restarts == 1 { "once".to_string() } else { format!("{restarts} times") };
        state.push_str(&format!(", started again by itself {times}"));
    }
    lines.push(("state", state));
    if let Some(used) = report.pid().and_then(memory) {
        lines.push(("memory", bytes(used)));
    }
    lines.push(("program", report.installed.program.display().to_string()));
    if let (Some(agent), Some(store)) = (&report.agent, &report.store) {
        let waiting = if agent.recording { "" } else { "; new ones wait in the kernel" };
        lines.push(("events", format!("{} in {}{waiting}", grouped(agent.events), store.display())));
        lines.push(("version", agent.version.clone()));
        lines.extend(agent.notices.iter().map(|notice| ("notice", notice.to_string())));
    }
    lines.extend(report.sinks.iter().map(|sink| ("sink", sink_line(sink))));
    if report.state.is_given_up {
        let text =
            "it failed too often before the program ran: mend what the last error says, then purser start";
        lines.push(("notice", text.to_string()));
    }
    if report.is_left_loaded() {
        let text = "the kernel side records without an agent: carry on with purser start, or end it with \
                    purser stop --unload";
        lines.push(("notice", text.to_string()));
    }
    lines.extend(report.state.says.clone().map(|says| ("says", says)));
    let error = match report.last_error() {
        None => "none".to_string(),
        Some((text, None)) => text,
        Some((text, Some(secs))) => format!("{text} ({})", time(secs)),
    };
    lines.push(("last error", error));
    lines
}

/// `kafka: sending, 12 events behind; last error: …`
fn sink_line(sink: &SinkState) -> String {
    let (name, state, behind) = (&sink.name, sink.status.state.word(), grouped(sink.lag_events));
    let error = sink.status.error.as_ref().map(|error| format!("; last error: {error}")).unwrap_or_default();
    format!("{name}: {state}, {behind} events behind{error}")
}

fn document(report: &Report) -> Value {
    let place = report.manager.place();
    let agent = report.agent.as_ref();
    let error = report.last_error();
    json!({
        "service": place.name.as_str(),
        "init": place.init.to_string(),
        "file": report.installed.path,
        "edited": report.installed.standing == service::Standing::Edited,
        "enabled": report.state.enabled,
        "state": report.state.active.word(),
        "pid": report.pid(),
        "uptime_secs": report.uptime_secs(),
        "memory_bytes": report.pid().and_then(memory),
        "restarts": report.state.restarts,
        "program": report.installed.program,
        "says": report.state.says,
        "last_error": error.as_ref().map(|(text, _)| text),
        "last_error_secs": error.as_ref().and_then(|(_, secs)| *secs),
        "store": report.store,
        "events": agent.map(|agent| agent.events),
        "given_up": report.state.is_given_up,
        "left_loaded": report.is_left_loaded(),
        "recording": agent.map(|agent| agent.recording),
        "version": agent.map(|agent| agent.version.as_str()),
        "sinks": report.sinks,
        "notices": agent.map(|agent| &agent.notices),
    })
}

fn time(secs: u64) -> String {
    let stamp = i64::try_from(secs).ok().and_then(|secs| Timestamp::from_second(secs).ok());
    stamp.map(|stamp| stamp.to_string()).unwrap_or_default()
}

/// Resident memory of a process, in bytes.
fn memory(pid: u32) -> Option<u64> {
    resident(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn resident(status: &str) -> Option<u64> {
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix("kB")?;
    kib.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

/// Seconds since a process was started: its 22nd field is ticks since the boot, a hundred a second.
fn uptime(pid: u32) -> Option<u64> {
    const TICKS: u64 = 100;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let now = std::fs::read_to_string("/proc/uptime").ok()?;
    let now: u64 = now.split('.').next()?.parse().ok()?;
    Some(now.saturating_sub(started(&stat)? / TICKS))
}

fn started(stat: &str) -> Option<u64> {
    // The name in brackets may hold anything, brackets too.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{memory, resident, started, time};

    #[test]
    fn proc_is_read() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t    1234 kB\n"), Some(1_234 * 1_024));
        assert_eq!(resident("Name:\tx\n"), None);
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 1000 10";
        assert_eq!(started(stat), Some(4_711));
        assert!(memory(std::process::id()).is_some_and(|used| used > 100_000));
        assert_eq!(time(0), "1970-01-01T00:00:00Z");
    }
}
