// SPDX-License-Identifier: Apache-2.0
//! The agent's end of the control socket: hands requests to the main line, which answers between
//! two batches and never waits. Only root may connect (mode 0600).
//!
//! One thread serves all clients side by side, so that one who is silent or slow holds nobody up.

use super::caller::Caller;
use super::protocol::{Reply, Request, SOCKET_NAME};
use anyhow::Context;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Requests that may wait for the main line.
const QUEUE_LIMIT: usize = 16;
/// Clients at a time. The next one takes the place of the one that has been silent for longest.
pub(super) const CLIENTS_LIMIT: usize = 64;
/// Pause when the kernel gives no more connections, as without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A request and where its answer goes.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) request: Request,
    /// The process that asks, as the kernel says.
    pub(crate) who: Option<i32>,
    pub(crate) answer: Answer,
}

/// Takes the answer to one request. Giving it never waits.
#[derive(Debug)]
pub(crate) struct Answer {
    caller: u64,
    to: SyncSender<(u64, Reply)>,
    wake: Arc<UnixStream>,
}

impl Answer {
    /// Sends `reply` to who asked. A client that went away does not get it: nobody is left to tell.
    pub(crate) fn give(self, reply: Reply) {
        if self.to.try_send((self.caller, reply)).is_ok() {
            // A full socket wakes as well as one more byte would.
            drop((&*self.wake).write(&[1]));
        }
    }
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
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing the old socket {}", path.display()));
            }
            _ => {}
        }
        let listener = bind(store, &path).with_context(|| format!("listening on {}", path.display()))?;
        let (queue, calls) = sync_channel(QUEUE_LIMIT);
        let desk = Desk::new(listener, queue, Box::new(wake)).context("making a socket pair")?;
        thread::Builder::new().name("control".to_string()).spawn(move || desk.serve())?;
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
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The thread that talks: all clients, and the way to the main line and back.
struct Desk {
    listener: UnixListener,
    callers: Vec<Caller>,
    /// Number of the next client.
    next: u64,
    queue: SyncSender<Call>,
    wake_line: Box<dyn Fn() + Send + Sync>,
    answers: Receiver<(u64, Reply)>,
    to_answers: SyncSender<(u64, Reply)>,
    /// Readable when an answer came.
    woken: UnixStream,
    wake: Arc<UnixStream>,
}

impl Desk {
    fn new(
        listener: UnixListener,
        queue: SyncSender<Call>,
        wake_line: Box<dyn Fn() + Send + Sync>,
    ) -> std::io::Result<Desk> {
        let (woken, wake) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        wake.set_nonblocking(true)?;
        // Holds what the main line can answer before this thread looks: all that was queued.
        let (to_answers, answers) = sync_channel(2 * QUEUE_LIMIT);
        let (callers, wake) = (Vec::new(), Arc::new(wake));
        Ok(Desk { listener, callers, next: 0, queue, wake_line, answers, to_answers, woken, wake })
    }

    fn serve(mut self) {
        loop {
            self.wait();
            for (number, reply) in self.answers.try_iter() {
                if let Some(caller) = self.callers.iter_mut().find(|caller| caller.number == number) {
                    caller.reply(&reply);
                }
            }
            self.listen();
            for place in 0..self.callers.len() {
                if let Some(asked) = self.callers.get_mut(place).and_then(Caller::step) {
                    self.pass_on(place, asked);
                }
            }
            self.callers.retain(|caller| !caller.is_over());
        }
    }

    /// Sleeps until somebody comes, says something, takes something or has waited for too long.
    fn wait(&mut self) {
        let now = Instant::now();
        let nearest = self.callers.iter().map(Caller::deadline).min();
        let left = nearest.and_then(|nearest| {
            // A millisecond more, so that the deadline is over when we wake.
            Timespec::try_from(nearest.saturating_duration_since(now) + Duration::from_millis(1)).ok()
        });
        let mut fds =
            vec![PollFd::new(&self.listener, PollFlags::IN), PollFd::new(&self.woken, PollFlags::IN)];
        fds.extend(self.callers.iter().filter_map(Caller::poll_fd));
        // Whatever ends the sleep, everybody is looked at.
        poll(&mut fds, left.as_ref()).unwrap_or_default();
        let mut bytes = [0; 64];
        while matches!((&self.woken).read(&mut bytes), Ok(64)) {}
    }

    fn listen(&mut self) {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    if self.callers.len() >= CLIENTS_LIMIT {
                        self.make_room();
                    }
                    self.callers.extend(Caller::new(self.next, stream));
                    self.next += 1;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return thread::sleep(ACCEPT_PAUSE),
            }
            // Who came has mostly spoken already; only who is silent may lose the place again.
            let newest = self.callers.len().saturating_sub(1);
            if let Some(asked) = self.callers.get_mut(newest).and_then(Caller::step) {
                self.pass_on(newest, asked);
            }
        }
    }

    /// Sends away whoever has been silent for longest, else who has been slow to take an answer.
    fn make_room(&mut self) {
        let oldest = self.callers.iter().enumerate().min_by_key(|(_, caller)| caller.claim());
        if let Some(place) = oldest.map(|(place, _)| place) {
            self.callers.remove(place).send_away();
        }
    }

    fn pass_on(&mut self, place: usize, request: Request) {
        let Some(caller) = self.callers.get_mut(place) else { return };
        let answer =
            Answer { caller: caller.number, to: self.to_answers.clone(), wake: Arc::clone(&self.wake) };
        let who = caller.process();
        match self.queue.try_send(Call { request, who, answer }) {
            Ok(()) => (self.wake_line)(),
            Err(TrySendError::Full(_)) => {
                caller.reply(&Reply::failed("the agent has too many requests waiting; try again"));
            }
            Err(TrySendError::Disconnected(_)) => caller.reply(&Reply::failed("the agent is ending")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CLIENTS_LIMIT, Server};
    use crate::control::{Reply, Request, SOCKET_NAME, ask};
    use std::io::{Read, Write};
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;
    use std::path::Path;
    use std::thread;

    /// A server whose main line answers every request with its name.
    fn serving(store: &Path) {
        let server = Server::start(store, || {}).unwrap();
        thread::spawn(move || {
            while let Ok(call) = server.calls.recv() {
                call.answer.give(Reply::done(format!("{:?}", call.request)));
            }
        });
    }

    fn dial(store: &Path) -> UnixStream {
        UnixStream::connect(store.join(SOCKET_NAME)).unwrap()
    }

    fn answer_to(mut stream: UnixStream, bytes: &[u8]) -> String {
        stream.write_all(bytes).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut text = Vec::new();
        // What the server did not read of a request that is too long resets the connection at last.
        drop(stream.read_to_end(&mut text));
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn hundreds_of_idle_clients_keep_nobody_out() {
        let store = tempfile::tempdir().unwrap();
        serving(store.path());
        let idle: Vec<UnixStream> = (0..10 * CLIENTS_LIMIT).map(|_| dial(store.path())).collect();
        for _ in 0..100 {
            assert_eq!(ask(store.path(), &Request::Status).unwrap().message.as_deref(), Some("Status"));
        }
        // The oldest ones were sent away, with a word.
        let mut text = String::new();
        (&idle[0]).read_to_string(&mut text).unwrap();
        assert!(text.contains("too many clients"), "{text}");
    }

    #[test]
    fn a_client_in_the_middle_of_its_request_does_not_hold_up_others() {
        let store = tempfile::tempdir().unwrap();
        serving(store.path());
        let mut slow = dial(store.path());
        slow.write_all(b"{\"command\":").unwrap();
        assert!(ask(store.path(), &Request::RuleList).unwrap().ok);
        assert_eq!(answer_to(slow, b"\"status\"}\n"), "{\"ok\":true,\"message\":\"Status\"}\n");
    }

    #[test]
    fn garbage_gets_a_clear_answer() {
        let store = tempfile::tempdir().unwrap();
        serving(store.path());
        for (bytes, wanted) in [
            (&b"GET / HTTP/1.0\r\n\r\n"[..], "one line of JSON"),
            (b"\xff\xfe\n", "one line of JSON"),
            (b"{\"command\":\"dance\"}\n", "dance"),
            (b"{\"command\":", "one line of JSON"),
            (&[b'x'; 70_000], "longer than 65536 bytes"),
        ] {
            let text = answer_to(dial(store.path()), bytes);
            let reply: Reply = serde_json::from_str(&text).unwrap();
            assert!(!reply.ok && reply.error.unwrap().contains(wanted), "{text}");
        }
        // Without a line end the agent waits for one, and then says so.
        let mut silent = dial(store.path());
        silent.write_all(b"garbage").unwrap();
        let mut text = String::new();
        silent.read_to_string(&mut text).unwrap();
        assert!(text.contains("no whole line within 2 s"), "{text}");
    }
}
