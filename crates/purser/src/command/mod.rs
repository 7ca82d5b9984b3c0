// SPDX-License-Identifier: Apache-2.0
//! The command line: which commands there are, and how their results become exit codes.
//! Each command has a file with its arguments, its help and its `run`.

mod completions;
mod config;
mod debug;
mod docker_debug;
mod doctor;
mod export;
mod filter;
mod host;
mod init_hook;
mod install;
mod keep;
mod kit;
mod log;
mod man;
mod output;
mod place;
mod reload;
mod replay;
mod restart;
mod rows;
mod rule;
mod run;
mod service;
mod sink;
mod source;
mod start;
mod stats;
mod status;
mod stop;
mod talk;
mod trace;
mod tree;
mod uninstall;
mod upgrade;
mod verify;
mod when;

pub(crate) use host::{boot_id, name as host_name};
pub(crate) use output::Format;
pub(crate) use talk::{aside, say};

use crate::config::ConfigError;
use crate::control::ControlError;
use crate::exit::Exit;
use clap::{CommandFactory, Parser, Subcommand};
use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Records every command run in every container of this host.
#[derive(Debug, Parser)]
#[command(name = "purser", version, propagate_version = true, after_help = AFTER_HELP, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  purser run                                    record, in the foreground
  purser log --follow --container web-1         what is being run there now
  purser log --since 10m --grep passwd          who touched passwords in the last ten minutes
  purser tree --container web-1                 who started what, and how it ended
  purser verify                                 is the record whole?
  purser install && purser start                record as a service, from now on
  purser debug web-1                            a shell with tools in a container that has none

Exit codes: 0 done; 1 failed, or problems were found; 2 wrong command line or configuration;
3 no agent is running; 4 no such service. Each command has more examples: purser log --help";

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Trace(trace::Args),
    Log(log::Args),
    Tree(tree::Args),
    Stats(stats::Args),
    Verify(verify::Args),
    Export(export::Args),
    Replay(replay::Args),
    Debug(Box<debug::Args>),
    #[command(name = "debug-keeper", hide = true)]
    DebugKeeper(debug::KeeperArgs),
    #[command(name = "debug-outpost", hide = true)]
    DebugOutpost(debug::OutpostArgs),
    #[command(name = "debug-stand-in", hide = true)]
    DebugStandIn(debug::StandInArgs),
    Doctor(doctor::Args),
    Config(config::Args),
    Rule(rule::Args),
    Sink(sink::Args),
    Source(source::Args),
    Kit(kit::Args),
    Reload(reload::Args),
    Stop(stop::Args),
    Install(install::Args),
    Uninstall(uninstall::Args),
    Start(start::Args),
    Restart(restart::Args),
    Status(status::Args),
    Upgrade(upgrade::Args),
    InitHook(init_hook::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// A command line that clap cannot find wrong and that is.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// Runs the program with the arguments of this process.
pub fn main() -> Exit {
    let line: Vec<OsString> = std::env::args_os().collect();
    if let Some(exit) = completions::answer(&line) {
        return exit;
    }
    if let Some(words) = docker_debug::words(&line) {
        let exit = docker_debug::main(words);
        talk::flush();
        return exit;
    }
    let exit = match Cli::try_parse_from(&line) {
        Ok(cli) => told_as_exit(dispatch(cli.command)),
        Err(mut error) => {
            debug::hint(&mut error);
            wrong_usage(&error)
        }
    };
    talk::flush();
    exit
}

/// Runs `purser log` with these arguments inside this process. Calls `ready` when it is known from where
/// to follow; following ends when it is `over`.
fn follow_until(arguments: &[OsString], over: &AtomicBool, ready: impl FnOnce()) -> Exit {
    let line = [OsStr::new("purser"), OsStr::new("log")].into_iter();
    match Cli::try_parse_from(line.chain(arguments.iter().map(OsString::as_os_str))) {
        Ok(Cli { command: Command::Log(args) }) => told_as_exit(log::follow_until(args, over, ready)),
        Ok(_) => Exit::Problem,
        Err(error) => wrong_usage(&error),
    }
}

/// Runs `purser debug` with these arguments inside this process.
fn debug_with(arguments: &[OsString]) -> Exit {
    let line = [OsStr::new("purser"), OsStr::new("debug")].into_iter();
    match Cli::try_parse_from(line.chain(arguments.iter().map(OsString::as_os_str))) {
        Ok(cli) => told_as_exit(dispatch(cli.command)),
        Err(error) => wrong_usage(&error),
    }
}

fn told_as_exit(result: anyhow::Result<Exit>) -> Exit {
    match result {
        Ok(exit) => exit,
        Err(error) if is_broken_pipe(&error) => Exit::Success,
        Err(error) => complain(&error),
    }
}

fn dispatch(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Run(args) => run::run(args),
        Command::Trace(args) => trace::run(args),
        Command::Log(args) => log::run(args),
        Command::Tree(args) => tree::run(args),
        Command::Stats(args) => stats::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Export(args) => export::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Debug(args) => debug::run(*args),
        Command::DebugKeeper(_) => Ok(debug::keep()),
        Command::DebugOutpost(_) => Ok(debug::outpost()),
        Command::DebugStandIn(_) => Ok(debug::stand_in()),
        Command::Doctor(args) => doctor::run(args),
        Command::Config(args) => config::run(args),
        Command::Rule(args) => rule::run(args),
        Command::Sink(args) => sink::run(args),
        Command::Source(args) => source::run(args),
        Command::Kit(args) => kit::run(args),
        Command::Reload(args) => reload::run(args),
        Command::Stop(args) => stop::run(args),
        Command::Install(args) => install::run(args),
        Command::Uninstall(args) => uninstall::run(args),
        Command::Start(args) => start::run(args),
        Command::Restart(args) => restart::run(args),
        Command::Status(args) => status::run(args),
        Command::Upgrade(args) => upgrade::run(args),
        Command::InitHook(args) => init_hook::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
    }
}

/// The definition of the whole command line, for completions and man pages.
fn definition() -> clap::Command {
    Cli::command()
}

/// Help and version are results, the rest are mistakes.
fn wrong_usage(error: &clap::Error) -> Exit {
    let printed = error.print();
    match (error.use_stderr(), printed) {
        (true, _) => Exit::Refused,
        (false, Err(failed)) if failed.kind() != io::ErrorKind::BrokenPipe => Exit::Problem,
        (false, _) => Exit::Success,
    }
}

/// A reader that has seen enough is no failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|io| io.kind() == io::ErrorKind::BrokenPipe)
}

fn complain(error: &anyhow::Error) -> Exit {
    say(&format!("purser: {}", told(error)));
    let hint = error.chain().find_map(hint);
    if let Some(hint) = hint {
        say(&format!("  {hint}"));
    }
    let is = |wanted: fn(&(dyn std::error::Error + 'static)) -> bool| error.chain().any(wanted);
    if is(|cause| matches!(cause.downcast_ref(), Some(ControlError::NoAgent { .. }))) {
        Exit::NoAgent
    } else if service::is_not_installed(error) {
        Exit::Unknown
    } else if is(|cause| cause.is::<ConfigError>() || cause.is::<Usage>()) {
        Exit::Refused
    } else {
        Exit::Problem
    }
}

/// The error and its causes, without those that the words before them have told already.
pub(crate) fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |mut told, cause| {
        if !told.ends_with(&cause) {
            told.extend([if told.is_empty() { "" } else { ": " }, &cause]);
        }
        told
    })
}

fn hint(cause: &(dyn std::error::Error + 'static)) -> Option<Cow<'static, str>> {
    match cause.downcast_ref::<ControlError>() {
        Some(ControlError::NoAgent { store }) => return Some(without_agent(store).into()),
        Some(ControlError::Denied { .. }) => return Some("run it as root".into()),
        Some(ControlError::TimedOut { .. }) => {
            return Some("the agent is busy or stuck; purser log --kind agent may tell more".into());
        }
        _ => {}
    }
    if let Some(::service::ServiceError::NotInstalled { name, .. }) = cause.downcast_ref() {
        return Some(match name.as_str() {
            service::DEFAULT => {
                "install one with: purser install; an agent started by purser run is asked by purser stats"
                    .into()
            }
            name => format!("install one with: purser install --name {name} -- PROGRAM").into(),
        });
    }
    let io = cause.downcast_ref::<io::Error>()?;
    // Root is told no by something else: a read-only disk, a mandatory policy, a missing x bit.
    let denied = io.kind() == io::ErrorKind::PermissionDenied && !rustix::process::geteuid().is_root();
    denied.then_some("run it as root".into())
}

/// An agent that is gone leaves its kernel side recording.
fn without_agent(store: &Path) -> String {
    let usual = crate::config::Config::default().agent.store;
    let store_option = if store == usual { String::new() } else { format!(" --store {}", store.display()) };
    if !crate::agent::is_loaded(store) {
        return format!("start one with: {}", service::start_words(store));
    }
    format!(
        "the kernel side of an earlier one still records; carry on with: {}\n  \
         or unload it with: purser stop --unload{store_option}",
        service::start_words(store)
    )
}

#[cfg(test)]
mod tests {
    use super::definition;

    #[test]
    fn the_command_line_is_consistent() {
        definition().debug_assert();
    }

    #[test]
    fn a_cause_is_told_once() {
        let cause = anyhow::anyhow!("no such file").context("opening x: no such file").context("starting");
        assert_eq!(super::told(&cause), "starting: opening x: no such file");
    }

    #[test]
    fn every_command_has_examples() {
        let definition = definition();
        let mut commands: Vec<&clap::Command> = definition.get_subcommands().collect();
        while let Some(command) = commands.pop() {
            commands.extend(command.get_subcommands());
            if matches!(command.get_name(), "help" | "run" | "trace") {
                continue;
            }
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:"), "{} has no examples", command.get_name());
        }
    }
}
