// SPDX-License-Identifier: Apache-2.0
//! Exactly once: documents and cursor in one transaction. Whatever happens to a commit, the record
//! in the topic of cursors says afterwards whether it took place.

use super::flight::{Flight, Progress, error_of};
use super::place::{Record, Shelf, Spot, home};
use super::settings::KafkaSettings;
use super::{PATIENCE, Producer};
use crate::batch::Batch;
use crate::cursor::{Place, hex};
use crate::sink::{SendError, Sent, Trouble};
use crate::target::Origin;
use rdkafka::error::KafkaError;
use rdkafka::producer::Producer as _;
use std::time::{Duration, Instant};

/// Time for the coordinator's answer before the line looks for orders again.
const ANSWER: Duration = Duration::from_secs(2);

/// What the transaction does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// There is none.
    None,
    /// Documents are under way.
    Documents,
    /// The cursor's record is under way.
    Cursor,
    /// Everything is there; the coordinator has been asked to commit.
    Commit,
    /// It is being given up.
    Abort,
}

/// A transactional producer and its cursor.
pub(super) struct Exact {
    settings: KafkaSettings,
    id: String,
    key: String,
    producer: Option<Producer>,
    /// Whether the producer has its id: it gets one once.
    ready: bool,
    partitions: i32,
    record: Record,
    spot: Option<Spot>,
    /// What the record was when this process saw it first.
    known: bool,
    phase: Phase,
    flight: Flight,
    /// Why the transaction was given up.
    reason: Option<SendError>,
}

impl Exact {
    pub(super) fn new(settings: KafkaSettings, origin: &Origin) -> Exact {
        Exact {
            settings,
            id: id(origin),
            key: key(origin),
            producer: None,
            ready: false,
            partitions: 0,
            record: Record::default(),
            spot: None,
            known: false,
            phase: Phase::None,
            flight: Flight::default(),
            reason: None,
        }
    }

    /// The cursor in Kafka counts, unless somebody has moved the local one since.
    pub(super) fn resume(&mut self, local: &Place) -> Result<Place, SendError> {
        if self.spot.is_none() {
            self.spot = Spot::decode(&local.mark);
        }
        // Asked by somebody who knows: whatever the record says now is taken.
        self.known = false;
        self.connect()?;
        if local.rewinds > self.record.rewinds || self.spot.is_none() {
            self.record.next = local.next;
            self.record.rewinds = local.rewinds;
        }
        Ok(self.place())
    }

    fn place(&self) -> Place {
        let mark = self.spot.map(Spot::encode).unwrap_or_default();
        Place { next: self.record.next, rewinds: self.record.rewinds, mark }
    }

    /// A fresh producer; every earlier one with our id is shut out, its open transaction given up.
    fn connect(&mut self) -> Result<(), SendError> {
        (self.phase, self.flight) = (Phase::None, Flight::default());
        let producer = match self.producer.take() {
            // Its id is still being fetched.
            Some(producer) if !self.ready && super::flight::fatal(&producer).is_none() => producer,
            _ => self
                .settings
                .producer(&[
                    ("transactional.id", &self.id),
                    ("message.timeout.ms", "60000"),
                    ("transaction.timeout.ms", "60000"),
                ])
                .map_err(|error| SendError::Refused(error.to_string()))?,
        };
        let outcome = initialise(&producer);
        self.ready = outcome.is_ok();
        let trouble = producer.context().trouble();
        self.producer = Some(producer);
        match outcome {
            Ok(()) => {}
            Err(error) if error.is_retriable() => {
                let slow = Trouble { reason: format!("kafka: {}", error.string()), refused: false };
                return Err(SendError::Waiting(Some(trouble.unwrap_or(slow))));
            }
            Err(error) => {
                self.producer = None;
                return Err(error_of(error.code(), &error.string()));
            }
        }
        self.read_record().inspect_err(|_| self.producer = None)
    }

    fn read_record(&mut self) -> Result<(), SendError> {
        let shelf = Shelf::open(&self.settings)?;
        self.partitions = shelf.partitions()?;
        let found = shelf.find(&self.key, self.partitions, self.spot)?;
        let (record, spot) = found.map_or((Record::default(), None), |(record, spot)| (record, Some(spot)));
        if self.known && record.number > self.record.number + 1 {
            self.producer = None;
            return Err(SendError::Refused(format!(
                "another agent sends as {}: is this store a copy of another host's? stop one of them, remove \
                 the other's store, and go on with purser sink resume",
                self.id
            )));
        }
        if !(self.known && spot.is_none()) {
            self.record = record;
        }
        self.spot = spot.or(self.spot);
        self.known = true;
        Ok(())
    }

    pub(super) fn send(&mut self, batch: &Batch) -> Result<Sent, SendError> {
        if self.producer.is_none() {
            self.connect()?;
        }
        let place = batch.place();
        if self.phase == Phase::None {
            if self.record.next == place.next && self.record.rewinds == place.rewinds {
                // The commit whose answer we never saw took place.
                return Ok(self.landed());
            }
            self.begin(batch)?;
        }
        loop {
            match self.phase {
                Phase::Documents => self.send_documents(batch)?,
                Phase::Cursor => self.send_cursor()?,
                Phase::Commit => return self.commit(place),
                Phase::Abort => return Err(self.abort(batch)),
                Phase::None => return Err(SendError::Waiting(None)),
            }
        }
    }

    fn landed(&mut self) -> Sent {
        Sent {
            poison: self.flight.land(),
            mark: self.spot.map(Spot::encode).unwrap_or_default(),
            ..Sent::default()
        }
    }

    fn producer(&self) -> Result<&Producer, SendError> {
        self.producer.as_ref().ok_or(SendError::Waiting(None))
    }

    fn begin(&mut self, batch: &Batch) -> Result<(), SendError> {
        self.flight.board(batch);
        match self.producer()?.begin_transaction() {
            Ok(()) => {
                self.phase = Phase::Documents;
                Ok(())
            }
            Err(error) => Err(self.broken(&error)),
        }
    }

    fn send_documents(&mut self, batch: &Batch) -> Result<(), SendError> {
        let Some(producer) = &self.producer else { return Err(SendError::Waiting(None)) };
        match self.flight.fly_together(producer, &self.settings, batch, PATIENCE) {
            Progress::Waiting(trouble) => Err(SendError::Waiting(trouble)),
            Progress::Fatal(error) => Err(self.start_over(error)),
            Progress::Failed(error) => self.give_up(Some(error)),
            // One document that failed spoils the transaction for all others.
            Progress::Done if self.flight.has_spoilt() => self.give_up(None),
            Progress::Done => {
                let next = Record {
                    next: batch.place().next,
                    rewinds: batch.place().rewinds,
                    number: self.record.number + 1,
                };
                let value =
                    serde_json::to_string(&next).map_err(|error| SendError::Refused(error.to_string()))?;
                let (topic, home) = (&self.settings.cursor_topic, home(&self.key, self.partitions));
                match self.flight.produce_cursor(producer, topic, home, &self.key, &value) {
                    Ok(()) => {
                        self.phase = Phase::Cursor;
                        Ok(())
                    }
                    Err(code) => self.give_up(Some(error_of(code, topic))),
                }
            }
        }
    }

    fn send_cursor(&mut self) -> Result<(), SendError> {
        let Some(producer) = &self.producer else { return Err(SendError::Waiting(None)) };
        match self.flight.gather(producer, Instant::now(), PATIENCE) {
            Some(Progress::Fatal(error)) => return Err(self.start_over(error)),
            Some(Progress::Waiting(trouble)) => return Err(SendError::Waiting(trouble)),
            _ => {}
        }
        let spot = producer.context().lock().cursor;
        match (spot, self.flight.judge(producer)) {
            (Some((partition, offset)), None) => {
                self.spot = Some(Spot { partition, offset });
                self.phase = Phase::Commit;
                Ok(())
            }
            (_, error) => self.give_up(error),
        }
    }

    fn commit(&mut self, place: &Place) -> Result<Sent, SendError> {
        match self.producer()?.commit_transaction(ANSWER) {
            Ok(()) => {
                self.phase = Phase::None;
                self.record =
                    Record { next: place.next, rewinds: place.rewinds, number: self.record.number + 1 };
                Ok(self.landed())
            }
            Err(error) => Err(self.broken(&error)),
        }
    }

    /// A step of the transaction failed: wait, give it up, or begin with a fresh producer.
    fn broken(&mut self, error: &KafkaError) -> SendError {
        let KafkaError::Transaction(error) = error else {
            return self.start_over(transient(error));
        };
        if error.is_retriable() {
            let trouble = self.producer.as_ref().and_then(|producer| producer.context().trouble());
            return SendError::Waiting(trouble);
        }
        if error.txn_requires_abort() {
            self.phase = Phase::Abort;
            self.reason = Some(error_of(error.code(), &error.string()));
            return SendError::Waiting(None);
        }
        self.start_over(error_of(error.code(), &error.string()))
    }

    /// Only the record says now what took place; a fresh producer reads it.
    fn start_over(&mut self, error: SendError) -> SendError {
        self.producer = None;
        self.phase = Phase::None;
        error
    }

    fn give_up(&mut self, reason: Option<SendError>) -> Result<(), SendError> {
        self.phase = Phase::Abort;
        self.reason = reason;
        Ok(())
    }

    fn abort(&mut self, batch: &Batch) -> SendError {
        let outcome = match self.producer() {
            Ok(producer) => producer.abort_transaction(ANSWER),
            Err(error) => return error,
        };
        match outcome {
            Ok(()) => {
                self.phase = Phase::None;
                self.flight.reload(batch);
                self.reason.take().unwrap_or(SendError::Waiting(None))
            }
            Err(KafkaError::Transaction(error)) if error.is_retriable() => {
                let trouble = self.producer.as_ref().and_then(|producer| producer.context().trouble());
                SendError::Waiting(trouble)
            }
            Err(error) => self.start_over(transient(&error)),
        }
    }

    pub(super) fn idle(&mut self) {
        if let Some(producer) = &self.producer {
            producer.poll(Duration::ZERO);
        }
    }
}

/// The transactional id of a sink.
pub(super) fn id(origin: &Origin) -> String {
    format!("purser-{}-{}", hex(&origin.store_id), origin.sink)
}

/// The key of its cursor.
pub(super) fn key(origin: &Origin) -> String {
    format!("{}/{}", hex(&origin.store_id), origin.sink)
}

fn transient(error: &KafkaError) -> SendError {
    SendError::Transient(format!("kafka: {error}"))
}

/// Gives the producer its id; whoever had it is shut out.
pub(super) fn initialise(producer: &Producer) -> Result<(), rdkafka::error::RDKafkaError> {
    let end = Instant::now() + ANSWER;
    loop {
        // The call waits for the coordinator without giving us what the library has to say.
        match producer.init_transactions(Duration::from_millis(500)) {
            Ok(()) => return Ok(()),
            Err(KafkaError::Transaction(error)) => {
                producer.poll(Duration::ZERO);
                if !error.is_retriable() || Instant::now() >= end {
                    return Err(error);
                }
            }
            // The call has no other errors.
            Err(_) => return Ok(()),
        }
    }
}
