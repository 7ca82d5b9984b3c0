// SPDX-License-Identifier: Apache-2.0
//! `sink test`: name, connection, identity, topic, what a transaction needs, and a canary, one step after
//! the other, with a producer of its own.

use super::Producer;
use super::exact;
use super::flight::{Flight, Progress};
use super::place::Shelf;
use super::reports::told;
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
    origin: &Origin,
    canary: &Batch,
    tell: &mut dyn FnMut(Step),
) -> Option<Step> {
    if let Some(failed) = reach(settings, tell) {
        return Some(failed);
    }
    // The agent's own id would shut the agent out.
    let id = format!("{}-test", exact::id(origin));
    let more = [("transactional.id", id.as_str())];
    let producer = match settings.producer(if settings.exactly_once { &more } else { &[] }) {
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
                0 => format!("brokers: {}; topic {topic} is not there yet", metadata.brokers().len()),
                count => {
                    format!("brokers: {}; partitions of topic {topic}: {count}", metadata.brokers().len())
                }
            };
            tell(Step::done(name, found));
        }
    }
    if settings.exactly_once
        && let Some(failed) = begin(settings, origin, &id, &producer, tell)
    {
        return Some(failed);
    }
    let sent = Instant::now();
    let outcome = send(settings, &producer, canary);
    Some(match outcome {
        Ok(()) => Step::done(
            "send a canary",
            format!("acknowledged by all in-sync replicas after {} ms", sent.elapsed().as_millis()),
        ),
        Err(why) => Step::failed("send a canary", why),
    })
}

/// What a transaction needs besides: its id, and the topic of cursors. The failed step, or a transaction.
fn begin(
    settings: &KafkaSettings,
    origin: &Origin,
    id: &str,
    producer: &Producer,
    tell: &mut dyn FnMut(Step),
) -> Option<Step> {
    let name = format!("use the transactional id {id}");
    if let Err(error) = exact::initialise(producer) {
        let trouble = producer.context().trouble().map(|trouble| trouble.reason);
        return Some(Step::failed(name, trouble.unwrap_or_else(|| told(error.code(), &error.string()))));
    }
    tell(Step::done(name, "granted"));
    let name = format!("read the topic of cursors {}", settings.cursor_topic);
    let found = Shelf::open(settings).and_then(|shelf| {
        let partitions = shelf.partitions()?;
        shelf.may_read()?;
        shelf.find(&exact::key(origin), partitions, None)
    });
    match found {
        Err(error) => return Some(Step::failed(name, error.to_string())),
        Ok(None) => tell(Step::done(name, "no cursor of this sink yet")),
        Ok(Some((record, _))) => {
            tell(Step::done(name, format!("this sink goes on with event {}", record.next)))
        }
    }
    let begun = producer.begin_transaction();
    begun.err().map(|error| Step::failed("begin a transaction", error.to_string()))
}

fn send(settings: &KafkaSettings, producer: &Producer, canary: &Batch) -> Result<(), String> {
    let mut flight = Flight::default();
    flight.board(canary);
    match flight.fly(producer, settings, canary, ACK) {
        Progress::Done => match flight.land().pop() {
            Some(poison) => return Err(poison.reason),
            None if settings.exactly_once => {
                producer.commit_transaction(ACK).map_err(|error| error.to_string())?;
            }
            None => {}
        },
        Progress::Waiting(trouble) => {
            let late = || format!("no acknowledgement within {} s", ACK.as_secs());
            return Err(trouble.map_or_else(late, |trouble| trouble.reason));
        }
        Progress::Failed(SendError::Waiting(_)) => return Err("no acknowledgement".to_string()),
        Progress::Failed(error) | Progress::Fatal(error) => return Err(error.to_string()),
    }
    Ok(())
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
