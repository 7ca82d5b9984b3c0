// SPDX-License-Identifier: Apache-2.0
//! A connection to a daemon, however it goes there, on which nothing waits longer than it may.

use crate::ssh::Ssh;
use crate::{DockerError, Host, Way, tls};
use openssl::ssl::SslStream;
use rustix::net::sockopt::{Timeout, set_socket_keepalive, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// The most bytes taken at once.
const READ_BYTES: usize = 32 << 10;

#[derive(Debug)]
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<SslStream<TcpStream>>),
}

/// A connection, and the bytes that came ahead of their use.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: Stream,
    ssh: Option<Ssh>,
    host: String,
    /// How long one step may take.
    patience: Duration,
    deadline: Instant,
    held: Vec<u8>,
    used: usize,
}

impl Wire {
    /// Connects. `ssh` is the program for that way, and words of its own.
    pub(crate) fn connect(host: &Host, ssh: &[String], patience: Duration) -> Result<Wire, DockerError> {
        let (stream, ssh) = match host.way() {
            Way::Unix(path) => (unix(host, path, patience)?, None),
            Way::Tcp { host: name, port } => (tcp(host, name, host.tcp_port(*port), patience)?, None),
            Way::Ssh { user, host: name, port, socket } => {
                let place = (user.as_deref(), name.as_str(), *port, socket.as_deref());
                let (stream, child) = Ssh::start(ssh, place, patience)?;
                (Stream::Unix(stream), Some(child))
            }
        };
        let deadline = Instant::now() + patience;
        Ok(Wire { stream, ssh, host: host.to_string(), patience, deadline, held: Vec::new(), used: 0 })
    }

    /// Gives the next steps their time.
    pub(crate) fn extend(&mut self) {
        self.extend_to(self.patience);
    }

    /// Gives the next steps at least this long.
    pub(crate) fn extend_to(&mut self, time: Duration) {
        self.deadline = Instant::now() + time.max(self.patience);
    }

    /// Sends all of it. Time counts from the last byte that was taken.
    pub(crate) fn send(&mut self, mut bytes: &[u8]) -> Result<(), DockerError> {
        self.extend();
        while !bytes.is_empty() {
            let left = self.left()?;
            self.set_timeout(Timeout::Send, left)?;
            match self.write(bytes) {
                Ok(0) => return Err(self.broken("it was closed")),
                Ok(count) => {
                    bytes = bytes.get(count..).unwrap_or_default();
                    self.extend();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(&error)),
            }
        }
        Ok(())
    }

    /// Bytes that came and are not used yet.
    pub(crate) fn held(&self) -> &[u8] {
        self.held.get(self.used..).unwrap_or_default()
    }

    /// Marks held bytes as used.
    pub(crate) fn consume(&mut self, count: usize) {
        self.used = (self.used + count).min(self.held.len());
    }

    /// Waits for more bytes; `false` at the end.
    pub(crate) fn more(&mut self) -> Result<bool, DockerError> {
        loop {
            let left = self.left()?;
            self.set_timeout(Timeout::Recv, left)?;
            match self.take_in() {
                Ok(count) => return Ok(count > 0),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(&error)),
            }
        }
    }

    /// Reads once, behind what is held.
    pub(crate) fn take_in(&mut self) -> io::Result<usize> {
        self.held.drain(..self.used);
        self.used = 0;
        let start = self.held.len();
        self.held.resize(start + READ_BYTES, 0);
        let room = self.held.get_mut(start..).unwrap_or_default();
        let got = match &mut self.stream {
            Stream::Unix(stream) => stream.read(room),
            Stream::Tcp(stream) => stream.read(room),
            Stream::Tls(stream) => stream.read(room),
        };
        self.held.truncate(start + got.as_ref().map_or(0, |count| *count));
        got
    }

    /// Writes once.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Unix(stream) => stream.write(bytes),
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    /// From now on nothing waits: the caller polls.
    pub(crate) fn set_nonblocking(&mut self) -> Result<(), DockerError> {
        let set = match &self.stream {
            Stream::Unix(stream) => stream.set_nonblocking(true),
            Stream::Tcp(stream) => stream.set_nonblocking(true),
            Stream::Tls(stream) => stream.get_ref().set_nonblocking(true),
        };
        set.map_err(|error| self.failed(&error))
    }

    /// What is polled.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Unix(stream) => stream.as_fd(),
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Tls(stream) => stream.get_ref().as_fd(),
        }
    }

    pub(crate) fn garbage(&self, what: &'static str) -> DockerError {
        DockerError::Garbage { host: self.host.clone(), what }
    }

    /// The connection is over before its time; `ssh` may have said why.
    pub(crate) fn broken(&mut self, how: &str) -> DockerError {
        let said = self.ssh.as_mut().map(Ssh::last_words).filter(|said| !said.is_empty());
        let why = said.map_or_else(|| how.to_owned(), |said| format!("ssh says: {said}"));
        DockerError::Broken { host: self.host.clone(), why }
    }

    /// An error of the stream as ours.
    pub(crate) fn failed(&mut self, error: &io::Error) -> DockerError {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => self.timed_out(),
            _ => self.broken(&::tls::told(error)),
        }
    }

    fn timed_out(&self) -> DockerError {
        DockerError::TimedOut { host: self.host.clone(), secs: self.patience.as_secs() }
    }

    fn left(&self) -> Result<Duration, DockerError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(self.timed_out()) } else { Ok(left) }
    }

    fn set_timeout(&mut self, which: Timeout, left: Duration) -> Result<(), DockerError> {
        let set = set_socket_timeout(self.fd(), which, Some(left));
        set.map_err(|errno| self.failed(&errno.into()))
    }
}

fn connect_failed(host: &Host, source: &io::Error, patience: Duration) -> DockerError {
    match source.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            DockerError::TimedOut { host: host.to_string(), secs: patience.as_secs() }
        }
        _ => DockerError::Connect { host: host.to_string(), why: source.to_string() },
    }
}

fn unix(host: &Host, path: &std::path::Path, patience: Duration) -> Result<Stream, DockerError> {
    let failed = |errno: rustix::io::Errno| connect_failed(host, &errno.into(), patience);
    let address = SocketAddrUnix::new(path).map_err(failed)?;
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(failed)?;
    // Also bounds a connect to a socket whose backlog is full.
    set_socket_timeout(&socket, Timeout::Send, Some(patience)).map_err(failed)?;
    rustix::net::connect(&socket, &address).map_err(failed)?;
    Ok(Stream::Unix(socket.into()))
}

fn tcp(host: &Host, name: &str, port: u16, patience: Duration) -> Result<Stream, DockerError> {
    // Before anybody is asked: what is wrong with our files is our business.
    let connector = host.certificates.as_ref().map(tls::connector).transpose()?;
    let told = |why: String| DockerError::Connect { host: host.to_string(), why };
    let addresses = names::resolve(name, port).map_err(|error| told(error.to_string()))?;
    let until = Instant::now() + patience;
    let mut last = None;
    for address in addresses {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                let set = |error: io::Error| connect_failed(host, &error, patience);
                stream.set_nodelay(true).map_err(set)?;
                stream.set_read_timeout(Some(patience)).map_err(set)?;
                stream.set_write_timeout(Some(patience)).map_err(set)?;
                set_socket_keepalive(&stream, true).map_err(|errno| set(errno.into()))?;
                return match connector {
                    None => Ok(Stream::Tcp(stream)),
                    Some(connector) => {
                        let stream = tls::encrypt(&connector, name, &host.to_string(), stream)?;
                        Ok(Stream::Tls(Box::new(stream)))
                    }
                };
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(
        || connect_failed(host, &ErrorKind::TimedOut.into(), patience),
        |error| connect_failed(host, &error, patience),
    ))
}
