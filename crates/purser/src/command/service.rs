// SPDX-License-Identifier: Apache-2.0
//! Which service a command is about, and where its agent keeps its store.

use super::{Usage, place, say};
use crate::exit::Exit;
use anyhow::Context;
use service::{Init, Installed, Manager, Name, Place, Root, ServiceError};
use std::path::{Path, PathBuf};

/// The agent's own service, unless it is called otherwise.
pub(crate) const DEFAULT: &str = "purser";

/// A service on this host, or on an image.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Which {
    /// The service's name.
    #[arg(long, short = 'n', visible_alias = "name", value_name = "NAME", default_value = DEFAULT)]
    pub(crate) service: String,
    /// A service of the calling user's own systemd.
    #[arg(long)]
    pub(crate) user_service: bool,
    /// Work on the image below this directory; no command of an init system is run.
    #[arg(long, value_name = "DIR")]
    pub(super) root: Option<PathBuf>,
    /// The init system, where it should not be found out.
    #[arg(long, value_name = "INIT")]
    pub(super) init: Option<Kind>,
}

/// The init systems by name.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Kind {
    /// Units.
    Systemd,
    /// Scripts for openrc-run.
    Openrc,
    /// Scripts in /etc/init.d.
    Sysv,
}

impl Which {
    /// The service `name` of this host.
    pub(crate) fn named(name: &str) -> Which {
        Which { service: name.to_string(), user_service: false, root: None, init: None }
    }

    /// Whether an image is worked on.
    pub(crate) fn is_image(&self) -> bool {
        self.root.is_some()
    }

    /// Where its files are.
    pub(crate) fn place(&self) -> anyhow::Result<Place> {
        let name = Name::new(&self.service).map_err(|error| Usage(error.to_string()))?;
        let root = match &self.root {
            None => Root::host(),
            Some(root) => Root::image(&std::path::absolute(root).context("looking at the image")?),
        };
        let init = match self.init {
            None => Init::detect(&root)?,
            Some(Kind::Systemd) => Init::Systemd,
            Some(Kind::Openrc) => Init::OpenRc,
            Some(Kind::Sysv) => Init::SysV,
        };
        let user_units = if self.user_service { Some(self.user_units()?) } else { None };
        Ok(Place { name, init, root, user_units })
    }

    fn user_units(&self) -> anyhow::Result<PathBuf> {
        if self.is_image() {
            return Err(Usage("--user-service belongs to a user of this host, not of an image".into()).into());
        }
        let absolute =
            |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let config = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")));
        let config = config.context("finding the user's units: neither XDG_CONFIG_HOME nor HOME is set")?;
        Ok(config.join("systemd/user"))
    }

    /// The installed service and its manager.
    pub(crate) fn installed(&self) -> anyhow::Result<(Installed, Manager)> {
        let place = self.place()?;
        Ok((Installed::read(&place)?, Manager::new(place)))
    }
}

/// The store of an installed agent, by its own configuration as that is now.
pub(crate) fn store_of(installed: &Installed) -> anyhow::Result<PathBuf> {
    let path = |name: &str| installed.fact(name).map(PathBuf::from);
    Ok(place::Place { config: path("config"), store: path("store") }.store()?)
}

/// What to look at when the init system could not start something.
pub(crate) fn tell_failure(manager: &Manager, error: ServiceError) -> anyhow::Error {
    let place = manager.place();
    let error = anyhow::Error::from(error);
    match place.init {
        Init::Systemd => {
            let user = if place.user_units.is_some() { "--user " } else { "" };
            error.context(format!("service {}; see journalctl {user}-n 20 -u {}", place.name, place.unit()))
        }
        Init::OpenRc | Init::SysV => error.context(format!("service {0}; see /var/log/{0}.log", place.name)),
    }
}

/// A service that is not installed has an exit code of its own.
pub(crate) fn is_not_installed(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(ServiceError::NotInstalled { .. }))
}

/// One of start and restart, told.
pub(crate) fn act(
    which: &Which,
    verb: fn(&Manager) -> Result<(), ServiceError>,
    done: &str,
) -> anyhow::Result<Exit> {
    let (_, manager) = which.installed()?;
    verb(&manager).map_err(|error| tell_failure(&manager, error))?;
    say(&format!("purser: service {} {done}", which.service));
    Ok(Exit::Success)
}

/// Whether somebody other than root could exchange the program a root service runs.
pub(crate) fn is_open_to_others(program: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let open = |path: &Path| {
        path.metadata().is_ok_and(|metadata| {
            let sticky = metadata.is_dir() && metadata.mode() & 0o1000 != 0;
            metadata.uid() != 0 || (metadata.mode() & 0o022 != 0 && !sticky)
        })
    };
    program.ancestors().any(open)
}
