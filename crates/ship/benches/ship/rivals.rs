// SPDX-License-Identifier: Apache-2.0
//! Others with the same documents: librdkafka alone with our settings, which is the floor, and
//! Debian's kcat and rsyslog.

use crate::broker::{Broker, Mine};
use crate::documents;
use crate::kafka::{Took, tell};
use crate::usage::{cpu_secs_of, cpu_secs_till_end};
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use ship::Document;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

const RSYSLOG: &str = "/usr/sbin/rsyslogd";

/// What is sent besides the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bare {
    Payload,
    KeyAndHeaders,
}

/// Counts reports.
#[derive(Debug, Default)]
struct Count(AtomicU64);

impl rdkafka::ClientContext for Count {}

impl ProducerContext for Count {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        assert!(result.is_ok());
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// librdkafka with the settings of the sink and documents that are ready; their making is not counted.
pub(crate) fn bare(broker: &Broker, store: &Path, count: u64, topic: &str, bare: Bare) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.address()).set("acks", "all").set("enable.idempotence", "true");
    config
        .set("compression.type", "zstd")
        .set("compression.level", "1")
        .set("linger.ms", "1")
        .set("message.timeout.ms", "0");
    config.set("queue.buffering.max.kbytes", "32768").set("queue.buffering.max.messages", "65536");
    let producer: BaseProducer<Count> =
        BaseProducer::from_config_and_context(&config, Count::default()).unwrap();
    let (mut all, mut sent) = (Took { cpu_secs: 0.0, wall: Duration::ZERO }, 0);
    documents::each(store, count, |batch| {
        let took = Took::by(|| {
            batch.documents().for_each(|document| send(&producer, topic, &document, bare));
            sent += batch.len() as u64;
            while producer.context().0.load(Ordering::Relaxed) < sent {
                producer.poll(Duration::from_millis(10));
            }
        });
        all.cpu_secs += took.cpu_secs;
        all.wall += took.wall;
    });
    let what = match bare {
        Bare::Payload => "librdkafka alone, text only",
        Bare::KeyAndHeaders => "librdkafka alone, text, key and headers",
    };
    tell(what, count, all, &format!("{} bytes each in the topic", broker.bytes(topic) / count));
}

fn send(producer: &BaseProducer<Count>, topic: &str, document: &Document<'_>, bare: Bare) {
    let sequence = document.sequence.to_string();
    let mut record = BaseRecord::<[u8], [u8]>::to(topic).payload(document.json);
    if bare == Bare::KeyAndHeaders {
        record = record.key(document.container_id.as_bytes()).headers(
            OwnedHeaders::new_with_capacity(3)
                .insert(Header { key: "schema", value: Some("ecs") })
                .insert(Header { key: "host", value: Some("web1.example") })
                .insert(Header { key: "sequence", value: Some(sequence.as_str()) }),
        );
    }
    while let Err((error, again)) = producer.send(record) {
        assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull));
        producer.poll(Duration::from_millis(10));
        record = again;
    }
}

/// Debian's kcat, a record a line.
pub(crate) fn kcat(broker: &Broker, file: &Path, count: u64, topic: &str) {
    let mut kcat = Command::new("kcat");
    kcat.args([
        "-P",
        "-b",
        &broker.address(),
        "-t",
        topic,
        "-z",
        "zstd",
        "-X",
        "acks=all",
        "-X",
        "compression.level=1",
    ]);
    kcat.args(["-X", "enable.idempotence=true", "-q", "-l"]).arg(file).stdin(Stdio::null());
    let start = Instant::now();
    let Ok(child) = kcat.spawn() else {
        println!("SKIP kcat: it is not there; cargo xtask setup --bench");
        return;
    };
    let mut child = Mine(child);
    let cpu_secs = cpu_secs_till_end(&mut child.0);
    let took = Took { cpu_secs, wall: start.elapsed() };
    let note = format!("{} of {count} arrived", broker.records(topic));
    tell("kcat, text only", count, took, &note);
}

/// Debian's rsyslog from a file of lines through omkafka, with its position kept.
pub(crate) fn rsyslog(broker: &Broker, file: &Path, count: u64, topic: &str) {
    if !Path::new(RSYSLOG).exists() {
        println!("SKIP rsyslog: it is not there; cargo xtask setup --bench");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let config = format!(
        r#"global(workDirectory="{work}" maxMessageSize="64k")
module(load="imfile")
module(load="omkafka")
template(name="text" type="string" string="%msg%")
input(type="imfile" file="{file}" tag="t" ruleset="r")
ruleset(name="r" queue.type="LinkedList" queue.dequeueBatchSize="1024") {{
  action(type="omkafka" broker=["{broker}"] topic="{topic}" template="text" resubmitOnFailure="on" keepFailedMessages="on"
    failedMsgFile="{work}/failed" confParam=["compression.codec=zstd", "compression.level=1", "acks=all", "enable.idempotence=true"])
}}
"#,
        work = dir.path().display(),
        file = file.display(),
        broker = broker.address(),
    );
    let path = dir.path().join("rsyslog.conf");
    fs::write(&path, config).unwrap();
    let mut command = Command::new(RSYSLOG);
    command.args(["-n", "-i", "NONE", "-f"]).arg(&path).stdin(Stdio::null());
    let start = Instant::now();
    let child = Mine(command.spawn().unwrap());
    let (mut arrived, mut still) = (0, Instant::now());
    while arrived < count && still.elapsed() < Duration::from_secs(20) {
        sleep(Duration::from_millis(200));
        let now = broker.records(topic);
        if now > arrived {
            (arrived, still) = (now, Instant::now());
        }
    }
    let took = Took { cpu_secs: cpu_secs_of(child.0.id()), wall: start.elapsed() };
    tell("rsyslog, imfile to omkafka, text only", count, took, &format!("{arrived} of {count} arrived"));
}
