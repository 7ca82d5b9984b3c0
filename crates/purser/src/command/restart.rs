// SPDX-License-Identifier: Apache-2.0
//! `purser restart`: has the init system stop and start a service.

use super::service::{Which, act, place_of};
use crate::exit::Exit;
use anyhow::Context;
use service::{Active, Manager};

/// Stop and start an installed service; the agent misses nothing over it.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
}

const HELP: &str = "\
The kernel side goes on recording without the agent, and the agent carries on where it was. With a
wrong configuration nothing is done: the agent that runs goes on.

Examples:
  purser restart
  purser restart --name backup

Exit codes: 0 done, 1 failed, 2 wrong command line or configuration, 4 no such service";

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    let (installed, manager) = args.which.installed()?;
    if installed.is_agent {
        let stays = match manager.state()?.active {
            Active::Running => "the running agent was left alone",
            _ => "nothing was started",
        };
        let about = || format!("the configuration is wrong, so {stays}");
        place_of(&installed).load().with_context(about)?;
    }
    act(&args.which, Manager::restart, "is started again")
}
