// SPDX-License-Identifier: Apache-2.0
//! The sessions of this host: found by their sockets, attached to, ended, and collected when nobody keeps
//! them any more.

use crate::client::{Outcome, Sentence};
use crate::group;
use crate::keys::DetachKeys;
use crate::link::{Kind, Link};
use crate::target::is_over_within;
use crate::{DebugError, client, terminal};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the sockets of a host's sessions are, unless a caller says otherwise.
pub const DIRECTORY: &str = "/run/purser/debug";
/// The most sessions listed.
const SESSIONS_LIMIT: usize = 4096;
/// Time for a keeper to answer.
const PATIENCE: Duration = Duration::from_secs(10);
const SUFFIX: &str = ".sock";

/// A session as its keeper describes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Session {
    /// Its name among others.
    pub id: String,
    /// The target as the user called it.
    pub target: String,
    /// The target's process on the host.
    pub pid: i32,
    /// The program and its arguments, shortened; empty for a shell.
    pub command: String,
    /// The user in the target, when one was given.
    pub user: Option<String>,
    /// The kits.
    pub kits: Vec<String>,
    /// When it began, in seconds since 1970.
    pub since_secs: u64,
    /// The user of this host who began it.
    #[serde(default)]
    pub owner: u32,
    /// Whether somebody has its streams or its terminal now.
    pub is_attached: bool,
    /// Whether one can attach to it.
    pub has_terminal: bool,
}

pub(crate) fn socket_path(directory: &Path, id: &str) -> PathBuf {
    directory.join(format!("{id}{SUFFIX}"))
}

/// A socket that is not open yet: whose it is, is in its name, as one who is killed just then leaves it.
pub(crate) fn unready_path(directory: &Path, id: &str, keeper: Pid) -> PathBuf {
    directory.join(format!(".{id}.{}", keeper.as_raw_nonzero()))
}

/// Removes the sockets that keepers who are gone had not opened yet.
fn forget_unready(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten().take(SESSIONS_LIMIT) {
        let name = entry.file_name();
        let keeper = name.to_str().and_then(|name| name.strip_prefix('.')?.split_once('.')?.1.parse().ok());
        let keeper = keeper.filter(|pid| *pid > 0).and_then(Pid::from_raw);
        if keeper.is_some_and(|keeper| test_kill_process(keeper) == Err(Errno::SRCH)) {
            // Somebody else may have done it.
            fs::remove_file(entry.path()).unwrap_or_default();
        }
    }
}

/// The sessions that have a keeper, by their start.
pub fn list(directory: &Path) -> Vec<Session> {
    let describe = |id: String| {
        let link = knock(directory, &id).ok()?;
        link.send(Kind::Describe, b"", &[]).ok()?;
        serde_json::from_slice(&link.receive().ok()??.payload).ok()
    };
    let mut sessions: Vec<Session> = ids(directory).into_iter().filter_map(describe).collect();
    sessions.sort_by_key(|session| session.since_secs);
    sessions
}

/// Shows a session's terminal on this one, until it ends or the keys are typed.
///
/// # Errors
/// When there is no such session, or it or we have no terminal.
pub fn attach(directory: &Path, id: &str, keys: &DetachKeys) -> Result<Outcome, DebugError> {
    let id = full(directory, id)?;
    let (input, output) = (rustix::stdio::stdin(), rustix::stdio::stdout());
    let (true, Some(window)) = (rustix::termios::isatty(input), terminal::window(output)) else {
        return Err(DebugError::NotATerminal);
    };
    terminal::wait_for_front()?;
    let link = knock(directory, &id).map_err(|_| DebugError::NoSession { id: id.clone() })?;
    link.send(Kind::Attach, &window.bytes(), &[input.as_fd()])
        .map_err(|source| DebugError::Host { doing: "asking the session's keeper".into(), source })?;
    match client::converse(&link, Some(keys), || {}) {
        Err(Sentence::Failed(failure)) if failure.code == 125 => Err(DebugError::NoTerminal { id }),
        outcome => outcome.map_err(DebugError::from),
    }
}

/// Ends a session and waits until it is over.
///
/// # Errors
/// When there is no such session, or its keeper does not answer.
pub fn end(directory: &Path, id: &str) -> Result<String, DebugError> {
    let id = full(directory, id)?;
    let link = knock(directory, &id).map_err(|_| DebugError::NoSession { id: id.clone() })?;
    link.send(Kind::End, b"", &[]).map_err(|_| DebugError::NoSession { id: id.clone() })?;
    // The keeper closes it when all is gone, or is killed. One that somebody has stopped says nothing.
    if is_over_within(link.as_fd(), PATIENCE) { Ok(id) } else { Err(DebugError::Silent { id }) }
}

/// Ends what is left of sessions whose keeper is gone, and removes it. For every client and for the agent's
/// start; takes no time when there is nothing. How many there were.
pub fn collect(directory: &Path) -> usize {
    forget_unready(directory);
    let mut known = ids(directory);
    known.extend(group::all_ids());
    known.sort();
    known.dedup();
    // A keeper that is slow to answer is one all the same.
    // A socket that is not to be seen may be in another `/run`; the lock on the cgroup is to be seen everywhere.
    let is_stale = |id: &String| {
        let error = knock(directory, id).err();
        error.is_some_and(|error| {
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
        })
    };
    let mut collected = 0;
    for id in known.into_iter().filter(is_stale) {
        if group::clear_stale(&id) {
            // Only then, for the socket shows that something is left.
            fs::remove_file(socket_path(directory, &id)).unwrap_or_default();
            collected += 1;
        }
    }
    collected
}

/// The one session whose id begins so.
fn full(directory: &Path, start: &str) -> Result<String, DebugError> {
    let mut fitting = ids(directory).into_iter().filter(|id| id.starts_with(start) && !start.is_empty());
    match (fitting.next(), fitting.next()) {
        (Some(id), None) => Ok(id),
        _ => Err(DebugError::NoSession { id: start.to_owned() }),
    }
}

fn ids(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().take(SESSIONS_LIMIT);
    entries.filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(SUFFIX)?.to_owned())).collect()
}

/// Whether a session has a keeper. Waits for nobody.
pub fn is_kept(directory: &Path, id: &str) -> bool {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let knocked = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
        .and_then(|socket| connect(&socket, &SocketAddrUnix::new(socket_path(directory, id))?));
    // One that has no time to answer is one all the same, and so is one whose socket is in another `/run`.
    !matches!(knocked, Err(Errno::NOENT | Errno::CONNREFUSED)) || group::is_kept(id)
}

fn knock(directory: &Path, id: &str) -> io::Result<Link> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    // One that was stopped by a signal keeps nobody waiting.
    set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    connect(&socket, &SocketAddrUnix::new(socket_path(directory, id))?)?;
    Ok(Link::from(socket))
}

#[cfg(test)]
mod tests {
    use super::{forget_unready, unready_path};
    use rustix::process::{Pid, getpid};

    #[test]
    fn sockets_that_nobody_will_open_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let gone = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        child.wait().unwrap();
        let [gone, own] = [gone, getpid()].map(|pid| unready_path(directory.path(), "5e55ab1e", pid));
        let others = [".empty", ".5e55ab1e.-1", ".5e55ab1e.x", "5e55ab1e.sock"]
            .map(|name| directory.path().join(name));
        for path in others.iter().chain([&gone, &own]) {
            std::fs::write(path, "").unwrap();
        }
        forget_unready(directory.path());
        assert!(!gone.exists() && own.exists() && others.iter().all(|other| other.exists()));
    }
}
