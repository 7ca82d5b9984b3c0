// SPDX-License-Identifier: Apache-2.0
//! `purser start`: has the init system start a service.

use super::service::{Which, act};
use crate::exit::Exit;
use service::Manager;

/// Start an installed service.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
}

const HELP: &str = "\
With systemd it returns when the agent records, or says why it does not.

Examples:
  purser start
  purser start --name backup

Exit codes: 0 done, 1 failed, 2 wrong command line, 4 no such service";

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    act(&args.which, Manager::start, "is started")
}
