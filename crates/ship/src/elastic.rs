// SPDX-License-Identifier: Apache-2.0
//! Elasticsearch and OpenSearch by `_bulk`. Each document is created under the event's id, so that
//! sending it again changes nothing; what became of it is read item by item, because an answer of
//! 200 says nothing about them.

mod dashboards;
mod reply;
mod setup;
mod template;

pub use dashboards::dashboards;
#[cfg(feature = "answers")]
pub(crate) use reply::read as fates;
pub use setup::{SetUp, SetUpStep};

use crate::batch::Batch;
use crate::error::Error;
use crate::http::{Answer, Client, HttpSettings, Request};
use crate::sink::{Poison, SendError, Sent, Sink, Step};
use reply::{Fate, Item};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// Longest time a call blocks before it comes back to be called again.
const SLICE: Duration = Duration::from_millis(500);
/// Longest time for the answer to a canary.
const CANARY: Duration = Duration::from_secs(30);

/// Bytes of the answer for each document: those of an error that quotes the document take the half.
const ANSWER_EACH: usize = 1 << 10;
/// Most bytes of an answer, whatever was sent.
const ANSWER_LIMIT: usize = 16 << 20;

/// Where and how to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElasticSettings {
    /// The nodes of one cluster.
    pub http: HttpSettings,
    /// The data stream.
    pub data_stream: String,
    /// An ingest pipeline.
    pub pipeline: Option<String>,
}

impl ElasticSettings {
    /// Whether `name` can be a data stream's, and why not.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_name(name: &str) -> Result<(), String> {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
        let first = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        if name.len() > 100 || !first || !name.chars().all(good) {
            return Err(format!("{name:?} is no data stream: write small letters, digits, -, _ and ."));
        }
        Ok(())
    }
}

/// A batch on its way.
#[derive(Debug, Default)]
struct Flight {
    batch: u64,
    /// What is not safe yet, by index in the batch, in order.
    left: Vec<usize>,
    /// What the request under way holds; always the first of `left`.
    sent: usize,
    /// Most documents a request may hold; fewer after the receiver found one too large.
    most: usize,
    poison: Vec<Poison>,
}

/// The sink.
#[derive(Debug)]
pub(crate) struct ElasticSink {
    settings: ElasticSettings,
    client: Client,
    flight: Flight,
}

impl ElasticSink {
    pub(crate) fn new(settings: ElasticSettings) -> Result<ElasticSink, Error> {
        ElasticSettings::check_name(&settings.data_stream).map_err(Error::Settings)?;
        let client = settings.http.client(None)?;
        Ok(ElasticSink { settings, client, flight: Flight::default() })
    }

    fn bulk(&self, batch: &Batch) -> Request {
        let mut body = Vec::with_capacity(batch.bytes() + batch.len() * 48);
        for document in self.flight.left.iter().take(self.flight.sent).filter_map(|at| batch.document(*at)) {
            body.extend_from_slice(format!("{{\"create\":{{\"_id\":\"{}\"}}}}\n", document.id()).as_bytes());
            body.extend_from_slice(document.json);
            body.push(b'\n');
        }
        let mut path = format!("/{}/_bulk", self.settings.data_stream);
        if let Some(pipeline) = &self.settings.pipeline {
            path.push_str(&format!("?pipeline={pipeline}"));
        }
        let expects = (self.flight.sent * ANSWER_EACH).min(ANSWER_LIMIT);
        Request { expects, ..self.settings.http.request("POST", path, "application/x-ndjson", body) }
    }

    fn fly(&mut self, batch: &Batch, until: Instant) -> Result<(), SendError> {
        while !self.flight.left.is_empty() {
            if !self.client.is_busy() {
                self.flight.sent = self.flight.left.len().min(self.flight.most);
                let request = self.bulk(batch);
                self.client.begin(request);
            }
            let Some(answer) = self.client.drive(until)? else { return Err(SendError::Waiting(None)) };
            self.landed(&answer)?;
        }
        Ok(())
    }

    /// Takes what the answer settles out of the flight.
    fn landed(&mut self, answer: &Answer) -> Result<(), SendError> {
        let place = self.client.place();
        let told = || format!("{place} answered {}", answer.told());
        match answer.status {
            // What became of them stands in the part that was not read. Who is asked again about fewer
            // says less; what is stored already changes nothing.
            200 if answer.cut && self.flight.sent > 1 => {
                self.flight.most = self.flight.sent / 2;
                return Ok(());
            }
            200 => {}
            413 if self.flight.sent > 1 => {
                self.flight.most = self.flight.sent / 2;
                return Ok(());
            }
            413 => {
                let index = self.flight.left.remove(0);
                self.flight
                    .poison
                    .push(Poison { index, reason: "413: longer than the receiver takes".to_string() });
                return Ok(());
            }
            408 | 429 | 500..=599 => {
                self.client.turn_away();
                return Err(answer.later(told()));
            }
            _ => {
                self.client.turn_away();
                return Err(SendError::Refused(told()));
            }
        }
        match reply::read(answer, self.flight.sent) {
            Ok(items) => self.settle(items),
            Err(why) => {
                // Something else may answer in its place there.
                self.client.turn_away();
                Err(SendError::Transient(format!("{place}: {why}")))
            }
        }
    }

    fn settle(&mut self, items: Vec<Item>) -> Result<(), SendError> {
        let rest = self.flight.left.split_off(self.flight.sent.min(self.flight.left.len()));
        let sent = std::mem::take(&mut self.flight.left);
        let (mut later, mut refused) = (None, None);
        for (index, item) in sent.into_iter().zip(items) {
            match item.fate {
                Fate::Safe => continue,
                Fate::Poison => {
                    self.flight.poison.push(Poison { index, reason: item.reason });
                    continue;
                }
                Fate::Later => later = Some(item.reason),
                Fate::Refused => refused = Some(item.reason),
            }
            self.flight.left.push(index);
        }
        let waiting = self.flight.left.len();
        self.flight.left.extend(rest);
        match (refused, later) {
            (Some(reason), _) => {
                Err(SendError::Refused(format!("{waiting} documents were refused: {reason}")))
            }
            (None, Some(reason)) => {
                Err(SendError::Transient(format!("{waiting} documents have to wait: {reason}")))
            }
            (None, None) => Ok(()),
        }
    }
}

impl Sink for ElasticSink {
    fn send(&mut self, batch: &Batch) -> Result<Sent, SendError> {
        if self.flight.batch != batch.number() {
            self.client.cancel();
            let left: Vec<usize> = (0..batch.len()).collect();
            self.flight =
                Flight { batch: batch.number(), most: left.len().max(1), left, ..Flight::default() };
        }
        self.fly(batch, Instant::now() + SLICE)?;
        Ok(Sent { poison: std::mem::take(&mut self.flight.poison), ..Sent::default() })
    }

    fn probe(&mut self, canary: &Batch, tell: &mut dyn FnMut(Step)) {
        let last = probe(&self.settings, canary, tell).unwrap_or_else(|failed| failed);
        tell(last);
    }
}

/// Name, connection, identity, data stream and a canary; the last step is given back.
fn probe(settings: &ElasticSettings, canary: &Batch, tell: &mut dyn FnMut(Step)) -> Result<Step, Step> {
    let failed = |name: &'static str| move |why: String| Step::failed(name, why);
    let patience = settings.http.patience.min(CANARY);
    let mut settings = settings.clone();
    settings.http.patience = patience;
    let mut sink = ElasticSink::new(settings.clone())
        .map_err(|error| Step::failed("set up the sink", error.to_string()))?;
    sink.client.reach(tell)?;

    let name = "authenticate and ask for the version";
    let answer = sink.client.ask(settings.http.request("GET", String::new(), "", Vec::new()));
    let answer = answer.map_err(|error| failed(name)(error.to_string()))?;
    let product = reply::product(&answer).map_err(failed(name))?;
    tell(Step::done(name, product.to_string()));

    let name = "ask for the data stream";
    let path = format!("/_data_stream/{}", settings.data_stream);
    let answer = sink.client.ask(settings.http.request("GET", path, "", Vec::new()));
    let answer = answer.map_err(|error| failed(name)(error.to_string()))?;
    match answer.status {
        200 if reply::has_stream(&answer) => {
            tell(Step::done(name, format!("{} is there", settings.data_stream)));
        }
        403 => tell(Step::done(name, "no right to look; that is no obstacle to sending")),
        // The canary would make an ordinary index of that name, which is in the way of a data stream.
        200 | 404 => {
            let why =
                format!("{} is not there; make it with purser sink setup NAME --yes", settings.data_stream);
            return Err(failed(name)(why));
        }
        _ => return Err(failed(name)(answer.told())),
    }

    let name = "send a canary";
    let begun = Instant::now();
    let sent = loop {
        match sink.send(canary) {
            Err(SendError::Waiting(None)) if begun.elapsed() < patience => {}
            Err(error) => return Err(failed(name)(error.to_string())),
            Ok(sent) => break sent,
        }
    };
    match sent.poison.into_iter().next() {
        Some(poison) => Err(failed(name)(poison.reason)),
        None => {
            let mut found = String::new();
            write!(found, "stored after {} ms", begun.elapsed().as_millis()).unwrap_or_default();
            Ok(Step::done(name, found))
        }
    }
}
