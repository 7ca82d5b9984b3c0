// SPDX-License-Identifier: Apache-2.0
//! The cursor that is kept in Kafka: a record in a compacted topic, written in the transaction of
//! the documents before it.

use super::block_on::block_on;
use super::flight::error_of;
use super::reports::Reports;
use super::settings::KafkaSettings;
use crate::sink::SendError;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// Time for one answer of a broker.
const ANSWER: Duration = Duration::from_secs(5);
/// Longest time to read cursors before the line looks for orders again.
const READ: Duration = Duration::from_secs(30);
/// Partitions of the topic when we create it.
const PARTITIONS: i32 = 8;

/// What the record says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Sequence of the next event to send.
    pub(super) next: u64,
    /// How often somebody moved the cursor by hand.
    pub(super) rewinds: u64,
    /// Counts the transactions.
    pub(super) number: u64,
}

/// Where the record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) partition: i32,
    pub(super) offset: i64,
}

impl Spot {
    pub(super) fn encode(self) -> Vec<u8> {
        [i64::from(self.partition).to_le_bytes(), self.offset.to_le_bytes()].concat()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Spot> {
        let (partition, rest) = bytes.split_first_chunk::<8>()?;
        let (offset, []) = rest.split_first_chunk::<8>()? else { return None };
        let partition = i32::try_from(i64::from_le_bytes(*partition)).ok()?;
        Some(Spot { partition, offset: i64::from_le_bytes(*offset) })
    }
}

/// Reads the topic of cursors.
pub(super) struct Shelf<'a> {
    settings: &'a KafkaSettings,
    /// Sees also what is not committed: how far the topic goes.
    all: BaseConsumer<Reports>,
    /// Sees what is committed.
    committed: BaseConsumer<Reports>,
}

impl<'a> Shelf<'a> {
    pub(super) fn open(settings: &'a KafkaSettings) -> Result<Shelf<'a>, SendError> {
        let shelf = Shelf {
            all: consumer(settings, "read_uncommitted")?,
            committed: consumer(settings, "read_committed")?,
            settings,
        };
        if settings.token().is_some() {
            // The library wants to be asked for a token before it connects.
            drop((
                shelf.all.poll(Duration::from_millis(100)),
                shelf.committed.poll(Duration::from_millis(100)),
            ));
        }
        Ok(shelf)
    }

    /// The number of partitions; the topic is created when it is not there.
    pub(super) fn partitions(&self) -> Result<i32, SendError> {
        let topic = &self.settings.cursor_topic;
        for try_to_create in [true, false] {
            let metadata = self.all.fetch_metadata(Some(topic), ANSWER).map_err(|error| self.told(&error))?;
            let known = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
            if known > 0 {
                return Ok(i32::try_from(known).unwrap_or(i32::MAX));
            }
            if try_to_create {
                self.create()?;
            }
        }
        Err(SendError::Transient(format!("the topic of cursors {topic} is being created")))
    }

    /// Whether the group may be used; an empty topic is read without it.
    pub(super) fn may_read(&self) -> Result<(), SendError> {
        let mut first = TopicPartitionList::new();
        first.add_partition(&self.settings.cursor_topic, 0);
        self.committed.committed_offsets(first, ANSWER).map(drop).map_err(|error| self.told(&error))
    }

    fn create(&self) -> Result<(), SendError> {
        let name = &self.settings.cursor_topic;
        let config = self.settings.common().map_err(|error| SendError::Refused(error.to_string()))?;
        let admin: AdminClient<Reports> =
            AdminClient::from_config_and_context(&config, Reports::new(self.settings.token()))
                .map_err(|error| self.told(&error))?;
        let topic = NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(-1))
            .set("cleanup.policy", "compact")
            .set("segment.bytes", "16777216")
            .set("min.cleanable.dirty.ratio", "0.1");
        let options = AdminOptions::new().operation_timeout(Some(ANSWER)).request_timeout(Some(ANSWER));
        let made = block_on(admin.create_topics([&topic], &options), ANSWER * 2);
        let result = made.and_then(|made| made.ok()).and_then(|mut made| made.pop());
        match result {
            Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
            Some(Err((_, code))) => Err(SendError::Refused(format!(
                "the topic of cursors {name} is not there, or this user may not see it, and may not create it \
                 ({code}); give it READ and WRITE on it, or create it with kafka-topics.sh --create --topic {name} --partitions {PARTITIONS} --config cleanup.policy=compact"
            ))),
            None => Err(SendError::Transient(format!("creating the topic of cursors {name}: no answer"))),
        }
    }

    /// The newest committed record with `key`, looked for from `from` on or else everywhere.
    pub(super) fn find(
        &self,
        key: &str,
        partitions: i32,
        from: Option<Spot>,
    ) -> Result<Option<(Record, Spot)>, SendError> {
        let home = home(key, partitions);
        if let Some(found) = self.read(key, home, from.filter(|spot| spot.partition == home))? {
            return Ok(Some(found));
        }
        // Somebody added partitions: it is still where it was.
        let mut newest: Option<(Record, Spot)> = None;
        for partition in (0..partitions).filter(|partition| *partition != home) {
            let found = self.read(key, partition, from.filter(|spot| spot.partition == partition))?;
            newest = newest.into_iter().chain(found).max_by_key(|(record, _)| record.number);
        }
        Ok(newest)
    }

    fn read(
        &self,
        key: &str,
        partition: i32,
        from: Option<Spot>,
    ) -> Result<Option<(Record, Spot)>, SendError> {
        let topic = &self.settings.cursor_topic;
        let bounds = |consumer: &BaseConsumer<Reports>| {
            consumer.fetch_watermarks(topic, partition, ANSWER).map_err(|error| self.told(&error))
        };
        let (low, end) = bounds(&self.all)?;
        if end <= low {
            return Ok(None);
        }
        // Another agent's open transaction hides what was committed after its beginning.
        let give_up = Instant::now() + READ;
        while bounds(&self.committed)?.1 < end {
            if Instant::now() >= give_up {
                return Err(SendError::Transient(format!(
                    "reading the topic of cursors {topic}: a transaction of another agent is still open in it"
                )));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let start = from.map_or(low, |spot| spot.offset.clamp(low, end));
        self.scan(key, partition, start, end, give_up)
    }

    fn scan(
        &self,
        key: &str,
        partition: i32,
        start: i64,
        end: i64,
        give_up: Instant,
    ) -> Result<Option<(Record, Spot)>, SendError> {
        let topic = &self.settings.cursor_topic;
        let mut assignment = TopicPartitionList::new();
        let assigned = assignment
            .add_partition_offset(topic, partition, Offset::Offset(start))
            .and_then(|()| self.committed.assign(&assignment));
        assigned.map_err(|error| self.told(&error))?;
        let mut newest = None;
        loop {
            match self.committed.poll(ANSWER) {
                Some(Ok(message)) => {
                    let offset = message.offset();
                    if message.key() == Some(key.as_bytes())
                        && let Some(record) =
                            message.payload().and_then(|bytes| serde_json::from_slice(bytes).ok())
                    {
                        newest = Some((record, Spot { partition, offset }));
                    }
                    if offset + 1 >= end {
                        break;
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => break,
                Some(Err(error)) => return Err(self.told(&error)),
                None if Instant::now() >= give_up => {
                    let reason = format!("reading the topic of cursors {topic}: no answer");
                    return Err(SendError::Transient(reason));
                }
                None => {}
            }
        }
        self.committed.unassign().map_err(|error| self.told(&error))?;
        Ok(newest)
    }

    fn told(&self, error: &KafkaError) -> SendError {
        let trouble =
            [&self.all, &self.committed].into_iter().find_map(|consumer| consumer.context().trouble());
        if let Some(trouble) = trouble {
            return if trouble.refused {
                SendError::Refused(trouble.reason)
            } else {
                SendError::Transient(trouble.reason)
            };
        }
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        error_of(code, &format!("the topic of cursors {}: {error}", self.settings.cursor_topic))
    }
}

/// Reading wants the name of a group, and the right READ on it; nothing is kept under it.
pub(super) const GROUP: &str = "purser-cursors";

/// The partition where the record of `key` is written.
pub(super) fn home(key: &str, partitions: i32) -> i32 {
    let hash = crc32c::crc32c(key.as_bytes());
    i32::try_from(i64::from(hash) % i64::from(partitions.max(1))).unwrap_or(0)
}

fn consumer(settings: &KafkaSettings, isolation: &str) -> Result<BaseConsumer<Reports>, SendError> {
    let mut config = settings.common().map_err(|error| SendError::Refused(error.to_string()))?;
    config
        .set("group.id", GROUP)
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", isolation)
        .set("queued.max.messages.kbytes", "4096")
        .set("fetch.wait.max.ms", "50");
    BaseConsumer::from_config_and_context(&config, Reports::new(settings.token()))
        .map_err(|error| SendError::Refused(format!("setting up Kafka: {error}")))
}
