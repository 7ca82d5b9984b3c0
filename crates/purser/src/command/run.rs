// SPDX-License-Identifier: Apache-2.0
//! `purser run`: the agent in the foreground.

use super::place::Place;
use crate::agent;
use crate::exit::Exit;
use anyhow::Context;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// The longest wait at the end for the last lines to be taken.
const LAST_LINES: Duration = Duration::from_secs(5);

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
    /// The service it is started as, by the service manager.
    #[arg(long, value_name = "NAME", hide = true)]
    pub(crate) service: Option<String>,
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
    let (config, _) = args.place.load()?;
    let options = agent::Options {
        config: args.place.config.clone(),
        store: config.agent.store.clone(),
        keep: args.keep,
        service: args.service.clone(),
    };
    let agent = agent::start(options, config.clone())?;
    if !args.follow {
        return agent.run();
    }
    let over = Arc::new(AtomicBool::new(false));
    let printed = follow(&args, &config.agent.store, Arc::clone(&over))?;
    let result = agent.run();
    over.store(true, Ordering::Release);
    // The thread drops its end when all is printed; a reader that takes nothing is not waited for.
    printed.recv_timeout(LAST_LINES).unwrap_or_default();
    result
}

/// The same as `purser log --follow`, on a thread that ends when the agent is `over` and all that it
/// recorded is printed. What is returned is closed then.
fn follow(args: &Args, store: &Path, over: Arc<AtomicBool>) -> anyhow::Result<Receiver<()>> {
    let output = match args.output {
        super::Format::Table => "table",
        super::Format::Json => "json",
    };
    let line = ["--follow".into(), "--output".into(), output.into(), "--store".into(), store.into()];
    let (done, printed) = channel();
    thread::Builder::new()
        .name("follow".to_string())
        .spawn(move || {
            super::follow_until(&line, &over, || done.send(()).unwrap_or_default());
            drop(done);
        })
        .context("starting the thread that prints")?;
    // Nothing is recorded before it is known from where to print. A thread that failed has said so.
    printed.recv().unwrap_or_default();
    Ok(printed)
}
