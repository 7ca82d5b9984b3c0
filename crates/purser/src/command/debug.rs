// SPDX-License-Identifier: Apache-2.0
//! `purser debug`: a toolbox in any container.

mod behalf;
mod cored;
mod cores;
mod debug_files;
mod kits;
mod meant;
mod record;
mod remote;
mod sessions;
mod still;
mod target;
mod tracing;
mod transcript;
mod volumes;
mod who;

pub(super) use who::comes_by_sudo;

use super::place::Place;
use super::{output, say};
use crate::command::Usage;
use crate::config::Config;
use crate::control::ControlError;
use crate::exit::Exit;
use crate::policy::{self, Granted, Wanted};
use anyhow::Context;
use behalf::Behalf;
use debug::{
    Bind, Capabilities, DebugError, DetachKeys, Forward, Limits, Outcome, Spec, Target, Way, Window,
};
use event::{Body, SessionAction};
use std::ffi::OsString;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use target::Knows;
use volumes::Volume;

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

#[derive(Debug, clap::Args)]
struct Session {
    /// A container by name, id or the start of its id; docker:NAME, podman:NAME, runc:ID, lxc:NAME, nspawn:NAME,
    /// k8s:NAMESPACE/POD/CONTAINER; a process, pid:NUMBER; an image of this host, image:NAME[:TAG]; or a file or directory
    /// with one, archive:PATH. What does not run is opened all the same, and what is changed in it is discarded.
    #[arg(value_name = "TARGET", default_value = "", hide_default_value = true)]
    target: String,
    /// A core file, also a compressed one: a path in the target, if one is named, or of this host, or coredump:PID,
    /// coredump:NAME, coredump:latest for one that systemd-coredump has kept. The session is in the container, or on
    /// the host, that has its program with the same build-id; gdb opens it when there is no command, and with options
    /// alone behind --.
    #[arg(long, value_name = "FILE|coredump:WHICH")]
    core: Option<String>,
    /// The target whose files the core is looked at with; nothing is searched then.
    #[arg(long = "in", value_name = "TARGET", requires = "core")]
    tree: Option<String>,
    /// A kit by name, or a directory with a kit.toml; may be repeated [default: base, and the kits that suit what
    /// runs in the target].
    #[arg(short, long = "kit", value_name = "NAME|DIR")]
    kit: Vec<String>,
    /// The directory with kits [default: `debug.kits` of the configuration, /var/lib/purser-kits].
    #[arg(long, value_name = "DIR")]
    kits: Option<PathBuf>,
    /// Why, for the record; the configuration may ask for it.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
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
    /// Do not ask whether --privileged is meant.
    #[arg(long)]
    yes: bool,
    /// A file or directory of this host for the session: at the same path, or at DST; $c/PATH is one of the target's.
    /// May be repeated.
    #[arg(short, long = "volume", value_name = "SRC[:DST][:ro|rw]")]
    volume: Vec<Volume>,
    /// A port of this host that leads to one of the target; may be repeated. Without a command nothing is run there,
    /// and the ports are open until Ctrl-C.
    #[arg(short = 'L', long = "forward", value_name = "[[ADDRESS:]PORT:]PORT")]
    forward: Vec<Forward>,
    /// A directory of this host with debug files for gdb, by build-id or under any name; may be repeated.
    #[arg(long, value_name = "DIR")]
    debug_files: Vec<PathBuf>,
    /// A server of debug files that gdb asks, from within the target's network; may be repeated [default:
    /// `debug.debuginfod` of the configuration, which is none].
    #[arg(long, value_name = "URL")]
    debuginfod: Vec<String>,
    /// The keys that leave the session running.
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    detach_keys: DetachKeys,
    /// The most memory the session may use, in MiB.
    #[arg(long, value_name = "MIB")]
    memory_mib: Option<u64>,
    /// The most processes and threads the session may have.
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().processes)]
    processes: u32,
    /// Have another program's command line: docker-debug. Comes first, and all behind it is that program's.
    #[arg(long = "as", value_name = "PROGRAM")]
    as_program: Option<String>,
    /// A copy of the target's files to try things in, even when it runs: all changes are discarded, and its processes
    /// and its network are not there.
    #[arg(long)]
    scratch: bool,
    /// The most memory for what is changed in an image or a stopped container, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..))]
    room_mib: u64,
    /// How the session's root is built.
    #[arg(long, value_name = "WAY", value_enum, default_value_t = RootWay::Auto)]
    root: RootWay,
    #[command(flatten)]
    remote: remote::Where,
    /// For whom an outpost begins the session.
    #[arg(long, value_name = "JSON", hide = true)]
    behalf: Option<Behalf>,
    #[command(flatten)]
    place: Place,
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
A running agent records who began it, every command, and what the terminal showed: purser replay.

Examples:
  purser debug web                                a shell in container web
  purser debug web --kit gdb -- gdb -p 1          a debugger on its first process
  purser debug web -- tar c /app | tar t          pipes carry bytes as they are
  purser debug web --kit gdb --debug-files ./symbols -- gdb -p 1    debug files of a stripped program
  purser debug image:app:1.2 -- ls -l /app        an image; nothing of it runs, and no engine is asked
  purser debug archive:app.tar                    the same for a file of docker save, an OCI layout or a tree
  purser debug pid:4711 --user 1000 -- id         any process's namespaces, as one of its users
  purser debug web -L 8080:80 -L 5005             ports of the target as ports of this host
  purser debug --core core.4711                   a backtrace, with the files of the container that has the program
  purser debug --core coredump:latest -- -ex 'info registers'        systemd-coredump's latest, and a command for gdb
  purser debug web -v ./scripts:/scripts:ro       a directory of this host in the session, not in the target
  purser debug web --reason 'ticket 4711'         the record says why
  purser debug --as docker-debug web bash         docker-debug's command line; a link of that name does it, too
  purser debug sessions                           what runs; purser debug attach ID, purser debug end ID

Exit codes: the command's; 128 and the signal's number when it was killed; 125 no session,
126 the command cannot be executed, 127 there is no such command; 2 wrong command line";

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
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

/// Longest reason, in bytes.
const REASON_LIMIT: usize = 1024;
/// Most bytes of a command that are told with its session; its exec events have all of it.
const COMMAND_LIMIT: usize = 8 << 10;

/// Keeps a session; never called by hand.
#[derive(Debug, clap::Args)]
#[command(hide = true, after_help = "Examples: none; purser debug calls it")]
pub(crate) struct KeeperArgs {}

pub(crate) use still::{StandInArgs, stand_in};

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

/// The command line of an outpost in its container.
const OUTPOST: [&str; 2] = ["/purser", "debug-outpost"];
/// How the names of these containers begin.
const OUTPOST_NAME: &str = "purser-debug-";

/// An exit code that no command in the target need have given, and why.
fn refused(error: &anyhow::Error) -> Exit {
    let complained = super::complain(error);
    match error.downcast_ref::<DebugError>() {
        Some(error) => Exit::Command(error.code()),
        None if complained == Exit::Refused => complained,
        None => Exit::Command(125),
    }
}

fn begin(mut session: Session) -> anyhow::Result<Exit> {
    if !rustix::process::geteuid().is_root() && !session.remote.is_given() {
        anyhow::bail!("a session needs root: run it with sudo");
    }
    mind_sudo(&session)?;
    if session.reason.len() > REASON_LIMIT || session.target.len() > REASON_LIMIT {
        return Err(Usage(format!("a reason, and a target, has at most {REASON_LIMIT} bytes")).into());
    }
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
    tell_still(&session, &spec, &found)?;
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
    tell(&spec, target, kits, &session.target);
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

/// What the record says of a session beside its command.
fn detail(session: &Session, binds: &[Bind]) -> String {
    let core: Vec<String> = session.core.iter().cloned().collect();
    let forwards: Vec<String> = session.forward.iter().map(ToString::to_string).collect();
    let volumes: Vec<String> = binds.iter().map(volumes::told).collect();
    let all = [("core", core), ("forwards", forwards), ("volumes", volumes)].into_iter();
    let all = all.filter(|(_, words)| !words.is_empty());
    all.map(|(what, words)| format!("{what} {}", words.join(", "))).collect::<Vec<_>>().join("; ")
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

/// The words of a command as far as the record takes them; what is left out is marked.
fn recorded_words(command: &[OsString]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut room = COMMAND_LIMIT;
    for word in command {
        let word = word.as_bytes();
        let Some(left) = room.checked_sub(word.len() + 1) else {
            words.push(b"...".to_vec());
            break;
        };
        room = left;
        words.push(word.to_vec());
    }
    words
}

/// For a session that has no keeper to tell it.
fn tell_end(note: &record::Note, code: u8, detail: &str, duration: Duration) {
    let (Some(store), Ok(start)) = (&note.store, event::codec::decode(&note.start.0)) else { return };
    if let Err(error) = record::tell(store, &record::end_of(&start, code, detail, duration)) {
        say(&format!("purser: the end is not recorded: {error}"));
    }
}

/// Whoever comes by `sudo` may choose neither the policy nor what is behind the name of a kit: a rule for this one
/// command would be none.
fn mind_sudo(session: &Session) -> Result<(), Usage> {
    if !who::comes_by_sudo() {
        return Ok(());
    }
    let own = [
        ("--config", session.place.config.is_some()),
        ("--store", session.place.store.is_some()),
        ("--kits", session.kits.is_some()),
        ("a state directory of runc", target::is_by_place(&session.target)),
        ("--behalf", session.behalf.is_some()),
        ("archive:", session.target.starts_with("archive:")),
        ("--kit with a directory", session.kit.iter().any(|kit| kit.contains('/'))),
    ];
    match own.iter().find(|(_, is_given)| *is_given) {
        Some((option, _)) => Err(Usage(format!("{option} is not for who comes by sudo; root may use it"))),
        None => Ok(()),
    }
}

/// The capabilities that the policy is asked about, by name.
fn beyond_target(session: &Session, found: &target::Found, all: Capabilities) -> Vec<String> {
    // A process that somebody picked by its number may have more rights than its container has.
    let usual = match session.target.starts_with("pid:") {
        true => Capabilities::default(),
        false => found.capabilities(),
    };
    let beyond = all.without(usual.and(Capabilities::shield())).to_string();
    beyond.split(' ').filter(|word| *word != "none").map(str::to_string).collect()
}

/// Asks the policy, and has the start recorded; what the end needs for the same is given back. A session that is
/// refused is recorded, too.
fn allowed(
    session: &Session,
    config: &Config,
    (who, knows): (&who::Who, Knows<'_>),
    found: &target::Found,
    kits: &[kits::Chosen],
    spec: &mut Spec,
) -> anyhow::Result<record::Note> {
    spec.owner = who.uid;
    let names: Vec<String> = kits.iter().map(|chosen| chosen.kit.name.clone()).collect();
    let capabilities = beyond_target(session, found, spec.capabilities);
    let container = found.container.as_ref();
    // An image is not the container that is called so.
    let is_image = found.name.starts_with("image:") || found.name.starts_with("archive:");
    let wanted = Wanted {
        user: &who.name,
        groups: &who.groups,
        target: if is_image { &found.name } else { &session.target },
        container: container.filter(|_| !is_image).map_or("", |container| container.name.as_str()),
        image: container.map_or("", |container| container.image.as_str()),
        kits: &names,
        capabilities: capabilities.as_slice(),
        privileged: session.privileged,
        volumes: &spec.binds,
        forwards: &session.forward,
        reason: &session.reason,
    };
    let start = event::Session {
        action: SessionAction::Start,
        id: spec.id.clone(),
        uid: who.uid,
        user: who.name.clone(),
        from: who.from.clone(),
        target: session.target.clone(),
        kits: kits.iter().map(kits::Chosen::told).collect(),
        capabilities: spec.capabilities.bits(),
        command: recorded_words(&session.command),
        reason: session.reason.clone(),
        detail: detail(session, &spec.binds),
        ..event::Session::default()
    };
    let container = container.map_or("", |container| container.id.as_str());
    let store = config.agent.store.as_path();
    let Granted { max_time, .. } = policy::decide(&config.debug, &wanted).map_err(|why| {
        let (action, id, detail) = (SessionAction::Refused, String::new(), why.clone());
        let refusal = event::Session { action, id, detail, ..start.clone() };
        let unrecorded =
            record::tell(store, &record::event(container, Body::Session(Box::new(refusal)))).err();
        let unrecorded =
            unrecorded.map_or(String::new(), |error| format!(" (and this is not recorded: {error})"));
        // Who is not to know of a container hears the same as when there is none.
        let why = match found.container.as_ref().filter(|one| !knows.of(one)) {
            Some(_) => {
                let sources = behalf::sources(session.behalf.as_ref(), &config.runtimes);
                target::unknown(&session.target, &sources, knows)
            }
            None => why,
        };
        anyhow::anyhow!("{why}{unrecorded}")
    })?;
    let start = record::event(container, Body::Session(Box::new(start)));
    let limits =
        [max_time.map(|time| time.as_secs()), session.behalf.as_ref().and_then(|behalf| behalf.limit_secs)];
    spec.limit_secs = limits.into_iter().flatten().min();
    let recorded = match record::tell(store, &start) {
        Ok(()) => true,
        Err(error) if config.debug.require_record || !matches!(error, ControlError::NoAgent { .. }) => {
            return Err(anyhow::Error::from(error).context("no session without a record"));
        }
        Err(_) => false,
    };
    if !recorded && spec.terminal.is_some() && output::is_watched() {
        say("purser: no agent is running, so nobody records this session");
    }
    let store = recorded.then(|| store.to_path_buf());
    Ok(record::Note { store, start: record::encoded(&start), transcript: config.debug.transcript })
}

fn new_id() -> String {
    format!("{:08x}", RandomState::new().build_hasher().finish() >> 32)
}

fn specification(session: &Session, found: &target::Found, kits: &[kits::Chosen]) -> anyhow::Result<Spec> {
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
    let (capabilities, granted) = capabilities(session, found, kits)?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("reading the clock")?;
    let id = session.behalf.as_ref().map_or_else(new_id, |behalf| behalf.id.clone());
    // What runs in the session is recorded as the container's.
    let of = |container: &container::Recorded| {
        container::session_cgroup(container.runtime, &container.id, &id).map(|(_, name)| name)
    };
    Ok(Spec {
        cgroup: found.container.as_ref().and_then(of).unwrap_or_else(|| id.clone()),
        id,
        target: found.name.clone(),
        kits: kits.iter().map(|chosen| chosen.kit.clone()).collect(),
        binds: Vec::new(),
        held: Vec::new(),
        command: session.command.clone(),
        user: session.user.clone(),
        work_dir: session.work_dir.clone(),
        terminal,
        environment,
        capabilities,
        granted,
        home_bytes: Spec::USUAL_HOME_BYTES,
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
        owner: 0,
        limit_secs: None,
        facts: debug::Facts::default(),
        note: String::new(),
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
    found: &target::Found,
    kits: &[kits::Chosen],
) -> Result<(Capabilities, Capabilities), debug::UnknownCapability> {
    let added = session.cap_add.iter().fold(Capabilities::default(), |all, more| all.and(*more));
    if session.privileged {
        return Ok((Capabilities::all(), added));
    }
    let (trace, nodes) = ("SYS_PTRACE".parse()?, "MKNOD".parse()?);
    let mut granted = kits.iter().fold(added, |all, chosen| all.and(chosen.capabilities));
    if session.core.is_some() {
        // Nothing that runs is looked at; only files are, whose ever they are.
        granted = added.and("DAC_OVERRIDE".parse()?);
    }
    let shows_files = session.volume.iter().any(Volume::is_of_host) || !session.debug_files.is_empty();
    if session.core.is_some() || shows_files {
        granted = granted.and(Capabilities::shield());
    }
    // Who debugs another user's process reads that user's files, the program and its libraries, and stops its threads
    // by signals: gdb without KILL waits for ever at the first breakpoint.
    if granted.has(trace) && !found.is_root() {
        granted = granted.and("DAC_OVERRIDE".parse()?).and("KILL".parse()?);
    }
    Ok((found.capabilities().without(nodes).and(granted), granted))
}

/// What a session in something that does not run is, for who watches.
fn tell_still(session: &Session, spec: &Spec, found: &target::Found) -> Result<(), Usage> {
    let target::Subject::Still(still) = &found.subject else { return Ok(()) };
    if !session.forward.is_empty() {
        return Err(Usage(format!("-L leads nowhere: {} does not run", session.target)));
    }
    if let Some(of) = still.foreign() {
        let here = image::architecture();
        say(&format!(
            "purser: {} is for {of} and this host is {here}: only tools of kits run",
            session.target
        ));
    }
    if output::is_watched() && spec.terminal.is_some() {
        say(&format!(
            "purser: {} is {}: nothing of it runs, and all changes are discarded",
            session.target, still.what
        ));
        if let Some(user) = still.user() {
            say(&format!("purser: it is made to run as {user}; you are root, or give --user"));
        }
    }
    Ok(())
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
    let more = spec.capabilities.without(target.capabilities()).without(Capabilities::shield());
    if !more.is_empty() {
        say(&format!("purser: of these the target's process does not have: {more}"));
    }
}
