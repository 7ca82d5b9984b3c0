// SPDX-License-Identifier: Apache-2.0
//! The cursor loop of one sink: store to batch to sink to cursor, one turn at a time. It decides
//! everything and waits for nothing but new events; [`crate::Runner`] gives it its thread.

mod untold;

use crate::backoff::{Backoff, Random};
use crate::batch::{Batch, Document, Limits};
use crate::cursor::{Cursor, Place};
use crate::dead::DeadLetters;
use crate::error::Error;
use crate::latency::Latency;
use crate::rate::Rate;
use crate::render::{Renderer, Schema};
use crate::sink::{SendError, Sent, Sink};
use crate::status::{Head, State, Status};
use event::document::{Context, rfc3339};
use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use untold::Untold;

/// First and longest wait after a failure that may pass.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
/// The same after a refusal.
const REFUSED: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));
/// Time between syncs of the cursor.
const SYNC: Duration = Duration::from_secs(1);
/// A batch that is under way for longer gives back what was read beyond it.
const HOLD: Duration = Duration::from_secs(2);
/// A cursor that has not moved for longer stands.
const STANDS: Duration = Duration::from_secs(1);
/// Actions of the events that tell of refused documents.
const NOTICES: [&str; 2] = ["sink_dead", "sink_rejected"];
/// Longest error text kept, in bytes: it may hold what a receiver said.
const ERROR_LIMIT: usize = 1024;

/// What the line has to do with.
#[derive(Debug, Clone)]
pub struct LineSettings {
    /// The sink's name, which is also its directory's.
    pub name: String,
    /// The store.
    pub store: PathBuf,
    /// Names the host in documents.
    pub host_name: String,
    /// The names that documents use.
    pub schema: Schema,
    /// How much is sent at once.
    pub limits: Limits,
    /// Whether a sink without a cursor begins with the oldest event, or with the next one.
    pub from_start: bool,
    /// Sequence of the event that came first after the store was opened: a cursor beyond it has
    /// seen events that the store has lost. 0 when it has been open since: nothing can be lost then.
    pub store_end: u64,
}

/// Something the record should say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Events were gone before they could be sent.
    Missing {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
    /// Documents were set aside.
    Dead {
        /// How many.
        count: u64,
        /// The first of them.
        first: u64,
        /// Why that one.
        reason: String,
    },
    /// The receiver refused documents for good and did not say which.
    Rejected {
        /// How many.
        count: u64,
        /// The first event of their batch.
        first: u64,
        /// The last event of their batch.
        last: u64,
        /// What the receiver said.
        reason: String,
    },
    /// The cursor was beyond the store's end.
    Ahead {
        /// Where it stood.
        cursor: u64,
        /// Where the store ends.
        end: u64,
    },
}

/// What the line needs of the world.
pub struct Tools {
    /// Nanoseconds since 1970.
    pub wall_ns: Box<dyn Fn() -> u64 + Send>,
    /// Time since any fixed moment.
    pub monotonic: Box<dyn Fn() -> Duration + Send>,
    /// For waits that differ between agents.
    pub random: Box<dyn Random>,
    /// Puts a notice into the record; false when that is not possible now.
    pub tell: Box<dyn FnMut(Notice) -> bool + Send>,
}

impl fmt::Debug for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tools")
    }
}

/// When to take the next turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// At once: there is or may be more to do.
    Again,
    /// Nothing new was committed within the patience given.
    Idle,
    /// After this time, unless an order comes.
    Wait(Duration),
}

/// Where the cursor stands, with events behind it that are not in a batch.
#[derive(Debug)]
struct Standing {
    next: u64,
    since: Duration,
    /// Time of the first of them, once it was looked up.
    oldest_ns: Option<u64>,
}

/// One sink's way through the store.
#[derive(Debug)]
pub struct Line {
    settings: LineSettings,
    sink: Box<dyn Sink>,
    tools: Tools,
    reader: store::Reader,
    cursor: Cursor,
    dead: DeadLetters,
    follower: Option<store::Follower>,
    /// Read from the store, not in the batch yet.
    read: VecDeque<store::Entry>,
    renderer: Renderer,
    batch: Batch,
    /// When the batch was filled.
    filled: Duration,
    /// What the sink said of the batch, until the cursor has moved behind it.
    sent: Option<Sent>,
    /// What of it was refused is written down.
    noted: bool,
    untold: Untold,
    resumed: bool,
    standing: Option<Standing>,
    retry: Backoff,
    refused: Backoff,
    rate: Rate,
    latency: Latency,
    synced: Duration,
    status: Status,
    shared: Arc<Mutex<Status>>,
    head: Arc<Head>,
}

impl Line {
    /// Opens the cursor of `sink`.
    ///
    /// # Errors
    /// When the store or the cursor cannot be used.
    pub fn open(
        settings: LineSettings,
        sink: Box<dyn Sink>,
        tools: Tools,
        head: Arc<Head>,
        shared: Arc<Mutex<Status>>,
    ) -> Result<Line, Error> {
        let reader =
            store::Reader::open(&settings.store).map_err(|error| Error::Settings(error.to_string()))?;
        let dir = settings.store.join(store::SINKS_NAME).join(&settings.name);
        std::fs::create_dir_all(&dir).map_err(|source| Error::io("creating", &dir, source))?;
        let mut cursor = Cursor::open(&dir.join("cursor"), reader.store_id())?;
        if cursor.place().next == 0 {
            let next = match settings.store_end {
                _ if settings.from_start => 1,
                0 => head.next().max(1),
                end => end,
            };
            cursor.advance(Place { next, ..Place::default() })?;
        }
        let context = Context { store_id: reader.store_id(), host_name: settings.host_name.clone() };
        let renderer = Renderer::new(context, settings.schema);
        let mut line = Line {
            batch: Batch::new(&renderer),
            renderer,
            sink,
            tools,
            reader,
            dead: DeadLetters::new(&dir),
            follower: None,
            read: VecDeque::new(),
            filled: Duration::ZERO,
            sent: None,
            noted: false,
            untold: Untold::default(),
            resumed: false,
            standing: None,
            retry: Backoff::new(RETRY.0, RETRY.1),
            refused: Backoff::new(REFUSED.0, REFUSED.1),
            rate: Rate::default(),
            latency: Latency::new(),
            synced: Duration::ZERO,
            status: Status { cursor: cursor.place().next, ..Status::default() },
            cursor,
            shared,
            head,
            settings,
        };
        line.publish();
        Ok(line)
    }

    /// Does one thing: goes on with the batch, or waits up to `patience` for events for the next.
    pub fn turn(&mut self, patience: Duration) -> Turn {
        let turn = self.take_turn(patience);
        self.publish();
        turn
    }

    fn take_turn(&mut self, patience: Duration) -> Turn {
        if !self.resumed
            && let Err(error) = self.resume()
        {
            return self.failed(error);
        }
        if self.sent.is_none() && self.batch.is_void() {
            match self.fill(patience) {
                Err(error) => return self.failed(SendError::Transient(error)),
                Ok(()) if self.batch.is_void() => return self.idle(),
                Ok(()) => self.filled = (self.tools.monotonic)(),
            }
        }
        if self.sent.is_none() {
            let sent = if self.batch.is_empty() { Ok(Sent::default()) } else { self.sink.send(&self.batch) };
            match sent {
                Ok(sent) => self.acknowledged(sent),
                Err(error) => return self.failed(error),
            }
        }
        match self.settle() {
            Ok(()) => Turn::Again,
            Err(error) => self.failed(SendError::Transient(error)),
        }
    }

    /// Asks the sink where it goes on, and looks whether the store still has that.
    fn resume(&mut self) -> Result<(), SendError> {
        let mut place = self.sink.resume(self.cursor.place())?;
        let end = self.settings.store_end;
        if end > 0 && place.next > end {
            let notice = Notice::Ahead { cursor: place.next, end };
            if !(self.tools.tell)(notice) {
                return Err(SendError::Transient("the record cannot take a notice now".to_string()));
            }
            place = Place { next: end, mark: Vec::new(), ..place };
        }
        self.settings.store_end = 0;
        self.go_to(place).map_err(|error| SendError::Transient(error.to_string()))?;
        self.resumed = true;
        self.status.state = State::Running;
        Ok(())
    }

    fn go_to(&mut self, place: Place) -> Result<(), Error> {
        if place != *self.cursor.place() {
            self.cursor.advance(place)?;
        }
        self.forget();
        Ok(())
    }

    /// Forgets what was read beyond the cursor.
    fn forget(&mut self) {
        self.follower = None;
        self.read.clear();
        (self.sent, self.noted) = (None, false);
        self.batch.restart(self.cursor.place().clone());
    }

    /// Puts events into the empty batch.
    fn fill(&mut self, patience: Duration) -> Result<(), String> {
        let reader = &self.reader;
        let next = self.batch.place().next;
        let follower = self.follower.get_or_insert_with(|| reader.follow(next));
        if self.read.is_empty() {
            // A broken block is passed over; the hole in the numbers tells of it.
            match follower.next(patience) {
                Ok(entry) => self.read.extend(entry),
                Err(store::Error::Damaged { .. }) => return Ok(()),
                Err(error) => return Err(error.to_string()),
            }
        }
        while !self.batch.is_full(&self.settings.limits) {
            let Some(entry) = self.read.pop_front() else {
                match self.follower.as_mut().map(store::Follower::drain) {
                    Some(Ok(entries)) if !entries.is_empty() => self.read.extend(entries),
                    _ => return Ok(()),
                }
                continue;
            };
            let expected = self.batch.place().next;
            if entry.sequence > expected {
                let missing = Notice::Missing { first: expected, last: entry.sequence - 1 };
                if !(self.tools.tell)(missing) {
                    self.read.push_front(entry);
                    return Err("the record cannot take a notice now".to_string());
                }
                self.status.missing += entry.sequence - expected;
            }
            self.batch.push(&mut self.renderer, entry);
        }
        Ok(())
    }

    fn idle(&mut self) -> Turn {
        self.status.state = State::Running;
        let now = (self.tools.monotonic)();
        // What cannot be told now is told the next time.
        self.untold.tell(now, self.tools.tell.as_mut());
        self.sink.idle();
        self.sync();
        Turn::Idle
    }

    fn acknowledged(&mut self, sent: Sent) {
        let now = (self.tools.wall_ns)();
        let rejected = sent.rejected.as_ref().map_or(0, |rejected| rejected.count);
        let good = (self.batch.len() as u64).saturating_sub(sent.poison.len() as u64 + rejected);
        self.status.sent += self.batch.len() as u64;
        self.status.acked += good;
        if good > 0 {
            self.status.acked_time_ns = Some(now);
        }
        for (index, document) in self.batch.documents().enumerate() {
            let took_us = now.saturating_sub(document.time_ns) / 1000;
            self.latency.note(took_us);
            if document.is_canary() && sent.poison.iter().all(|poison| poison.index != index) {
                (self.status.canary_us, self.status.canary_time_ns) = (Some(took_us), Some(now));
            }
        }
        self.sent = Some(sent);
    }

    /// Sets aside what is poison and moves the cursor behind the batch. A step that fails is made
    /// again; the sink is not asked again.
    fn settle(&mut self) -> Result<(), String> {
        if !self.noted {
            self.note_refused()?;
            self.noted = true;
        }
        let now = (self.tools.monotonic)();
        if !self.untold.tell(now, self.tools.tell.as_mut()) {
            return Err("the record cannot take a notice now".to_string());
        }
        let Some(sent) = &self.sent else { return Ok(()) };
        let mut place = self.batch.place().clone();
        if !sent.mark.is_empty() {
            place.mark.clone_from(&sent.mark);
        }
        self.cursor.advance(place.clone()).map_err(|error| error.to_string())?;
        self.status.state = State::Running;
        (self.status.error, self.status.error_time_ns) = (None, None);
        self.retry.reset();
        self.refused.reset();
        (self.sent, self.noted) = (None, false);
        self.batch.restart(place);
        self.sync();
        Ok(())
    }

    /// Writes down what the receiver did not take. Once for each batch, whatever comes after.
    fn note_refused(&mut self) -> Result<(), String> {
        let Some(sent) = &self.sent else { return Ok(()) };
        let sequence = |index: usize| self.batch.document(index).map_or(0, |document| document.sequence);
        if let Some(rejected) = &sent.rejected {
            self.status.rejected += rejected.count;
            if self.batch.documents().any(|document| is_news(&document)) {
                let last = sequence(self.batch.len().saturating_sub(1));
                self.untold.rejected(rejected.count, sequence(0), last, cut(&rejected.reason));
            }
        }
        let poison = sent.poison.iter().filter_map(|poison| {
            let document = self.batch.document(poison.index)?;
            Some((document.sequence, poison.reason.as_str(), document.json))
        });
        let unreadable = self.batch.unreadable();
        let unreadable =
            unreadable.iter().map(|event| (event.sequence, event.reason.as_str(), b"".as_slice()));
        let letters: Vec<_> = poison.chain(unreadable).collect();
        let Some((first, reason, _)) = letters.first().copied() else { return Ok(()) };
        let time = rfc3339((self.tools.wall_ns)());
        self.dead.add(&time, letters.iter().copied()).map_err(|error| error.to_string())?;
        self.status.dead += letters.len() as u64;
        let mut dead = sent.poison.iter().filter_map(|poison| self.batch.document(poison.index));
        if dead.any(|document| is_news(&document)) || !self.batch.unreadable().is_empty() {
            self.untold.dead(letters.len() as u64, first, cut(reason));
        }
        Ok(())
    }

    fn sync(&mut self) {
        let now = (self.tools.monotonic)();
        if now.saturating_sub(self.synced) < SYNC {
            return;
        }
        self.synced = now;
        if let Err(error) = self.cursor.sync() {
            self.note_error(error.to_string());
        }
    }

    fn failed(&mut self, error: SendError) -> Turn {
        self.shed();
        match error {
            SendError::Waiting(None) => return Turn::Again,
            SendError::Waiting(Some(trouble)) => {
                self.status.state = if trouble.refused { State::Refused } else { State::Retrying };
                self.note_error(trouble.reason);
                return Turn::Again;
            }
            SendError::Moved(place) => {
                return match self.go_to(place) {
                    Ok(()) => Turn::Again,
                    Err(error) => self.failed(SendError::Transient(error.to_string())),
                };
            }
            SendError::Transient(_) | SendError::Later(..) | SendError::Refused(_) => {}
        }
        let refused = matches!(error, SendError::Refused(_));
        self.status.retried += 1;
        self.status.state = if refused { State::Refused } else { State::Retrying };
        self.note_error(error.to_string());
        let backoff = if refused { &mut self.refused } else { &mut self.retry };
        let wait = backoff.wait(self.tools.random.as_mut());
        match error {
            SendError::Later(_, asked) => Turn::Wait(wait.max(asked)),
            _ => Turn::Wait(wait),
        }
    }

    /// While a receiver is stuck only the batch is held; the events behind it are read again later.
    fn shed(&mut self) {
        let held = (self.tools.monotonic)().saturating_sub(self.filled);
        if self.follower.is_some() && !self.batch.is_void() && held >= HOLD {
            self.follower = None;
            self.read = VecDeque::new();
            sys::give_back_free_memory();
        }
    }

    fn note_error(&mut self, error: String) {
        self.status.error = Some(cut(&error));
        self.status.error_time_ns = Some((self.tools.wall_ns)());
    }

    fn publish(&mut self) {
        let now = (self.tools.monotonic)();
        let oldest_unsent_ns = self.oldest_unsent(now);
        self.rate.note(now, self.status.acked);
        self.latency.turn(now);
        let status = &mut self.status;
        status.cursor = self.cursor.place().next;
        status.rate = self.rate.per_second(now, status.acked);
        status.latency_p50_us = self.latency.quantile(500);
        status.latency_p99_us = self.latency.quantile(990);
        status.oldest_unsent_ns = oldest_unsent_ns;
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.clone_from(status);
    }

    /// Time of the oldest event that is not sent. It is in the batch, or the cursor stands: at a receiver that
    /// was never reached, or paused. Then the store tells, once for each place.
    fn oldest_unsent(&mut self, now: Duration) -> Option<u64> {
        let next = self.cursor.place().next;
        if let Some(document) = self.batch.document(0) {
            return Some(document.time_ns);
        }
        if next >= self.head.next() {
            self.standing = None;
            return None;
        }
        let before = self.standing.take().filter(|standing| standing.next == next);
        let mut standing = before.unwrap_or(Standing { next, since: now, oldest_ns: None });
        let stands = self.status.state != State::Running || now.saturating_sub(standing.since) >= STANDS;
        if stands && standing.oldest_ns.is_none() {
            let query = store::Query { from_sequence: Some(next), ..store::Query::default() };
            standing.oldest_ns = self.reader.query(&query).find_map(Result::ok).map(|entry| entry.time_ns);
        }
        self.standing.insert(standing).oldest_ns
    }

    /// Shows another state than what the last turn led to.
    pub(crate) fn show(&mut self, state: State) {
        self.status.state = state;
        self.publish();
    }

    /// Asks the sink again where it goes on.
    pub(crate) fn ask_again(&mut self) {
        self.resumed = false;
        self.hurry();
    }

    /// Tries again at once, as if nothing had failed.
    fn hurry(&mut self) {
        self.retry.reset();
        self.refused.reset();
    }

    /// Whether everything committed so far is settled.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.cursor.place().next >= self.head.next()
    }

    /// Goes on at event `next`, be it sent already or not.
    ///
    /// # Errors
    /// When the cursor cannot be written.
    pub fn rewind(&mut self, next: u64) -> Result<(), Error> {
        let rewinds = self.cursor.place().rewinds + 1;
        self.cursor.advance(Place { next: next.max(1), rewinds, mark: Vec::new() })?;
        self.cursor.sync()?;
        self.forget();
        self.resumed = false;
        self.hurry();
        self.publish();
        Ok(())
    }

    /// Sequence of the first event not older than `time_ns`, or the next one to come.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn sequence_at(&self, time_ns: u64) -> Result<u64, Error> {
        let query = store::Query { since_ns: Some(time_ns), ..store::Query::default() };
        let first = self.reader.query(&query).find_map(Result::ok).map(|entry| entry.sequence);
        Ok(first.unwrap_or_else(|| self.head.next()))
    }

    /// Sequence of the oldest event in the store.
    pub(crate) fn oldest(&self) -> Result<u64, Error> {
        let totals = self.reader.totals().map_err(|error| Error::Settings(error.to_string()))?;
        Ok(totals.first_sequence.max(1))
    }

    /// A sequence that is or was in the store, or comes next.
    pub(crate) fn check(&self, sequence: u64) -> Result<u64, Error> {
        self.head.check(sequence).map_err(Error::Settings)
    }

    /// How far the store goes.
    pub(crate) fn head(&self) -> u64 {
        self.head.next()
    }

    /// The end: what can be made durable is.
    pub(crate) fn end(&mut self) {
        self.untold.tell_all(self.tools.tell.as_mut());
        if let Err(error) = self.cursor.sync() {
            self.note_error(error.to_string());
        }
        self.show(State::Stopped);
    }
}

/// Whether it is anything but a notice of what a sink did not take: those would go round in a circle.
fn is_news(document: &Document<'_>) -> bool {
    !NOTICES.contains(&&*document.action())
}

fn cut(text: &str) -> String {
    let end = text.floor_char_boundary(ERROR_LIMIT);
    text.get(..end).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests;
