// SPDX-License-Identifier: Apache-2.0
//! `purser stop`: ends the agent.

use super::output;
use super::place::Place;
use crate::control::{Request, ask};
use crate::exit::Exit;
use crate::table::harmless;
use std::io::Write;
use std::path::Path;

/// End the agent.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Leave the kernel side recording for the next agent.
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    place: Place,
}

const HELP: &str = "\
Without --keep nothing is recorded from then on, and the record says so.

Examples:
  purser stop                                   end it, and unload everything from the kernel
  purser stop --keep                            for an exchange of the program: nothing is lost

Exit codes: 0 done, 1 refused, 2 wrong command line or configuration, 3 no agent is running";

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    ask_and_tell(&args.place.store()?, &Request::Stop { keep: args.keep }, &mut output::stdout())
}

/// Asks the agent and prints what it says was done.
pub(super) fn ask_and_tell(store: &Path, request: &Request, out: &mut impl Write) -> anyhow::Result<Exit> {
    let reply = ask(store, request)?;
    writeln!(out, "{}", harmless(reply.message.as_deref().unwrap_or("done")))?;
    out.flush()?;
    Ok(Exit::Success)
}
