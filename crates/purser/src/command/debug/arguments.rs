// SPDX-License-Identifier: Apache-2.0
//! What a session is asked for on the command line.

use super::behalf::Behalf;
use super::volumes::Volume;
use super::{names, remote, target, who};
use crate::command::kit;
use crate::command::place::Place;
use crate::command::{Usage, output};
use clap_complete::{ArgValueCandidates, ArgValueCompleter};
use debug::{Capabilities, DebugError, DetachKeys, Forward, Limits, Window};
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;

/// Longest reason, in bytes.
const REASON_LIMIT: usize = 1024;

#[derive(Debug, clap::Args)]
pub(super) struct Session {
    /// A container by name, id or the start of its id; docker:NAME, podman:NAME, containerd:NAME, lxc:NAME,
    /// nspawn:NAME, runc:ID or runc:/DIRECTORY/ID, k8s:NAMESPACE/POD/CONTAINER; a process, pid:NUMBER; an image of this
    /// host, image:NAME[:TAG]; or a file or directory with one, archive:PATH. What does not run is opened all the same,
    /// and what is changed in it is discarded.
    #[arg(value_name = "TARGET", default_value = "", hide_default_value = true)]
    #[arg(add = ArgValueCandidates::new(names::targets))]
    pub(super) target: String,
    /// A core file, also a compressed one: a path in the target, if one is named, or of this host, or coredump:PID,
    /// coredump:NAME, coredump:latest for one that systemd-coredump has kept. The session is in the container, or on
    /// the host, that has its program with the same build-id; gdb opens it when there is no command, and with options
    /// alone behind --.
    #[arg(long, value_name = "FILE|coredump:WHICH")]
    pub(super) core: Option<String>,
    /// The target whose files the core is looked at with; nothing is searched then.
    #[arg(long = "in", value_name = "TARGET", requires = "core")]
    #[arg(add = ArgValueCandidates::new(names::targets))]
    pub(super) tree: Option<String>,
    /// A kit by name, or a directory with a kit.toml; may be repeated [default: base, the kits that suit what
    /// runs in the target, and the one that has the command].
    #[arg(short, long = "kit", value_name = "NAME|DIR")]
    #[arg(add = ArgValueCompleter::new(kit::shelved_or_path))]
    pub(super) kit: Vec<String>,
    /// The directory with kits [default: `debug.kits` of the configuration, /var/lib/purser-kits].
    #[arg(long, value_name = "DIR")]
    pub(super) kits: Option<PathBuf>,
    /// Why, for the record; the configuration may ask for it.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(super) reason: String,
    /// The user, and group, in the target: names or numbers [default: its root].
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(super) user: Option<String>,
    /// Where the command starts [default: where the target's process is].
    #[arg(short, long, value_name = "DIR")]
    pub(super) work_dir: Option<PathBuf>,
    /// A variable for the session, NAME=VALUE; may be repeated.
    #[arg(short, long = "env", value_name = "NAME=VALUE")]
    pub(super) environment: Vec<String>,
    /// A terminal, even where none would be given; standard input and output must be one.
    #[arg(short, long, conflicts_with = "no_tty")]
    pub(super) tty: bool,
    /// No terminal: the command gets standard input, output and errors as they are.
    #[arg(short = 'T', long)]
    pub(super) no_tty: bool,
    /// Accepted for docker's sake; standard input is always there.
    #[arg(short, long)]
    pub(super) interactive: bool,
    /// A capability more than the target's process and the kits have; may be repeated.
    #[arg(long = "cap-add", value_name = "CAPABILITY")]
    pub(super) cap_add: Vec<Capabilities>,
    /// All capabilities, device nodes, and set-user-ID programs.
    #[arg(short, long)]
    pub(super) privileged: bool,
    /// Do not ask whether --privileged is meant.
    #[arg(long)]
    pub(super) yes: bool,
    /// A file or directory of this host for the session: at the same path, or at DST; $c/PATH is one of the target's.
    /// May be repeated.
    #[arg(short, long = "volume", value_name = "SRC[:DST][:ro|rw]")]
    pub(super) volume: Vec<Volume>,
    /// A port of this host that leads to one of the target; may be repeated. Without a command nothing is run there,
    /// and the ports are open until Ctrl-C.
    #[arg(short = 'L', long = "forward", value_name = "[[ADDRESS:]PORT:]PORT")]
    pub(super) forward: Vec<Forward>,
    /// A directory of this host with debug files for gdb, by build-id or under any name; may be repeated.
    #[arg(long, value_name = "DIR")]
    pub(super) debug_files: Vec<PathBuf>,
    /// A server of debug files that gdb asks, from within the target's network; may be repeated [default:
    /// `debug.debuginfod` of the configuration, which is none].
    #[arg(long, value_name = "URL")]
    pub(super) debuginfod: Vec<String>,
    /// The keys that leave the session running, each a character, ctrl-CHARACTER or DEL; "" for none.
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    pub(super) detach_keys: DetachKeys,
    /// The most memory the session may use, in MiB.
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) memory_mib: Option<u64>,
    /// The most processes and threads the session may have.
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().processes,
        value_parser = clap::value_parser!(u32).range(3..))]
    pub(super) processes: u32,
    /// Have another program's command line: docker-debug. Comes first, and all behind it is that program's.
    #[arg(long = "as", value_name = "PROGRAM")]
    pub(super) as_program: Option<String>,
    /// A copy of the target's files to try things in, even when it runs: all changes are discarded, and its processes
    /// and its network are not there.
    #[arg(long)]
    pub(super) scratch: bool,
    /// The most memory for what is changed in an image or a stopped container, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) room_mib: u64,
    /// How the session's root is built.
    #[arg(long, value_name = "WAY", value_enum, default_value_t = RootWay::Auto)]
    pub(super) root: RootWay,
    #[command(flatten)]
    pub(super) remote: remote::Where,
    /// For whom an outpost begins the session.
    #[arg(long, value_name = "JSON", hide = true)]
    pub(super) behalf: Option<Behalf>,
    #[command(flatten)]
    pub(super) place: Place,
    /// The command; a shell when there is none.
    #[arg(last = true, value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
}

/// The ways to build the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum RootWay {
    /// The first of the others that goes.
    Auto,
    /// The target's own root, with a new /dev laid over the old one.
    Dev,
    /// A new root that holds each entry of the target's.
    New,
}

/// The terminal's size when the session is to have one.
pub(super) fn terminal(session: &Session) -> Result<Option<Window>, DebugError> {
    let both = std::io::stdin().is_terminal() && output::is_terminal();
    match (session.tty, session.no_tty, both) {
        (true, _, false) => Err(DebugError::NotATerminal),
        (_, true, _) | (_, _, false) => Ok(None),
        _ => debug::wait_for_front().map(|()| debug::window()),
    }
}

/// What can be said against a session without a look at its target.
pub(super) fn check(session: &Session) -> Result<(), Usage> {
    mind_sudo(session)?;
    if session.reason.len() > REASON_LIMIT || session.target.len() > REASON_LIMIT {
        return Err(Usage(format!("a reason, and a target, has at most {REASON_LIMIT} bytes")));
    }
    Ok(())
}

/// Whoever comes by `sudo` may choose neither the policy nor what is behind the name of a kit: a rule for this one
/// command would be none.
fn mind_sudo(session: &Session) -> Result<(), Usage> {
    if !who::comes_by_sudo() {
        return Ok(());
    }
    // What --in names becomes the target.
    let words = || [Some(session.target.as_str()), session.tree.as_deref()].into_iter().flatten();
    let own = [
        ("--config", session.place.config.is_some()),
        ("--store", session.place.store.is_some()),
        ("--kits", session.kits.is_some()),
        ("a state directory of runc", words().any(target::is_by_place)),
        ("--behalf", session.behalf.is_some()),
        ("archive:", words().any(|word| word.starts_with("archive:"))),
        ("--kit with a directory", session.kit.iter().any(|kit| kit.contains('/'))),
    ];
    match own.iter().find(|(_, is_given)| *is_given) {
        Some((option, _)) => Err(Usage(format!("{option} is not for who comes by sudo; root may use it"))),
        None => Ok(()),
    }
}
