// SPDX-License-Identifier: Apache-2.0
//! Rows out of the store: the only place where commands touch it. Bytes become events here,
//! and an event that cannot be read is counted and told, not hidden.

use super::filter::Filter;
use super::{host, say};
use crate::exit::Exit;
use crate::table::Row;
use anyhow::Context as _;
use event::document::Context;
use event::{Container, Kind, codec};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Decoded containers kept, so that each is decoded once.
const CONTAINERS_LIMIT: usize = 1_024;

/// A store opened for reading.
#[derive(Debug)]
pub(crate) struct Archive {
    reader: store::Reader,
    dir: PathBuf,
    /// Whether anything could not be read.
    damaged: Arc<AtomicBool>,
}

/// A part of the record to look at, before the filter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    pub(crate) from_sequence: Option<u64>,
    /// Up to before this one: what is recorded while we read does not count.
    pub(crate) until_sequence: Option<u64>,
    pub(crate) kinds: Option<Vec<Kind>>,
    pub(crate) newest_first: bool,
}

impl Archive {
    pub(crate) fn open(dir: &Path) -> anyhow::Result<Archive> {
        let reader = store::Reader::open(dir)?;
        Ok(Archive { reader, dir: dir.to_path_buf(), damaged: Arc::default() })
    }

    /// What documents need besides events.
    pub(crate) fn context(&self) -> Context {
        Context { store_id: self.reader.store_id(), host_name: host::name() }
    }

    /// The sequence number the next event will get.
    pub(crate) fn next_sequence(&self) -> anyhow::Result<u64> {
        let totals = self.reader.totals().with_context(|| self.reading())?;
        Ok(totals.last_sequence + 1)
    }

    /// The rows of `part` that pass `filter`.
    pub(crate) fn rows(&self, filter: &Filter, part: &Part) -> Rows {
        let query = filter.query(part);
        let entries = self.reader.query(&query);
        let until = part.until_sequence.unwrap_or(u64::MAX);
        Rows { entries, until, decoder: self.decoder(), filter: filter.clone(), reading: self.reading() }
    }

    /// Rows as they are stored, from `from_sequence` on, for ever.
    pub(crate) fn follow(&self, from_sequence: u64, filter: &Filter) -> Follower {
        let follower = self.reader.follow(from_sequence);
        Follower { follower, decoder: self.decoder(), filter: filter.clone(), reading: self.reading() }
    }

    /// Every container of the record by id, with the latest that is known of it. Reads the
    /// blocks' dictionaries only.
    pub(crate) fn containers(&self) -> anyhow::Result<BTreeMap<String, Container>> {
        let found: Arc<Mutex<BTreeMap<String, Container>>> = Arc::default();
        let shared = Arc::clone(&found);
        let test = move |id: &[u8], attachment: &[u8]| {
            let id = String::from_utf8_lossy(id).into_owned();
            let known = codec::decode_container(attachment).unwrap_or_default();
            let mut found = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let entry = found.entry(id).or_default();
            if !known.name.is_empty() || entry.name.is_empty() {
                *entry = known;
            }
            false
        };
        let query = store::Query { subject: Some(Arc::new(test)), ..store::Query::default() };
        for entry in self.reader.query(&query) {
            match entry {
                // Told when the rows themselves are read.
                Ok(_) | Err(store::Error::Damaged { .. }) => {}
                Err(error) => return Err(error).with_context(|| self.reading()),
            }
        }
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        found.remove("");
        Ok(std::mem::take(&mut *found))
    }

    /// How a command ends that has read what it could.
    pub(crate) fn exit(&self) -> Exit {
        if self.damaged.load(Ordering::Relaxed) { Exit::Problem } else { Exit::Success }
    }

    fn decoder(&self) -> Decoder {
        Decoder { containers: HashMap::new(), unreadable: 0, damaged: Arc::clone(&self.damaged) }
    }

    fn reading(&self) -> String {
        format!("reading the store {}", self.dir.display())
    }
}

/// Bytes to rows.
#[derive(Debug)]
struct Decoder {
    containers: HashMap<Vec<u8>, Arc<Container>>,
    unreadable: u64,
    damaged: Arc<AtomicBool>,
}

impl Decoder {
    fn row(&mut self, entry: &store::Entry) -> Option<Row> {
        let Ok(event) = codec::decode(&entry.event) else {
            if self.unreadable == 0 {
                say(&format!(
                    "purser: event {} cannot be read by this version; purser verify tells more",
                    entry.sequence
                ));
            }
            self.unreadable += 1;
            self.damaged.store(true, Ordering::Relaxed);
            return None;
        };
        let container = entry.attachment.as_deref().and_then(|attachment| self.container(attachment));
        Some(Row { sequence: entry.sequence, event, container })
    }

    fn broken(&self, error: &store::Error) {
        say(&format!("purser: {error}"));
        self.damaged.store(true, Ordering::Relaxed);
    }

    fn container(&mut self, attachment: &[u8]) -> Option<Arc<Container>> {
        if attachment.is_empty() {
            return None;
        }
        if let Some(known) = self.containers.get(attachment) {
            return Some(Arc::clone(known));
        }
        let container = Arc::new(codec::decode_container(attachment).ok()?);
        if self.containers.len() >= CONTAINERS_LIMIT {
            self.containers.clear();
        }
        self.containers.insert(attachment.to_vec(), Arc::clone(&container));
        Some(container)
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        if self.unreadable > 1 {
            say(&format!("purser: {} events could not be read", self.unreadable));
        }
    }
}

/// Rows of what is stored.
#[derive(Debug)]
pub(crate) struct Rows {
    entries: store::Entries,
    /// Sequence of the first that is not given any more.
    until: u64,
    decoder: Decoder,
    filter: Filter,
    reading: String,
}

impl Iterator for Rows {
    type Item = anyhow::Result<Row>;

    fn next(&mut self) -> Option<anyhow::Result<Row>> {
        loop {
            match self.entries.next()? {
                // Newest first, others come behind it.
                Ok(entry) if entry.sequence >= self.until => {}
                Ok(entry) => match self.decoder.row(&entry) {
                    Some(row) if self.filter.matches(&row) => return Some(Ok(row)),
                    _ => {}
                },
                // The store passes over what is broken; so do we, aloud.
                Err(error @ store::Error::Damaged { .. }) => self.decoder.broken(&error),
                Err(error) => return Some(Err(error).with_context(|| self.reading.clone())),
            }
        }
    }
}

/// Rows as they come.
#[derive(Debug)]
pub(crate) struct Follower {
    follower: store::Follower,
    decoder: Decoder,
    filter: Filter,
    reading: String,
}

impl Follower {
    /// The next row that passes the filter, or `None` when `timeout` is over.
    pub(crate) fn next(&mut self, timeout: Duration) -> anyhow::Result<Option<Row>> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.follower.next(left) {
                Ok(Some(entry)) => {
                    let row = self.decoder.row(&entry).filter(|row| self.filter.matches(row));
                    if row.is_some() || left.is_zero() {
                        return Ok(row);
                    }
                }
                Ok(None) => return Ok(None),
                Err(error @ store::Error::Damaged { .. }) => self.decoder.broken(&error),
                Err(error) => return Err(error).with_context(|| self.reading.clone()),
            }
        }
    }
}
