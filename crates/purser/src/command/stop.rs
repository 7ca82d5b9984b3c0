// SPDX-License-Identifier: Apache-2.0
//! `purser stop`: ends the agent.

use super::output;
use super::place::Place;
use crate::agent;
use crate::control::{ControlError, Request, ask};
use crate::exit::Exit;
use crate::table::harmless;
use std::io::Write;
use std::path::{Path, PathBuf};

/// End the agent.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Leave the kernel side recording for the next agent.
    #[arg(long)]
    keep: bool,
    /// Also when no agent runs: unload what an earlier one left in the kernel.
    #[arg(long, conflicts_with = "keep")]
    unload: bool,
    #[command(flatten)]
    place: Place,
}

const HELP: &str = "\
Without --keep nothing is recorded from then on, and the record says so.
After a crash or a kill -9 the kernel side goes on recording without an agent. purser run carries
on from there; --unload gives it up, with what it holds and no store has yet. It needs no store
directory, only its name.

Examples:
  purser stop                                   end it, and unload everything from the kernel
  purser stop --keep                            for an exchange of the program: nothing is lost
  purser stop --unload --store /data/purser     after a crash, when nobody is to carry on

Exit codes: 0 done, 1 refused, 2 wrong command line or configuration, 3 no agent is running";

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    let store = args.place.store()?;
    match ask_and_tell(&store, &Request::Stop { keep: args.keep }, &mut output::stdout()) {
        Err(error) if is_no_agent(&error) => without_agent(store, args.unload, error),
        result => result,
    }
}

fn is_no_agent(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(ControlError::NoAgent { .. }))
}

/// An agent that is gone leaves its kernel side recording.
#[derive(Debug, thiserror::Error)]
#[error(
    "no agent is running on the store {store}, but the kernel side of an earlier one still records\n  \
     carry on with: purser run --store {store}\n  or unload it with: purser stop --unload --store {store}",
    store = .0.display()
)]
pub(super) struct LeftLoaded(PathBuf);

fn without_agent(store: PathBuf, unload: bool, error: anyhow::Error) -> anyhow::Result<Exit> {
    if !unload {
        return Err(if agent::is_loaded(&store) { LeftLoaded(store).into() } else { error });
    }
    let mut out = output::stdout();
    match agent::unload(&store)? {
        Some(pins) => {
            writeln!(out, "no agent was running; unloaded what one had left in {}", pins.display())?
        }
        None => {
            writeln!(out, "no agent was running, and nothing of the store {} is loaded", store.display())?
        }
    }
    out.flush()?;
    Ok(Exit::Success)
}

/// Asks the agent and prints what it says was done.
pub(super) fn ask_and_tell(store: &Path, request: &Request, out: &mut impl Write) -> anyhow::Result<Exit> {
    let reply = ask(store, request)?;
    writeln!(out, "{}", harmless(reply.message.as_deref().unwrap_or("done")))?;
    out.flush()?;
    Ok(Exit::Success)
}
