// SPDX-License-Identifier: Apache-2.0
//! Logstash, and whatever else speaks lumberjack v2 (its `beats` input, Elastic's go-lumber). Documents
//! go out in windows; the receiver tells how many of a window are safe, and an acknowledgement of none
//! only says that it is alive. What was acknowledged is not sent again, also over a new connection.

mod frame;

use crate::batch::Batch;
use crate::error::Error;
use crate::http::Pace;
use crate::sink::{SendError, Sent, Sink, Step, Trouble};
use crate::tls::{TlsSettings, connector};
use crate::wire::{HostPort, Tls, Wire, is_slow};
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

/// Longest time a call blocks before it comes back to be called again.
const SLICE: Duration = Duration::from_millis(500);
/// Time for a look at what the receiver has said.
const GLANCE: Duration = Duration::from_millis(1);
/// Bytes handed over at once.
const PIECE: usize = 64 << 10;
/// Documents of the first window of a connection; each one that is acknowledged doubles the next.
const FIRST_WINDOW: usize = 64;
/// Time without progress after which a receiver that keeps a connection alive is told as trouble.
const SLOW: Duration = Duration::from_secs(60);

/// Where and how to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogstashSettings {
    /// One or more receivers; the next one is used when one fails.
    pub hosts: Vec<HostPort>,
    /// Encryption; none is for receivers on this host.
    pub tls: Option<TlsSettings>,
    /// 1 to 9, or 0 for none.
    pub compression_level: u32,
    /// Most documents that wait for one acknowledgement.
    pub window: usize,
    /// Longest time without a word of the receiver while documents wait for it.
    pub patience: Duration,
}

/// A window on its way.
#[derive(Debug)]
struct Flight {
    count: usize,
    bytes: Vec<u8>,
    written: usize,
    /// How many of it are safe.
    acknowledged: usize,
    /// When the receiver last took or said something.
    alive_at: Instant,
    /// When it last acknowledged more than before.
    moved_at: Instant,
    /// The connection had served before, and nothing came back on it since.
    fresh: bool,
    /// For a receiver that says without pause that it is alive.
    pace: Pace,
}

/// The sink.
#[derive(Debug)]
pub(crate) struct LogstashSink {
    settings: LogstashSettings,
    tls: Option<Tls>,
    /// The receiver in use.
    at: usize,
    wire: Option<Wire>,
    /// What the receiver said, up to the next whole acknowledgement.
    input: Vec<u8>,
    flight: Option<Flight>,
    batch: u64,
    /// Documents of the batch that are safe, from its start.
    safe: usize,
    /// Documents of the next window.
    window: usize,
}

impl LogstashSink {
    pub(crate) fn new(settings: LogstashSettings) -> Result<LogstashSink, Error> {
        if settings.hosts.is_empty() {
            return Err(Error::Settings("there is no host to send to".to_string()));
        }
        if settings.compression_level > 9 || settings.window == 0 {
            return Err(Error::Settings(
                "a level of compression is from 0 to 9, a window has documents".into(),
            ));
        }
        let tls = match &settings.tls {
            Some(tls) => Some(Tls { connector: connector(tls)?, skip_name_check: tls.skip_name_check }),
            None => None,
        };
        let window = FIRST_WINDOW.min(settings.window);
        let (wire, input, flight) = (None, Vec::new(), None);
        Ok(LogstashSink { settings, tls, at: 0, wire, input, flight, batch: 0, safe: 0, window })
    }

    fn place(&self) -> &HostPort {
        // There is at least one, and `at` is always taken modulo their number.
        &self.settings.hosts[self.at % self.settings.hosts.len()]
    }

    fn hang_up(&mut self) {
        self.wire = None;
        self.input.clear();
        if let Some(flight) = self.flight.take() {
            self.safe += flight.acknowledged;
        }
    }

    /// What was acknowledged stays so; the rest goes to the next host in smaller windows.
    fn failed(&mut self, why: &str) -> SendError {
        let told = format!("{}: {why}", self.place());
        self.hang_up();
        self.window = (self.window / 2).max(1);
        self.turn_away();
        SendError::Transient(told)
    }

    fn turn_away(&mut self) {
        self.at = (self.at + 1) % self.settings.hosts.len();
    }

    fn drive(&mut self, batch: &Batch) -> Result<(), SendError> {
        let until = Instant::now() + SLICE;
        while self.safe < batch.len() {
            if self.flight.is_none() {
                self.take_off(batch)?;
            }
            if let Err(why) = self.write(until).and_then(|()| self.listen(until)) {
                let unheard = self.flight.as_ref().is_some_and(|flight| flight.fresh);
                if unheard && why.closed {
                    // Receivers close idle connections: that says nothing of this window.
                    self.hang_up();
                    continue;
                }
                return Err(self.failed(&why.text));
            }
            self.land();
            if self.flight.is_some() && Instant::now() >= until {
                return Err(self.patience());
            }
        }
        Ok(())
    }

    /// Begins the next window, over a connection that is there and open.
    fn take_off(&mut self, batch: &Batch) -> Result<(), SendError> {
        let reused = self.is_open();
        if !reused {
            self.hang_up();
            match Wire::connect(self.place(), self.tls.as_ref()) {
                Ok(wire) => self.wire = Some(wire),
                Err(error) => {
                    self.turn_away();
                    return Err(error);
                }
            }
        }
        let count = self.window.min(batch.len() - self.safe);
        let documents: Vec<&[u8]> =
            batch.documents().skip(self.safe).take(count).map(|document| document.json).collect();
        let bytes = frame::window(documents.into_iter(), self.settings.compression_level)
            .map_err(|error| SendError::Transient(format!("making a window: {error}")))?;
        let now = Instant::now();
        self.flight = Some(Flight {
            count,
            bytes,
            written: 0,
            acknowledged: 0,
            alive_at: now,
            moved_at: now,
            fresh: reused,
            pace: Pace::default(),
        });
        Ok(())
    }

    /// Whether there is a connection on which the receiver is still silent.
    fn is_open(&mut self) -> bool {
        let Some(wire) = &mut self.wire else { return false };
        wire.until(Instant::now() + GLANCE);
        // Between two windows it has nothing to say but that it is alive.
        let mut piece = [0; 256];
        loop {
            match wire.read(&mut piece) {
                Ok(count) if count > 0 => {
                    self.input.extend_from_slice(piece.get(..count).unwrap_or_default());
                    let empty = |said| if said == 0 { Ok(()) } else { Err(String::new()) };
                    if frame::acknowledgements(&mut self.input, empty).is_err() || !self.input.is_empty() {
                        return false;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return is_slow(&error),
                Ok(_) => return false,
            }
        }
    }

    fn write(&mut self, until: Instant) -> Result<(), Broken> {
        let (Some(wire), Some(flight)) = (&mut self.wire, &mut self.flight) else { return Ok(()) };
        while let Some(rest) = flight.bytes.get(flight.written..).filter(|rest| !rest.is_empty()) {
            wire.until(until);
            match wire.write(rest.get(..PIECE).unwrap_or(rest)) {
                Ok(0) => return Err(Broken::closed("it takes no more")),
                Ok(count) => {
                    flight.written += count;
                    flight.alive_at = Instant::now();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_slow(&error) => return Ok(()),
                Err(error) => return Err(Broken::closed(&error.to_string())),
            }
        }
        Ok(())
    }

    /// Takes acknowledgements until the window is safe or the slice is over.
    fn listen(&mut self, until: Instant) -> Result<(), Broken> {
        let (Some(wire), Some(flight)) = (&mut self.wire, &mut self.flight) else { return Ok(()) };
        // One that takes no more may have something to say all the same.
        wire.until(until.max(Instant::now() + GLANCE));
        let mut piece = [0; 4096];
        while flight.acknowledged < flight.count {
            let count = match wire.read(&mut piece) {
                Ok(0) => {
                    return Err(Broken::closed("it closed the connection before it acknowledged everything"));
                }
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if is_slow(&error) => return Ok(()),
                Err(error) => return Err(Broken::closed(&error.to_string())),
            };
            self.input.extend_from_slice(piece.get(..count).unwrap_or_default());
            let before = flight.acknowledged;
            flight.take(&mut self.input).map_err(|text| Broken { text, closed: false })?;
            if Instant::now() >= until {
                return Ok(());
            }
            // A long row of these is as little worth as a few: each says the same.
            flight.pace.after(count, if flight.acknowledged > before { usize::MAX } else { 0 });
        }
        Ok(())
    }

    /// Ends a window that is safe. The next one may be larger.
    fn land(&mut self) {
        let Some(flight) = self.flight.take_if(|flight| flight.acknowledged == flight.count) else { return };
        self.safe += flight.count;
        if flight.count >= self.window {
            self.window = (self.window * 2).min(self.settings.window);
        }
    }

    /// The slice is over and the window is not safe: wait on, or give the connection up.
    fn patience(&mut self) -> SendError {
        let Some(flight) = &self.flight else { return SendError::Waiting(None) };
        if flight.alive_at.elapsed() >= self.settings.patience {
            let secs = self.settings.patience.as_secs();
            return self.failed(&format!("nothing was heard of it for {secs} s"));
        }
        let still = flight.moved_at.elapsed();
        let trouble = (still >= SLOW).then(|| Trouble {
            reason: format!(
                "{}: alive, and has acknowledged nothing for {} s",
                self.place(),
                still.as_secs()
            ),
            refused: false,
        });
        SendError::Waiting(trouble)
    }
}

/// Why a connection is of no use any more.
#[derive(Debug)]
struct Broken {
    text: String,
    /// By the receiver or on the way, not because it said something wrong.
    closed: bool,
}

impl Broken {
    fn closed(why: &str) -> Broken {
        Broken { text: why.to_string(), closed: true }
    }
}

impl Flight {
    fn take(&mut self, input: &mut Vec<u8>) -> Result<(), String> {
        self.fresh = false;
        let now = Instant::now();
        frame::acknowledgements(input, |said| {
            self.alive_at = now;
            let said = usize::try_from(said).unwrap_or(usize::MAX);
            let sent = self.count;
            if said > sent {
                return Err(format!("it acknowledged {said} documents, and {sent} were sent"));
            }
            if said == sent && self.written < self.bytes.len() {
                return Err(format!("it acknowledged {said} documents before it had them"));
            }
            if said > self.acknowledged {
                self.acknowledged = said;
                self.moved_at = now;
            }
            Ok(())
        })
    }
}

impl Sink for LogstashSink {
    fn send(&mut self, batch: &Batch) -> Result<Sent, SendError> {
        if self.batch != batch.number() {
            if self.flight.is_some() {
                // Its acknowledgements would be taken for those of the new batch.
                self.hang_up();
            }
            (self.batch, self.safe) = (batch.number(), 0);
        }
        self.drive(batch)?;
        Ok(Sent::default())
    }

    fn idle(&mut self) {
        if self.wire.is_some() && !self.is_open() {
            self.hang_up();
        }
    }

    fn probe(&mut self, canary: &Batch, tell: &mut dyn FnMut(Step)) {
        let mut missed = Vec::new();
        let mut reached = None;
        for host in &self.settings.hosts {
            match Wire::connect_telling(host, self.tls.as_ref(), tell) {
                Ok(wire) => reached = reached.or(Some((host.clone(), wire))),
                Err(error) => missed.push(Step::failed(format!("reach {host}"), error.to_string())),
            }
        }
        if let Some((host, wire)) = reached {
            let settings = LogstashSettings { hosts: vec![host.clone()], ..self.settings.clone() };
            let name = format!("send a canary to {host}");
            let step = LogstashSink::new(settings).map_err(|error| error.to_string()).and_then(|mut sink| {
                sink.wire = Some(wire);
                sink.deliver(canary)
            });
            match step {
                Ok(found) => tell(Step::done(name, found)),
                Err(why) => missed.insert(0, Step::failed(name, why)),
            }
        }
        missed.into_iter().for_each(tell);
    }
}

impl LogstashSink {
    /// Sends a batch and waits for all of it.
    fn deliver(&mut self, batch: &Batch) -> Result<String, String> {
        let begun = Instant::now();
        loop {
            match self.send(batch) {
                Ok(_) => return Ok(format!("acknowledged after {} ms", begun.elapsed().as_millis())),
                Err(SendError::Waiting(_)) if begun.elapsed() < self.settings.patience => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}
