// SPDX-License-Identifier: Apache-2.0
//! `sink test`: name, connection, identity, topic and a canary, one step after the other, with a
//! producer of its own.

use super::Producer;
use super::flight::{Flight, Progress};
use super::settings::KafkaSettings;
use crate::batch::Batch;
use crate::sink::{SendError, Step};
use crate::target::Origin;
use rdkafka::error::KafkaError;
use rdkafka::metadata::Metadata;
use rdkafka::producer::Producer as _;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// Time for one connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Time for the brokers to say what they know.
const METADATA: Duration = Duration::from_secs(10);
/// Of this, for one try.
const TRY: Duration = Duration::from_secs(2);
/// Time for the acknowledgement of the canary.
const ACK: Duration = Duration::from_secs(20);

pub(super) fn probe(settings: &KafkaSettings, origin: &Origin, canary: &Batch, tell: &mut dyn FnMut(Step)) {
    let last = steps(settings, origin, canary, tell);
    last.into_iter().for_each(tell);
}

/// The last step, good or bad; those before are told.
fn steps(
    settings: &KafkaSettings,
    _origin: &Origin,
    canary: &Batch,
    tell: &mut dyn FnMut(Step),
) -> Option<Step> {
    if let Some(failed) = reach(settings, tell) {
        return Some(failed);
    }
    let producer = match settings.producer(&[]) {
        Ok(producer) => producer,
        Err(error) => return Some(Step::failed("set up Kafka", error.to_string())),
    };
    let mut topic = String::new();
    let document = canary.document(0)?;
    settings.topic.render(&document, |_| true, &mut topic);
    let name = "authenticate and ask for the topic".to_string();
    let metadata = ask(&producer, &topic);
    match metadata {
        Err(error) => {
            let trouble = producer.context().trouble().map(|trouble| trouble.reason);
            return Some(Step::failed(name, trouble.unwrap_or_else(|| format!("kafka: {error}"))));
        }
        Ok(metadata) => {
            let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
            let found = match partitions {
                0 => format!("{} brokers; topic {topic} is not there yet", metadata.brokers().len()),
                count => {
                    format!("{} brokers; topic {topic} has {count} partitions", metadata.brokers().len())
                }
            };
            tell(Step::done(name, found));
        }
    }
    let sent = Instant::now();
    let mut flight = Flight::default();
    flight.board(canary);
    let failed = |why: String| Some(Step::failed("send a canary", why));
    match flight.fly(&producer, settings, canary, ACK) {
        Progress::Done => match flight.land().pop() {
            Some(poison) => failed(poison.reason),
            None => Some(Step::done(
                "send a canary",
                format!("acknowledged by all in-sync replicas after {} ms", sent.elapsed().as_millis()),
            )),
        },
        Progress::Waiting(trouble) => failed(
            trouble.map_or_else(|| format!("no acknowledgement within {} s", ACK.as_secs()), |t| t.reason),
        ),
        Progress::Failed(SendError::Waiting(_)) => failed("no acknowledgement".to_string()),
        Progress::Failed(error) => failed(error.to_string()),
        Progress::Fatal(error) => failed(error.to_string()),
    }
}

/// What the brokers know of the topic. The library wants to be asked for a token meanwhile.
fn ask(producer: &Producer, topic: &str) -> Result<Metadata, KafkaError> {
    let started = Instant::now();
    loop {
        producer.poll(Duration::from_millis(50));
        match producer.client().fetch_metadata(Some(topic), TRY) {
            Err(_) if started.elapsed() < METADATA => {}
            outcome => return outcome,
        }
    }
}

/// Each broker's name and port; one that answers is enough.
fn reach(settings: &KafkaSettings, tell: &mut dyn FnMut(Step)) -> Option<Step> {
    let mut last = None;
    for broker in &settings.brokers {
        let name = format!("resolve {broker}");
        let addresses: Vec<_> = match broker.to_socket_addrs() {
            Ok(addresses) => addresses.collect(),
            Err(error) => {
                last = Some(Step::failed(name, error.to_string()));
                continue;
            }
        };
        let found: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        tell(Step::done(name, found.join(", ")));
        for address in addresses {
            let name = format!("connect to {address}");
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(_) => {
                    tell(Step::done(name, "it answers"));
                    return None;
                }
                Err(error) => last = Some(Step::failed(name, error.to_string())),
            }
        }
    }
    last.or_else(|| Some(Step::failed("find a broker", "no name of a broker leads to an address")))
}
