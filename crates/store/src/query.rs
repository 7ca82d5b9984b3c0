// SPDX-License-Identifier: Apache-2.0
//! What is asked for, what is answered, and the tests that leave blocks unread.

use std::fmt;
use std::sync::Arc;

use crate::block::Header;
use crate::body::Body;
use crate::filter::{self, Filter, needle_bits};

/// Decides on a subject and its attachment (empty when there is none).
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
pub(crate) struct EventKeys<'a> {
    pub(crate) sequence: u64,
    pub(crate) time_ns: u64,
    pub(crate) kind: u8,
    pub(crate) user: u32,
    pub(crate) executable: &'a [u8],
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

    /// Tests that do not need the event's bytes or its subject.
    pub(crate) fn matches_keys(&self, keys: &EventKeys) -> bool {
        let query = &self.query;
        query.since_ns.is_none_or(|since| keys.time_ns >= since)
            && query.until_ns.is_none_or(|until| keys.time_ns < until)
            && query.from_sequence.is_none_or(|from| keys.sequence >= from)
            && (query.kinds == 0 || query.kinds >> (keys.kind & 63) & 1 == 1)
            && query.user.is_none_or(|user| keys.user == user)
            && query.executable.as_ref().is_none_or(|executable| executable == keys.executable)
    }

    pub(crate) fn matches_subject(&self, subject: &[u8], attachment: &[u8]) -> bool {
        self.query.subject.as_ref().is_none_or(|test| test(subject, attachment))
    }

    pub(crate) fn matches_text(&self, event: &[u8]) -> bool {
        self.needle.as_ref().is_none_or(|needle| needle.find(event).is_some())
    }

    /// The events of a block that match, oldest first.
    pub(crate) fn entries(&self, body: &Body) -> Vec<Entry> {
        // One look over the whole block tells of most that the filter let through wrongly.
        if !self.matches_text(body.events()) {
            return Vec::new();
        }
        let bytes = |attachment: &Option<Arc<[u8]>>| attachment.clone().unwrap_or_default();
        let subjects: Vec<bool> = body
            .subjects
            .iter()
            .map(|(name, attached)| self.matches_subject(name, &bytes(attached)))
            .collect();
        let mut entries = Vec::new();
        for (number, row) in (0u64..).zip(body.rows()) {
            let executable = body.executables.get(row.executable as usize).map_or(&[][..], |path| path);
            let keys = EventKeys {
                sequence: body.first_sequence.saturating_add(number),
                time_ns: row.time_ns,
                kind: row.kind,
                user: row.user,
                executable,
            };
            let subject = subjects.get(row.subject as usize).copied().unwrap_or(false);
            if !subject || !self.matches_keys(&keys) || !self.matches_text(body.event(row)) {
                continue;
            }
            entries.push(Entry {
                sequence: keys.sequence,
                time_ns: row.time_ns,
                kind: row.kind,
                event: body.event(row).to_vec(),
                attachment: body.subjects.get(row.subject as usize).and_then(|(_, bytes)| bytes.clone()),
            });
        }
        entries
    }
}
