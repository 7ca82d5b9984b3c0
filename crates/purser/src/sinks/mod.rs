// SPDX-License-Identifier: Apache-2.0
//! The sinks of a running agent: one thread each, started and stopped by configuration. The main
//! line never waits for any of them.

mod http;
mod oauth;
mod prepare;
mod secrets;

pub(crate) use prepare::{Prepared, canary, prepare};

use crate::command::say;
use crate::config::{Config, Sink};
use crate::control::{RewindTo, SinkState};
use ship::{Head, Notice, Order, Runner, State, Status};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Notices that may wait for the main line; a sink that finds no room asks again.
const NOTICES_LIMIT: usize = 16;
/// Longest time a sink waits for the main line to take its notice.
const NOTICE_PATIENCE: Duration = Duration::from_secs(5);
/// What a sink that is taken out of the configuration may still send.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Time before a thread that ended by itself is begun anew.
const FALLEN: Duration = Duration::from_secs(30);
/// Time that a sink with trouble has to close what it has open.
const GRACE: Duration = Duration::from_millis(100);

/// A notice on its way into the record.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) sink: String,
    pub(crate) notice: Notice,
    /// True once it is committed.
    pub(crate) done: SyncSender<bool>,
}

/// One sink at work.
#[derive(Debug)]
struct Working {
    prepared: Prepared,
    runner: Runner,
    status: Arc<Mutex<Status>>,
    /// What was last said about it.
    said: State,
    /// Where the store ended when it was opened, until the sink has sent something since.
    store_end: Arc<AtomicU64>,
    /// When its thread was found to have ended by itself.
    fell: Option<Instant>,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Sinks {
    store: PathBuf,
    head: Arc<Head>,
    working: BTreeMap<String, Working>,
    /// Told to end, and not ended yet.
    ending: Vec<(String, Runner)>,
    notices: Receiver<Told>,
    teller: Teller,
}

/// What a sink's thread tells its notices to.
#[derive(Clone)]
struct Teller {
    queue: SyncSender<Told>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Teller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Teller")
    }
}

impl Teller {
    fn tell(&self, sink: &str, notice: Notice) -> bool {
        let (done, answered) = sync_channel(1);
        if self.queue.try_send(Told { sink: sink.to_string(), notice, done }).is_err() {
            return false;
        }
        (self.wake)();
        answered.recv_timeout(NOTICE_PATIENCE).unwrap_or(false)
    }
}

impl Sinks {
    /// None yet. `wake` wakes the main line.
    pub(crate) fn new(store: &Path, wake: impl Fn() + Send + Sync + 'static) -> Sinks {
        let (queue, notices) = sync_channel(NOTICES_LIMIT);
        Sinks {
            store: store.to_path_buf(),
            head: Arc::default(),
            working: BTreeMap::new(),
            ending: Vec::new(),
            notices,
            teller: Teller { queue, wake: Arc::new(wake) },
        }
    }

    /// How far the store goes; said after each commit.
    pub(crate) fn committed(&self, next: u64) {
        self.head.set(next);
    }

    /// Makes the sinks those of `prepared`: what did not change runs on. `store_end` is where the
    /// store ended when it was opened, and 0 later: what sinks have sent since cannot be lost.
    pub(crate) fn configure(
        &mut self,
        prepared: Vec<Prepared>,
        store_end: u64,
    ) -> anyhow::Result<Vec<String>> {
        let mut anew = Vec::new();
        let mut old = std::mem::take(&mut self.working);
        for prepared in prepared {
            let before = match old.remove(&prepared.name) {
                Some(same) if same.prepared == prepared => {
                    self.working.insert(prepared.name.clone(), same);
                    continue;
                }
                other => other,
            };
            if let Some(working) = &before {
                anew.push(prepared.name.clone());
                working.runner.order(Order::Stop(Duration::ZERO));
            }
            let working = self.start(prepared, before, store_end)?;
            self.working.insert(working.prepared.name.clone(), working);
        }
        for (_, working) in old {
            working.runner.order(Order::Stop(LAST_WORDS));
            self.ending.push((working.prepared.name.clone(), working.runner));
        }
        Ok(anew)
    }

    /// The thread first waits for the end of those before it of the same name, which hold the cursor.
    fn start(
        &mut self,
        prepared: Prepared,
        before: Option<Working>,
        store_end: u64,
    ) -> anyhow::Result<Working> {
        let is_same = |(name, _): &mut (String, Runner)| *name == prepared.name;
        let mut removed: Vec<Runner> =
            self.ending.extract_if(.., is_same).map(|(_, runner)| runner).collect();
        let status = Arc::new(Mutex::new(Status::default()));
        let (teller, name) = (self.teller.clone(), prepared.name.clone());
        let mut setting = prepare::Setting {
            prepared: prepared.clone(),
            store: self.store.clone(),
            store_end,
            head: Arc::clone(&self.head),
            status: Arc::clone(&status),
            tell: Arc::new(move |notice| teller.tell(&name, notice)),
        };
        let store_end = Arc::new(AtomicU64::new(store_end));
        let (mut before, unchecked) = (before, Arc::clone(&store_end));
        let make = move || {
            removed.drain(..).for_each(Runner::join);
            if let Some(before) = before.take() {
                before.runner.join();
                // It may have ended before it could look whether the store still has what it had sent.
                if before.status.lock().unwrap_or_else(PoisonError::into_inner).sent == 0 {
                    unchecked.store(before.store_end.load(Ordering::Relaxed), Ordering::Relaxed);
                }
            }
            setting.store_end = unchecked.load(Ordering::Relaxed);
            setting.line()
        };
        let runner = Runner::start(&format!("sink {}", prepared.name), Arc::clone(&status), Box::new(make))?;
        Ok(Working { prepared, runner, status, said: State::Starting, store_end, fell: None })
    }

    /// The next notice for the record.
    pub(crate) fn notice(&self) -> Option<Told> {
        self.notices.try_recv().ok()
    }

    /// Once a second: says when a sink begins or ends to have trouble.
    pub(crate) fn tick(&mut self) {
        self.ending.retain(|(_, runner)| !runner.is_over());
        self.lift_fallen();
        for (name, working) in &mut self.working {
            let status = working.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let trouble = |state| matches!(state, State::Retrying | State::Refused);
            if trouble(status.state) && status.state != working.said {
                let error = status.error.unwrap_or_default();
                say(&format!(
                    "purser: sink {name}: {error}; {} events wait",
                    self.head.next().saturating_sub(status.cursor)
                ));
            } else if trouble(working.said) && status.state == State::Running {
                say(&format!("purser: sink {name}: sending again"));
            } else if trouble(working.said) && status.state == State::Starting {
                continue;
            }
            working.said = status.state;
        }
    }

    /// A thread that ended by itself has met a mistake of ours: that is told, and it is begun anew.
    fn lift_fallen(&mut self) {
        let is_over = |working: &&mut Working| working.runner.is_over();
        let mut due = Vec::new();
        for working in self.working.values_mut().filter_map(|working| Some(working).filter(is_over)) {
            let since = *working.fell.get_or_insert_with(Instant::now);
            let mut status = working.status.lock().unwrap_or_else(PoisonError::into_inner);
            status.state = State::Refused;
            let told = format!("its thread ended unexpectedly; begun anew every {} s", FALLEN.as_secs());
            status.error = Some(told);
            if since.elapsed() >= FALLEN {
                due.push((working.prepared.clone(), working.store_end.load(Ordering::Relaxed)));
            }
        }
        for (prepared, store_end) in due {
            // Without a thread it is tried again in a second.
            if let Ok(working) = self.start(prepared, None, store_end) {
                self.working.insert(working.prepared.name.clone(), working);
            }
        }
    }

    /// What `sink ls` shows.
    pub(crate) fn list(&self, now_ns: u64) -> Vec<SinkState> {
        let states = self.working.iter().map(|(name, working)| {
            let status = working.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let lag_events = self.head.next().saturating_sub(status.cursor);
            let oldest = status.oldest_unsent_ns.filter(|_| lag_events > 0);
            SinkState {
                name: name.clone(),
                kind: working.prepared.sink.kind.word().to_string(),
                lag_events,
                lag_ms: oldest.map_or(0, |oldest| now_ns.saturating_sub(oldest) / 1_000_000),
                status,
            }
        });
        states.collect()
    }

    /// Whether there is a sink `name`, and an event to go to.
    pub(crate) fn can_go_to(&self, name: &str, to: RewindTo) -> Result<(), String> {
        self.find(name)?;
        match to {
            RewindTo::Sequence(sequence) => self.head.check(sequence).map(drop),
            _ => Ok(()),
        }
    }

    fn find(&self, name: &str) -> Result<&Working, String> {
        self.working.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.working.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none is configured".to_string() } else { known.join(", ") };
            format!("there is no sink {name:?}; known: {known}")
        })
    }

    /// Gives an order to the sink `name`; the error names those there are.
    pub(crate) fn order(&self, name: &str, order: Order) -> Result<(), String> {
        if self.find(name)?.runner.order(order) {
            return Ok(());
        }
        Err(format!("sink {name} does not listen; purser sink ls tells its state"))
    }

    /// Ends them all: those that are well send what is committed if that takes no longer than
    /// `patience`. One that has trouble is not waited for: it may be held up by its receiver for
    /// seconds, and the next agent sends the same again.
    pub(crate) fn end(self, patience: Duration) {
        let end = Instant::now() + patience + Duration::from_secs(1);
        let ending = self.ending.into_iter().map(|(_, runner)| runner);
        let (mut well, mut rest): (Vec<Runner>, Vec<Runner>) = (Vec::new(), ending.collect());
        for working in self.working.into_values() {
            let state = working.status.lock().unwrap_or_else(PoisonError::into_inner).state;
            let (runners, patience) = match state {
                State::Running | State::Starting => (&mut well, patience),
                _ => (&mut rest, Duration::ZERO),
            };
            working.runner.order(Order::Stop(patience));
            runners.push(working.runner);
        }
        // Notices find nobody any more: their lines keep what they concern for the next agent.
        drop(self.notices);
        wait_for(&well, end);
        wait_for(&rest, end.min(Instant::now() + GRACE));
        // A thread that a receiver holds up ends with the process: its cursor is safe.
        well.into_iter().chain(rest).filter(Runner::is_over).for_each(Runner::join);
    }
}

/// Until all of them have ended, or the time has come.
fn wait_for(runners: &[Runner], end: Instant) {
    while runners.iter().any(|runner| !runner.is_over()) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Those of the configuration, with their secrets read.
pub(crate) fn prepare_all(config: &Config) -> anyhow::Result<Vec<Prepared>> {
    config.sinks.iter().map(|(name, sink): (&String, &Sink)| prepare(name, sink)).collect()
}
