// SPDX-License-Identifier: Apache-2.0
//! Reads a topic from its beginning to its end, as any consumer would.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::sinks::sequence;

const READ_LIMIT: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy)]
pub(crate) enum Isolation {
    Committed,
}

/// What a test asks of a record.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) sequence: u64,
    pub(crate) schema: String,
    pub(crate) keyed: bool,
}

/// Every record of `topic`.
pub(crate) fn read(brokers: &str, topic: &str, isolation: Isolation) -> Result<Vec<Record>> {
    let Isolation::Committed = isolation;
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "purser-test")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(20))?;
    let mut assignment = TopicPartitionList::new();
    let mut open = 0;
    for partition in metadata.topics().iter().flat_map(rdkafka::metadata::MetadataTopic::partitions) {
        assignment.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
        open += 1;
    }
    consumer.assign(&assignment)?;
    let (start, mut records) = (Instant::now(), Vec::new());
    while open > 0 {
        match consumer.poll(Duration::from_millis(500)) {
            Some(Ok(message)) => records.push(record(&message)?),
            Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
            Some(Err(error)) => bail!("reading {topic}: {error}"),
            None if start.elapsed() > READ_LIMIT => bail!("{topic} has no end after {READ_LIMIT:?}"),
            None => {}
        }
    }
    Ok(records)
}

fn record(message: &BorrowedMessage<'_>) -> Result<Record> {
    let sequence = sequence(message.payload().unwrap_or_default())?;
    let header = |name: &str| {
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        let mut found = headers.filter(|header| header.key == name).filter_map(|header| header.value);
        found.next().map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
    };
    if header("sequence") != sequence.to_string() {
        bail!("event {sequence} has the header {:?}", header("sequence"));
    }
    Ok(Record { sequence, schema: header("schema"), keyed: message.key().is_some_and(|key| !key.is_empty()) })
}
