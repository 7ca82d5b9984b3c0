// SPDX-License-Identifier: Apache-2.0
//! A TCP connection, encrypted or not, on which no call takes longer than it may. A call that runs
//! out of time fails with `WouldBlock` and can be made again: nothing on the way is lost.

use crate::sink::{SendError, Step};
use ::tls::{Disagreement, disagreement};
use openssl::ssl::{HandshakeError, SslConnector, SslStream};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Longest wait for one address to take a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// Longest wait for the end of the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Addresses of one name that are tried.
const ADDRESSES_LIMIT: usize = 4;

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// A name, or an address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl HostPort {
    /// Reads `HOST:PORT`; an IPv6 address stands in brackets. Without a port it is `default`.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str, default: Option<u16>) -> Result<HostPort, String> {
        let wrong = || format!("{text:?} is not HOST:PORT");
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or_else(wrong)?;
            (host, rest.strip_prefix(':').or((!rest.is_empty()).then_some("no port")))
        } else {
            text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port)))
        };
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port != 0),
            None => default,
        };
        let good = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | '@' | '?' | '#' | '[' | ']');
        match port {
            Some(port) if !host.is_empty() && host.chars().all(good) => {
                Ok(HostPort { host: host.to_string(), port })
            }
            _ => Err(wrong()),
        }
    }
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// How TLS is spoken on a connection.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) connector: SslConnector,
    pub(crate) skip_name_check: bool,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("skip_name_check", &self.skip_name_check).finish_non_exhaustive()
    }
}

/// The socket with the moment at which a call has to come back.
#[derive(Debug)]
struct Timed {
    tcp: TcpStream,
    until: Instant,
}

impl Timed {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(Some(left.max(Duration::from_millis(1))))
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tcp.set_read_timeout(self.left()?)?;
        self.tcp.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tcp.set_write_timeout(self.left()?)?;
        self.tcp.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
enum Stream {
    Plain(Timed),
    Tls(Box<SslStream<Timed>>),
}

/// The connection.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: Stream,
}

impl Wire {
    /// Connects to `place`, to the first of its addresses that answers.
    pub(crate) fn connect(place: &HostPort, tls: Option<&Tls>) -> Result<Wire, SendError> {
        Wire::connect_telling(place, tls, &mut |_| {})
    }

    /// The same; each step that went well is told.
    pub(crate) fn connect_telling(
        place: &HostPort,
        tls: Option<&Tls>,
        tell: &mut dyn FnMut(Step),
    ) -> Result<Wire, SendError> {
        let addresses = resolve(place, tell)?;
        let mut last = SendError::Transient(format!("connecting to {place}: it has no address"));
        for address in addresses.into_iter().take(ADDRESSES_LIMIT) {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(tcp) => {
                    tell(Step::done(format!("connect to {address}"), "it answers"));
                    return Wire::over(tcp, place, tls, tell);
                }
                Err(error) => {
                    last = SendError::Transient(format!("connecting to {place} at {address}: {error}"));
                }
            }
        }
        Err(last)
    }

    fn over(
        tcp: TcpStream,
        place: &HostPort,
        tls: Option<&Tls>,
        tell: &mut dyn FnMut(Step),
    ) -> Result<Wire, SendError> {
        let about = |error: io::Error| SendError::Transient(format!("connecting to {place}: {error}"));
        tcp.set_nodelay(true).map_err(about)?;
        let timed = Timed { tcp, until: Instant::now() + HANDSHAKE };
        let Some(tls) = tls else { return Ok(Wire { stream: Stream::Plain(timed) }) };
        let configuration = tls.connector.configure().map_err(|error| about(error.into()))?;
        let configuration = configuration.verify_hostname(!tls.skip_name_check);
        match configuration.connect(&place.host, timed) {
            Ok(stream) => {
                let version = stream.ssl().version_str();
                tell(Step::done(
                    format!("agree on TLS with {place}"),
                    format!("{version}, certificate is good"),
                ));
                Ok(Wire { stream: Stream::Tls(Box::new(stream)) })
            }
            Err(error) => Err(shake_failed(place, &error)),
        }
    }

    /// Sets when calls have to come back.
    pub(crate) fn until(&mut self, until: Instant) {
        match &mut self.stream {
            Stream::Plain(timed) => timed.until = until,
            Stream::Tls(stream) => stream.get_mut().until = until,
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Plain(timed) => timed.read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Plain(timed) => timed.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The addresses of `place`.
pub(crate) fn resolve(place: &HostPort, tell: &mut dyn FnMut(Step)) -> Result<Vec<SocketAddr>, SendError> {
    let addresses =
        names::resolve(&place.host, place.port).map_err(|error| SendError::Transient(error.to_string()))?;
    let found: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    tell(Step::done(format!("resolve {}", place.host), found.join(", ")));
    Ok(addresses)
}

/// What kept both sides from agreeing; a wrong certificate does not become right by itself.
fn shake_failed(place: &HostPort, error: &HandshakeError<Timed>) -> SendError {
    match disagreement(error) {
        Disagreement::Slow => {
            SendError::Transient(format!("agreeing on TLS with {place}: no answer in time"))
        }
        Disagreement::Certificate(why) => {
            SendError::Refused(format!("the certificate of {place} is not good: {why}"))
        }
        Disagreement::Refused(why) => SendError::Refused(format!("agreeing on TLS with {place}: {why}")),
        Disagreement::Closed(_) => {
            SendError::Transient(format!("agreeing on TLS with {place}: it closed the connection"))
        }
    }
}

/// Whether a call ran out of time and can be made again.
pub(crate) fn is_slow(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::HostPort;

    #[test]
    fn a_place_has_a_host_and_a_port() {
        let read = |text, default| HostPort::parse(text, default).map(|place| place.to_string());
        assert_eq!(read("es.example:9200", None).as_deref(), Ok("es.example:9200"));
        assert_eq!(read("es.example", Some(443)).as_deref(), Ok("es.example:443"));
        assert_eq!(read("[::1]:514", None).as_deref(), Ok("[::1]:514"));
        assert_eq!(read("[::1]", Some(80)).as_deref(), Ok("[::1]:80"));
        for wrong in ["", ":1", "a:0", "a:b", "a:70000", "[::1", "[::1]x", "u@h:1", "a b:1"] {
            assert!(read(wrong, Some(1)).is_err(), "{wrong}");
        }
        assert!(read("es.example", None).is_err());
    }
}
