// SPDX-License-Identifier: Apache-2.0
//! What a line tells of itself, for `sink ls` and for metrics.

use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};

/// How far the store goes, as its writer says after each commit.
#[derive(Debug, Default)]
pub struct Head(AtomicU64);

impl Head {
    /// Sequence of the next event to be committed.
    pub fn next(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Whether `sequence` is or was in the store, or comes next.
    ///
    /// # Errors
    /// In words, when it is none of these.
    pub fn check(&self, sequence: u64) -> Result<u64, String> {
        let next = self.next();
        if sequence == 0 || sequence > next {
            return Err(format!("there is no event {sequence}; the next one is {next}"));
        }
        Ok(sequence)
    }

    /// Notes it.
    pub fn set(&self, next: u64) {
        self.0.store(next, Ordering::Relaxed);
    }
}

/// What a line does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not connected yet.
    #[default]
    Starting,
    /// Sending, or waiting for events.
    Running,
    /// The last try failed; it will be made again.
    Retrying,
    /// The receiver refuses us; tried again slowly, until somebody changes something.
    Refused,
    /// By order.
    Paused,
    /// Ended.
    Stopped,
}

impl State {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Running => "running",
            State::Retrying => "retrying",
            State::Refused => "refused",
            State::Paused => "paused",
            State::Stopped => "stopped",
        }
    }
}

/// Counters since the line started, and where it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// What it does.
    pub state: State,
    /// Sequence of the next event to send; those before are safe or set aside.
    pub cursor: u64,
    /// Documents handed to the sink.
    pub sent: u64,
    /// Documents the receiver has acknowledged.
    pub acked: u64,
    /// Tries that failed.
    pub retried: u64,
    /// Documents set aside in `dead.jsonl`.
    pub dead: u64,
    /// Documents the receiver refused for good without saying which.
    pub rejected: u64,
    /// Events that were gone from the store before they could be sent.
    pub missing: u64,
    /// Acknowledged documents a second, over the last ten seconds.
    pub rate: u64,
    /// Why the last failed try failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When, ns since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_time_ns: Option<u64>,
    /// When something was acknowledged last, ns since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acked_time_ns: Option<u64>,
    /// Time of the oldest event that is not sent, ns since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_unsent_ns: Option<u64>,
    /// From event to acknowledgement of the last canary, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary_us: Option<u64>,
    /// When it was acknowledged, ns since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary_time_ns: Option<u64>,
    /// From event to acknowledgement, in microseconds: half of the last minutes' were faster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_p50_us: Option<u64>,
    /// The same for 99 of 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_p99_us: Option<u64>,
}
