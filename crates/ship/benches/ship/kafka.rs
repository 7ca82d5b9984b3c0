// SPDX-License-Identifier: Apache-2.0
//! From the store to a real Kafka, acknowledged by all, compressed with zstd; step by step, so that
//! what costs is seen, and beside it what others need for the same documents.

use crate::broker::Broker;
use crate::rivals::{self, Bare};
use crate::usage::{cpu_secs, load_average};
use crate::{documents, sample, way};
use ship::{Compression, KafkaSettings, Limits, RecordKey, Target, Template};
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PARTITIONS: i32 = 3;
const ROUNDS: u32 = 3;

/// As a configuration without anything but brokers and topic.
pub(crate) fn settings(broker: &Broker, topic: &str, exactly_once: bool) -> KafkaSettings {
    KafkaSettings {
        brokers: vec![broker.address()],
        topic: Template::new(topic).unwrap(),
        key: RecordKey::Container,
        compression: Compression::Zstd,
        compression_level: None,
        sasl: None,
        tls: None,
        exactly_once,
        cursor_topic: "purser-cursors".to_string(),
        max_message_bytes: 1_000_000,
    }
}

/// What a way took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    pub(crate) cpu_secs: f64,
    pub(crate) wall: Duration,
}

impl Took {
    /// Of `work`, by all threads of this process.
    pub(crate) fn by(work: impl FnOnce()) -> Took {
        let (cpu, start) = (cpu_secs(), Instant::now());
        work();
        Took { cpu_secs: cpu_secs() - cpu, wall: start.elapsed() }
    }
}

/// One line of the table.
pub(crate) fn tell(what: &str, count: u64, took: Took, note: &str) {
    let (per_core, micros) = (count as f64 / took.cpu_secs, took.cpu_secs / count as f64 * 1e6);
    let rate = count as f64 / took.wall.as_secs_f64();
    println!("{what:<44} {per_core:>9.0} /CPU-s {micros:>7.2} us each {rate:>9.0} /s  {note}");
}

pub(crate) fn measure(count: u64) {
    let dir = TempDir::with_prefix("purser-bench-").unwrap();
    let store = dir.path().join("store");
    sample::fill(&store, count);
    let broker = Broker::start("1g");
    let file = dir.path().join("documents.jsonl");
    let bytes = documents::write(&store, count, &file);
    println!("{count} documents of {} bytes, half of them execs, half exits", bytes / count);
    // In turn, because the machine may be busy with other things; the broker warms up in the first round.
    for round in 1..=ROUNDS {
        println!("round {round} of {ROUNDS}, load average {}", load_average());
        let fresh = |what: &str| {
            let topic = format!("{what}-{round}");
            broker.create(&topic, PARTITIONS);
            topic
        };
        steps(&store, count);
        rivals::bare(&broker, &store, count, &fresh("bare"), Bare::Payload);
        rivals::bare(&broker, &store, count, &fresh("headers"), Bare::KeyAndHeaders);
        ours(&broker, &store, count, &fresh("ours"), false);
        ours(&broker, &store, count, &fresh("exact"), true);
        rivals::kcat(&broker, &file, count, &fresh("kcat"));
        rivals::rsyslog(&broker, &file, count, &fresh("rsyslog"));
    }
}

/// What comes before librdkafka.
fn steps(store: &Path, count: u64) {
    let took = Took::by(|| {
        let mut follower = store::Reader::open(store).unwrap().follow(1);
        let mut seen = 0;
        while seen < count {
            seen += follower.drain().unwrap().len() as u64;
        }
    });
    tell("read the store", count, took, "");
    let took = Took::by(|| documents::each(store, count, |batch| assert!(!batch.is_empty())));
    tell("read the store, render documents", count, took, "");
}

fn ours(broker: &Broker, store: &Path, count: u64, topic: &str, exactly_once: bool) {
    let target = Target::Kafka(Box::new(settings(broker, topic, exactly_once)));
    let (mut line, status) = way::line(store, topic, &target, count, Limits::default());
    let took = Took::by(|| way::finish(&mut line, &status, count));
    let ends = broker.records(topic);
    assert!(ends >= count && (exactly_once || ends == count), "{ends} of {count} arrived");
    let note = format!("{} bytes each in the topic", broker.bytes(topic) / count);
    let what = if exactly_once { "purser to Kafka, exactly_once" } else { "purser to Kafka" };
    tell(what, count, took, &note);
}
