// SPDX-License-Identifier: Apache-2.0
//! From docker-debug's options and configuration to the arguments of `purser debug`. What it cannot do is refused,
//! never left out in silence.

use super::daemon;
use super::file::Store;
use super::settings::Daemon;
use crate::command::Usage;
use anyhow::bail;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Security options that hold in every session.
const HELD: [&str; 5] = [
    "seccomp=unconfined",
    "apparmor=unconfined",
    "label=disable",
    "no-new-privileges",
    "no-new-privileges=true",
];

/// The shortest and longest wait for a remote daemon, in seconds.
const TIMEOUT: (u64, u64) = (1, 3600);

/// What docker-debug takes before the container.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Options {
    /// A file or directory of this host for the session; $c/PATH is one of the target's. May be repeated.
    #[arg(short, long = "volume", value_name = "SRC[:DST][:ro|rw]")]
    pub(super) volume: Vec<String>,
    /// The image that the tools come from.
    #[arg(short, long, value_name = "IMAGE")]
    pub(super) image: Option<String>,
    /// A daemon of the configuration.
    #[arg(short, long, value_name = "NAME")]
    pub(super) name: Option<String>,
    /// The daemon's address.
    #[arg(short = 'H', long, value_name = "URL")]
    pub(super) host: Option<String>,
    /// The directory with ca.pem, cert.pem and key.pem for --host.
    #[arg(short, long, value_name = "DIR")]
    pub(super) cert_dir: Option<String>,
    /// The keys that leave the session running [default: ctrl-p,ctrl-q].
    #[arg(short, long, value_name = "KEYS")]
    pub(super) detach_keys: Option<String>,
    /// The user, and group, in the target: names or numbers.
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(super) user: Option<String>,
    /// All capabilities, device nodes, and set-user-ID programs.
    #[arg(short, long)]
    pub(super) privileged: bool,
    /// Where the command starts [default: /mnt/container, and --target-dir in there].
    #[arg(short, long, value_name = "DIR")]
    pub(super) work_dir: Option<PathBuf>,
    /// Where the command starts, as a path in the target.
    #[arg(short, long, value_name = "DIR")]
    pub(super) target_dir: Option<String>,
    /// A security option of docker: one that holds in every session is taken. May be repeated.
    #[arg(short, long = "security-opts", value_name = "OPTION")]
    pub(super) security_opts: Vec<String>,
    /// A capability more than the target has. May be repeated.
    #[arg(short = 'C', long = "cap-adds", value_name = "CAPABILITY")]
    pub(super) cap_adds: Vec<String>,
    /// Accepted: every session has the target's IPC.
    #[arg(long)]
    pub(super) ipc: bool,
    /// Why, for the record; the configuration of purser may ask for it.
    #[arg(long, value_name = "TEXT", help_heading = "Beyond docker-debug")]
    pub(super) reason: Option<String>,
    /// A kit with tools; may be repeated.
    #[arg(long, value_name = "NAME|DIR", help_heading = "Beyond docker-debug")]
    pub(super) kit: Vec<String>,
    /// The directory with kits.
    #[arg(long, value_name = "DIR", help_heading = "Beyond docker-debug")]
    pub(super) kits: Option<PathBuf>,
    /// The container, and the command with its arguments; a shell when there is none.
    #[arg(trailing_var_arg = true, value_name = "CONTAINER [COMMAND [ARG...]]")]
    pub(super) words: Vec<OsString>,
}

/// The arguments of `purser debug`.
pub(super) fn arguments(options: &Options, store: &Store, kits: &[String]) -> anyhow::Result<Vec<OsString>> {
    let settings = &store.settings;
    let Some((container, command)) = options.words.split_first() else {
        bail!(Usage("name a container".into()));
    };
    let mut all = target(container, &chosen(options, store)?, settings.timeout)?;
    let mut put = |option: &str, value: &str| all.push(format!("{option}={value}").into());
    for option in &options.security_opts {
        if !HELD.contains(&option.replacen(':', "=", 1).as_str()) {
            let text = "a session has no seccomp filter, no AppArmor profile and no label of its own, and its \
                        capabilities say what it may";
            bail!(Usage(format!("--security-opts {option}: {text}; leave it out")));
        }
    }
    if !settings.mount_dir.is_empty() {
        put("--volume", &format!("$c/:{}", settings.mount_dir));
    }
    for volume in &options.volume {
        put("--volume", &as_purser_has_it(volume));
    }
    let values =
        [("--detach-keys", &options.detach_keys), ("--user", &options.user), ("--reason", &options.reason)];
    for (option, value) in values {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            put(option, value);
        }
    }
    options.cap_adds.iter().for_each(|capability| put("--cap-add", capability));
    kits.iter().for_each(|kit| put("--kit", kit));
    for (option, path) in
        [("--work-dir", work_dir(options, &settings.mount_dir)), ("--kits", options.kits.clone())]
    {
        all.extend(path.into_iter().flat_map(|path| [OsString::from(option), path.into()]));
    }
    if options.privileged {
        // docker-debug does not ask.
        all.extend(["--privileged".into(), "--yes".into()]);
    }
    if !command.is_empty() {
        all.push("--".into());
        all.extend_from_slice(command);
    }
    Ok(all)
}

/// The daemon that is meant.
fn chosen(options: &Options, store: &Store) -> anyhow::Result<Daemon> {
    if let Some(host) = options.host.as_ref().filter(|host| !host.is_empty()) {
        let cert_dir = options.cert_dir.clone().unwrap_or_default();
        return Ok(Daemon { host: host.clone(), tls: !cert_dir.is_empty(), cert_dir, ..Daemon::default() });
    }
    let daemon = store.settings.daemon(options.name.as_deref()).cloned();
    daemon.map_err(|error| anyhow::anyhow!("{}: {error}", store.path().display()))
}

/// The container as purser calls it, and the way to its host. A daemon of this host is known by its socket and need not be
/// asked.
fn target(container: &OsStr, daemon: &Daemon, timeout: Duration) -> anyhow::Result<Vec<OsString>> {
    let word = container.to_string_lossy();
    if word.starts_with('-') {
        bail!(Usage(format!("{word:?} is no container")));
    }
    let host = daemon::normal(&daemon.host, daemon.tls).map_err(Usage)?;
    let socket = daemon::socket(&host);
    // Another kind of target, which docker-debug does not have.
    let runtime = match socket {
        _ if word.contains(':') => "",
        Some(socket) if socket.contains("podman") => "podman:",
        Some(_) => "docker:",
        // Policies know it by its host; only what would be a command of purser debug needs a word before.
        None if is_command(&word) => "docker:",
        None => "",
    };
    let mut all = vec![[OsStr::new(runtime), container].into_iter().collect()];
    if socket.is_some() {
        return Ok(all);
    }
    if daemon.tls && daemon.cert_dir.is_empty() {
        bail!(
            "{host}: TLS needs a directory with ca.pem, cert.pem and key.pem; write cert_dir, or give --cert-dir"
        );
    }
    // As it is written: where it names no port, the usual one depends on TLS.
    let written = daemon.host.trim();
    let host = if written.contains("://") { written } else { &host };
    all.push(format!("--host={host}").into());
    if daemon.tls {
        all.push(format!("--cert-dir={}", daemon.cert_dir).into());
    }
    let secs = timeout.as_secs().clamp(TIMEOUT.0, TIMEOUT.1);
    all.push(format!("--timeout={secs}").into());
    Ok(all)
}

fn is_command(word: &str) -> bool {
    let definition = crate::command::definition();
    let debug = definition.find_subcommand("debug");
    word == "help" || debug.is_some_and(|debug| debug.find_subcommand(word).is_some())
}

/// `SRC:DST:MODE` with any mode but `rw` is read-only to docker-debug.
fn as_purser_has_it(volume: &str) -> String {
    match *volume.split(':').collect::<Vec<_>>().as_slice() {
        [source, at, mode] if mode != "rw" => format!("{source}:{at}:ro"),
        _ => volume.to_owned(),
    }
}

/// Scripts count on starting among the target's files.
fn work_dir(options: &Options, mount_dir: &str) -> Option<PathBuf> {
    if let Some(dir) = options.work_dir.as_ref().filter(|dir| !dir.as_os_str().is_empty()) {
        return Some(dir.clone());
    }
    let below = options.target_dir.as_deref().unwrap_or_default().trim_start_matches('/');
    (!mount_dir.is_empty()).then(|| Path::new(mount_dir).join(below))
}
