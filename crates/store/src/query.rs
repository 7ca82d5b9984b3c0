// SPDX-License-Identifier: Apache-2.0
//! What is asked for, what is answered, and the tests that leave blocks unread.

use std::fmt;
use std::sync::Arc;

use crate::block::Header;
use crate::body::{Body, Row};
use crate::filter::{self, Filter, needle_bits};

/// Decides on a subject and its attachment (empty when there is none). Two threads may ask it at once.
pub type SubjectTest = Arc<dyn Fn(&[u8], &[u8]) -> bool + Send + Sync>;

/// Which events to give. The default gives all, oldest first.
#[derive(Clone, Default)]
pub struct Query {
    /// Not before this time, ns since 1970.
    pub since_ns: Option<u64>,
    /// Before this time, ns since 1970.
    pub until_ns: Option<u64>,
    /// Not before this sequence.
    pub from_sequence: Option<u64>,
    /// A bit for each kind; 0 = all.
    pub kinds: u64,
    /// Only events whose subject passes.
    pub subject: Option<SubjectTest>,
    /// Only of this user.
    pub user: Option<u32>,
    /// Only of exactly this executable.
    pub executable: Option<Vec<u8>>,
    /// Only events whose bytes hold this; blocks are chosen by the trigrams of the pieces given as text,
    /// so something that only stands elsewhere in the event may be missed.
    pub text: Option<Vec<u8>>,
    /// At most this many, the newest ones.
    pub limit: Option<usize>,
    /// Newest first.
    pub newest_first: bool,
}

impl fmt::Debug for Query {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Query")
            .field("since_ns", &self.since_ns)
            .field("until_ns", &self.until_ns)
            .field("from_sequence", &self.from_sequence)
            .field("kinds", &self.kinds)
            .field("subject", &self.subject.is_some())
            .field("user", &self.user)
            .field("executable", &self.executable)
            .field("text", &self.text)
            .field("limit", &self.limit)
            .field("newest_first", &self.newest_first)
            .finish()
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number in the store, from 1.
    pub sequence: u64,
    /// As given in its keys.
    pub time_ns: u64,
    /// As given in its keys.
    pub kind: u8,
    /// As given in its keys: a container id, or empty.
    pub subject: Arc<[u8]>,
    /// As given in its keys.
    pub user: u32,
    /// As given in its keys: a path, or empty.
    pub executable: Arc<[u8]>,
    /// As appended.
    pub event: Vec<u8>,
    /// What was known of its subject when its block was closed.
    pub attachment: Option<Arc<[u8]>>,
}

/// A query with its needle prepared.
#[derive(Debug, Clone)]
pub(crate) struct Matcher {
    pub(crate) query: Query,
    needle: Option<memchr::memmem::Finder<'static>>,
    bits: Vec<usize>,
}

/// The keys of one event, as either a block or the journal gives them.
#[derive(Debug)]
pub(crate) struct EventKeys {
    pub(crate) sequence: u64,
    pub(crate) time_ns: u64,
    pub(crate) kind: u8,
    pub(crate) user: u32,
}

impl Matcher {
    pub(crate) fn new(query: &Query) -> Matcher {
        let text = query.text.as_deref().filter(|text| !text.is_empty());
        Matcher {
            needle: text.map(|text| memchr::memmem::Finder::new(text).into_owned()),
            bits: text.map(needle_bits).unwrap_or_default(),
            query: query.clone(),
        }
    }

    /// Whether anything in this range of time and sequence, with these kinds, may match.
    pub(crate) fn may_match_range(
        &self,
        time_min: u64,
        time_max: u64,
        next_sequence: u64,
        kinds: u64,
    ) -> bool {
        let query = &self.query;
        query.since_ns.is_none_or(|since| time_max >= since)
            && query.until_ns.is_none_or(|until| time_min < until)
            && query.from_sequence.is_none_or(|from| next_sequence > from)
            && (query.kinds == 0 || query.kinds & kinds != 0)
    }

    pub(crate) fn may_match(&self, header: &Header, filter: Option<&Filter>) -> bool {
        let kinds = filter.map_or(u64::MAX, |filter| filter.kinds);
        self.may_match_range(header.time_min, header.time_max, header.next_sequence(), kinds)
            && filter.is_none_or(|filter| self.may_match_filter(filter))
    }

    fn may_match_filter(&self, filter: &Filter) -> bool {
        let query = &self.query;
        let user = || match (query.user, filter.users) {
            (Some(user), Some(list)) => filter::users(list).any(|known| known == user),
            _ => true,
        };
        let executable = || match (&query.executable, filter.executables) {
            (Some(executable), Some(list)) => filter::executables(list).any(|known| known == executable),
            _ => true,
        };
        let subject = || match (&query.subject, filter.subjects) {
            (Some(test), Some(list)) => filter::subjects(list).any(|(subject, bytes)| test(subject, bytes)),
            _ => true,
        };
        filter.may_contain(&self.bits) && user() && executable() && subject()
    }

    /// Tests that need neither the event's bytes nor a dictionary.
    pub(crate) fn matches_keys(&self, keys: &EventKeys) -> bool {
        let query = &self.query;
        query.since_ns.is_none_or(|since| keys.time_ns >= since)
            && query.until_ns.is_none_or(|until| keys.time_ns < until)
            && query.from_sequence.is_none_or(|from| keys.sequence >= from)
            && (query.kinds == 0 || query.kinds >> (keys.kind & 63) & 1 == 1)
            && query.user.is_none_or(|user| keys.user == user)
    }

    pub(crate) fn matches_executable(&self, path: &[u8]) -> bool {
        self.query.executable.as_ref().is_none_or(|executable| executable == path)
    }

    pub(crate) fn matches_subject(&self, subject: &[u8], attachment: &[u8]) -> bool {
        self.query.subject.as_ref().is_none_or(|test| test(subject, attachment))
    }

    pub(crate) fn matches_text(&self, event: &[u8]) -> bool {
        self.needle.as_ref().is_none_or(|needle| needle.find(event).is_some())
    }

    /// The events of a block that match, oldest first. Only the bytes of events whose keys match
    /// are looked at.
    pub(crate) fn entries(&self, body: &Body) -> Vec<Entry> {
        let rows = body.rows();
        let follows = |before: &Row, row: &Row| before.start + before.len == row.start;
        let wanted = self.rows_by_keys(body);
        let mut found = Vec::with_capacity(if self.needle.is_none() { wanted.len() } else { 0 });
        // Only bytes that lie one behind the other are searched at once.
        let runs = wanted.chunk_by(|number, next| {
            number + 1 == *next
                && rows.get(*number).zip(rows.get(*next)).is_some_and(|(row, next)| follows(row, next))
        });
        for run in runs {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            let rows = rows.get(*first..=*last).unwrap_or_default();
            self.for_each_with_text(body, rows, |row| found.push(row));
        }
        // Each frame gives a rising run, which this sort knows how to merge.
        found.sort_by_key(|row| row.number);
        found.into_iter().filter_map(|row| entry(body, row)).collect()
    }

    /// The places of the rows whose keys match. Executables are compared once for each value.
    fn rows_by_keys(&self, body: &Body) -> Vec<usize> {
        let subjects: Vec<bool> = body.lists.subjects.iter().map(|subject| subject.wanted).collect();
        let executables: Vec<bool> =
            body.lists.executables.iter().map(|path| self.matches_executable(path)).collect();
        let passes = |passes: &[bool], index: u32| passes.get(index as usize).copied().unwrap_or(false);
        let matches = |row: &Row| {
            let keys = EventKeys {
                sequence: body.first_sequence.saturating_add(u64::from(row.number)),
                time_ns: row.time_ns,
                kind: row.kind,
                user: row.user,
            };
            passes(&subjects, row.subject) && passes(&executables, row.executable) && self.matches_keys(&keys)
        };
        let rows = body.rows().iter().enumerate();
        rows.filter(|(_, row)| matches(row)).map(|(place, _)| place).collect()
    }

    /// Gives those of neighbouring rows whose events hold the text, by one search over all of them.
    fn for_each_with_text<'a>(&self, body: &Body, rows: &'a [Row], mut give: impl FnMut(&'a Row)) {
        let Some(needle) = &self.needle else {
            rows.iter().for_each(give);
            return;
        };
        let mut from = 0;
        while let Some(rest @ [first, ..]) = rows.get(from..) {
            let Some(found) = needle.find(body.events(rest)) else { return };
            let start = first.start + found;
            from += rest.partition_point(|row| row.start + row.len <= start);
            // What begins in one event and ends in the next is in neither.
            if let Some(row) = rows.get(from)
                && start + needle.needle().len() <= row.start + row.len
            {
                give(row);
            }
            from += 1;
        }
    }
}

/// `None` for a row whose names are not in the lists, which `Body::take` has refused before.
fn entry(body: &Body, row: &Row) -> Option<Entry> {
    let subject = body.lists.subjects.get(row.subject as usize)?;
    Some(Entry {
        sequence: body.first_sequence.saturating_add(u64::from(row.number)),
        time_ns: row.time_ns,
        kind: row.kind,
        subject: Arc::clone(&subject.name),
        user: row.user,
        executable: Arc::clone(body.lists.executables.get(row.executable as usize)?),
        event: body.event(row).to_vec(),
        attachment: subject.attachment.clone(),
    })
}
