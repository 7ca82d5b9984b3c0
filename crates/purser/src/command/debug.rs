// SPDX-License-Identifier: Apache-2.0
//! `purser debug`: a toolbox in any container.

mod arguments;
mod behalf;
mod cored;
mod cores;
mod debug_files;
mod kits;
mod meant;
mod names;
mod permit;
mod record;
mod remote;
mod sessions;
mod specification;
mod still;
mod target;
mod told;
mod tracing;
mod transcript;
mod volumes;
mod who;

pub(super) use names::targets;
pub(crate) use still::{StandInArgs, stand_in};
pub(super) use who::comes_by_sudo;

use super::say;
use crate::command::{Usage, output};
use crate::config::Config;
use crate::exit::Exit;
use anyhow::Context;
use arguments::Session;
use behalf::Behalf;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use debug::{Bind, DebugError, DetachKeys, Outcome, Spec, Target};
use permit::allowed;
use record::tell_end;
use specification::specification;
use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};
use target::Knows;

/// The hidden command that keeps a session.
const KEEPER: &str = "debug-keeper";

/// Run tools inside a container, also one that does not run, and leave nothing behind.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    session: Session,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Cores(cores::List),
    Sessions(sessions::List),
    Attach(sessions::Attach),
    End(sessions::End),
}

const HELP: &str = "\
The command sees the target's files, processes and network as the target does, and the kits'
tools below /dev/.purser. Its memory and processes do not count as the target's, and at its end
all it started is gone. With a terminal on both sides it gets one of the target's; ctrl-p,ctrl-q
leaves it running. A running agent records who began it, every command, and what the terminal
showed: purser replay.

Examples:
  purser debug web                              a shell in container web
  purser debug web --kit gdb -- gdb -p 1        a debugger on its first process
  purser debug web -- tar c /app | tar t        pipes carry bytes as they are
  purser debug pid:4711 --user 1000 -- id       any process's namespaces, as one of its users
  purser debug image:app:1.2 -- ls -l /app      an image; nothing of it runs
  purser debug archive:app.tar                  a file of docker save, an OCI layout, or a tree
  purser debug --core core.4711                 a backtrace, with the files of whoever has them
  purser debug --core coredump:latest -- -ex 'info registers'     systemd-coredump's latest
  purser debug web --debug-files ./symbols -- gdb -p 1            for a stripped program
  purser debug web -L 8080:80 -L 5005           ports of the target as ports of this host
  purser debug web -v ./scripts:/scripts:ro     a directory of this host, in the session alone
  purser debug web --reason 'ticket 4711'       the record says why
  purser debug --host ssh://ops@db1 web         a container of another host
  purser debug --as docker-debug web bash       docker-debug's command line
  purser debug sessions                         what runs; then attach ID, end ID

Exit codes: the command's; 128 and the signal's number when it was killed; 125 no session,
126 the command cannot be executed, 127 there is no such command; 2 wrong command line";

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    sys::process::hear_signals();
    match args.action {
        Some(Action::Cores(list)) => cores::list(&list),
        Some(Action::Sessions(list)) => sessions::list(&list),
        Some(Action::Attach(attach)) => sessions::attach(&attach),
        Some(Action::End(end)) => sessions::end(&end),
        None if args.session.as_program.is_some() => Err(Usage(
            "only docker-debug's command line is known: purser debug --as docker-debug --help".into(),
        )
        .into()),
        None if args.session.target.is_empty() && args.session.core.is_none() => {
            Err(Usage("name a container; purser debug --help shows how".into()).into())
        }
        None => Ok(begin(args.session).unwrap_or_else(|error| refused(&error))),
    }
}

/// Whoever knows `docker exec` writes the command without `--`.
pub(super) fn hint(error: &mut clap::Error) {
    let takes_command =
        error.get(ContextKind::Usage).is_some_and(|usage| usage.to_string().contains("-- <COMMAND>"));
    let is_word = matches!(error.get(ContextKind::InvalidArg), Some(ContextValue::String(word)) if !word.starts_with('-'));
    if takes_command && is_word && error.kind() == ErrorKind::UnknownArgument {
        let tip = "the command comes behind --, as in: purser debug web -- ls /";
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
}

/// Keeps a session; never called by hand.
#[derive(Debug, clap::Args)]
#[command(hide = true, after_help = "Examples: none; purser debug calls it")]
pub(crate) struct KeeperArgs {}

pub(crate) fn keep() -> Exit {
    Exit::Command(debug::keep(record::witness))
}

/// Begins a session for a client on another host; never called by hand.
#[derive(Debug, clap::Args)]
#[command(hide = true, after_help = "Examples: none; purser debug --host has a container call it")]
pub(crate) struct OutpostArgs {}

pub(crate) fn outpost() -> Exit {
    Exit::Command(debug::outpost(|image| vec!["debug".into(), "--kits".into(), image.join("kits").into()]))
}

/// An exit code that no command in the target need have given, and why.
fn refused(error: &anyhow::Error) -> Exit {
    let complained = super::complain(error);
    match error.downcast_ref::<DebugError>() {
        Some(error) => Exit::Command(error.code()),
        None if complained == Exit::Refused => complained,
        None => Exit::Command(125),
    }
}

/// From the command line to a target that is entered, and to the end of the session there.
fn begin(mut session: Session) -> anyhow::Result<Exit> {
    if !rustix::process::geteuid().is_root() && !session.remote.is_given() {
        anyhow::bail!("a session needs root: run it with sudo");
    }
    arguments::check(&session)?;
    let config = session.place.load()?.0;
    let who = session.behalf.as_ref().map_or_else(who::Who::asks, Behalf::who);
    if session.remote.is_given() {
        if !meant::is_meant(&session)? {
            anyhow::bail!("not begun");
        }
        return remote::begin(&session, &config);
    }
    let sources = behalf::sources(session.behalf.as_ref(), &config.runtimes);
    let knows = |one: &container::Recorded| who.may_know(&config.debug, one);
    let knows = Knows((!config.debug.allow.is_empty()).then_some(&knows));
    let mut core = cored::wanted(&mut session, &sources, knows)?;
    let found = match core.as_mut().and_then(|core| core.found.take()) {
        Some(found) => found,
        None if session.scratch => target::copy(&session.target, &sources, knows)?,
        None => target::resolve(&session.target, &sources, knows)?,
    };
    // Its keeper is in another directory.
    let shelf = session.kits.as_ref().unwrap_or(&config.debug.kits);
    let shelf = std::path::absolute(shelf).context("looking at the directory with kits")?;
    if session.behalf.is_none() {
        kits::fetch(&config.debug, &shelf, &session.kit)?;
    }
    let tool = session.command.first().filter(|_| session.core.is_none());
    let job = kits::Job {
        suits: found.program(),
        tool: tool.map(OsString::as_os_str),
        is_there: &|program| found.has_program(program),
    };
    let kits = kits::chosen(&shelf, &session.kit, &job)?;
    let mut spec = specification(&session, &found, &kits)?;
    let debug_files = mounts(&session, &mut spec)?;
    if session.behalf.is_some() {
        spec.capabilities = behalf::givable(spec.capabilities)?;
        spec.granted = behalf::givable(spec.granted)?;
    }
    let note = allowed(&session, &config, (&who, knows), &found, &kits, &mut spec)?;
    told::tell_still(&session, &spec, &found)?;
    let target = found.enter(session.room_mib.saturating_mul(1 << 20)).inspect_err(|error| {
        tell_end(&note, 125, &error.to_string(), Duration::ZERO);
    })?;
    spec.facts = target.facts();
    if let Some(core) = &mut core {
        core.check(&target, &session.target)
            .and_then(|()| core.mount(&mut spec))
            .inspect_err(|error| tell_end(&note, 125, &error.to_string(), Duration::ZERO))?;
    }
    host_files(&session, &config, &kits, &debug_files, &mut spec)?;
    let outcome = with_target(&session, &shelf, (&target, &kits), spec, &note);
    if !matches!(outcome, Ok(Exit::Success)) {
        target.finish();
    }
    outcome
}

/// From a process to enter to the end of the session, or to leaving it.
fn with_target(
    session: &Session,
    shelf: &Path,
    (target, kits): (&Target, &[kits::Chosen]),
    mut spec: Spec,
    note: &record::Note,
) -> anyhow::Result<Exit> {
    debug::forward(target, &session.forward).inspect_err(|error| {
        tell_end(note, error.code(), &error.to_string(), Duration::ZERO);
    })?;
    if !session.forward.is_empty() && session.command.is_empty() && !session.tty {
        return only_forward(session, target, spec.limit_secs.map(Duration::from_secs), note);
    }
    spec.note = serde_json::to_string(note).context("writing a note down")?;
    told::tell(&spec, target, kits, &session.target);
    if !meant::is_meant(session)? {
        tell_end(note, 125, "it was not meant", Duration::ZERO);
        anyhow::bail!("not begun");
    }
    if kits.is_empty() && spec.terminal.is_some() && output::is_watched() {
        let dir = shelf.display();
        say(&format!("purser: there are no kits in {dir}, so only the target's own programs are there"));
    }
    hold(session, &spec, target, note)
}

/// The session itself, to its end or until its client leaves it.
fn hold(session: &Session, spec: &Spec, target: &Target, note: &record::Note) -> anyhow::Result<Exit> {
    // Nobody could come back to a session whose way is gone.
    let keys = if session.behalf.is_some() { &DetachKeys::none() } else { &session.detach_keys };
    let outcome = debug::start(spec, target, &[KEEPER], keys).inspect_err(|error| {
        if matches!(error, DebugError::KeeperGone) {
            tell_end(note, 137, "its keeper was killed", Duration::ZERO);
        }
    });
    match outcome? {
        Outcome::Exited(code) => Ok(Exit::Command(code)),
        Outcome::Detached | Outcome::Replaced => {
            say(&format!("purser: session {} goes on; come back with: purser debug attach {0}", spec.id));
            Ok(Exit::Success)
        }
    }
}

/// What the policy is asked about: volumes, and directories with debug files, which are given back.
fn mounts(session: &Session, spec: &mut Spec) -> anyhow::Result<Vec<Bind>> {
    let debug_files = debug_files::asked(&session.debug_files, &session.debuginfod)?;
    spec.binds = volumes::binds(&session.volume)?;
    spec.binds.extend(debug_files.iter().cloned());
    Ok(debug_files)
}

/// What of the host the configuration and the tools want in the session.
fn host_files(
    session: &Session,
    config: &Config,
    kits: &[kits::Chosen],
    debug_files: &[Bind],
    spec: &mut Spec,
) -> anyhow::Result<()> {
    debug_files::complete(spec, debug_files, &session.debuginfod, &config.debug, kits);
    Ok(tracing::complete(spec)?)
}

/// Ports are open, and nothing else is done, until a signal or the target's end.
fn only_forward(
    session: &Session,
    target: &Target,
    limit: Option<Duration>,
    note: &record::Note,
) -> anyhow::Result<Exit> {
    let begun = Instant::now();
    for forward in &session.forward {
        say(&format!(
            "purser: {} of this host leads to port {} of {}",
            forward.here, forward.there, session.target
        ));
    }
    let code = debug::stay(target, limit)?;
    tell_end(note, code, "", begun.elapsed());
    Ok(Exit::Command(code))
}
