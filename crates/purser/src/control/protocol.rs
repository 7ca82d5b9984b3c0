// SPDX-License-Identifier: Apache-2.0
//! The words on the control socket: one line of JSON asks, one line of JSON answers.

use super::text::Text;
use crate::config::Rule;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Name of the socket in the store directory. Mode 0600.
pub const SOCKET_NAME: &str = "control.sock";
/// Longest request line, in bytes.
pub const REQUEST_LIMIT: usize = 64 << 10;
/// Longest reply line, in bytes: 10,000 containers need about 3 MiB.
pub const REPLY_LIMIT: usize = 16 << 20;
/// The longest time a rule may be given, in seconds: ten years.
pub const EXPIRY_LIMIT_SECS: u64 = 3_650 * 86_400;

/// What the agent is asked to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Who are you, and how is it going? Answered by [`Reply::status`].
    Status,
    /// Counters. Answered by [`Reply::stats`].
    Stats,
    /// Read the configuration again.
    Reload,
    /// Add a rule in front of the others, or put it in the place of the one with its name.
    RuleAdd {
        /// The rule.
        rule: Rule,
        /// Seconds until it is removed again, at most [`EXPIRY_LIMIT_SECS`].
        #[serde(default)]
        expires_secs: Option<u64>,
    },
    /// Remove a rule that was added at run time.
    RuleRemove {
        /// Its name.
        name: String,
    },
    /// All rules. Answered by [`Reply::rules`].
    RuleList,
    /// All sources. Answered by [`Reply::sources`].
    SourceList,
    /// All sinks. Answered by [`Reply::sinks`].
    SinkList,
    /// Send nothing to a sink for now.
    SinkPause {
        /// Its name.
        name: String,
    },
    /// Send again, and try again at once what failed.
    SinkResume {
        /// Its name.
        name: String,
    },
    /// Have a sink go on elsewhere.
    SinkRewind {
        /// Its name.
        name: String,
        /// Where.
        to: RewindTo,
    },
    /// Something that happened in a debugging session is put into the record, with the time of now.
    Record {
        /// The encoded event: a session or what its terminal showed, of a container or none.
        event: Text,
        /// What the same terminal showed next. All is searched for secrets together, for one may be in two pieces.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        more: Vec<Text>,
    },
    /// The service manager is about to end the agent by a signal: whether that is for good.
    Ending {
        /// Unload the kernel side then, instead of leaving it recording for the next agent.
        for_good: bool,
    },
    /// End the agent, and unless `keep` unload the kernel side too.
    Stop {
        /// Leave the kernel side recording for the next agent.
        #[serde(default)]
        keep: bool,
    },
}

impl Request {
    /// The longest a client waits for the answer.
    pub fn patience(&self) -> Duration {
        match self {
            Request::Reload | Request::SinkRewind { .. } => Duration::from_secs(30),
            Request::Stop { .. } => Duration::from_secs(30),
            _ => Duration::from_secs(2),
        }
    }
}

/// What the agent answers. `ok` says which of the others is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Whether it was done.
    pub ok: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What was done, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The answer to [`Request::Status`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// The answer to [`Request::Stats`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<Stats>,
    /// The answer to [`Request::RuleList`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<Vec<RuleState>>,
    /// The answer to [`Request::SinkList`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sinks: Option<Vec<SinkState>>,
    /// The answer to [`Request::SourceList`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<SourceState>>,
}

impl Reply {
    /// Done; `message` says what.
    pub fn done(message: impl Into<String>) -> Reply {
        Reply { ok: true, message: Some(message.into()), ..Reply::default() }
    }

    /// Not done; `error` says why.
    pub fn failed(error: impl Into<String>) -> Reply {
        Reply { error: Some(error.into()), ..Reply::default() }
    }

    /// The answer to [`Request::Status`].
    pub fn status(status: Status) -> Reply {
        Reply { ok: true, status: Some(status), ..Reply::default() }
    }

    /// The answer to [`Request::Stats`].
    pub fn stats(stats: Stats) -> Reply {
        Reply { ok: true, stats: Some(stats), ..Reply::default() }
    }

    /// The answer to [`Request::SinkList`].
    pub fn sinks(sinks: Vec<SinkState>) -> Reply {
        Reply { ok: true, sinks: Some(sinks), ..Reply::default() }
    }

    /// The answer to [`Request::SourceList`].
    pub fn sources(sources: Vec<SourceState>) -> Reply {
        Reply { ok: true, sources: Some(sources), ..Reply::default() }
    }

    /// The answer to [`Request::RuleList`].
    pub fn rules(rules: Vec<RuleState>) -> Reply {
        Reply { ok: true, rules: Some(rules), ..Reply::default() }
    }
}

/// A running agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_secs: u64,
    /// The store directory.
    pub store: PathBuf,
    /// Where its kernel side is pinned.
    pub pins: PathBuf,
    /// Events in the store.
    pub events: u64,
    /// The service it runs as, if any.
    pub service: Option<String>,
    /// Whether events reach the store; else they wait in the kernel's rings.
    pub recording: bool,
    /// What went wrong last, if anything did.
    pub last_error: Option<Mishap>,
    /// What is not as it should be, for `purser doctor`.
    pub notices: Vec<Notice>,
    /// Events wait in the kernel's rings, because the disk is full.
    pub disk_full: bool,
}

/// Something that went wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mishap {
    /// What, in words.
    pub text: String,
    /// When, in seconds since 1970.
    pub time_secs: u64,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Notice {
    /// What was found.
    pub what: String,
    /// What follows from it.
    pub consequence: String,
    /// What to do about it.
    pub advice: String,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}; {}", self.what, self.consequence, self.advice)
    }
}

/// Counters since the kernel side was loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// One for each container seen and not yet forgotten.
    pub containers: Vec<ContainerStats>,
    /// The rings between kernel and agent.
    pub rings: Vec<RingStats>,
    /// Events in the store.
    pub events: u64,
    /// Bytes of the store on disk.
    pub store_bytes: u64,
    /// Gaps told.
    pub gaps: u64,
    /// Events these gaps stand for.
    pub lost: u64,
    /// The same by cause, since the agent started.
    pub gap_causes: Vec<GapStats>,
    /// Events the kernel side has numbered since it was loaded.
    pub captured: u64,
}

/// Gaps of one cause.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GapStats {
    /// Its word in documents.
    pub cause: String,
    /// Gaps told.
    pub gaps: u64,
    /// Events they stand for.
    pub lost: u64,
}

/// Counters of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerStats {
    /// The id; empty for the host.
    pub id: String,
    /// The name, empty while unknown.
    pub name: String,
    /// Programs started.
    pub execs: u64,
    /// Processes ended.
    pub exits: u64,
    /// Refused starts.
    pub failed: u64,
    /// Bytes handed over by the kernel.
    pub bytes: u64,
    /// Events lost.
    pub lost: u64,
    /// Execs ignored by rules.
    pub ignored: u64,
}

/// How full a ring is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RingStats {
    /// Which one.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    /// What is in it now.
    pub used_bytes: u64,
}

/// Where a sink is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RewindTo {
    /// With the oldest event of the store.
    Start,
    /// With the next one to come.
    End,
    /// With this one.
    Sequence(u64),
    /// With the first not before this time, ns since 1970.
    TimeNs(u64),
}

/// A sink at work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SinkState {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Events committed and not sent yet.
    pub lag_events: u64,
    /// Age of the oldest of those being sent, ms.
    pub lag_ms: u64,
    /// What the sink tells of itself.
    #[serde(flatten)]
    pub status: ship::Status,
}

/// A source at work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceState {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the source tells of itself.
    #[serde(flatten)]
    pub status: source::Status,
    /// Its files, those with the most bytes left first, at most 1,000.
    pub followed: Vec<source::FileState>,
}

/// Where a rule comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuleSource {
    /// The configuration file.
    #[serde(rename = "config")]
    Config,
    /// `purser rule add`.
    #[serde(rename = "run time")]
    RunTime,
}

/// A rule at work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleState {
    /// The rule.
    pub rule: Rule,
    /// Where it comes from.
    pub source: RuleSource,
    /// How many execs it matched.
    pub hits: u64,
    /// Seconds until it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_secs: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::{Reply, Request};

    #[test]
    fn requests_are_one_readable_line() {
        let text = serde_json::to_string(&Request::Stop { keep: true }).unwrap();
        assert_eq!(text, r#"{"command":"stop","keep":true}"#);
        assert_eq!(serde_json::to_string(&Request::Status).unwrap(), r#"{"command":"status"}"#);
        let add = r#"{"command":"rule_add","rule":{"name":"a","uid":0,"action":"ignore"}}"#;
        let Request::RuleAdd { rule, expires_secs } = serde_json::from_str(add).unwrap() else {
            panic!("a rule_add is a rule_add");
        };
        assert_eq!((rule.uid, expires_secs), (Some(0), None));
        assert!(serde_json::from_str::<Request>(r#"{"command":"dance"}"#).is_err());
    }

    #[test]
    fn replies_hold_only_what_they_say() {
        assert_eq!(serde_json::to_string(&Reply::failed("no")).unwrap(), r#"{"ok":false,"error":"no"}"#);
        assert_eq!(serde_json::to_string(&Reply::done("yes")).unwrap(), r#"{"ok":true,"message":"yes"}"#);
    }
}
