// SPDX-License-Identifier: Apache-2.0
//! A sink that posts parts of a batch, each of which is taken or refused as a whole. What is too
//! large is halved; what is refused even when it is alone is set aside.

use crate::batch::Batch;
use crate::error::Error;
use crate::http::{Answer, Client, HttpSettings, Request};
use crate::sink::{Poison, Rejected, SendError, Sent, Sink, Step};
use ::tls::Secret;
use std::fmt::Debug;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Longest time a call blocks before it comes back to be called again.
const SLICE: Duration = Duration::from_millis(500);
/// Longest time for the answer to a canary.
const CANARY: Duration = Duration::from_secs(30);

/// Requests in a row that are taken before a larger one is tried.
const GROW_AFTER: u32 = 16;

/// What a receiver is sent, and what its answers mean.
pub(crate) trait Protocol: Clone + Debug + Send {
    /// How it is reached.
    fn http(&self) -> &HttpSettings;
    /// The same, to change it for a probe.
    fn http_mut(&mut self) -> &mut HttpSettings;
    /// A secret that requests are made with, beside those of [`HttpSettings`].
    fn secret(&self) -> Option<&Secret> {
        None
    }
    /// The request with these documents; there is at least one.
    fn request(&self, batch: &Batch, range: Range<usize>) -> Result<Request, SendError>;
    /// What the answer to `count` documents means; `place` is where it comes from.
    fn judge(&self, answer: &Answer, count: usize, place: &str) -> Verdict;
}

/// What an answer means for the documents of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All are safe.
    Taken,
    /// Some will never be taken; the others are safe.
    Rejected(Rejected),
    /// None will ever be taken.
    Poison(String),
    /// One of them is the reason, or they are too much together: fewer at once may do.
    Split(String),
    /// None is safe yet.
    Failed(SendError),
}

/// What answers mean that say nothing but their status; `poison` are those that lie in a document.
pub(crate) fn by_status(answer: &Answer, place: &str, poison: &[u16]) -> Verdict {
    let told = || format!("{place} answered {}", answer.told());
    match answer.status {
        200..=299 => Verdict::Taken,
        413 => Verdict::Split("413: longer than the receiver takes".to_string()),
        status if poison.contains(&status) => Verdict::Split(answer.told()),
        408 | 425 | 429 | 500..=599 => Verdict::Failed(answer.later(told())),
        401 | 403 => {
            Verdict::Failed(SendError::Refused(format!("{}; the credentials are wrong or missing", told())))
        }
        _ => Verdict::Failed(SendError::Refused(told())),
    }
}

/// A batch on its way.
#[derive(Debug, Default)]
struct Flight {
    batch: u64,
    /// The first document that is not safe yet.
    next: usize,
    /// How many from there on the request under way holds.
    sent: usize,
    size: Size,
    poison: Vec<Poison>,
    rejected: Option<Rejected>,
}

/// How many documents a request holds. It stays from batch to batch: a receiver's limit does, too.
#[derive(Debug, Clone, Copy)]
struct Size {
    most: usize,
    /// What it was before the receiver found something too large.
    before: Option<usize>,
    /// Requests that were taken since it changed.
    passed: u32,
}

impl Default for Size {
    fn default() -> Size {
        Size { most: usize::MAX, before: None, passed: 0 }
    }
}

impl Size {
    fn halve(&mut self, sent: usize) {
        *self = Size { most: sent / 2, before: Some(self.before.unwrap_or(sent)), passed: 0 };
    }

    /// The one that was too much is found.
    fn restore(&mut self) {
        *self = Size { most: self.before.unwrap_or(self.most), before: None, passed: 0 };
    }

    /// Tries more now and then: what was too large may have been one document.
    fn grow(&mut self) {
        self.passed += 1;
        if self.passed >= GROW_AFTER {
            *self = Size { most: self.most.saturating_mul(2), before: None, passed: 0 };
        }
    }
}

/// The sink.
#[derive(Debug)]
pub(crate) struct Post<P> {
    protocol: P,
    client: Client,
    flight: Flight,
}

impl<P: Protocol> Post<P> {
    pub(crate) fn new(protocol: P) -> Result<Post<P>, Error> {
        let client = protocol.http().client(protocol.secret())?;
        Ok(Post { protocol, client, flight: Flight::default() })
    }

    fn fly(&mut self, batch: &Batch, until: Instant) -> Result<(), SendError> {
        while self.flight.next < batch.len() {
            if !self.client.is_busy() {
                let next = self.flight.next;
                self.flight.sent = self.flight.size.most.min(batch.len() - next);
                self.client.begin(self.protocol.request(batch, next..next + self.flight.sent)?);
            }
            let Some(answer) = self.client.drive(until)? else { return Err(SendError::Waiting(None)) };
            let place = self.client.place();
            self.landed(self.protocol.judge(&answer, self.flight.sent, &place))?;
        }
        Ok(())
    }

    fn landed(&mut self, verdict: Verdict) -> Result<(), SendError> {
        let flight = &mut self.flight;
        match verdict {
            Verdict::Taken => flight.pass(),
            Verdict::Rejected(rejected) => {
                let before = flight.rejected.take().map_or(0, |before| before.count);
                flight.rejected = Some(Rejected { count: before + rejected.count, ..rejected });
                flight.pass();
            }
            Verdict::Split(_) if flight.sent > 1 => flight.size.halve(flight.sent),
            Verdict::Split(reason) | Verdict::Poison(reason) => {
                let refused = flight.next..flight.next + flight.sent;
                flight.poison.extend(refused.map(|index| Poison { index, reason: reason.clone() }));
                flight.next += flight.sent;
                flight.size.restore();
            }
            Verdict::Failed(error) => {
                self.client.turn_away();
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Flight {
    fn pass(&mut self) {
        self.next += self.sent;
        self.size.grow();
    }
}

impl<P: Protocol> Sink for Post<P> {
    fn send(&mut self, batch: &Batch) -> Result<Sent, SendError> {
        if self.flight.batch != batch.number() {
            self.client.cancel();
            let (batch, size) = (batch.number(), self.flight.size);
            self.flight = Flight { batch, size, ..Flight::default() };
        }
        self.fly(batch, Instant::now() + SLICE)?;
        let (poison, rejected) = (std::mem::take(&mut self.flight.poison), self.flight.rejected.take());
        Ok(Sent { poison, rejected, ..Sent::default() })
    }

    fn probe(&mut self, canary: &Batch, tell: &mut dyn FnMut(Step)) {
        let last = probe(&self.protocol, canary, tell).unwrap_or_else(|failed| failed);
        tell(last);
    }
}

/// Name, connection and a canary; the last step is given back.
fn probe<P: Protocol>(protocol: &P, canary: &Batch, tell: &mut dyn FnMut(Step)) -> Result<Step, Step> {
    let mut protocol = protocol.clone();
    let patience = protocol.http().patience.min(CANARY);
    protocol.http_mut().patience = patience;
    let mut sink = Post::new(protocol).map_err(|error| Step::failed("set up the sink", error.to_string()))?;
    sink.client.reach(tell)?;
    let (name, begun) = ("send a canary", Instant::now());
    let sent = loop {
        match sink.send(canary) {
            Err(SendError::Waiting(None)) if begun.elapsed() < patience => {}
            Err(error) => return Err(Step::failed(name, error.to_string())),
            Ok(sent) => break sent,
        }
    };
    match (sent.poison.into_iter().next(), sent.rejected) {
        (Some(Poison { reason, .. }), _) | (None, Some(Rejected { reason, .. })) => {
            Err(Step::failed(name, reason))
        }
        (None, None) => Ok(Step::done(name, format!("taken after {} ms", begun.elapsed().as_millis()))),
    }
}

#[cfg(test)]
mod tests {
    use super::{GROW_AFTER, Size};

    #[test]
    fn a_limit_is_kept_and_tried_again_and_a_single_culprit_changes_nothing() {
        let mut size = Size::default();
        size.halve(800);
        size.halve(400);
        assert_eq!(size.most, 200);
        (1..GROW_AFTER).for_each(|_| size.grow());
        assert_eq!(size.most, 200);
        size.grow();
        assert_eq!(size.most, 400);
        for sent in [400, 200, 100, 50, 25, 12, 6, 3] {
            size.halve(sent);
        }
        assert_eq!(size.most, 1);
        size.restore();
        assert_eq!(size.most, 400);
    }
}
