// SPDX-License-Identifier: Apache-2.0
//! `--config` and `--store`: where a command reads from.

use crate::agent;
use crate::config::{Config, ConfigError, Provenance};
use std::path::PathBuf;

/// A store, and why it had to be found without the configuration.
#[derive(Debug)]
pub(crate) struct Found {
    /// The directory.
    pub(crate) store: PathBuf,
    /// What is wrong with the configuration.
    pub(crate) trouble: Option<ConfigError>,
}

/// Where the configuration and the store are.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Place {
    /// The configuration file [default: /etc/purser/purser.toml if it is there].
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The store directory [default: `store` of the configuration, /var/lib/purser].
    #[arg(long, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
}

impl Place {
    /// The configuration with `--store` put in.
    pub(crate) fn load(&self) -> Result<(Config, Provenance), ConfigError> {
        let (mut config, mut provenance) = Config::load(self.config.as_deref())?;
        if let Some(store) = &self.store {
            config.agent.store = store.clone();
            provenance.set_flag("agent.store", "--store");
        }
        Ok((config, provenance))
    }

    /// The store directory. A given `--store` needs no readable configuration.
    pub(crate) fn store(&self) -> Result<PathBuf, ConfigError> {
        match (&self.store, &self.config) {
            (Some(store), None) => Ok(store.clone()),
            _ => Ok(self.load()?.0.agent.store),
        }
    }

    /// The store directory for commands that look after an agent or end it, which a wrong configuration
    /// must not keep from their work. `known` is the store that an installed service had at first. A
    /// store that nobody named is only guessed when nothing else is known: it may be another agent's.
    pub(crate) fn found(&self, known: Option<&str>) -> Found {
        let trouble = match self.store() {
            Ok(store) => return Found { store, trouble: None },
            Err(error) => error,
        };
        let named = self.store.clone().or_else(|| Config::store_in_spite_of(self.config.as_deref()));
        let stores: Vec<PathBuf> = named.into_iter().chain(known.map(PathBuf::from)).collect();
        let loaded = stores.iter().find(|store| agent::is_loaded(store));
        let store = loaded.or(stores.first()).cloned();
        Found { store: store.unwrap_or_else(|| Config::default().agent.store), trouble: Some(trouble) }
    }
}

#[cfg(test)]
mod tests {
    use super::Place;
    use std::fs;
    use std::path::Path;

    #[test]
    fn a_store_is_found_in_spite_of_a_wrong_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("purser.toml");
        let mut place = Place { config: Some(config.clone()), store: None };
        let found = |place: &Place, text: &str, known: Option<&str>| {
            fs::write(&config, text).unwrap();
            let found = place.found(known);
            (found.store, found.trouble.is_some())
        };
        let named = "[agent]\nstore = \"/data/a\"\n";
        assert_eq!(found(&place, named, Some("/known")), ("/data/a".into(), false));
        for wrong in ["nonsense = 1\n", "nonsense\n", "[capture\n", "[sink.x]\ntype = 7\n"] {
            let before = format!("[agent]\nstore = \"/data/a\"\n{wrong}");
            assert_eq!(found(&place, &before, Some("/known")), ("/data/a".into(), true), "{wrong}");
        }
        assert_eq!(found(&place, "nonsense = 1\n", Some("/known")), ("/known".into(), true));
        assert_eq!(found(&place, "nonsense = 1\n", None), ("/var/lib/purser".into(), true));
        fs::remove_file(&config).unwrap();
        assert_eq!(place.found(Some("/known")).store, Path::new("/known"));
        place.store = Some("/given".into());
        assert_eq!(place.found(Some("/known")).store, Path::new("/given"));
    }
}
