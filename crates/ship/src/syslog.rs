// SPDX-License-Identifier: Apache-2.0
//! Syslog by RFC 5424 over TCP and TLS with octet counting (RFC 6587, RFC 5425), or over UDP.
//! The protocol has no acknowledgements: what the kernel has taken counts as delivered. Before each
//! batch the connection is looked at, so that a receiver that has gone is noticed.

use crate::batch::{Batch, Document};
use crate::error::Error;
use crate::sink::{SendError, Sent, Sink, Step};
use crate::tls::{TlsSettings, connector};
use crate::wire::{HostPort, Tls, Wire, is_slow, resolve};
use event::document::rfc3339;
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::time::{Duration, Instant};

/// Longest time a call blocks before it comes back to be called again.
const SLICE: Duration = Duration::from_millis(500);
/// Longest time in which a receiver takes nothing at all.
const STALL: Duration = Duration::from_secs(60);
/// Time for a look at whether the receiver has closed the connection.
const GLANCE: Duration = Duration::from_millis(1);
/// Longest document in a datagram; longer ones are set aside.
const DATAGRAM_LIMIT: usize = 60_000;
/// Bytes handed over at once.
const PIECE: usize = 64 << 10;

/// How messages travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyslogTransport {
    /// Over a connection that is not encrypted.
    Tcp,
    /// Over an encrypted one.
    Tls(TlsSettings),
    /// As datagrams, which may be lost.
    Udp,
}

/// Where and how to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyslogSettings {
    /// The receiver.
    pub place: HostPort,
    /// How.
    pub transport: SyslogTransport,
    /// 0 to 23.
    pub facility: u8,
}

/// The sink.
#[derive(Debug)]
pub(crate) struct SyslogSink {
    settings: SyslogSettings,
    tls: Option<Tls>,
    wire: Option<Wire>,
    socket: Option<UdpSocket>,
    /// The batch that `bytes` holds, and how much of it was taken.
    batch: u64,
    bytes: Vec<u8>,
    written: usize,
    stalled_at: Instant,
}

impl SyslogSink {
    pub(crate) fn new(settings: SyslogSettings) -> Result<SyslogSink, Error> {
        if settings.facility > 23 {
            return Err(Error::Settings("a facility of syslog is a number from 0 to 23".to_string()));
        }
        let tls = match &settings.transport {
            SyslogTransport::Tls(tls) => {
                Some(Tls { connector: connector(tls)?, skip_name_check: tls.skip_name_check })
            }
            _ => None,
        };
        let stalled_at = Instant::now() + STALL;
        let (wire, socket, bytes) = (None, None, Vec::new());
        Ok(SyslogSink { settings, tls, wire, socket, batch: 0, bytes, written: 0, stalled_at })
    }

    fn send_stream(&mut self, batch: &Batch) -> Result<Sent, SendError> {
        let place = self.settings.place.to_string();
        if self.batch != batch.number() || self.wire.is_none() {
            // After a failure all of the batch again: nobody knows what of it arrived.
            self.wire = still_open(self.wire.take());
            if self.wire.is_none() {
                self.wire = Some(Wire::connect(&self.settings.place, self.tls.as_ref())?);
            }
            (self.batch, self.written) = (batch.number(), 0);
            self.bytes.clear();
            for document in batch.documents() {
                frame(&document, self.settings.facility, &mut self.bytes);
            }
            self.stalled_at = Instant::now() + STALL;
        }
        let Some(wire) = &mut self.wire else { return Err(SendError::Waiting(None)) };
        let until = Instant::now() + SLICE;
        while let Some(rest) = self.bytes.get(self.written..).filter(|rest| !rest.is_empty()) {
            wire.until(until);
            let why = match wire.write(rest.get(..PIECE).unwrap_or(rest)) {
                Ok(0) => "it takes no more".to_string(),
                Ok(count) => {
                    self.written += count;
                    self.stalled_at = Instant::now() + STALL;
                    continue;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) if is_slow(&error) && Instant::now() < self.stalled_at => {
                    return Err(SendError::Waiting(None));
                }
                Err(error) if is_slow(&error) => format!("it has taken nothing for {} s", STALL.as_secs()),
                Err(error) => error.to_string(),
            };
            self.wire = None;
            return Err(SendError::Transient(format!("sending to {place}: {why}")));
        }
        Ok(Sent::default())
    }

    fn send_datagrams(&mut self, batch: &Batch) -> Result<Sent, SendError> {
        let place = self.settings.place.clone();
        let about = |error: std::io::Error| SendError::Transient(format!("sending to {place}: {error}"));
        if self.batch != batch.number() {
            (self.batch, self.written) = (batch.number(), 0);
        }
        if self.socket.is_none() {
            self.socket = Some(self.datagram_socket()?);
        }
        let Some(socket) = &self.socket else { return Err(SendError::Waiting(None)) };
        let mut sent = Sent::default();
        for (index, document) in batch.documents().enumerate() {
            self.bytes.clear();
            message(&document, self.settings.facility, &mut self.bytes);
            if self.bytes.len() > DATAGRAM_LIMIT {
                let reason = format!("{} bytes do not fit into a datagram", self.bytes.len());
                sent.poison.push(crate::sink::Poison { index, reason });
                continue;
            }
            if index < self.written {
                continue;
            }
            if let Err(error) = socket.send(&self.bytes) {
                // An earlier datagram found nobody; the answer came back only now.
                self.socket = None;
                return Err(about(error));
            }
            self.written = index + 1;
        }
        Ok(sent)
    }

    fn datagram_socket(&self) -> Result<UdpSocket, SendError> {
        let place = &self.settings.place;
        let about = |error: std::io::Error| SendError::Transient(format!("sending to {place}: {error}"));
        let address = resolve(place, &mut |_| {})?.into_iter().next();
        let address = address.ok_or_else(|| SendError::Transient(format!("{place} has no address")))?;
        let own = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(own).map_err(about)?;
        socket.set_write_timeout(Some(SLICE)).map_err(about)?;
        socket.connect(address).map_err(about)?;
        Ok(socket)
    }
}

/// The connection, unless its receiver has closed it.
fn still_open(wire: Option<Wire>) -> Option<Wire> {
    let mut wire = wire?;
    wire.until(Instant::now() + GLANCE);
    // Receivers say nothing; an end or an error is all that can come.
    let quiet = matches!(wire.read(&mut [0; 256]), Err(error) if is_slow(&error));
    quiet.then_some(wire)
}

impl Sink for SyslogSink {
    fn send(&mut self, batch: &Batch) -> Result<Sent, SendError> {
        match self.settings.transport {
            SyslogTransport::Udp => self.send_datagrams(batch),
            _ => self.send_stream(batch),
        }
    }

    fn probe(&mut self, canary: &Batch, tell: &mut dyn FnMut(Step)) {
        let reached = match self.settings.transport {
            SyslogTransport::Udp => resolve(&self.settings.place, tell).map(|_| ()),
            _ => match Wire::connect_telling(&self.settings.place, self.tls.as_ref(), tell) {
                Ok(wire) => {
                    self.wire = Some(wire);
                    Ok(())
                }
                Err(error) => Err(error),
            },
        };
        if let Err(error) = reached {
            return tell(Step::failed(format!("reach {}", self.settings.place), error.to_string()));
        }
        let name = "send a canary";
        tell(match self.send(canary) {
            Ok(_) => Step::done(name, "handed over; syslog has no acknowledgements"),
            Err(error) => Step::failed(name, error.to_string()),
        });
    }
}

/// A message behind its length.
fn frame(document: &Document<'_>, facility: u8, out: &mut Vec<u8>) {
    let mut text = Vec::with_capacity(document.json.len() + 128);
    message(document, facility, &mut text);
    out.extend_from_slice(format!("{} ", text.len()).as_bytes());
    out.extend_from_slice(&text);
}

/// One message: the document as it is, behind RFC 5424's head.
fn message(document: &Document<'_>, facility: u8, out: &mut Vec<u8>) {
    // Notice for all: what an event is worth is decided where it is read.
    let priority = u16::from(facility) * 8 + 5;
    let time = rfc3339(document.time_ns);
    // RFC 5424 allows microseconds at most.
    let time = match (time.get(..26), time.len()) {
        (Some(cut), 30) => format!("{cut}Z"),
        _ => time,
    };
    let host = name(&document.context.host_name, 255);
    let action = name(&document.action(), 32);
    out.extend_from_slice(format!("<{priority}>1 {time} {host} purser - {action} - ").as_bytes());
    out.extend_from_slice(document.json);
}

/// Printable ASCII without spaces, or a dash for nothing.
fn name(text: &str, limit: usize) -> String {
    let good = |c: char| if c.is_ascii_graphic() { c } else { '_' };
    let name: String = text.chars().map(good).take(limit).collect();
    if name.is_empty() { "-".to_string() } else { name }
}

#[cfg(test)]
mod tests {
    use super::{frame, message, name};
    use crate::batch::sample;

    #[test]
    fn a_message_has_a_head_and_its_length_before_it() {
        let batch = sample::batch(1);
        let document = batch.document(0).unwrap();
        let mut text = Vec::new();
        message(&document, 13, &mut text);
        let head = "<109>1 1970-01-01T00:00:00.000001Z host-1 purser - exec - {";
        assert!(text.starts_with(head.as_bytes()), "{}", String::from_utf8_lossy(&text));
        assert!(text.ends_with(document.json));
        let mut framed = Vec::new();
        frame(&document, 13, &mut framed);
        assert_eq!(framed, [format!("{} ", text.len()).as_bytes(), &text].concat());
        assert_eq!(
            (name("a b\u{e9}", 9).as_str(), name("", 9).as_str(), name("abc", 2).as_str()),
            ("a_b_", "-", "ab")
        );
    }
}
