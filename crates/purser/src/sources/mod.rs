// SPDX-License-Identifier: Apache-2.0
//! The sources of a running agent: one thread each. The main line takes what they have read, and tells
//! them what is committed; it never waits for any of them.

mod hide;
mod logs;
mod prepare;
mod roots;

pub(crate) use prepare::reads_containers;

use crate::command::say;
use crate::config::source::Kind;
use crate::config::{Config, Runtimes, Source};
use crate::control::SourceState;
use anyhow::Context;
use event::Container;
use prepare::knows_containers;
use redact::Redactor;
use source::{Batch, Positions, Runner, Stopping, Unread};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Containers that are known from what runs in them.
type Containers = Arc<Mutex<Vec<Container>>>;
/// Containers whose logs sources have found, by id, until the main line takes them.
type Found = Arc<Mutex<BTreeMap<String, Container>>>;
/// Containers whose output cannot be read and that were told.
const UNREAD_LIMIT: usize = 1024;

/// One source at work.
#[derive(Debug)]
struct Working {
    config: Source,
    runner: Runner,
    /// What was last said about it.
    said: Option<String>,
    /// Containers that were told not to be read.
    unread: BTreeSet<String>,
}

/// All of them.
pub(crate) struct Sources {
    store: PathBuf,
    working: BTreeMap<String, Working>,
    containers: Containers,
    found: Found,
    runtimes: Runtimes,
    redactor: hide::Rules,
    wake: Arc<dyn Fn() + Send + Sync>,
    /// Whose batches were appended and are not committed, in order.
    appended: VecDeque<String>,
    /// Who is asked first for a batch.
    turn: usize,
    /// Sources of the configuration, which share what they may hold.
    count: usize,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources").field("working", &self.working).finish_non_exhaustive()
    }
}

impl Sources {
    /// None yet. `wake` wakes the main line.
    pub(crate) fn new(
        store: &Path,
        redactor: Arc<Redactor>,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Sources {
        Sources {
            store: store.to_path_buf(),
            working: BTreeMap::new(),
            containers: Arc::default(),
            found: Arc::default(),
            runtimes: Runtimes::default(),
            count: 0,
            redactor: Arc::new(Mutex::new(redactor)),
            wake: Arc::new(wake),
            appended: VecDeque::new(),
            turn: 0,
        }
    }

    /// Makes the sources those of `config`: what did not change runs on. Everything appended must be
    /// committed before. `store_end`: the first event that is not in the store.
    pub(crate) fn configure(
        &mut self,
        config: &Config,
        redactor: Arc<Redactor>,
        store_end: u64,
    ) -> anyhow::Result<()> {
        self.runtimes.clone_from(&config.runtimes);
        self.count = config.sources.len();
        *self.redactor.lock().unwrap_or_else(PoisonError::into_inner) = redactor;
        let mut old = std::mem::take(&mut self.working);
        for (name, source) in &config.sources {
            let before = match old.remove(name) {
                Some(same) if same.config == *source => {
                    self.working.insert(name.clone(), same);
                    continue;
                }
                other => other.map(|working| working.runner.stop()),
            };
            let working = self.start(name, source, before, store_end)?;
            self.working.insert(name.clone(), working);
        }
        old.into_values().for_each(|working| drop(working.runner.stop()));
        Ok(())
    }

    /// The thread first waits for the end of the one `before` it, which knows what is committed.
    fn start(
        &self,
        name: &str,
        source: &Source,
        before: Option<Stopping>,
        store_end: u64,
    ) -> anyhow::Result<Working> {
        let dir = self.store.join(store::SOURCES_NAME).join(name);
        let (store, place, own) = (self.store.clone(), dir.clone(), name.to_string());
        let positions = move || match before.and_then(Stopping::join) {
            Some(positions) => positions,
            None => committed(&store, &place, &own, store_end),
        };
        let wake = Arc::clone(&self.wake);
        let start = ::source::Start {
            settings: prepare::settings(name, source, self.count)?,
            roots: match source.kind {
                Kind::Container => logs::finder(source, &self.runtimes, &self.containers, &self.found),
                Kind::File => roots::finder(&self.containers, reads_containers(source)),
            },
            positions: Box::new(positions),
            dir,
            clock: crate::pipeline::Clock::wall_clock,
            edit: hide::editor(&self.redactor, source.redact),
            wake: Box::new(move || wake()),
        };
        let runner = Runner::start(&format!("source {name}"), start)
            .with_context(|| format!("starting the thread of source {name}"))?;
        Ok(Working { config: source.clone(), runner, said: None, unread: BTreeSet::new() })
    }

    /// The next batch; the caller appends it, and commits it before the sources are configured anew.
    pub(crate) fn take(&mut self) -> Option<Batch> {
        let count = self.working.len();
        self.turn = self.turn.wrapping_add(1);
        for (name, working) in self.working.iter().cycle().skip(self.turn % count.max(1)).take(count) {
            if let Some(batch) = working.runner.take() {
                self.appended.push_back(name.clone());
                return Some(batch);
            }
        }
        None
    }

    /// Everything appended is committed; `next` is the first event behind it.
    pub(crate) fn committed(&mut self, next: u64) {
        for name in self.appended.drain(..) {
            if let Some(working) = self.working.get(&name) {
                working.runner.committed(next);
            }
        }
    }

    /// Whether some source must know which containers there are.
    pub(crate) fn knows_containers(&self) -> bool {
        self.working.values().any(|working| knows_containers(&working.config))
    }

    /// The containers there are.
    pub(crate) fn set_containers(&self, containers: Vec<Container>) {
        *self.containers.lock().unwrap_or_else(PoisonError::into_inner) = containers;
    }

    /// Something runs in a container that is new: it may not be there for long.
    pub(crate) fn look_now(&self) {
        let containers = self.working.values().filter(|working| working.config.kind == Kind::Container);
        containers.for_each(|working| working.runner.look_now());
    }

    /// What sources know of containers whose lines come next.
    pub(crate) fn take_found(&self) -> BTreeMap<String, Container> {
        std::mem::take(&mut *self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What each does.
    pub(crate) fn list(&self) -> Vec<SourceState> {
        let state = |(name, working): (&String, &Working)| SourceState {
            name: name.clone(),
            kind: working.config.kind.word().to_string(),
            status: working.runner.status(),
            followed: working.runner.files(),
        };
        self.working.iter().map(state).collect()
    }

    /// Once a second: says what is new of their troubles. Gives what the record should say of containers
    /// that are not read.
    pub(crate) fn tick(&mut self) -> Vec<String> {
        let mut news = Vec::new();
        for (name, working) in &mut self.working {
            let status = working.runner.status();
            // One that is gone makes room for others to be told.
            working.unread.retain(|told| status.unread.iter().any(|unread| unread.container == *told));
            for Unread { container, reason } in status.unread {
                if working.unread.len() < UNREAD_LIMIT && working.unread.insert(container.clone()) {
                    news.push(format!("source {name} does not read container {container}: {reason}"));
                }
            }
            let error = status.error;
            if error != working.said
                && let Some(error) = &error
            {
                say(&format!("purser: source {name}: {error}"));
            }
            working.said = error;
        }
        news
    }

    /// Ends them all. What was not taken is read again by the next agent.
    pub(crate) fn end(&mut self, patience: Duration) {
        let end = Instant::now() + patience;
        let working = std::mem::take(&mut self.working);
        let stopping: Vec<Stopping> = working.into_values().map(|working| working.runner.stop()).collect();
        // A thread that a file system holds up ends with the process.
        while stopping.iter().any(|stopping| !stopping.is_over()) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What the store has of the source: the newest summary and the events behind it.
fn committed(store: &Path, dir: &Path, name: &str, store_end: u64) -> Positions {
    let mut positions = Positions::load(dir, store_end);
    let Ok(reader) = store::Reader::open(store) else { return positions };
    let query = store::Query {
        from_sequence: Some(positions.sequence),
        kinds: 1 << event::Kind::Line as u64,
        ..store::Query::default()
    };
    // What a damaged block held is read from its file again.
    for entry in reader.query(&query).flatten().take_while(|entry| entry.sequence < store_end) {
        if let Ok(event::Event { container, body: event::Body::Line(line), .. }) =
            event::codec::decode(&entry.event)
            && line.source == name
        {
            positions.learn(&container, &line);
        }
    }
    positions
}
