// SPDX-License-Identifier: Apache-2.0
//! `purser debug`: a toolbox in a running container.

mod kits;
mod sessions;
mod target;

use super::{output, say};
use crate::command::Usage;
use crate::exit::Exit;
use anyhow::Context;
use debug::{Capabilities, DebugError, DetachKeys, Limits, Outcome, Spec, Target, Way, Window};
use std::ffi::OsString;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The hidden command that keeps a session.
const KEEPER: &str = "debug-keeper";

/// Run tools inside a running container, and leave nothing behind.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    session: Option<Session>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Sessions(sessions::List),
    Attach(sessions::Attach),
    End(sessions::End),
}

#[derive(Debug, clap::Args)]
struct Session {
    /// A container by name, id or the start of its id; docker:NAME, podman:NAME, runc:ID, lxc:NAME, nspawn:NAME,
    /// k8s:NAMESPACE/POD/CONTAINER; or a process, pid:NUMBER.
    #[arg(value_name = "TARGET", required = true)]
    target: String,
    /// A kit by name, or a directory with a kit.toml; may be repeated [default: base, and the kits that suit what
    /// runs in the target].
    #[arg(short, long = "kit", value_name = "NAME|DIR")]
    kit: Vec<String>,
    /// The directory with kits.
    #[arg(long, value_name = "DIR", default_value = kits::DIRECTORY)]
    kits: PathBuf,
    /// The user, and group, in the target: names or numbers [default: its root].
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Where the command starts [default: where the target's process is].
    #[arg(short, long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    /// A variable for the session, NAME=VALUE; may be repeated.
    #[arg(short, long = "env", value_name = "NAME=VALUE")]
    environment: Vec<String>,
    /// A terminal, even where none would be given; standard input and output must be one.
    #[arg(short, long, conflicts_with = "no_tty")]
    tty: bool,
    /// No terminal: the command gets standard input, output and errors as they are.
    #[arg(short = 'T', long)]
    no_tty: bool,
    /// Accepted for docker's sake; standard input is always there.
    #[arg(short, long)]
    interactive: bool,
    /// A capability more than the target's process and the kits have; may be repeated.
    #[arg(long = "cap-add", value_name = "CAPABILITY")]
    cap_add: Vec<Capabilities>,
    /// All capabilities, device nodes, and set-user-ID programs.
    #[arg(short, long)]
    privileged: bool,
    /// The keys that leave the session running.
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    detach_keys: DetachKeys,
    /// The most memory the session may use, in MiB.
    #[arg(long, value_name = "MIB")]
    memory_mib: Option<u64>,
    /// The most processes and threads the session may have.
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().processes)]
    processes: u32,
    /// How the session's root is built.
    #[arg(long, value_name = "WAY", value_enum, default_value_t = RootWay::Auto)]
    root: RootWay,
    /// The command; a shell when there is none.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// The ways to build the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum RootWay {
    /// The first of the others that goes.
    Auto,
    /// The target's own root, with a new /dev laid over the old one.
    Dev,
    /// A new root that holds each entry of the target's.
    New,
}

const HELP: &str = "\
The command sees the target's files, processes and network as the target does, and the kits' tools below
/dev/.purser. Its memory and processes do not count as the target's, and at its end all it started is gone.
With a terminal on both sides it gets one of the target's; ctrl-p,ctrl-q leaves it running.

Examples:
  purser debug web                                a shell in container web
  purser debug web --kit gdb -- gdb -p 1          a debugger on its first process
  purser debug web -- tar c /app | tar t          pipes carry bytes as they are
  purser debug pid:4711 --user 1000 -- id         any process's namespaces, as one of its users
  purser debug sessions                           what runs; purser debug attach ID, purser debug end ID

Exit codes: the command's; 128 and the signal's number when it was killed; 125 no session,
126 the command cannot be executed, 127 there is no such command; 2 wrong command line";

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    match (args.action, args.session) {
        (Some(Action::Sessions(list)), _) => sessions::list(&list),
        (Some(Action::Attach(attach)), _) => sessions::attach(&attach),
        (Some(Action::End(end)), _) => sessions::end(&end),
        (None, Some(session)) => Ok(begin(session).unwrap_or_else(|error| refused(&error))),
        (None, None) => Err(Usage("name a container; purser debug --help shows how".into()).into()),
    }
}

/// Keeps a session; never called by hand.
#[derive(Debug, clap::Args)]
#[command(hide = true, after_help = "Examples: none; purser debug calls it")]
pub(crate) struct KeeperArgs {}

pub(crate) fn keep() -> Exit {
    Exit::Command(debug::keep())
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

fn begin(session: Session) -> anyhow::Result<Exit> {
    if !rustix::process::geteuid().is_root() {
        anyhow::bail!("a session needs root: run it with sudo");
    }
    let found = target::resolve(&session.target)?;
    let target = found.target;
    let kits = kits::chosen(&session.kits, &session.kit, target.command())?;
    let spec = specification(&session, &target, found.name, &kits)?;
    tell(&spec, &target, &kits, &session.target);
    match debug::start(&spec, &target, &[KEEPER], &session.detach_keys)? {
        Outcome::Exited(code) => Ok(Exit::Command(code)),
        Outcome::Detached | Outcome::Replaced => {
            say(&format!("purser: session {} goes on; come back with: purser debug attach {0}", spec.id));
            Ok(Exit::Success)
        }
    }
}

fn specification(
    session: &Session,
    target: &Target,
    name: String,
    kits: &[kits::Chosen],
) -> anyhow::Result<Spec> {
    let variable = |text: &String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((OsString::from(name), OsString::from(value))),
        _ => Err(Usage(format!("{text:?} is no variable; write NAME=VALUE"))),
    };
    let mut environment: Vec<(OsString, OsString)> = Vec::new();
    let terminal = terminal(session)?;
    if terminal.is_some() {
        environment.extend(std::env::var_os("TERM").map(|term| ("TERM".into(), term)));
    }
    for text in &session.environment {
        environment.push(variable(text)?);
    }
    let (capabilities, granted) = capabilities(session, target, kits)?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("reading the clock")?;
    Ok(Spec {
        id: format!("{:08x}", RandomState::new().build_hasher().finish() >> 32),
        target: name,
        kits: kits.iter().map(|chosen| chosen.kit.clone()).collect(),
        command: session.command.clone(),
        user: session.user.clone(),
        work_dir: session.work_dir.clone(),
        terminal,
        environment,
        capabilities,
        granted,
        privileged: session.privileged,
        way: match session.root {
            RootWay::Auto => Way::Fitting,
            RootWay::Dev => Way::OverDev,
            RootWay::New => Way::NewRoot,
        },
        limits: Limits {
            processes: session.processes,
            memory: session.memory_mib.map(|mib| mib.saturating_mul(1 << 20)),
        },
        directory: debug::DIRECTORY.into(),
        since_secs: since.as_secs(),
        facts: target.facts(),
    })
}

/// The terminal's size when the session is to have one.
fn terminal(session: &Session) -> Result<Option<Window>, DebugError> {
    let both = std::io::stdin().is_terminal() && output::is_terminal();
    match (session.tty, session.no_tty, both) {
        (true, _, false) => Err(DebugError::NotATerminal),
        (_, true, _) | (_, _, false) => Ok(None),
        _ => Ok(debug::window()),
    }
}

/// For root: those of the target's process and those the kits need; for other users the latter. Device nodes
/// are made by nobody, as the target's device rules do not hold for a session.
fn capabilities(
    session: &Session,
    target: &Target,
    kits: &[kits::Chosen],
) -> Result<(Capabilities, Capabilities), debug::UnknownCapability> {
    let added = session.cap_add.iter().fold(Capabilities::default(), |all, more| all.and(*more));
    if session.privileged {
        return Ok((Capabilities::all(), added));
    }
    let (trace, files, nodes) = ("SYS_PTRACE".parse()?, "DAC_OVERRIDE".parse()?, "MKNOD".parse()?);
    let mut granted = kits.iter().fold(added, |all, chosen| all.and(chosen.capabilities));
    // Who debugs another user's process reads that user's files: the program and its libraries.
    if granted.has(trace) && !target.is_root() {
        granted = granted.and(files);
    }
    Ok((target.capabilities().without(nodes).and(granted), granted))
}

/// What the session is and may, for who watches.
fn tell(spec: &Spec, target: &Target, kits: &[kits::Chosen], word: &str) {
    if target.is_stopped() {
        say(&format!(
            "purser: process {} of the target is stopped, or traced by another debugger",
            target.pid()
        ));
    }
    if !output::is_watched() || spec.terminal.is_none() {
        return;
    }
    let names: Vec<&str> = kits.iter().map(|chosen| chosen.kit.name.as_str()).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(" ") };
    say(&format!("purser: session {} in {word}, kits: {names}", spec.id));
    say(&format!("purser: capabilities: {}", spec.capabilities));
    if names == "none" {
        let dir = Path::new(kits::DIRECTORY).display();
        say(&format!("purser: there are no kits in {dir}, so only the target's own programs are there"));
    }
}
