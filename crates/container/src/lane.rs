// SPDX-License-Identifier: Apache-2.0
//! One lane is one thread that asks one source, so that a source which hangs holds up nobody else.
//! Failures are tried again a few times, then answered; a source that hangs is left alone for a
//! while. Never waits longer for a source than the request's timeout.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::api::Api;
use crate::containerd::Containerd;
use crate::counters::{Counters, count};
use crate::directory::Resolved;
use crate::oci::StateFiles;
use crate::recent::Recent;
use crate::{Info, LookupError, Runtime};

/// The most questions a lane holds, those that wait for another try included.
pub(crate) const QUEUE_LIMIT: usize = 4096;
/// How long to wait before each further try.
const DELAYS: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(800),
    Duration::from_secs(2),
];
/// How long a source that hung is left alone: first, and at most.
const REST_FIRST: Duration = Duration::from_millis(500);
const REST_MOST: Duration = Duration::from_secs(10);
/// How often a lane with nothing to do looks up.
const IDLE: Duration = Duration::from_secs(60);

/// Where answers go; `false` when nobody listens any more.
pub(crate) type Deliver = Arc<dyn Fn(Resolved) -> bool + Send + Sync>;

/// One question, shared by the lanes that work on it. The first description wins; "nobody knows"
/// is said when every lane has given up.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) id: String,
    pub(crate) runtime: Runtime,
    /// Lanes that have not given up yet.
    pub(crate) open: AtomicUsize,
    answered: AtomicBool,
}

impl Ticket {
    pub(crate) fn new(id: &str, runtime: Runtime, lanes: usize) -> Ticket {
        Ticket { id: id.to_owned(), runtime, open: lanes.into(), answered: false.into() }
    }

    #[cfg(test)]
    pub(crate) fn of(id: &str, runtime: Runtime) -> Ticket {
        Ticket::new(id, runtime, 1)
    }
}

/// What a lane asks.
#[derive(Debug)]
pub(crate) enum Source {
    Api { api: Api, recent: Arc<Mutex<Recent>> },
    Containerd(Containerd),
    Files(StateFiles),
}

/// What one look-up gave. Both may be set: a failure, and what is known in spite of it.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) info: Option<Info>,
    pub(crate) failure: Option<LookupError>,
}

impl From<Result<Option<Info>, LookupError>> for Found {
    fn from(result: Result<Option<Info>, LookupError>) -> Found {
        match result {
            Ok(info) => Found { info, failure: None },
            Err(error) => Found { info: None, failure: Some(error) },
        }
    }
}

impl Source {
    /// `rest` forbids to touch sockets.
    fn look_up(&mut self, ticket: &Ticket, rest: bool) -> Found {
        match self {
            Source::Files(files) => files.look_up(ticket),
            Source::Containerd(containerd) => containerd.look_up(ticket, rest),
            Source::Api { api, recent } => ask_api(api, recent, &ticket.id, rest),
        }
    }
}

/// A full description that is remembered will do; otherwise the runtime is asked, and what its
/// events told is good enough when it knows nothing any more or does not answer.
fn ask_api(api: &Api, recent: &Mutex<Recent>, id: &str, rest: bool) -> Found {
    let memory = || recent.lock().unwrap_or_else(PoisonError::into_inner);
    let known = memory().get(id);
    if rest || known.as_ref().is_some_and(|(_, complete)| *complete) {
        return Found { info: known.map(|(info, _)| info), failure: None };
    }
    let mut found = Found::from(api.inspect(id));
    match &found.info {
        Some(info) => memory().put(info.clone(), true),
        None => found.info = memory().get(id).map(|(info, _)| info),
    }
    found
}

/// The thread's own side of a lane.
pub(crate) struct Lane {
    pub(crate) source: Source,
    pub(crate) questions: Receiver<Arc<Ticket>>,
    /// Questions held, shared with the one who asks.
    pub(crate) held: Arc<AtomicUsize>,
    pub(crate) deliver: Deliver,
    pub(crate) counters: Arc<Counters>,
}

/// A question that waits for its next try: when, and its turn among equals.
type Due = (Instant, u64);

impl Lane {
    /// Works until nobody can ask or listen any more.
    pub(crate) fn run(mut self) {
        let mut later: BTreeMap<Due, (Arc<Ticket>, usize)> = BTreeMap::new();
        let mut turn = 0_u64;
        let mut pause = Pause::default();
        loop {
            let now = Instant::now();
            let next = later.first_key_value().map(|(due, _)| due.0);
            let (ticket, tries) = match next {
                Some(due) if due <= now => match later.pop_first() {
                    Some((_, waiting)) => waiting,
                    None => continue,
                },
                _ => match self.questions.recv_timeout(next.map_or(IDLE, |due| due - now)) {
                    Ok(ticket) => (ticket, 0),
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => return,
                },
            };
            match self.work(&ticket, tries, &mut pause) {
                Outcome::Again(delay) => {
                    count(&self.counters.retries);
                    turn += 1;
                    later.insert((Instant::now() + delay, turn), (ticket, tries + 1));
                }
                Outcome::Over => drop(self.held.fetch_sub(1, Ordering::AcqRel)),
                Outcome::Deaf => return,
            }
        }
    }

    fn work(&mut self, ticket: &Ticket, tries: usize, pause: &mut Pause) -> Outcome {
        if ticket.answered.load(Ordering::Acquire) {
            return Outcome::Over;
        }
        let found = self.source.look_up(ticket, pause.resting());
        match &found.failure {
            None => pause.worked(),
            Some(error) => {
                self.counters.failure(error);
                if matches!(error, LookupError::TimedOut { .. }) {
                    pause.begin();
                }
            }
        }
        match (found.info, DELAYS.get(tries)) {
            (Some(info), _) => self.answer(ticket, Some(info)),
            (None, Some(delay)) => Outcome::Again(*delay),
            (None, None) if ticket.open.fetch_sub(1, Ordering::AcqRel) == 1 => self.answer(ticket, None),
            (None, None) => Outcome::Over,
        }
    }

    fn answer(&self, ticket: &Ticket, info: Option<Info>) -> Outcome {
        if ticket.answered.swap(true, Ordering::AcqRel) {
            return Outcome::Over;
        }
        count(if info.is_some() { &self.counters.resolved } else { &self.counters.unknown });
        if (self.deliver)(Resolved { id: ticket.id.clone(), info }) { Outcome::Over } else { Outcome::Deaf }
    }
}

enum Outcome {
    Over,
    Again(Duration),
    /// Nobody listens any more.
    Deaf,
}

/// The rest after a time-out, longer each time.
#[derive(Default)]
struct Pause {
    until: Option<Instant>,
    length: Duration,
}

impl Pause {
    fn resting(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() < until)
    }

    fn begin(&mut self) {
        self.length = (self.length * 2).clamp(REST_FIRST, REST_MOST);
        self.until = Some(Instant::now() + self.length);
    }

    fn worked(&mut self) {
        if !self.resting() {
            *self = Pause::default();
        }
    }
}
