// SPDX-License-Identifier: Apache-2.0
//! Elasticsearch and OpenSearch by `_bulk`. Each document is created under the event's id, so that
//! sending it again changes nothing; what became of it is read item by item, because an answer of
//! 200 says nothing about them.

mod dashboards;
mod lane;
mod reply;
mod setup;
mod template;

pub use dashboards::dashboards;
#[cfg(feature = "answers")]
pub(crate) use reply::read as fates;
pub use setup::{SetUp, SetUpStep};

use crate::batch::Batch;
use crate::error::Error;
use crate::http::HttpSettings;
use crate::sink::{SendError, Sent, Sink, Step};
use lane::Lane;
use std::fmt::Write as _;
use std::panic::resume_unwind;
use std::thread;
use std::time::{Duration, Instant};

/// Longest time a call blocks before it comes back to be called again.
const SLICE: Duration = Duration::from_millis(500);
/// Connections that large batches are shared among: the cluster works on one while it writes to disk for the other.
const LANES: usize = 2;
/// Documents of a batch that is worth two requests.
const SHARED_FROM: usize = 256;
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

/// The sink.
#[derive(Debug)]
pub(crate) struct ElasticSink {
    settings: ElasticSettings,
    /// The batch on its way.
    batch: u64,
    lanes: [Lane; LANES],
}

impl ElasticSink {
    pub(crate) fn new(settings: ElasticSettings) -> Result<ElasticSink, Error> {
        ElasticSettings::check_name(&settings.data_stream).map_err(Error::Settings)?;
        let lanes = [Lane::new(settings.http.client(None)?), Lane::new(settings.http.client(None)?)];
        Ok(ElasticSink { settings, batch: 0, lanes })
    }

    /// Each lane on a thread of its own, as long as two of them have something to do.
    fn fly(&mut self, batch: &Batch, until: Instant) -> Result<(), SendError> {
        let settings = &self.settings;
        let [first, second] = &mut self.lanes;
        if !second.is_flying() {
            return first.fly(settings, batch, until);
        }
        let (first, second) = thread::scope(|scope| {
            let other = thread::Builder::new().name("lane".to_string());
            let other = other.spawn_scoped(scope, || second.fly(settings, batch, until));
            let first = first.fly(settings, batch, until);
            match other {
                Ok(other) => (first, other.join().unwrap_or_else(|panic| resume_unwind(panic))),
                // It goes another time.
                Err(error) => (first, Err(SendError::Transient(format!("starting a thread: {error}")))),
            }
        });
        // A failure is told before a mere wait.
        match (first, second) {
            (Ok(()), other) | (other, Ok(())) => other,
            (Err(SendError::Waiting(_)), failed) | (failed, _) => failed,
        }
    }
}

impl Sink for ElasticSink {
    fn send(&mut self, batch: &Batch) -> Result<Sent, SendError> {
        if self.batch != batch.number() {
            self.batch = batch.number();
            let all = batch.len();
            let half = if all >= SHARED_FROM { all / 2 } else { all };
            let [first, second] = &mut self.lanes;
            first.board(0..half);
            second.board(half..all);
        }
        self.fly(batch, Instant::now() + SLICE)?;
        // In the order of the batch.
        let poison = self.lanes.iter_mut().flat_map(Lane::land).collect();
        Ok(Sent { poison, ..Sent::default() })
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
    sink.lanes[0].client.reach(tell)?;

    let name = "authenticate and ask for the version";
    let answer = sink.lanes[0].client.ask(settings.http.request("GET", String::new(), "", Vec::new()));
    let answer = answer.map_err(|error| failed(name)(error.to_string()))?;
    let product = reply::product(&answer).map_err(failed(name))?;
    tell(Step::done(name, product.to_string()));

    let name = "ask for the data stream";
    let path = format!("/_data_stream/{}", settings.data_stream);
    let answer = sink.lanes[0].client.ask(settings.http.request("GET", path, "", Vec::new()));
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
