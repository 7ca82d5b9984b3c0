// SPDX-License-Identifier: Apache-2.0
//! `purser restart`: has the init system stop and start a service.

use super::service::{Which, act};
use crate::exit::Exit;
use service::Manager;

/// Stop and start an installed service; the agent misses nothing over it.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
}

const HELP: &str = "\
The kernel side goes on recording without the agent, and the agent carries on where it was.

Examples:
  purser restart
  purser restart --name backup

Exit codes: 0 done, 1 failed, 2 wrong command line, 4 no such service";

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    act(&args.which, Manager::restart, "is started again")
}
