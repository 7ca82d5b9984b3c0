// SPDX-License-Identifier: Apache-2.0
//! Asks the running agent. Every wait and every answer has a limit.

use super::protocol::{REPLY_LIMIT, Reply, Request, SOCKET_NAME};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Why the agent gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// Nobody listens.
    #[error("no agent is running on the store {store}", store = store.display())]
    NoAgent {
        /// The store directory.
        store: PathBuf,
    },
    /// The socket may not be used by this user.
    #[error("asking the agent on the store {store}: permission denied", store = store.display())]
    Denied {
        /// The store directory.
        store: PathBuf,
    },
    /// The conversation broke.
    #[error("asking the agent on the store {store}: {source}", store = store.display())]
    Talk {
        /// The store directory.
        store: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The agent is there and does not answer.
    #[error("the agent on the store {store} did not answer within {secs} s", store = store.display())]
    TimedOut {
        /// The store directory.
        store: PathBuf,
        /// How long we waited.
        secs: u64,
    },
    /// The answer is no answer.
    #[error("the answer of the agent on the store {store} makes no sense: {what}", store = store.display())]
    Garbage {
        /// The store directory.
        store: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The agent said no.
    #[error("the agent refused: {message}")]
    Refused {
        /// Its reason.
        message: String,
    },
}

/// Asks the agent that works on `store`.
///
/// # Errors
/// When there is no agent, no answer, or the answer is no.
pub fn ask(store: &Path, request: &Request) -> Result<Reply, ControlError> {
    let patience = request.patience();
    let failed = |source: io::Error| told(store, source, patience);
    let deadline = Instant::now() + patience;
    let mut stream = dial(store, patience).map_err(failed)?;
    let mut line = serde_json::to_vec(request).expect("strings and numbers always serialise");
    line.push(b'\n');
    stream.set_write_timeout(Some(patience)).map_err(failed)?;
    stream.write_all(&line).map_err(failed)?;
    let answer = read_line(&mut stream, deadline).map_err(failed)?;
    let garbage = |what: String| ControlError::Garbage { store: store.to_path_buf(), what };
    if answer.len() > REPLY_LIMIT {
        return Err(garbage(format!("it is longer than {REPLY_LIMIT} bytes")));
    }
    let reply: Reply = serde_json::from_slice(&answer).map_err(|error| garbage(error.to_string()))?;
    if reply.ok {
        return Ok(reply);
    }
    Err(ControlError::Refused { message: reply.error.unwrap_or_else(|| "it gave no reason".to_string()) })
}

fn told(store: &Path, source: io::Error, patience: Duration) -> ControlError {
    let store = store.to_path_buf();
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ControlError::NoAgent { store },
        io::ErrorKind::PermissionDenied => ControlError::Denied { store },
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            ControlError::TimedOut { store, secs: patience.as_secs() }
        }
        _ => ControlError::Talk { store, source },
    }
}

fn dial(store: &Path, patience: Duration) -> io::Result<UnixStream> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // A full queue of callers makes connect() wait; the send timeout ends that wait.
    set_socket_timeout(&socket, Timeout::Send, Some(patience))?;
    let path = store.join(SOCKET_NAME);
    match SocketAddrUnix::new(&path) {
        Ok(address) => connect(&socket, &address)?,
        Err(Errno::NAMETOOLONG) => {
            let directory = directory(store)?;
            let short = format!("/proc/self/fd/{}/{SOCKET_NAME}", directory.as_raw_fd());
            connect(&socket, &SocketAddrUnix::new(short)?)?;
        }
        Err(errno) => return Err(errno.into()),
    }
    Ok(UnixStream::from(socket))
}

fn directory(store: &Path) -> io::Result<OwnedFd> {
    Ok(open(store, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Up to the line end, or up to one byte over the limit.
fn read_line(stream: &mut UnixStream, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut chunk = [0u8; 16 << 10];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let count = match stream.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result?,
        };
        let new = chunk.get(..count).unwrap_or_default();
        if let Some(end) = new.iter().position(|&byte| byte == b'\n') {
            line.extend_from_slice(&new[..end]);
            return Ok(line);
        }
        line.extend_from_slice(new);
        if count == 0 || line.len() > REPLY_LIMIT {
            return Ok(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ControlError, ask};
    use crate::control::{Request, SOCKET_NAME};
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixListener;
    use std::path::{Path, PathBuf};
    use std::thread::JoinHandle;

    fn answering(store: &Path, answer: &'static [u8]) -> JoinHandle<String> {
        let listener = UnixListener::bind(store.join(SOCKET_NAME)).unwrap();
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            (&stream).write_all(answer).unwrap();
            line
        })
    }

    #[test]
    fn asks_and_is_answered() {
        let store = tempfile::tempdir().unwrap();
        let agent = answering(store.path(), b"{\"ok\":true,\"message\":\"done\"}\n");
        let reply = ask(store.path(), &Request::Reload).unwrap();
        assert_eq!(reply.message.as_deref(), Some("done"));
        assert_eq!(agent.join().unwrap(), "{\"command\":\"reload\"}\n");
    }

    #[test]
    fn refusals_and_garbage_are_told_apart() {
        let store = tempfile::tempdir().unwrap();
        let agent = answering(store.path(), b"{\"ok\":false,\"error\":\"no such rule\"}\n");
        let error = ask(store.path(), &Request::RuleRemove { name: "x".to_string() }).unwrap_err();
        assert_eq!(error.to_string(), "the agent refused: no such rule");
        agent.join().unwrap();
        for answer in [&b"hello\n"[..], b"", b"{\"ok\":", b"[]\n"] {
            let store = tempfile::tempdir().unwrap();
            let agent = answering(store.path(), answer);
            assert!(matches!(ask(store.path(), &Request::Status), Err(ControlError::Garbage { .. })));
            agent.join().unwrap();
        }
    }

    #[test]
    fn nobody_there_is_said() {
        let store = tempfile::tempdir().unwrap();
        assert!(matches!(ask(store.path(), &Request::Status), Err(ControlError::NoAgent { .. })));
        // A socket left behind by a killed agent.
        drop(UnixListener::bind(store.path().join(SOCKET_NAME)).unwrap());
        assert!(matches!(ask(store.path(), &Request::Status), Err(ControlError::NoAgent { .. })));
    }

    #[test]
    fn a_long_store_path_is_reached_through_a_descriptor() {
        let root = tempfile::tempdir().unwrap();
        let store: PathBuf = root.path().join("d".repeat(120));
        std::fs::create_dir(&store).unwrap();
        assert!(matches!(ask(&store, &Request::Status), Err(ControlError::NoAgent { .. })));
        let short = root.path().join("s");
        std::os::unix::fs::symlink(&store, &short).unwrap();
        let agent = answering(&short, b"{\"ok\":true}\n");
        assert!(ask(&store, &Request::Status).unwrap().ok);
        agent.join().unwrap();
    }
}
