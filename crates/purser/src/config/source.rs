// SPDX-License-Identifier: Apache-2.0
//! `[source.NAME]`: log files, or what containers print, whose lines become events.

use super::check::{self, Fault};
use super::glob::Glob;
use super::keys;
use super::quantity::{Age, Size};
use super::section::Label;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Most sources.
const SOURCES_LIMIT: usize = 32;
/// Longest name: it is also a directory's.
const NAME_LIMIT: usize = 64;

/// The types there are.
pub(super) const TYPES: [&str; 2] = ["container", "file"];

/// One source. Keys that its type does not have are refused before it is read, and not shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Source {
    /// What is read.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Where the files are.
    #[serde(default)]
    pub paths: Vec<String>,
    /// Which of them are not read.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Wanted names of containers; empty for all.
    #[serde(default)]
    pub names: Vec<Glob>,
    /// Unwanted names.
    #[serde(default)]
    pub exclude_names: Vec<Glob>,
    /// Wanted images; empty for all.
    #[serde(default)]
    pub images: Vec<Glob>,
    /// Wanted labels; empty for all.
    #[serde(default)]
    pub labels: Vec<Label>,
    /// Which outputs of containers are taken.
    #[serde(default)]
    pub streams: Streams,
    /// The kubelet's links to the logs of containers.
    #[serde(default = "pod_logs")]
    pub pod_logs: PathBuf,
    /// Where a new source begins.
    #[serde(default = "start")]
    pub from: super::sink::From,
    /// How text is written.
    #[serde(default)]
    pub encoding: Encoding,
    /// Longest line.
    #[serde(default = "max_line_bytes")]
    pub max_line_bytes: Size,
    /// Time between looks for new files.
    #[serde(default = "scan_every")]
    pub scan_every: Age,
    /// Files older than this are not begun with.
    #[serde(default = "Age::none")]
    pub ignore_older: Age,
    /// A file without news for this long is closed.
    #[serde(default = "close_inactive")]
    pub close_inactive: Age,
    /// Close files without a name.
    #[serde(default = "yes")]
    pub close_removed: bool,
    /// Close files with a new name.
    #[serde(default)]
    pub close_renamed: bool,
    /// Close files at their end.
    #[serde(default)]
    pub close_eof: bool,
    /// Read what symbolic links lead to.
    #[serde(default)]
    pub symlinks: bool,
    /// Replace secrets by markers.
    #[serde(default = "yes")]
    pub redact: bool,
    /// `json = { … }`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Json>,
    /// `multiline = { … }`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiline: Option<Multiline>,
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let all = Source::serialize(self, serde_json::value::Serializer).map_err(S::Error::custom)?;
        let section = keys::source_section(self.kind.word());
        let known = keys::children(&section);
        let own = all.as_object().into_iter().flatten().filter(|(name, _)| known.contains(&name.as_str()));
        serializer.collect_map(own)
    }
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Source, D::Error> {
        Source::deserialize(deserializer)
    }
}

/// What a source reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Files of lines.
    File,
    /// What containers print.
    Container,
}

impl Kind {
    /// The word of `type`.
    pub fn word(self) -> &'static str {
        match self {
            Kind::File => "file",
            Kind::Container => "container",
        }
    }
}

/// Outputs of containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Streams {
    #[default]
    All,
    Stdout,
    Stderr,
}

/// How text is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Encoding {
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    #[serde(rename = "utf-16le")]
    Utf16Le,
    #[serde(rename = "utf-16be")]
    Utf16Be,
    #[serde(rename = "latin1")]
    Latin1,
}

/// `json = { … }`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Json {
    /// Fields stand at the top of the document.
    pub keys_under_root: bool,
    /// There they win.
    pub overwrite_keys: bool,
    /// Tell lines that are no JSON.
    pub add_error_key: bool,
    /// The key with the message.
    pub message_key: String,
}

/// `multiline = { … }`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Multiline {
    /// A regular expression.
    pub pattern: String,
    /// Take the lines it does not match.
    #[serde(default)]
    pub negate: bool,
    /// Which line the taken ones belong to.
    #[serde(rename = "match", default = "after")]
    pub side: Side,
    /// Most lines.
    #[serde(default = "max_lines")]
    pub max_lines: u32,
    /// Longest wait.
    #[serde(default = "timeout")]
    pub timeout: Age,
}

/// Which line others belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// They come after it.
    After,
    /// They come before it.
    Before,
}

fn start() -> super::sink::From {
    super::sink::From::Start
}
fn pod_logs() -> PathBuf {
    PathBuf::from("/var/log/containers")
}
fn yes() -> bool {
    true
}
fn max_line_bytes() -> Size {
    Size::of_bytes(1 << 20)
}
fn scan_every() -> Age {
    Age::of_secs(2)
}
fn close_inactive() -> Age {
    Age::of_secs(300)
}
fn after() -> Side {
    Side::After
}
fn max_lines() -> u32 {
    500
}
fn timeout() -> Age {
    Age::of_secs(5)
}

/// The checks that types cannot make.
pub(super) fn check(sources: &BTreeMap<String, Source>) -> Result<(), Fault> {
    if sources.len() > SOURCES_LIMIT {
        return check::fault("source", format!("{} sources; at most {SOURCES_LIMIT}", sources.len()));
    }
    for (name, source) in sources {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if name.is_empty() || name.len() > NAME_LIMIT || !name.chars().all(good) {
            let message = format!("a source's name has 1 to {NAME_LIMIT} letters, digits, - or _");
            return check::fault(format!("source.{name}"), message);
        }
        check_source(&|key: &str| format!("source.{name}.{key}"), source)?;
    }
    Ok(())
}

fn check_containers(at: &dyn Fn(&str) -> String, source: &Source) -> Result<(), Fault> {
    for (key, length) in [
        ("names", source.names.len()),
        ("exclude_names", source.exclude_names.len()),
        ("images", source.images.len()),
        ("labels", source.labels.len()),
    ] {
        check::list(&at(key), length)?;
    }
    // Empty means: there is no Kubernetes here.
    if source.pod_logs.as_os_str().is_empty() {
        Ok(())
    } else {
        check::absolute(&at("pod_logs"), &source.pod_logs)
    }
}

fn check_source(at: &dyn Fn(&str) -> String, source: &Source) -> Result<(), Fault> {
    if source.kind == Kind::Container {
        check_containers(at, source)?;
    } else if source.paths.is_empty() {
        return check::fault(at("paths"), "write paths = [\"/var/log/app/*.log\"], at least one");
    }
    check::list(&at("paths"), source.paths.len())?;
    check::list(&at("exclude"), source.exclude.len())?;
    for (index, path) in source.paths.iter().enumerate() {
        if let Err(error) = ::source::PathGlob::new(path) {
            return check::fault(at(&format!("paths[{index}]")), error.to_string());
        }
    }
    let bytes = source.max_line_bytes.bytes().unwrap_or(u64::MAX);
    if !(1024..=2 << 20).contains(&bytes) {
        return check::fault(at("max_line_bytes"), "a line has from 1KiB to 2MiB");
    }
    if source.scan_every.secs().is_none() {
        return check::fault(at("scan_every"), "new files would never be found");
    }
    if let Some(multiline) = &source.multiline {
        if let Err(error) = ::source::pattern(&multiline.pattern) {
            return check::fault(at("multiline.pattern"), error);
        }
        check::within(&at("multiline.max_lines"), multiline.max_lines, 2, 100_000)?;
        if multiline.timeout.secs().is_none() {
            return check::fault(at("multiline.timeout"), "the last lines would never come");
        }
    }
    Ok(())
}
