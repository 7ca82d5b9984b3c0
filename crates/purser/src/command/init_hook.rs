// SPDX-License-Identifier: Apache-2.0
//! `purser init-hook`: what our units and scripts call before and after the end of the agent.
//!
//! An init system ends a service by a signal, for a restart as for a stop. Only a stop shall end the
//! recording, so this finds out which it is and tells the agent before the signal comes.

use super::keep::is_kept;
use super::place::Place;
use super::say;
use super::service::{Which, known_store};
use crate::agent::{self, tries::Tries};
use crate::control::{ControlError, Request, ask};
use crate::exit::Exit;
use anyhow::Context;
use service::{Job, Manager};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

/// Called by the service's own file.
#[derive(Debug, clap::Args)]
#[command(hide = true, after_help = HELP)]
pub(crate) struct Args {
    /// What is happening.
    moment: Moment,
    /// The service's name.
    #[arg(long, value_name = "NAME")]
    service: String,
    /// It is known to be the end, and not one half of a restart.
    #[arg(long)]
    for_good: bool,
    #[command(flatten)]
    place: Place,
}

/// Before the start, before the end or after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Moment {
    /// The agent is about to be started.
    Starting,
    /// The agent is about to get its signal.
    Stopping,
    /// The agent is gone.
    Stopped,
}

const HELP: &str = "\
Examples:
  ExecStop=purser init-hook stopping --service purser

Exit codes: 0; what goes wrong is told, and the kernel side is left recording then";

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    if let Err(error) = act(&args) {
        // Failing would not stop the stop, only make it look like a crash.
        say(&format!("purser: {error:#}; the kernel side is left as it is"));
    }
    Ok(Exit::Success)
}

/// What systemd says of a service whose process ended without being told to. Asking it for more would
/// only make the next start later.
const CRASHES: [&str; 5] = ["signal", "core-dump", "exit-code", "watchdog", "oom-kill"];

fn has_crashed() -> bool {
    std::env::var("SERVICE_RESULT").is_ok_and(|result| CRASHES.contains(&result.as_str()))
}

/// Starts without success that are followed by another one at once.
const FREE_TRIES: usize = 3;
/// The longest wait after others.
const WAIT_LIMIT_SECS: usize = 10;
/// Starts lately, whoever asked for them, after which each waits a second: so an agent that can be started
/// stays below the limit of the unit, which would end that for good.
const CROWD: usize = 15;

/// Whatever fails in the same way each time shall not keep the host busy; nor is it ever given up. Somebody
/// who asks for a start is not kept waiting.
fn wait_for_turn(service: &str) -> anyhow::Result<()> {
    let tries = agent::tries::note_start(service).context("noting the start in /run")?;
    let wait_secs = wait_secs(tries);
    let by_itself = || -> anyhow::Result<bool> {
        let state = Manager::new(Which::named(service).place()?).state()?;
        Ok(state.restarts.is_some_and(|restarts| restarts > 0))
    };
    if wait_secs > 0 && (tries.lately >= CROWD || by_itself()?) {
        sleep(Duration::from_secs(wait_secs));
    }
    Ok(())
}

fn wait_secs(tries: Tries) -> u64 {
    let failing = tries.failed.saturating_sub(FREE_TRIES).min(WAIT_LIMIT_SECS);
    failing.max(usize::from(tries.lately >= CROWD)) as u64
}

fn act(args: &Args) -> anyhow::Result<()> {
    if args.moment == Moment::Starting {
        return wait_for_turn(&args.service);
    }
    if args.moment == Moment::Stopped && has_crashed() {
        return Ok(());
    }
    if is_kept(&args.service) {
        return Ok(());
    }
    if !args.for_good && Manager::new(Which::named(&args.service).place()?).job()? != Job::Stop {
        return Ok(());
    }
    // Whoever stops an agent means it, also after its configuration has become wrong.
    let store = args.place.found(known_store(&args.service).as_deref()).store;
    match args.moment {
        Moment::Starting => Ok(()),
        Moment::Stopping => announce(&store),
        Moment::Stopped => {
            agent::tries::forget(&args.service);
            if agent::is_loaded(&store)
                && let Some(pins) = agent::unload(&store)?
            {
                say(&format!("purser: unloaded what the agent had left in {}", pins.display()));
            }
            Ok(())
        }
    }
}

fn announce(store: &Path) -> anyhow::Result<()> {
    match ask(store, &Request::Ending { for_good: true }) {
        // It is gone already: what it left is unloaded once it has stopped.
        Err(ControlError::NoAgent { .. }) => Ok(()),
        result => Ok(result.map(drop)?),
    }
}

#[cfg(test)]
mod tests {
    use super::wait_secs;
    use crate::agent::tries::Tries;

    #[test]
    fn waits_grow_to_a_limit_and_a_crowd_is_slowed_down() {
        let waits = |failed, lately| wait_secs(Tries { failed, lately });
        assert_eq!([0, 3, 4, 5, 13, 14, 64].map(|failed| waits(failed, 0)), [0, 0, 1, 2, 10, 10, 10]);
        assert_eq!([waits(0, 14), waits(0, 15), waits(5, 15)], [0, 1, 2]);
    }
}
