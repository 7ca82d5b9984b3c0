// SPDX-License-Identifier: Apache-2.0
//! `purser reload`: has the agent read its configuration again.

use super::place::Place;
use super::service::{Which, store_of};
use super::{Usage, output, stop};
use crate::control::Request;
use crate::exit::Exit;

/// Have the agent read its configuration again.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The agent of this service.
    #[arg(long, short = 'n', visible_alias = "name", value_name = "NAME", conflicts_with_all = ["config", "store"])]
    service: Option<String>,
    #[command(flatten)]
    place: Place,
}

const HELP: &str = "\
Rules and scope are exchanged in one step, without a lost event. When the new configuration is
wrong the old one stays, and the error names the line. SIGHUP does the same.

Examples:
  purser config && purser reload                check, then use it
  purser reload --store /srv/purser

Exit codes: 0 done, 1 refused, 2 wrong command line or configuration, 3 no agent is running,
4 no such service";

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    let store = match &args.service {
        None => args.place.store()?,
        Some(name) => {
            let (installed, _) = Which::named(name).installed()?;
            if !installed.is_agent {
                return Err(Usage(format!("service {name} is not the agent")).into());
            }
            store_of(&installed).store
        }
    };
    stop::ask_and_tell(&store, &Request::Reload, &mut output::stdout())
}
