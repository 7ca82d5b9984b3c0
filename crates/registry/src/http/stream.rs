// SPDX-License-Identifier: Apache-2.0
//! A TCP connection, encrypted or not, that ends waiting when nothing or too little comes.

use super::Fault;
use super::url::Url;
use openssl::ssl::{HandshakeError, SslConnector, SslStream};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use tls::{Disagreement, disagreement};

/// Longest wait for one address to take a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Addresses of one name that are tried.
const ADDRESSES_LIMIT: usize = 4;

/// The socket with the moment at which it is over.
#[derive(Debug)]
pub(crate) struct Timed {
    tcp: TcpStream,
    until: Instant,
    /// So many bytes move that moment by so much; how many are there already.
    moved_by: Option<(usize, Duration)>,
    passed: usize,
}

impl Timed {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            Err(ErrorKind::TimedOut.into())
        } else {
            Ok(Some(left.max(Duration::from_millis(1))))
        }
    }

    fn passes(&mut self, count: usize) {
        self.passed += count;
        if let Some((bytes, time)) = self.moved_by
            && self.passed >= bytes
        {
            (self.passed, self.until) = (0, Instant::now() + time);
        }
    }
}

impl Read for Timed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.tcp.set_read_timeout(self.left()?)?;
        let count = self.tcp.read(into)?;
        self.passes(count);
        Ok(count)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tcp.set_write_timeout(self.left()?)?;
        let count = self.tcp.write(bytes)?;
        self.passes(count);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The connection.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(Timed),
    Tls(Box<SslStream<Timed>>),
}

impl Stream {
    /// Connects to the first of the host's addresses that answers.
    pub(super) fn connect(url: &Url, connector: &SslConnector, patience: Duration) -> Result<Stream, Fault> {
        let trouble = |why: String| Fault::Trouble(why);
        let addresses =
            names::resolve(&url.host.name, url.port()).map_err(|error| trouble(error.to_string()))?;
        let mut last = trouble("it has no address".to_string());
        for address in addresses.into_iter().take(ADDRESSES_LIMIT) {
            match TcpStream::connect_timeout(&address, CONNECT.min(patience)) {
                Ok(tcp) => {
                    tcp.set_nodelay(true).map_err(|error| trouble(error.to_string()))?;
                    let timed = Timed { tcp, until: Instant::now() + patience, moved_by: None, passed: 0 };
                    return Stream::over(timed, url, connector);
                }
                Err(error) => last = trouble(format!("connecting to {address}: {error}")),
            }
        }
        Err(last)
    }

    fn over(timed: Timed, url: &Url, connector: &SslConnector) -> Result<Stream, Fault> {
        if !url.secure {
            return Ok(Stream::Plain(timed));
        }
        match connector.connect(&url.host.name, timed) {
            Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
            Err(error) => Err(shake_failed(&error)),
        }
    }

    fn timed(&mut self) -> &mut Timed {
        match self {
            Stream::Plain(timed) => timed,
            Stream::Tls(stream) => stream.get_mut(),
        }
    }

    /// All is over at that moment, whatever passes.
    pub(super) fn until(&mut self, until: Instant) {
        let timed = self.timed();
        (timed.until, timed.moved_by) = (until, None);
    }

    /// It is over when fewer than so many bytes pass in so much time.
    pub(super) fn moves(&mut self, bytes: usize, time: Duration) {
        let timed = self.timed();
        (timed.until, timed.moved_by, timed.passed) = (Instant::now() + time, Some((bytes, time)), 0);
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(timed) => timed.read(into),
            Stream::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(timed) => timed.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What kept both sides from agreeing; a wrong certificate does not become right by itself.
fn shake_failed(error: &HandshakeError<Timed>) -> Fault {
    match disagreement(error) {
        Disagreement::Slow => Fault::Trouble("it did not agree on TLS in time".to_string()),
        Disagreement::Certificate(why) => Fault::Lasting(format!(
            "its certificate is not good: {why}; authorities of your own are named by ca in [debug]"
        )),
        Disagreement::Refused(why) => Fault::NoTls(format!("agreeing on TLS: {why}")),
        Disagreement::Closed(_) => {
            Fault::Trouble("it closed the connection while agreeing on TLS".to_string())
        }
    }
}
