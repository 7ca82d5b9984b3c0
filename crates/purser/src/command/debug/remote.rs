// SPDX-License-Identifier: Apache-2.0
//! `purser debug --host`: a session on another host, through its Docker daemon. This program and the kits are brought
//! there as an image, a container of it holds the outpost, and that begins an ordinary session.

mod image;
mod place;
mod talk;
mod words;

pub(super) use place::Where;

use super::arguments::{Session, terminal};
use super::behalf::Behalf;
use super::kits::{self, Chosen};
use super::permit::recorded_words;
use super::specification::new_id;
use super::volumes::Volume;
use super::{record, who};
use crate::command::{Usage, host_name, output, say};
use crate::config::{Config, Debug};
use crate::control::ControlError;
use crate::exit::Exit;
use crate::policy::{self, Wanted};
use anyhow::{Context, bail};
use debug::{Beginning, Capabilities, Window};
use docker::{Container, Daemon, Host};
use event::{Body, SessionAction};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What the outpost and all behind it need, whatever the session is for: to enter namespaces and become their users,
/// and what a usual container's root has, which the session's program is to have as well.
const RIGHTS: [&str; 17] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_ADMIN",
    "SYS_CHROOT",
    "SYS_PTRACE",
];

/// The command line of an outpost in its container.
const OUTPOST: [&str; 2] = ["/purser", "debug-outpost"];
/// How the names of these containers begin.
pub(super) const OUTPOST_NAME: &str = "purser-debug-";
/// The label of containers with an outpost.
const LABEL: &str = "purser.debug.session";
/// After that nobody starts a container any more.
const FORGOTTEN: Duration = Duration::from_secs(3600);
/// Those that older daemons do not know; a kit that needs one asks for it by name.
const NEW_RIGHTS: [&str; 3] = ["BPF", "CHECKPOINT_RESTORE", "PERFMON"];

/// Begins a session there and passes on until its end.
pub(super) fn begin(session: &Session, config: &Config) -> anyhow::Result<Exit> {
    let host = session.remote.host()?;
    unfit(session)?;
    let patience = Duration::from_secs(session.remote.timeout);
    let ssh = session.remote.ssh()?;
    let window = terminal(session)?;
    if let (docker::Way::Tcp { host: name, .. }, None) = (host.way(), &host.certificates)
        && !is_loopback(name)
    {
        say(&format!(
            "purser: the connection to {host} is not encrypted, and nobody proves who they are; --cert-dir does"
        ));
    }
    let mut behalf = behalf(&host)?;
    if !is_known(&config.debug, &format!("{host}/{}", session.target)) {
        // Refused and recorded. Nobody connects as root to where no entry leads.
        allowed(session, config, &host, &[], &mut behalf)?;
    }
    let mut daemon = Daemon::connect(&host, &ssh, patience)?;
    let about = daemon.about()?;
    if about.is_rootless {
        bail!("{host} runs without root, and is root of nothing but its containers: log in there");
    }
    let target = target(&mut daemon, &session.target)?;
    let kits = chosen(session, config, &target)?;
    let note = allowed(session, config, &host, &kits, &mut behalf)?;
    behalf.containers = (!about.root.is_empty()).then(|| PathBuf::from(about.root).join("containers"));
    let begun = Instant::now();
    let done = run(session, daemon, &kits, &target, &behalf, window);
    let (code, detail) = match &done {
        Ok(Exit::Command(code)) => (*code, String::new()),
        Ok(_) => (0, String::new()),
        Err(error) => (125, format!("{error:#}")),
    };
    super::tell_end(&note, code, &detail, begun.elapsed());
    done
}

fn run(
    session: &Session,
    mut daemon: Daemon,
    kits: &[Chosen],
    target: &Container,
    behalf: &Behalf,
    window: Option<Window>,
) -> anyhow::Result<Exit> {
    let image = image::ready(&mut daemon, kits)?;
    let mut environment = Vec::new();
    if window.is_some() {
        environment.extend(std::env::var_os("TERM").map(|term| ("TERM".into(), term)));
    }
    let beginning =
        Beginning { arguments: words::of(session, kits, behalf, window.is_some())?, environment, window };
    let wanted = docker::Wanted {
        name: format!("{OUTPOST_NAME}{}", behalf.id),
        image,
        command: OUTPOST.map(str::to_owned).into(),
        labels: [(LABEL, behalf.id.as_str()), ("purser.debug.for", behalf.user.as_str())]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        capabilities: rights(session, kits, target)?,
        devices: session.privileged,
    };
    sweep(&mut daemon)?;
    let container = daemon.create(&wanted)?;
    if let Err(error) = daemon.start(&container) {
        // One that never ran is not removed by itself. The error that is told is why it did not run.
        daemon.remove(&container).unwrap_or_default();
        return Err(error.into());
    }
    let after = (!daemon.removes_by_itself()).then(|| daemon.again());
    let attached = daemon.attach(&container)?;
    let code = talk::talk(attached, &session.target, &beginning);
    if let Some(mut daemon) = after {
        // One that somebody else has removed is gone as well.
        daemon.remove(&container).unwrap_or_default();
    }
    Ok(Exit::Command(code?))
}

/// Removes what a client that was killed at the wrong moment has left: a container that was never started does not end,
/// and an old daemon keeps one that has ended.
fn sweep(daemon: &mut Daemon) -> anyhow::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("reading the clock")?;
    for (container, made_secs) in daemon.containers(LABEL, &["created"])? {
        // Clocks differ, and somebody else may be about to start theirs.
        if made_secs.saturating_add(FORGOTTEN.as_secs()) < now.as_secs() {
            daemon.remove(&container).unwrap_or_default();
        }
    }
    if !daemon.removes_by_itself() {
        for (container, _) in daemon.containers(LABEL, &["exited", "dead"])? {
            daemon.remove(&container).unwrap_or_default();
        }
    }
    Ok(())
}

/// Whether whoever asks may know of this target: the policy has an entry for both.
fn is_known(debug: &Debug, target: &str) -> bool {
    let who = who::Who::asks();
    policy::may_know(debug, (&who.name, &who.groups), target, Some(""))
}

/// What cannot be on another host.
fn unfit(session: &Session) -> Result<(), Usage> {
    let what = [
        ("-L", !session.forward.is_empty()),
        ("-v of this host", session.volume.iter().any(Volume::is_of_host)),
        ("--debug-files", !session.debug_files.is_empty()),
        ("--debuginfod", !session.debuginfod.is_empty()),
        ("--core", session.core.is_some()),
        ("--behalf", session.behalf.is_some()),
    ];
    match what.iter().find(|(_, is_given)| *is_given) {
        Some((option, _)) => Err(Usage(format!("{option} does not go with --host or --context"))),
        None => Ok(()),
    }
}

/// The kits, from this host. What the target has itself nobody can see from here.
fn chosen(session: &Session, config: &Config, target: &Container) -> anyhow::Result<Vec<Chosen>> {
    let shelf = session.kits.as_ref().unwrap_or(&config.debug.kits);
    let shelf = std::path::absolute(shelf).context("looking at the directory with kits")?;
    kits::fetch(&config.debug, &shelf, &session.kit)?;
    let program = target.program.rsplit('/').next().unwrap_or_default();
    let job = kits::Job {
        // As the kernel has it.
        suits: program.get(..program.len().min(15)).unwrap_or_default(),
        tool: session.command.first().map(OsString::as_os_str),
        is_there: &|_| false,
    };
    kits::chosen(&shelf, &session.kit, &job)
}

fn is_loopback(name: &str) -> bool {
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What the daemon knows of a target that is one of its containers; nothing of others.
fn target(daemon: &mut Daemon, word: &str) -> anyhow::Result<Container> {
    let name = word.strip_prefix("docker:").unwrap_or(word);
    if name.contains(':') {
        return Ok(Container::default());
    }
    Ok(daemon.container(name)?.unwrap_or_default())
}

/// The capabilities of the outpost's container.
fn rights(session: &Session, kits: &[Chosen], target: &Container) -> anyhow::Result<Vec<String>> {
    let mut wanted = asked_for(session, kits);
    if session.privileged {
        let new = NEW_RIGHTS.iter().map(|name| name.parse::<Capabilities>());
        let new = new.collect::<Result<Vec<_>, _>>()?;
        wanted = wanted.and(new.into_iter().fold(Capabilities::all(), Capabilities::without));
    }
    let mut names: Vec<String> = RIGHTS.map(str::to_owned).into();
    names.extend(wanted.to_string().split(' ').filter(|word| *word != "none").map(str::to_owned));
    let of_target = target.settings.cap_add.iter().flatten();
    let of_target = of_target.map(|name| name.trim_start_matches("CAP_").to_ascii_uppercase());
    names.extend(of_target.filter(|name| name.parse::<Capabilities>().is_ok()));
    names.sort();
    names.dedup();
    Ok(names)
}

/// What kits and options add to what the target's process has.
fn asked_for(session: &Session, kits: &[Chosen]) -> Capabilities {
    let added = session.cap_add.iter().fold(Capabilities::default(), |all, more| all.and(*more));
    kits.iter().fold(added, |all, chosen| all.and(chosen.capabilities))
}

fn behalf(host: &Host) -> anyhow::Result<Behalf> {
    let who = who::Who::asks();
    let from = format!("{} via {host}", who.from);
    Ok(Behalf {
        id: new_id(),
        uid: who.uid,
        user: format!("{}@{}", who.name, host_name()),
        from: from.trim().chars().take(200).collect(),
        limit_secs: None,
        containers: None,
    })
}

/// Asks this host's policy and has this host's agent record the start; the other host does the same with its own.
fn allowed(
    session: &Session,
    config: &Config,
    host: &Host,
    kits: &[Chosen],
    behalf: &mut Behalf,
) -> anyhow::Result<record::Note> {
    let who = who::Who::asks();
    let target = format!("{host}/{}", session.target);
    let names: Vec<String> = kits.iter().map(|chosen| chosen.kit.name.clone()).collect();
    let capabilities = asked_for(session, kits);
    let words = capabilities.to_string();
    let words: Vec<String> = words.split(' ').filter(|word| *word != "none").map(str::to_owned).collect();
    let wanted = Wanted {
        user: &who.name,
        groups: &who.groups,
        target: &target,
        kits: &names,
        capabilities: &words,
        privileged: session.privileged,
        reason: &session.reason,
        ..Wanted::default()
    };
    let start = event::Session {
        action: SessionAction::Start,
        id: behalf.id.clone(),
        uid: who.uid,
        user: who.name.clone(),
        from: who.from.clone(),
        target: target.clone(),
        kits: kits.iter().map(Chosen::told).collect(),
        capabilities: capabilities.bits(),
        command: recorded_words(&session.command),
        reason: session.reason.clone(),
        ..event::Session::default()
    };
    let store = config.agent.store.as_path();
    let granted = policy::decide(&config.debug, &wanted).map_err(|why| {
        let refusal = event::Session {
            action: SessionAction::Refused,
            id: String::new(),
            detail: why.clone(),
            ..start.clone()
        };
        // Where no agent records, nobody is told of it.
        record::tell(store, &record::event("", Body::Session(Box::new(refusal)))).unwrap_or_default();
        anyhow::anyhow!("{why}")
    })?;
    behalf.limit_secs = granted.max_time.map(|time| time.as_secs());
    let start = record::event("", Body::Session(Box::new(start)));
    let recorded = match record::tell(store, &start) {
        Ok(()) => true,
        // Who is not root here needs no root for a session elsewhere.
        Err(ControlError::NoAgent { .. } | ControlError::Denied { .. }) if !config.debug.require_record => {
            false
        }
        Err(error) => return Err(anyhow::Error::from(error).context("no session without a record")),
    };
    let store = recorded.then(|| store.to_path_buf());
    Ok(record::Note { store, start: record::encoded(&start), transcript: false })
}

/// How far something is, for who watches.
fn progress(what: &str) -> impl FnMut(u64, u64) {
    let what = what.to_owned();
    let mut last = None;
    move |done: u64, whole: u64| {
        let percent = done.saturating_mul(100) / whole.max(1);
        if output::is_watched() && last != Some(percent) {
            last = Some(percent);
            let end = if done >= whole { "\r\x1b[K" } else { "" };
            use std::io::Write;
            write!(std::io::stderr().lock(), "\r{what} {percent:>3} %{end}").unwrap_or_default();
        }
    }
}
