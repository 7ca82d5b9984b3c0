// SPDX-License-Identifier: Apache-2.0
//! `purser upgrade`: exchanges the installed program, and goes back when the new one is not healthy.
//! The kernel side records all the while.

pub(super) mod swap;

use super::place::Found;
use super::service::{Which, store_of, tell_failure};
use super::{Usage, say};
use crate::agent;
use crate::brief;
use crate::control::{Request, Status, ask};
use crate::exit::Exit;
use anyhow::{Context, bail};
use service::{Active, Installed, Manager, State};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};
use swap::Swap;

/// Exchange the program of the agent's service.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The new program.
    file: PathBuf,
    #[command(flatten)]
    which: Which,
}

const HELP: &str = "\
The new program must run, call itself purser and accept the service's configuration before anything
is touched. The old one is kept beside it as PROGRAM.old. When the new one does not record within a
minute, the old one is put back and started. No event is lost either way.

Examples:
  purser upgrade ./purser
  purser upgrade ./purser --service purser-2

Exit codes: 0 done, 1 refused, or gone back to the old program; 2 wrong command line; 4 no such service";

/// How long a program may take to tell its version, or to check a configuration.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// How much of what it says is looked at.
const ANSWER_BYTES: usize = 1 << 20;
/// How long the new agent may take until it records.
const HEALTH_LIMIT: Duration = Duration::from_secs(60);
/// How long it must stay the same process: one that dies over and over is not healthy.
const STEADY: Duration = Duration::from_secs(3);
/// Ends of the new agent that are enough to know that it does not work.
const ENDS_LIMIT: u64 = 3;
/// How long it must have been given up by the init system.
const GIVEN_UP: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(100);

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    if args.which.is_image() {
        return Err(Usage("an image has nothing that runs: copy the program into it".into()).into());
    }
    let (installed, manager) = args.which.installed()?;
    if !installed.is_agent {
        return Err(Usage(format!("service {} is not the agent", args.which.service)).into());
    }
    let Found { store, trouble } = store_of(&installed);
    if let Some(trouble) = trouble {
        return Err(trouble.into());
    }
    let untouched = "nothing was touched";
    let Some(swap) = Swap::prepare(&args.file, &installed.program).context(untouched)? else {
        say(&format!("purser: {} is this file already, nothing changed", installed.program.display()));
        return Ok(Exit::Success);
    };
    let version = version_of(&swap, &args.file).context(untouched)?;
    check(&swap, &installed).context(untouched)?;
    let running = manager.state()?.active == Active::Running;
    let before = ask(&store, &Request::Status).ok().and_then(|reply| reply.status);
    let old = swap.exchange()?;
    if !running {
        say(&format!(
            "purser: {} is {version} now; the service does not run and was not started",
            installed.program.display()
        ));
        return Ok(Exit::Success);
    }
    let told = manager.begin_restart().map_err(|error| tell_failure(&manager, "restart", None, &error));
    match told.and_then(|()| wait_healthy(&manager, &store, before.as_ref())) {
        Ok(status) => {
            say(&format!(
                "purser: upgraded to {version}; it records as pid {}; the old program is {}",
                status.pid,
                old.kept().display()
            ));
            Ok(Exit::Success)
        }
        Err(failure) => go_back(&failure, old, &manager, &store),
    }
}

fn go_back(failure: &anyhow::Error, old: swap::Old, manager: &Manager, store: &Path) -> anyhow::Result<Exit> {
    say(&format!("purser: the new program is not healthy: {failure:#}; going back"));
    old.put_back()?;
    let told = manager.begin_restart().map_err(|error| tell_failure(manager, "restart", None, &error));
    let status = told.and_then(|()| wait_healthy(manager, store, None)).context(
        "the old program is back in its place, but does not record either; the kernel side goes on recording",
    )?;
    say(&format!("purser: the old program records again as pid {}; nothing was lost", status.pid));
    Ok(Exit::Problem)
}

/// What the file calls itself: `purser 0.2.0`.
fn version_of(swap: &Swap, file: &Path) -> anyhow::Result<String> {
    let said = answer(swap.fresh(), &["--version"])?;
    let said = said.lines().next().unwrap_or_default().trim();
    if !said.starts_with("purser ") {
        bail!("{} is not purser: asked for its version it says {said:?}", file.display());
    }
    Ok(said.to_string())
}

/// Run where it will be, so that a place that forbids programs is noticed.
fn check(swap: &Swap, installed: &Installed) -> anyhow::Result<()> {
    let mut words = vec!["config"];
    if let Some(config) = installed.fact("config") {
        words.extend(["--config", config]);
    }
    answer(swap.fresh(), &words)
        .context("the new program does not accept the service's configuration")
        .map(drop)
}

/// Runs a program that must end soon and well.
fn answer(program: &Path, words: &[&str]) -> anyhow::Result<String> {
    let doing = || format!("running {} {}", program.display(), words.join(" "));
    let said =
        brief::run(Command::new(program).args(words), ANSWER_LIMIT, ANSWER_BYTES).with_context(doing)?;
    let Some(said) = said else { bail!("{}: no end within {} s", doing(), ANSWER_LIMIT.as_secs()) };
    if !said.status.success() {
        let errors = String::from_utf8_lossy(&said.errors);
        let errors = Some(errors.trim()).filter(|errors| !errors.is_empty()).unwrap_or("it said nothing");
        bail!("{}: {}: {errors}", doing(), said.status);
    }
    Ok(String::from_utf8_lossy(&said.out).into_owned())
}

/// Waits for another agent than `before` that answers, records, has its kernel side pinned and stays.
fn wait_healthy(manager: &Manager, store: &Path, before: Option<&Status>) -> anyhow::Result<Status> {
    let start = Instant::now();
    let mut ends = Ends { last: manager.state()?.restarts.unwrap_or(0), seen: 0, failed: None };
    let mut since: Option<(u32, Instant)> = None;
    let mut last = "it has not answered yet".to_string();
    while start.elapsed() < HEALTH_LIMIT {
        match health(store, before) {
            Ok(status) => {
                let (pid, from) = *since.get_or_insert((status.pid, Instant::now()));
                if pid != status.pid {
                    last = format!("pid {pid} has died and pid {} came", status.pid);
                    since = None;
                } else if from.elapsed() >= STEADY {
                    return Ok(status);
                }
            }
            Err(error) => {
                last = format!("{error:#}");
                since = None;
                ends.give_up_on(&manager.state()?)?;
            }
        }
        sleep(POLL);
    }
    bail!("it does not record after {} s: {last}", HEALTH_LIMIT.as_secs())
}

/// How often the init system had to start it again. Its own count begins anew with each request, but
/// not at once.
struct Ends {
    last: u64,
    seen: u64,
    /// Since when it has been given up; the state from before the request may show for a moment.
    failed: Option<Instant>,
}

impl Ends {
    /// No need to wait for one that the init system starts over and over.
    fn give_up_on(&mut self, state: &State) -> anyhow::Result<()> {
        let failed = (state.active == Active::Failed).then(|| self.failed.unwrap_or_else(Instant::now));
        self.failed = failed;
        if failed.is_some_and(|since| since.elapsed() >= GIVEN_UP) {
            bail!("it has ended: {}", state.failure.as_deref().unwrap_or("without a reason"));
        }
        let now = state.restarts.unwrap_or(0);
        self.seen += now.saturating_sub(self.last);
        self.last = now;
        if self.seen < ENDS_LIMIT {
            return Ok(());
        }
        bail!("it has ended {} times: {}", self.seen, state.failure.as_deref().unwrap_or("without a reason"))
    }
}

fn health(store: &Path, before: Option<&Status>) -> anyhow::Result<Status> {
    let status = ask(store, &Request::Status)?.status.context("it gives no account of itself")?;
    if before.is_some_and(|before| before.pid == status.pid) {
        bail!("the old process still answers");
    }
    if !agent::is_loaded(store) {
        bail!("its kernel side is not loaded");
    }
    // A full disk is not the program's fault: it was as full before.
    if !status.recording && before.is_none_or(|before| before.recording) {
        bail!("events do not reach the store");
    }
    Ok(status)
}

#[cfg(test)]
mod tests {
    use super::Ends;
    use service::State;

    #[test]
    fn ends_are_counted_from_now_on() {
        let mut ends = Ends { last: 3, seen: 0, failed: None };
        let mut at = |restarts| ends.give_up_on(&State { restarts: Some(restarts), ..State::default() });
        for restarts in [3, 3, 0, 1, 2] {
            assert!(at(restarts).is_ok());
        }
        assert_eq!(at(3).unwrap_err().to_string(), "it has ended 3 times: without a reason");
    }
}
