// SPDX-License-Identifier: Apache-2.0
//! `--config` and `--store`: where a command reads from.

use crate::config::{Config, ConfigError, Provenance};
use std::path::PathBuf;

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
}
