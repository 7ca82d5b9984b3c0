// SPDX-License-Identifier: Apache-2.0
//! Which service a command is about, and where its agent keeps its store.

use super::place::{self, Found};
use super::{Usage, say};
use crate::exit::Exit;
use anyhow::Context;
use service::{Init, Installed, Manager, Name, Place, Root, ServiceError};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

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

    /// How an image knows the file at `path`, if it is one of its own.
    pub(super) fn as_inside(&self, path: PathBuf) -> PathBuf {
        let root = self.root.as_deref().and_then(|root| root.canonicalize().ok());
        let inside = root.and_then(|root| Some(Path::new("/").join(path.strip_prefix(root).ok()?)));
        inside.unwrap_or(path)
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

/// The fact that has the store which the configuration named when the service was installed.
pub(super) const KNOWN_STORE: &str = "store-by-config";

/// The store that the configuration of the service `name` named when that was installed.
pub(super) fn known_store(name: &str) -> Option<String> {
    let (installed, _) = Which::named(name).installed().ok()?;
    installed.fact(KNOWN_STORE).map(str::to_string)
}

/// How an agent is started on `store`: as the usual service, if that works there, or by hand.
pub(super) fn start_words(store: &Path) -> String {
    let is_here =
        |(installed, _): (Installed, Manager)| installed.is_agent && store_of(&installed).store == store;
    if Which::named(DEFAULT).installed().is_ok_and(is_here) {
        return "purser start".to_string();
    }
    let usual = crate::config::Config::default().agent.store;
    if store == usual { "purser run".to_string() } else { format!("purser run --store {}", store.display()) }
}

/// The configuration and store that an installed agent is started with.
pub(super) fn place_of(installed: &Installed) -> place::Place {
    let path = |name: &str| installed.fact(name).map(PathBuf::from);
    place::Place { config: path("config"), store: path("store") }
}

/// The store of an installed agent, by its own configuration as that is now.
pub(crate) fn store_of(installed: &Installed) -> Found {
    place_of(installed).found(installed.fact(KNOWN_STORE))
}

/// Why the init system could not `verb` a service, and where there is more. A program that was to start
/// at `since` has said it best itself; systemd only knows that it ended.
pub(crate) fn tell_failure(
    manager: &Manager,
    verb: &str,
    since: Option<SystemTime>,
    error: &ServiceError,
) -> anyhow::Error {
    let place = manager.place();
    let more = match place.init {
        Init::Systemd => {
            let user = if place.user_units.is_some() { "--user " } else { "" };
            format!("journalctl {user}-n 20 -u {}", place.name)
        }
        Init::OpenRc | Init::SysV => format!("/var/log/{}.log", place.name),
    };
    let words = since.and_then(|since| last_words(manager, since)).unwrap_or_else(|| error.to_string());
    anyhow::anyhow!("service {} does not {verb}: {words}; more: {more}", place.name)
}

/// Why a start since then failed, in the words of the program or of systemd about its own failure.
pub(super) fn last_words(manager: &Manager, since: SystemTime) -> Option<String> {
    let since_secs = since.duration_since(UNIX_EPOCH).ok()?.as_secs();
    let said = manager.said(since_secs)?;
    // Hints stand behind the error, indented.
    let lines: Vec<&str> = said.lines().filter(|line| !line.starts_with(' ') && !line.is_empty()).collect();
    let ours = lines.iter().rev().find_map(|line| line.strip_prefix("purser: "));
    ours.or(lines.last().copied()).map(str::to_string)
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
    // Who asks for a start does so after what came to nothing before.
    manager.forget()?;
    let since = SystemTime::now();
    verb(&manager).map_err(|error| tell_failure(&manager, "start", Some(since), &error))?;
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
