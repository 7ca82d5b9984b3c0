// SPDX-License-Identifier: Apache-2.0
//! `purser run`: the agent in the foreground.

use super::place::Place;
use crate::agent;
use crate::exit::Exit;
use anyhow::Context;
use std::ffi::OsString;
use std::thread;

/// Record in the foreground until stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
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

const HELP: &str = "\
Stop it with Ctrl-C, SIGTERM or purser stop: the kernel side is unloaded and nothing is recorded
from then on, unless --keep is given. After a crash or a kill -9 the kernel side goes on recording
and the next agent on the same store carries on. SIGHUP reads the configuration again.

Examples:
  purser run                                  record into /var/lib/purser
  purser run --follow                         and show it
  purser run --store /data/purser --config ./purser.toml
  purser run --keep                           for a restart without a hole

Exit codes: 0 stopped, 1 failed, 2 wrong command line or configuration";

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    let (config, provenance) = args.place.load()?;
    let options = agent::Options {
        config: args.place.config.clone(),
        store: config.agent.store.clone(),
        keep: args.keep,
    };
    let agent = agent::start(options, config.clone(), provenance)?;
    if args.follow {
        follow(&args, config.agent.store.as_os_str().to_owned())?;
    }
    agent.run()
}

/// The same as `purser log --follow`, on a thread that ends with the process.
fn follow(args: &Args, store: OsString) -> anyhow::Result<()> {
    let output = match args.output {
        super::Format::Table => "table",
        super::Format::Json => "json",
    };
    let line = ["log".into(), "--follow".into(), "--output".into(), output.into(), "--store".into(), store];
    thread::Builder::new()
        .name("follow".to_string())
        .spawn(move || super::main_with(&line))
        .context("starting the thread that prints")?;
    Ok(())
}
