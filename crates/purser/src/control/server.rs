// SPDX-License-Identifier: Apache-2.0
//! The agent's end of the control socket: takes one request a connection and hands it to the
//! main line, which answers between two batches. Only root may connect (mode 0600).

use super::protocol::{REQUEST_LIMIT, Reply, Request, SOCKET_NAME};
use anyhow::Context;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// Requests that may wait for the main line.
const QUEUE_LIMIT: usize = 16;
/// Time a client has to say what it wants, and to take the answer.
const CLIENT_PATIENCE: Duration = Duration::from_secs(2);
/// Time the main line has to answer: longer than any client waits.
const ANSWER_PATIENCE: Duration = Duration::from_secs(35);

/// A request and where its answer goes.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) request: Request,
    pub(crate) answer: SyncSender<Reply>,
}

/// The socket; it is removed with this value.
#[derive(Debug)]
pub(crate) struct Server {
    path: PathBuf,
    pub(crate) calls: Receiver<Call>,
}

impl Server {
    /// Listens in `store`, which the caller has locked: what is there already is a dead agent's.
    /// `wake` is called after a request was queued.
    pub(crate) fn start(store: &Path, wake: impl Fn() + Send + Sync + 'static) -> anyhow::Result<Server> {
        let path = store.join(SOCKET_NAME);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing the old socket {}", path.display()));
            }
            _ => {}
        }
        let listener = bind(store, &path).with_context(|| format!("listening on {}", path.display()))?;
        let (queue, calls) = sync_channel(QUEUE_LIMIT);
        let wake = Arc::new(wake);
        thread::Builder::new().name("control".to_string()).spawn(move || {
            for stream in listener.incoming().flatten() {
                serve(&stream, &queue, wake.as_ref());
            }
        })?;
        Ok(Server { path, calls })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The next agent removes what could not be removed here.
        fs::remove_file(&self.path).unwrap_or_default();
    }
}

/// Paths longer than a socket address can hold are reached through the directory's descriptor.
fn bind(store: &Path, path: &Path) -> std::io::Result<UnixListener> {
    use std::os::fd::AsRawFd;
    let directory = fs::File::open(store)?;
    let short = format!("/proc/self/fd/{}/{SOCKET_NAME}", directory.as_raw_fd());
    let listener = UnixListener::bind(short)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// One client at a time: they are root's own commands, and every step has an end.
fn serve(stream: &UnixStream, queue: &SyncSender<Call>, wake: &(dyn Fn() + Send + Sync)) {
    let reply = match read(stream) {
        Ok(request) => ask(request, queue, wake),
        Err(error) => Reply::failed(format!("{error:#}")),
    };
    let mut line = serde_json::to_vec(&reply).unwrap_or_default();
    line.push(b'\n');
    let mut stream = stream;
    // A client that went away does not get its answer; there is nobody to tell.
    stream.write_all(&line).unwrap_or_default();
}

fn read(stream: &UnixStream) -> anyhow::Result<Request> {
    stream.set_read_timeout(Some(CLIENT_PATIENCE))?;
    stream.set_write_timeout(Some(CLIENT_PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream.take(REQUEST_LIMIT as u64)).read_line(&mut line).context("reading the request")?;
    serde_json::from_str(&line).context("understanding the request")
}

fn ask(request: Request, queue: &SyncSender<Call>, wake: &(dyn Fn() + Send + Sync)) -> Reply {
    let (answer, answered) = sync_channel(1);
    if queue.try_send(Call { request, answer }).is_err() {
        return Reply::failed("the agent has too many requests waiting; try again");
    }
    wake();
    answered
        .recv_timeout(ANSWER_PATIENCE)
        .unwrap_or_else(|_| Reply::failed("the agent did not answer in time"))
}
