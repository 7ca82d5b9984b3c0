// SPDX-License-Identifier: Apache-2.0
//! `purser uninstall`: ends a service and removes every file that made it one.

use super::install::tell_steps;
use super::output;
use super::place::Found;
use super::service::{Which, store_of, tell_failure};
use super::upgrade::swap;
use crate::agent;
use crate::exit::Exit;
use service::{Active, Init, Installed, Manager, Plan};
use std::io::Write;

/// Stop a service and remove it from the init system.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Also when the file was edited; a copy of it is kept.
    #[arg(long)]
    force: bool,
}

const HELP: &str = "\
The program, the configuration, the store and changes made with systemctl edit are yours and stay.

Examples:
  purser uninstall --dry-run
  purser uninstall
  purser uninstall --name backup

Exit codes: 0 done, 1 failed, 2 wrong command line or configuration, 4 no such service";

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    let place = args.which.place()?;
    // Whatever speaks against it is said before anything is stopped.
    let plan = Plan::uninstall(&place, args.force)?;
    let installed = Installed::read(&place)?;
    let manager = Manager::new(place);
    let mut out = output::stdout();
    if args.dry_run {
        writeln!(out, "would stop service {}", manager.place().name)?;
        tell_steps(&mut out, "would ", &plan.steps)?;
        return Ok(Exit::Success);
    }
    if !args.which.is_image() {
        stop(&manager)?;
    }
    plan.apply(&manager)?;
    tell_steps(&mut out, "did: ", &plan.steps)?;
    if !args.which.is_image() {
        manager.forget()?;
        agent::tries::forget(manager.place().name.as_str());
        unload(&installed, &mut out)?;
    }
    writeln!(out, "service {} is removed", manager.place().name)?;
    for kept in kept(&installed, &manager) {
        writeln!(out, "kept: {kept}")?;
    }
    out.flush()?;
    Ok(Exit::Success)
}

fn stop(manager: &Manager) -> anyhow::Result<()> {
    if manager.state()?.active == Active::Stopped {
        return Ok(());
    }
    manager.stop().map_err(|error| tell_failure(manager, "stop", None, &error))
}

/// What an agent that died earlier may have left in the kernel.
fn unload(installed: &Installed, out: &mut impl Write) -> anyhow::Result<()> {
    if !installed.is_agent {
        return Ok(());
    }
    let Found { store, trouble } = store_of(installed);
    if agent::is_loaded(&store)
        && let Some(pins) = agent::unload(&store)?
    {
        writeln!(out, "did: unload the kernel side from {}", pins.display())?;
        return Ok(());
    }
    // With a wrong configuration the store was a guess, and what is left may be of this service.
    let left = if trouble.is_some() { agent::all_pins() } else { Vec::new() };
    for pins in left {
        writeln!(
            out,
            "left: {}, the kernel side of an agent; if it is this one's: purser stop --unload --store DIR",
            pins.display()
        )?;
    }
    Ok(())
}

/// What is not ours to remove.
fn kept(installed: &Installed, manager: &Manager) -> Vec<String> {
    let mut kept = vec![format!("the program {}", installed.program.display())];
    let old = swap::old_of(&installed.program);
    kept.extend(old.exists().then(|| format!("the program before the last upgrade {}", old.display())));
    let copies = manager.place().copies().into_iter();
    kept.extend(copies.map(|copy| format!("a copy of an edited file {}", copy.display())));
    if installed.is_agent {
        let config = installed.fact("config").unwrap_or("/etc/purser/purser.toml");
        kept.extend(std::path::Path::new(config).exists().then(|| format!("the configuration {config}")));
        let store = store_of(installed).store;
        kept.extend(store.exists().then(|| format!("the store {}", store.display())));
    }
    let drop_ins = manager.place().drop_ins().filter(|path| path.exists());
    kept.extend(drop_ins.map(|path| format!("your changes in {}", path.display())));
    if manager.place().init != Init::Systemd {
        let log = format!("/var/log/{}.log", manager.place().name);
        kept.extend(std::path::Path::new(&log).exists().then(|| format!("the log {log}")));
    }
    kept
}
