// SPDX-License-Identifier: Apache-2.0
//! Which host: `--host`, `--context`, and, only where it is asked for, what Docker's environment says.

use crate::command::Usage;
use crate::command::debug::who;
use docker::{Host, context};
use std::path::PathBuf;

/// What stands for the environment.
const ENVIRONMENT: &str = "env";
/// The program that leads to ssh:// hosts, and words for it.
const SSH: &str = "PURSER_SSH";

/// Another host's Docker daemon.
#[derive(Clone, Debug, Default, clap::Args)]
pub(in crate::command::debug) struct Where {
    /// Another host, by its Docker daemon: unix:///PATH, tcp://HOST:PORT, ssh://USER@HOST; env is what DOCKER_HOST says.
    #[arg(short = 'H', long, value_name = "HOST", conflicts_with = "context")]
    host: Option<String>,
    /// Another host, by the name of a Docker context.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// A directory with ca.pem, cert.pem and key.pem for a tcp:// host.
    #[arg(long, value_name = "DIR", requires = "host")]
    cert_dir: Option<PathBuf>,
    /// How long another host may take for an answer, in seconds.
    #[arg(long, value_name = "SECS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(super) timeout: u64,
}

impl Where {
    /// Whether another host is meant.
    pub(in crate::command::debug) fn is_given(&self) -> bool {
        self.host.is_some() || self.context.is_some()
    }

    /// The host that is meant.
    pub(super) fn host(&self) -> anyhow::Result<Host> {
        if let Some(name) = &self.context {
            return Ok(context(&docker_directory()?, name)?);
        }
        let host: Host = match self.host.as_deref() {
            Some(ENVIRONMENT) => return self.of_environment(),
            host => host.unwrap_or_default().parse()?,
        };
        match &self.cert_dir {
            Some(dir) => Ok(host.with_certificates(dir)?),
            None => Ok(host),
        }
    }

    fn of_environment(&self) -> anyhow::Result<Host> {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let text = set("DOCKER_HOST").ok_or_else(|| Usage("--host env: DOCKER_HOST is not set".into()))?;
        let host: Host = text.parse()?;
        let verify = set("DOCKER_TLS_VERIFY").is_some() && matches!(host.way(), docker::Way::Tcp { .. });
        match (&self.cert_dir, verify) {
            (Some(dir), _) => Ok(host.with_certificates(dir)?),
            (None, true) => {
                let dir = set("DOCKER_CERT_PATH").map_or_else(docker_directory, |path| Ok(path.into()))?;
                Ok(host.with_certificates(&dir)?)
            }
            (None, false) => Ok(host),
        }
    }

    /// The program for ssh:// and its first words.
    pub(super) fn ssh(&self) -> Result<Vec<String>, Usage> {
        let Some(words) = std::env::var(SSH).ok().filter(|words| !words.trim().is_empty()) else {
            return Ok(vec!["ssh".into()]);
        };
        if who::comes_by_sudo() {
            // It would run as root.
            return Err(Usage(format!("{SSH} is not for who comes by sudo; root may use it")));
        }
        Ok(words.split_whitespace().map(str::to_owned).collect())
    }
}

/// Docker's own configuration.
fn docker_directory() -> anyhow::Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let usual = || set("HOME").map(|home| home.join(".docker"));
    Ok(set("DOCKER_CONFIG").or_else(usual).ok_or_else(|| Usage("HOME is not set".into()))?)
}
