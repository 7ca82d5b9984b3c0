// SPDX-License-Identifier: Apache-2.0
//! The configuration: one TOML file, every key with a default, checked before anything runs.
//!
//! [`parse`] is pure; [`Config::load`] also opens the file and refuses one that others could
//! have written. Nothing here acts on a value.

mod check;
mod debug;
mod error;
mod glob;
mod keys;
mod open;
mod outputs;
mod provenance;
mod quantity;
mod rule;
mod section;
mod show;
pub mod sink;
pub mod source;
mod spots;

pub use debug::{Allow, Debug, Forwarding, Pull, WRITABLE, check_server};
pub use error::ConfigError;
pub use glob::{GLOB_LIMIT, Glob};
pub use keys::{KEYS, Key};
pub use open::FILE_LIMIT;
pub use provenance::{Origin, Provenance};
pub use quantity::{Age, Size};
pub use rule::{ARGV0_LIMIT, Action, NAME_LIMIT, PATH_LIMIT, RULES_LIMIT, Rule, RuleError};
pub use section::{
    Agent, Capture, DiskFull, Include, Label, Metrics, Redaction, RedactionRule, Runtimes, Scope, Store,
};
pub use show::show;
pub use sink::Sink;
pub use source::Source;

use serde::{Deserialize, Serialize};
use spots::Spots;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, Deserializer};

/// Where the configuration is looked for when nobody names a file.
pub const DEFAULT_PATH: &str = "/etc/purser/purser.toml";

/// The whole configuration, checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `[agent]`
    pub agent: Agent,
    /// `[capture]`
    pub capture: Capture,
    /// `[scope]`
    pub scope: Scope,
    /// `[[rule]]`, in the order in which they are tried.
    #[serde(rename = "rule")]
    pub rules: Vec<Rule>,
    /// `[redaction]`
    pub redaction: Redaction,
    /// `[store]`
    pub store: Store,
    /// `[runtimes]`
    pub runtimes: Runtimes,
    /// `[metrics]`
    pub metrics: Metrics,
    /// `[debug]`
    pub debug: Debug,
    /// `[sink.NAME]`; read apart from the rest, because what may stand there depends on the type.
    #[serde(rename = "sink", skip_deserializing)]
    pub sinks: BTreeMap<String, Sink>,
    /// `[source.NAME]`
    #[serde(rename = "source")]
    pub sources: BTreeMap<String, Source>,
}

impl Config {
    /// Reads the file at `path`, or without a path [`DEFAULT_PATH`] if it exists, or else the
    /// defaults.
    ///
    /// # Errors
    /// When the named file is missing, when the file is not safe to trust, or when anything in
    /// it is wrong.
    pub fn load(path: Option<&Path>) -> Result<(Config, Provenance), ConfigError> {
        let file = path.unwrap_or(Path::new(DEFAULT_PATH));
        match open::read(file)? {
            Some(text) => read(&text, &file.display().to_string()),
            None if path.is_none() => Ok((Config::default(), Provenance::default())),
            None => Err(ConfigError::Read {
                path: file.to_path_buf(),
                source: std::io::Error::from_raw_os_error(rustix::io::Errno::NOENT.raw_os_error()),
            }),
        }
    }

    /// The store that a file names whatever else is wrong in it: what an agent recorded with an earlier
    /// state of the file must be found, so that it can be ended. `None` when the file is not to be
    /// trusted or does not say.
    pub fn store_in_spite_of(path: Option<&Path>) -> Option<PathBuf> {
        let text = open::read(path.unwrap_or(Path::new(DEFAULT_PATH))).ok()??;
        named_store(&text)
    }
}

fn named_store(text: &str) -> Option<PathBuf> {
    let (table, _) = DeTable::parse_recoverable(text);
    let store = table.get_ref().get("agent")?.get_ref().get("store")?.get_ref().as_str()?;
    Some(PathBuf::from(store)).filter(|store| store.is_absolute())
}

/// Reads and checks a configuration. `origin` names the text in errors.
///
/// # Errors
/// The first thing that is wrong, with its line and column.
pub fn parse(text: &str, origin: &str) -> Result<Config, ConfigError> {
    read(text, origin).map(|(config, _)| config)
}

fn read(text: &str, origin: &str) -> Result<(Config, Provenance), ConfigError> {
    if text.len() > FILE_LIMIT {
        return Err(ConfigError::TooLong { origin: origin.to_string(), limit: FILE_LIMIT });
    }
    let wrong = |offset: usize, message: String| {
        let (line, column) = spots::place(text, offset);
        ConfigError::Wrong { origin: origin.to_string(), line, column, message }
    };
    let toml_error = |error: toml::de::Error| {
        let offset = error.span().map_or(0, |span| span.start);
        wrong(offset, error.message().trim().replace('\n', "; "))
    };
    let mut table = DeTable::parse(text).map_err(toml_error)?;
    let spots = Spots::find(table.get_ref()).map_err(|unknown| wrong(unknown.at, unknown.message))?;
    let typed = |at: Option<usize>, message: String| {
        let key = at.and_then(|at| spots.at(text, at));
        let message = plain(&message);
        wrong(at.unwrap_or(0), key.map_or(message.clone(), |key| format!("{key}: {message}")))
    };
    let sinks = sink::take(table.get_mut()).map_err(|error| typed(Some(error.at), error.message))?;
    let config = Config::deserialize(Deserializer::from(table));
    let mut config = config.map_err(|error| {
        typed(error.span().map(|span| span.start), error.message().trim().replace('\n', "; "))
    })?;
    config.sinks = sinks;
    check::check(&config)
        .map_err(|fault| wrong(spots.offset(&fault.path), format!("{}: {}", fault.path, fault.message)))?;
    let mut provenance = Provenance::default();
    for (path, offset) in spots.iter() {
        provenance.set_file(path, origin, spots::place(text, offset).0);
    }
    Ok((config, provenance))
}

/// The library's message in words of the file, not of the program.
fn plain(message: &str) -> String {
    if message == "invalid type: map, expected a sequence" {
        return "this is one table, and a list of tables belongs here: write [[NAME]]".to_string();
    }
    let (what, wanted) = message.split_once(", expected ").unwrap_or((message, ""));
    match wanted {
        "" => message.to_string(),
        "a sequence" => format!("{what}, expected a list: [\"…\"]"),
        wanted if wanted.starts_with("struct ") => format!("{what}, expected a table of keys"),
        wanted => format!("{what}, expected {wanted}"),
    }
}

#[cfg(test)]
mod tests;
