// SPDX-License-Identifier: Apache-2.0
//! `purser stop`: ends the agent, or a service. An agent that is a service is ended by its init system,
//! which would start it again otherwise.

use super::keep;
use super::place::{Found, Place};
use super::service::{self, DEFAULT, Which, known_store, store_of, tell_failure};
use super::{Usage, output, say};
use crate::agent;
use crate::control::{ControlError, Request, ask};
use crate::exit::Exit;
use crate::table::harmless;
use ::service::{Active, Manager};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Time an agent has to end: it writes down what it holds, which is at most two rings.
const STOP_LIMIT_SECS: i64 = 30;

/// End the agent, or a service.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Leave the kernel side recording for the next agent.
    #[arg(long)]
    keep: bool,
    /// Also when no agent runs: unload what an earlier one left in the kernel.
    #[arg(long, conflicts_with = "keep")]
    unload: bool,
    /// Stop this service [default: the one the agent runs as, if any].
    #[arg(long, short = 'n', visible_alias = "name", value_name = "NAME")]
    service: Option<String>,
    /// A service of the calling user's own systemd.
    #[arg(long, requires = "service")]
    user_service: bool,
    /// The init system, where it should not be found out.
    #[arg(long, value_name = "INIT", requires = "service")]
    init: Option<service::Kind>,
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
  purser stop --name backup                     another service
  purser stop --unload --store /data/purser     after a crash, when nobody is to carry on

Exit codes: 0 done, 1 refused, 2 wrong command line or configuration, 3 no agent is running,
4 no such service";

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    if let Some(name) = &args.service {
        let which = Which { user_service: args.user_service, init: args.init, ..Which::named(name) };
        return stop_service(&which, args.keep);
    }
    let store = store(&args.place);
    if let Some(name) = service_of(&store) {
        return stop_service(&Which::named(&name), args.keep);
    }
    match stop_agent(&store, args.keep) {
        Err(error) if is_no_agent(&error) => without_agent(store, args.unload, error),
        result => result,
    }
}

/// A wrong configuration is told, and keeps nobody from ending what records.
fn store(place: &Place) -> PathBuf {
    // Another configuration than the usual one may be another agent's.
    let known = if place.config.is_none() { known_store(DEFAULT) } else { None };
    let Found { store, trouble } = place.found(known.as_deref());
    if let Some(trouble) = trouble {
        say(&format!(
            "purser: {trouble}; taking {} for the store, name another one with --store DIR",
            store.display()
        ));
    }
    store
}

/// Comes back when the agent is gone, so that the next one can start.
fn stop_agent(store: &Path, keep: bool) -> anyhow::Result<Exit> {
    let status = ask(store, &Request::Status)?.status;
    // Held before it is told to stop: the number may be another process's afterwards.
    let pid = status.and_then(|status| Pid::from_raw(status.pid.try_into().ok()?));
    let agent = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    ask(store, &Request::Stop { keep })?;
    let mut out = output::stdout();
    let Some(agent) = agent else {
        writeln!(out, "the agent is stopping")?;
        out.flush()?;
        return Ok(Exit::Success);
    };
    let limit = Timespec { tv_sec: STOP_LIMIT_SECS, tv_nsec: 0 };
    let gone = retry_on_intr(|| poll(&mut [PollFd::new(&agent, PollFlags::IN)], Some(&limit)))?;
    anyhow::ensure!(
        gone > 0,
        "the agent was told to stop and is still there after {STOP_LIMIT_SECS} s; what it does: purser status"
    );
    anyhow::ensure!(
        keep || !agent::is_loaded(store),
        "the agent has ended, but it left the kernel side recording, as it does on a full disk; its own \
         last words say why"
    );
    let end = if keep { "the kernel side goes on recording" } else { "nothing is recorded from now on" };
    writeln!(out, "stopped; {end}")?;
    out.flush()?;
    Ok(Exit::Success)
}

/// The service whose agent works on `store`: it says so itself, or it is the usual one between two tries.
fn service_of(store: &Path) -> Option<String> {
    match ask(store, &Request::Status) {
        Ok(reply) => reply.status?.service,
        Err(ControlError::NoAgent { .. }) => {
            let (installed, manager) = Which::named(DEFAULT).installed().ok()?;
            let here = installed.is_agent && store_of(&installed).store == store;
            let tries = || manager.state().is_ok_and(|state| state.active == Active::Starting);
            (here && tries()).then(|| DEFAULT.to_string())
        }
        Err(_) => None,
    }
}

fn stop_service(which: &Which, keep: bool) -> anyhow::Result<Exit> {
    let name = &which.service;
    let (installed, manager) = which.installed()?;
    if keep && !installed.is_agent {
        return Err(Usage(format!("service {name} is not the agent: it has no kernel side to keep")).into());
    }
    let kept = keep.then(|| keep::keep(name)).transpose()?;
    Manager::stop(&manager).map_err(|error| tell_failure(&manager, "stop", None, &error))?;
    drop(kept);
    let mut out = output::stdout();
    if keep {
        writeln!(out, "service {name} is stopped; the kernel side goes on recording for the next agent")?;
        out.flush()?;
        return Ok(Exit::Success);
    }
    writeln!(out, "service {name} is stopped")?;
    // Between two tries to start the agent there is none that could have unloaded its kernel side.
    let store = store_of(&installed).store;
    if installed.is_agent
        && agent::is_loaded(&store)
        && let Some(pins) = agent::unload(&store)?
    {
        writeln!(out, "unloaded what an earlier agent had left in {}", pins.display())?;
    }
    out.flush()?;
    Ok(Exit::Success)
}

fn is_no_agent(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(ControlError::NoAgent { .. }))
}

fn without_agent(store: PathBuf, unload: bool, error: anyhow::Error) -> anyhow::Result<Exit> {
    if !unload {
        return Err(error);
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
