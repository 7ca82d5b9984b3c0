// SPDX-License-Identifier: Apache-2.0
//! Kafka through librdkafka. A document counts as sent when its delivery report says so: `flush`
//! reports success even when every message failed.

mod block_on;
mod exact;
mod flight;
mod flush;
mod place;
mod probe;
mod reports;
mod settings;

pub use flight::is_topic_character;
pub use settings::{AccessToken, Compression, KafkaSettings, RecordKey, Sasl, TokenSource};

use crate::batch::Batch;
use crate::cursor::Place;
use crate::error::Error;
use crate::sink::{SendError, Sent, Sink, Step};
use crate::target::Origin;
use exact::Exact;
use flight::{Flight, Progress};
use rdkafka::producer::BaseProducer;
use reports::Reports;
use std::fmt;
use std::time::Duration;

/// Longest time a call blocks before it comes back to be called again.
const PATIENCE: Duration = Duration::from_millis(500);

/// Producers need no partitioner of ours.
pub(crate) type Producer = BaseProducer<Reports>;

/// The sink.
pub(crate) struct KafkaSink {
    settings: KafkaSettings,
    origin: Origin,
    mode: Mode,
}

enum Mode {
    /// Each document may come twice after a crash.
    Idempotent(Box<(Producer, Flight)>),
    /// Documents and cursor come in one transaction.
    Exact(Box<Exact>),
}

impl fmt::Debug for KafkaSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSink").field("brokers", &self.settings.brokers).finish_non_exhaustive()
    }
}

impl KafkaSink {
    pub(crate) fn new(settings: KafkaSettings, origin: Origin) -> Result<KafkaSink, Error> {
        // Also in the other mode: a setting that librdkafka refuses is found now, not later.
        let producer = settings.producer(&[])?;
        let mode = if settings.exactly_once {
            Mode::Exact(Box::new(Exact::new(settings.clone(), &origin)))
        } else {
            Mode::Idempotent(Box::new((producer, Flight::default())))
        };
        Ok(KafkaSink { settings, origin, mode })
    }

    fn send_idempotent(&mut self, batch: &Batch) -> Result<Sent, SendError> {
        let Mode::Idempotent(both) = &mut self.mode else { return Ok(Sent::default()) };
        let (producer, flight) = both.as_mut();
        flight.board(batch);
        match flight.fly(producer, &self.settings, batch, PATIENCE) {
            Progress::Done => Ok(Sent { poison: flight.land(), ..Sent::default() }),
            Progress::Waiting(trouble) => Err(SendError::Waiting(trouble)),
            Progress::Failed(error) => Err(error),
            Progress::Fatal(error) => {
                // What was under way is forgotten with the producer, and sent by the next one.
                *producer =
                    self.settings.producer(&[]).map_err(|error| SendError::Refused(error.to_string()))?;
                *flight = Flight::default();
                Err(error)
            }
        }
    }
}

impl Sink for KafkaSink {
    fn resume(&mut self, place: &Place) -> Result<Place, SendError> {
        match &mut self.mode {
            Mode::Idempotent(_) => Ok(place.clone()),
            Mode::Exact(exact) => exact.resume(place),
        }
    }

    fn send(&mut self, batch: &Batch) -> Result<Sent, SendError> {
        match &mut self.mode {
            Mode::Idempotent(_) => self.send_idempotent(batch),
            Mode::Exact(exact) => exact.send(batch),
        }
    }

    fn idle(&mut self) {
        // Tokens are renewed and log lines taken also while nothing is sent.
        match &mut self.mode {
            Mode::Idempotent(both) => both.0.poll(Duration::ZERO),
            Mode::Exact(exact) => exact.idle(),
        }
    }

    fn probe(&mut self, canary: &Batch, tell: &mut dyn FnMut(Step)) {
        probe::probe(&self.settings, &self.origin, canary, tell);
    }
}
