// SPDX-License-Identifier: Apache-2.0
//! A socket in front of Docker's, for the traced command alone: bytes pass unchanged in both
//! directions, and which containers are made or entered is read off on the way.

use anyhow::Context;
use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// The daemon's socket when the environment names no other.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";
/// How much of the end of what was seen is kept, so that a word cut in two is still found.
const OVERLAP: usize = 512;

/// The proxy; its socket is removed with this value.
#[derive(Debug)]
pub(super) struct Proxy {
    directory: PathBuf,
    containers: Receiver<String>,
}

impl Proxy {
    /// `None` when there is no local Docker daemon to stand in front of.
    pub(super) fn start() -> anyhow::Result<Option<Proxy>> {
        let target = match std::env::var("DOCKER_HOST") {
            Ok(host) => match host.strip_prefix("unix://") {
                Some(path) => PathBuf::from(path),
                None => return Ok(None),
            },
            Err(_) => PathBuf::from(DOCKER_SOCKET),
        };
        if !target.exists() {
            return Ok(None);
        }
        let directory = std::env::temp_dir().join(format!("purser-trace-{}", std::process::id()));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .with_context(|| format!("making {}", directory.display()))?;
        let (seen, containers) = channel();
        let proxy = Proxy { directory, containers };
        let listener = UnixListener::bind(proxy.socket()).context("listening for Docker's client")?;
        thread::Builder::new().name("proxy".to_string()).spawn(move || {
            for client in listener.incoming().flatten() {
                // A client we cannot serve sees its connection closed and says so.
                join(client, &target, &seen).unwrap_or_default();
            }
        })?;
        Ok(Some(proxy))
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("docker.sock")
    }

    /// For DOCKER_HOST.
    pub(super) fn address(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Tells each container seen since the last call.
    pub(super) fn made(&self, tell: impl FnMut(&str)) {
        let mut tell = tell;
        self.containers.try_iter().for_each(|container| tell(&container));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // An empty directory left in the temporary one harms nobody.
        fs::remove_dir_all(&self.directory).unwrap_or_default();
    }
}

/// Connects a client with the daemon, a thread for each direction.
fn join(client: UnixStream, target: &Path, seen: &Sender<String>) -> anyhow::Result<()> {
    let daemon = UnixStream::connect(target)?;
    let (to_daemon, to_client) = (daemon.try_clone()?, client.try_clone()?);
    let (asked, answered) = (seen.clone(), seen.clone());
    thread::Builder::new().spawn(move || pass(client, to_daemon, entered, &asked))?;
    thread::Builder::new().spawn(move || pass(daemon, to_client, created, &answered))?;
    Ok(())
}

/// Copies until one side is closed, and passes the end on as a half-closed connection.
fn pass(mut from: UnixStream, mut to: UnixStream, find: fn(&[u8]) -> Vec<String>, seen: &Sender<String>) {
    let mut recent: Vec<u8> = Vec::new();
    let mut buffer = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        recent.extend_from_slice(&buffer[..length]);
        // Told before the bytes go on: nothing can start in the container before we know it.
        for container in find(&recent) {
            seen.send(container).unwrap_or_default();
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
        let old = recent.len().saturating_sub(OVERLAP);
        recent.drain(..old);
    }
    to.shutdown(Shutdown::Write).unwrap_or_default();
}

/// `"Id":"64 digits"`: the daemon's answer to a create.
fn created(bytes: &[u8]) -> Vec<String> {
    after(bytes, b"\"Id\":\"")
        .filter_map(|rest| rest.get(..64))
        .filter(|id| id.iter().all(u8::is_ascii_hexdigit))
        .map(|id| String::from_utf8_lossy(id).into_owned())
        .collect()
}

/// `POST …/containers/NAME/start`, `…/exec`, `…/attach`: the client's question.
fn entered(bytes: &[u8]) -> Vec<String> {
    let named = after(bytes, b"/containers/").filter_map(|rest| {
        let end = rest.iter().take(256).position(|&byte| byte == b'/')?;
        let (name, verb) = rest.split_at(end);
        let ours = [b"/start".as_slice(), b"/exec", b"/attach", b"/restart"];
        ours.iter().any(|ours| verb.starts_with(ours)).then(|| String::from_utf8_lossy(name).into_owned())
    });
    named.collect()
}

/// What stands behind each occurrence of `word`.
fn after<'a>(bytes: &'a [u8], word: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    bytes
        .windows(word.len())
        .enumerate()
        .filter(move |(_, window)| *window == word)
        .map(move |(at, _)| &bytes[at + word.len()..])
}

#[cfg(test)]
mod tests {
    use super::{created, entered};

    #[test]
    fn finds_what_is_made_and_entered() {
        let id = "ab".repeat(32);
        assert_eq!(created(format!("HTTP/1.1 201\r\n\r\n{{\"Id\":\"{id}\",\"W").as_bytes()), [id]);
        assert_eq!(created(b"{\"Id\":\"short\"}"), Vec::<String>::new());
        assert_eq!(entered(b"POST /v1.41/containers/web/start HTTP/1.1\r\n"), ["web"]);
        assert_eq!(entered(b"POST /v1.41/containers/web/exec HTTP/1.1\r\n"), ["web"]);
        assert_eq!(entered(b"GET /v1.41/containers/web/json HTTP/1.1\r\n"), Vec::<String>::new());
    }
}
