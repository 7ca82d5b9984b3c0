// SPDX-License-Identifier: Apache-2.0
//! A connection through `ssh`, which runs `docker system dial-stdio` on the other host: a child whose standard input
//! and output are one socket. It asks nothing, for there may be nobody to answer; its words go into the error.

use crate::DockerError;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// The most of its words that are kept: the last ones, which tell most.
const WORDS_LIMIT: usize = 2048;
/// Time for the last words of a child whose connection is over. What it has left behind may keep them from ending.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The child.
#[derive(Debug)]
pub(crate) struct Ssh {
    child: Child,
    said: Arc<Mutex<Vec<u8>>>,
    /// Hangs up when all is said.
    over: Receiver<()>,
}

/// The words of a command line that lead to a daemon, without the program.
fn arguments(
    user: Option<&str>,
    host: &str,
    port: Option<u16>,
    socket: Option<&str>,
    timeout: Duration,
) -> Vec<String> {
    // Keys or an agent only; and a host that has gone is noticed.
    let mut words: Vec<String> = ["-T", "-o", "BatchMode=yes", "-o", "ServerAliveInterval=10", "-o"]
        .into_iter()
        .chain(["ServerAliveCountMax=2", "-o"])
        .map(str::to_owned)
        .collect();
    words.push(format!("ConnectTimeout={}", timeout.as_secs().max(1)));
    words.extend(user.iter().flat_map(|user| ["-l".to_owned(), (*user).to_owned()]));
    words.extend(port.iter().flat_map(|port| ["-p".to_owned(), port.to_string()]));
    words.extend(["--".to_owned(), host.to_owned(), "docker".to_owned()]);
    words.extend(socket.map(|socket| format!("--host=unix://{socket}")));
    words.extend(["system", "dial-stdio"].map(str::to_owned));
    words
}

impl Ssh {
    /// Starts `program` (with words of its own in front) and gives the socket that leads to the daemon.
    pub(crate) fn start(
        program: &[String],
        (user, host, port, socket): (Option<&str>, &str, Option<u16>, Option<&str>),
        timeout: Duration,
    ) -> Result<(UnixStream, Ssh), DockerError> {
        let (name, own) =
            program.split_first().map_or(("ssh", &[] as &[String]), |(name, own)| (name.as_str(), own));
        let failed = |source: std::io::Error| DockerError::Connect {
            host: format!("ssh://{host}"),
            why: format!("{name}: {source}"),
        };
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let theirs = OwnedFd::from(theirs);
        let input = theirs.try_clone().map_err(failed)?;
        let mut command = Command::new(name);
        command.args(own).args(arguments(user, host, port, socket, timeout));
        // Signals of a terminal are for what runs in the session, and not for the way there.
        command.stdin(input).stdout(theirs).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().map_err(failed)?;
        // Else our copy of its end would keep the socket open.
        drop(command);
        let said = Arc::new(Mutex::new(Vec::new()));
        let (speaks, over) = channel();
        if let Some(errors) = child.stderr.take() {
            let said = Arc::clone(&said);
            let listening = move || {
                listen(errors, &said);
                drop(speaks);
            };
            thread::Builder::new().name("ssh".into()).spawn(listening).map_err(failed)?;
        }
        Ok((ours, Ssh { child, said, over }))
    }

    /// What it has said, once the connection is over.
    pub(crate) fn last_words(&mut self) -> String {
        // Either way it is as far as it comes.
        self.over.recv_timeout(LAST_WORDS).unwrap_or_default();
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        lines.join("; ")
    }
}

fn listen(mut errors: impl Read, said: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = errors.read(&mut buffer) {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.extend_from_slice(buffer.get(..count).unwrap_or_default());
        let old = said.len().saturating_sub(WORDS_LIMIT);
        said.drain(..old);
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        // One that has ended needs nothing.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::{Ssh, arguments};
    use std::io::{Read, Write};
    use std::time::Duration;

    #[test]
    fn the_command_line() {
        let words = arguments(Some("ops"), "db1", Some(2222), Some("/run/d.sock"), Duration::from_secs(3));
        let text = words.join(" ");
        assert!(text.starts_with("-T -o BatchMode=yes "), "{text}");
        assert!(
            text.ends_with(
                "ConnectTimeout=3 -l ops -p 2222 -- db1 docker --host=unix:///run/d.sock system dial-stdio"
            ),
            "{text}"
        );
        let text = arguments(None, "db1", None, None, Duration::ZERO).join(" ");
        assert!(text.ends_with("ConnectTimeout=1 -- db1 docker system dial-stdio"), "{text}");
    }

    #[test]
    fn a_child_is_a_connection_and_its_words_are_kept() {
        let program = ["sh", "-c", "read line; echo got $line; echo no key >&2"].map(str::to_owned);
        let (mut stream, mut ssh) =
            Ssh::start(&program, (None, "db1", None, None), Duration::from_secs(1)).unwrap();
        stream.write_all(b"x\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), ssh.last_words().as_str()), ("got x\n", "no key"));
        let gone = ["/nowhere/ssh".to_owned()];
        let error = Ssh::start(&gone, (None, "db1", None, None), Duration::from_secs(1)).unwrap_err();
        assert!(error.to_string().contains("/nowhere/ssh"), "{error}");
    }
}
