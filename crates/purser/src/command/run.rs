// SPDX-License-Identifier: Apache-2.0
//! `purser run`: the agent in the foreground.

use super::place::Place;
use crate::exit::Exit;

/// Record in the foreground until stopped.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Print every event as it is recorded.
    #[arg(long)]
    pub(crate) follow: bool,
    /// What to print with --follow.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: super::Format,
    /// When stopped, leave the kernel side recording for the next agent.
    #[arg(long)]
    pub(crate) keep: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    anyhow::bail!("not built yet: {args:?}")
}
