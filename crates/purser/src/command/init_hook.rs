// SPDX-License-Identifier: Apache-2.0
//! `purser init-hook`: what our units and scripts call before and after the end of the agent.
//!
//! An init system ends a service by a signal, for a restart as for a stop. Only a stop shall end the
//! recording, so this finds out which it is and tells the agent before the signal comes.

use super::keep::is_kept;
use super::place::Place;
use super::say;
use super::service::Which;
use crate::agent;
use crate::control::{ControlError, Request, ask};
use crate::exit::Exit;
use service::{Job, Manager};
use std::path::Path;

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

/// Before or after the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Moment {
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

fn act(args: &Args) -> anyhow::Result<()> {
    if args.moment == Moment::Stopped && has_crashed() {
        return Ok(());
    }
    if is_kept(&args.service) {
        return Ok(());
    }
    if !args.for_good && Manager::new(Which::named(&args.service).place()?).job()? != Job::Stop {
        return Ok(());
    }
    let store = args.place.store()?;
    match args.moment {
        Moment::Stopping => announce(&store),
        Moment::Stopped => {
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
