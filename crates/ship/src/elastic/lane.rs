// SPDX-License-Identifier: Apache-2.0
//! One connection to a search cluster, and the part of a batch that goes over it: what is under way, what is
//! stored, what nobody will take.

use super::reply::{self, Fate, Item};
use super::{ANSWER_EACH, ANSWER_LIMIT, ElasticSettings};
use crate::batch::Batch;
use crate::http::{Answer, Client, Request};
use crate::sink::{Poison, SendError};
use std::time::Instant;

/// A part of a batch on its way.
#[derive(Debug, Default)]
struct Flight {
    /// What is not safe yet, by index in the batch, in order.
    left: Vec<usize>,
    /// What the request under way holds; always the first of `left`.
    sent: usize,
    /// Most documents a request may hold; fewer after the receiver found one too large.
    most: usize,
    poison: Vec<Poison>,
}

/// A connection and what goes over it.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) client: Client,
    flight: Flight,
}

impl Lane {
    pub(super) fn new(client: Client) -> Lane {
        Lane { client, flight: Flight::default() }
    }

    /// Whether something is not settled yet.
    pub(super) fn is_flying(&self) -> bool {
        !self.flight.left.is_empty()
    }

    /// What nobody will take.
    pub(super) fn land(&mut self) -> Vec<Poison> {
        std::mem::take(&mut self.flight.poison)
    }

    fn bulk(&self, settings: &ElasticSettings, batch: &Batch) -> Request {
        let mut body = Vec::with_capacity(batch.bytes() + batch.len() * 48);
        for document in self.flight.left.iter().take(self.flight.sent).filter_map(|at| batch.document(*at)) {
            body.extend_from_slice(format!("{{\"create\":{{\"_id\":\"{}\"}}}}\n", document.id()).as_bytes());
            body.extend_from_slice(document.json);
            body.push(b'\n');
        }
        let mut path = format!("/{}/_bulk", settings.data_stream);
        if let Some(pipeline) = &settings.pipeline {
            path.push_str(&format!("?pipeline={pipeline}"));
        }
        let expects = (self.flight.sent * ANSWER_EACH).min(ANSWER_LIMIT);
        Request { expects, ..settings.http.request("POST", path, "application/x-ndjson", body) }
    }

    /// Takes the part of a new batch on board.
    pub(super) fn board(&mut self, part: std::ops::Range<usize>) {
        self.client.cancel();
        let left: Vec<usize> = part.collect();
        self.flight = Flight { most: left.len().max(1), left, ..Flight::default() };
    }

    /// Sends what is left, until all of it is settled.
    pub(super) fn fly(
        &mut self,
        settings: &ElasticSettings,
        batch: &Batch,
        until: Instant,
    ) -> Result<(), SendError> {
        while !self.flight.left.is_empty() {
            if !self.client.is_busy() {
                self.flight.sent = self.flight.left.len().min(self.flight.most);
                let request = self.bulk(settings, batch);
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
