// SPDX-License-Identifier: Apache-2.0
//! The sections of the configuration as types, with their defaults. What the keys mean to a
//! person stands in `keys`, what the types cannot check in `check`.

use super::glob::Glob;
use super::quantity::{Age, Size};
use crate::metrics::Listen;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// `[agent]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Agent {
    /// The store directory, absolute.
    pub store: PathBuf,
}

impl Default for Agent {
    fn default() -> Agent {
        Agent { store: PathBuf::from("/var/lib/purser") }
    }
}

/// `[capture]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Capture {
    /// Names of environment variables to record.
    pub env: Vec<String>,
    /// Whether refused execs are recorded.
    pub failed: bool,
    /// Size of the ring for headers, MiB.
    pub ring_mib: u32,
    /// Size of the ring for bulk data, MiB.
    pub bulk_ring_mib: u32,
}

impl Default for Capture {
    fn default() -> Capture {
        let env = ["LD_PRELOAD", "LD_LIBRARY_PATH", "HTTP_PROXY"].map(String::from).to_vec();
        Capture { env, failed: true, ring_mib: 8, bulk_ring_mib: 8 }
    }
}

/// `[scope]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scope {
    /// What is recorded at all.
    pub include: Vec<Include>,
    /// Wanted names; empty for all.
    pub names: Vec<Glob>,
    /// Unwanted names.
    pub exclude_names: Vec<Glob>,
    /// Wanted images; empty for all.
    pub images: Vec<Glob>,
    /// Wanted labels; empty for all.
    pub labels: Vec<Label>,
    /// Wanted ids; empty for all.
    pub ids: Vec<Glob>,
    /// Cgroup paths wanted besides.
    pub cgroups: Vec<Glob>,
}

impl Default for Scope {
    fn default() -> Scope {
        Scope {
            include: vec![Include::Container],
            names: Vec::new(),
            exclude_names: Vec::new(),
            images: Vec::new(),
            labels: Vec::new(),
            ids: Vec::new(),
            cgroups: Vec::new(),
        }
    }
}

/// A kind of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Include {
    /// Everything in containers.
    Container,
    /// Everything outside of them.
    Host,
}

/// A wanted label: `key=value`, the value as a glob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label {
    /// The label's key, literally.
    pub key: String,
    /// The label's value; `None` for the empty value.
    pub value: Option<Glob>,
}

impl Label {
    /// Whether a container's label is the wanted one.
    pub fn matches(&self, key: &str, value: &str) -> bool {
        self.key == key && self.value.as_ref().map_or(value.is_empty(), |glob| glob.matches(value))
    }
}

impl TryFrom<String> for Label {
    type Error = String;

    fn try_from(text: String) -> Result<Label, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() && key.len() <= super::GLOB_LIMIT => {
                let value = if value.is_empty() { None } else { Some(Glob::new(value)?) };
                Ok(Label { key: key.to_string(), value })
            }
            _ => Err(format!("{text:?} is no label; write \"KEY=VALUE\", or \"KEY=*\" for any value")),
        }
    }
}

impl From<Label> for String {
    fn from(label: Label) -> String {
        format!("{}={}", label.key, label.value.as_ref().map_or("", Glob::as_str))
    }
}

/// `[redaction]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Redaction {
    /// Whether the built-in patterns are used.
    pub enabled: bool,
    /// Built-in patterns that are off.
    pub disable: Vec<String>,
    /// `[[redaction.rule]]`: patterns of one's own.
    #[serde(rename = "rule")]
    pub rules: Vec<RedactionRule>,
}

impl Default for Redaction {
    fn default() -> Redaction {
        Redaction { enabled: true, disable: Vec::new(), rules: Vec::new() }
    }
}

/// A pattern for secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedactionRule {
    /// Names it in markers.
    pub name: String,
    /// A regular expression.
    pub pattern: String,
    /// Base names of the programs it is for; empty for all.
    #[serde(default)]
    pub commands: Vec<String>,
}

/// `[metrics]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Where they are served.
    pub listen: Listen,
}

/// `[store]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// Size at which a segment is sealed, MiB.
    pub segment_mib: u32,
    /// Age at which segments are removed.
    pub retain_age: Age,
    /// Size above which the oldest segments are removed.
    pub retain_bytes: Size,
    /// What to do when the disk is full.
    pub disk_full: DiskFull,
    /// Space kept for the last words on a full disk, MiB.
    pub reserve_mib: u32,
    /// Seconds between checkpoints.
    pub checkpoint_secs: u32,
}

impl Default for Store {
    fn default() -> Store {
        Store {
            segment_mib: 64,
            retain_age: Age::of_secs(30 * 86_400),
            retain_bytes: Size::of_bytes(10 << 30),
            disk_full: DiskFull::Block,
            reserve_mib: 16,
            checkpoint_secs: 60,
        }
    }
}

/// What to do when the disk is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskFull {
    /// Hold events back in the rings until there is room; what overflows is told as gaps.
    Block,
    /// Remove the oldest segments.
    DropOldest,
    /// Give up the space of `reserve_mib` once, then hold back.
    Reserve,
}

/// `[runtimes]`: where the container runtimes are asked for names.
pub type Runtimes = container::Sources;
