// SPDX-License-Identifier: Apache-2.0
//! The difference between what shall be installed and what is, and making it: all of it or nothing.

use crate::definition::Definition;
use crate::error::ServiceError;
use crate::files::{self, Undo};
use crate::init::Init;
use crate::manager::Manager;
use crate::mark::{self, Standing};
use crate::place::Place;
use crate::{openrc, systemd, sysv};
use std::fmt;
use std::path::PathBuf;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Keep a copy of a file that is about to go.
    Backup {
        /// Where the copy goes.
        path: PathBuf,
        /// What is in it.
        bytes: Vec<u8>,
        /// Its permissions.
        mode: u32,
    },
    /// Write a unit or script.
    Write {
        /// Where.
        path: PathBuf,
        /// What.
        text: String,
        /// Its permissions.
        mode: u32,
    },
    /// Make it start with the host.
    Link {
        /// The link.
        path: PathBuf,
        /// What it points to.
        target: PathBuf,
    },
    /// Remove a file or link.
    Remove(PathBuf),
    /// Have the init system read its files again.
    Reload(Init),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Backup { path, .. } => write!(f, "keep the edited file as {}", path.display()),
            Step::Write { path, .. } => write!(f, "write {}", path.display()),
            Step::Link { path, target } => write!(f, "link {} to {}", path.display(), target.display()),
            Step::Remove(path) => write!(f, "remove {}", path.display()),
            Step::Reload(init) => write!(f, "have {init} read its files again"),
        }
    }
}

/// Steps in their order; none when nothing is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
    /// Whose the file was that stood there.
    pub found: Standing,
}

impl Plan {
    /// The text of the unit or script.
    ///
    /// # Errors
    /// When something in the definition cannot be written, or this init system has no such thing.
    pub fn text(definition: &Definition, place: &Place) -> Result<String, ServiceError> {
        definition.check()?;
        if definition.user_service && place.init != Init::Systemd {
            let what = "a service of a user; leave --user-service out";
            return Err(ServiceError::Unsupported { init: place.init.word(), what });
        }
        let text = match place.init {
            Init::Systemd => systemd::unit(definition),
            Init::OpenRc => openrc::script(definition)?,
            Init::SysV => sysv::script(definition),
        };
        Ok(mark::mark(&text))
    }

    /// What is to be done so that `definition` is installed at `place`.
    ///
    /// # Errors
    /// When a file is in the way that is not ours or was edited, or a package has a unit of that name, and
    /// `force` is not given.
    pub fn install(definition: &Definition, place: &Place, force: bool) -> Result<Plan, ServiceError> {
        let text = Plan::text(definition, place)?;
        let path = place.file();
        let (found, before) = look(place)?;
        if let Some(path) = place.shadowed().filter(|_| found == Standing::Absent && !force) {
            return Err(ServiceError::Shadows { path });
        }
        let mut steps = guard(place, found, &before, force)?;
        if before != text.as_bytes() {
            steps.push(Step::Write { path, text, mode: place.mode() });
        }
        for link in place.links() {
            let there = std::fs::read_link(&link.path).is_ok_and(|target| target == link.target);
            if !there && !is_numbered_anew(place) {
                steps.push(Step::Link { path: link.path, target: link.target });
            }
        }
        Ok(Plan::finish(steps, found, place))
    }

    /// What is to be done so that nothing of ours is left at `place`.
    ///
    /// # Errors
    /// When it is not installed, not ours, or edited and `force` is not given.
    pub fn uninstall(place: &Place, force: bool) -> Result<Plan, ServiceError> {
        let (found, before) = look(place)?;
        if found == Standing::Absent {
            return Err(ServiceError::NotInstalled { name: place.name.to_string(), path: place.file() });
        }
        if found == Standing::Foreign {
            return Err(ServiceError::Foreign { path: place.file() });
        }
        let mut steps = guard(place, found, &before, force)?;
        steps.extend(place.present_links().into_iter().map(Step::Remove));
        steps.push(Step::Remove(place.file()));
        Ok(Plan::finish(steps, found, place))
    }

    fn finish(mut steps: Vec<Step>, found: Standing, place: &Place) -> Plan {
        if !steps.is_empty() && place.init == Init::Systemd && place.root.is_host() {
            steps.push(Step::Reload(place.init));
        }
        Plan { steps, found }
    }

    /// Takes the steps. When one fails, those before it are taken back.
    ///
    /// # Errors
    /// The step that failed and why.
    pub fn apply(&self, manager: &Manager) -> Result<(), ServiceError> {
        let mut undos = Vec::new();
        for step in &self.steps {
            let done = match step {
                Step::Backup { path, bytes, mode } => {
                    files::write(path, &String::from_utf8_lossy(bytes), *mode).map(Some)
                }
                Step::Write { path, text, mode } => files::write(path, text, *mode).map(Some),
                Step::Link { path, target } => files::link(path, target).map(Some),
                Step::Remove(path) => files::remove(path).map(Some),
                Step::Reload(_) => manager.reload_files().map(|()| None),
            };
            match done {
                Ok(undo) => undos.extend(undo),
                Err(failure) => return Err(take_back(undos, failure, manager)),
            }
        }
        Ok(())
    }
}

/// A SysV tool numbered the links by dependencies: they are as good as ours.
fn is_numbered_anew(place: &Place) -> bool {
    place.init == Init::SysV && place.present_links().len() >= place.links().len()
}

fn look(place: &Place) -> Result<(Standing, Vec<u8>), ServiceError> {
    Ok(match files::read(&place.file())? {
        None => (Standing::Absent, Vec::new()),
        Some(bytes) => (mark::judge(&bytes), bytes),
    })
}

/// Nobody's work is overwritten unasked, and not without a copy.
fn guard(place: &Place, found: Standing, before: &[u8], force: bool) -> Result<Vec<Step>, ServiceError> {
    let path = place.file();
    match found {
        Standing::Absent | Standing::Ours => Ok(Vec::new()),
        Standing::Edited if !force => Err(ServiceError::Edited { path }),
        Standing::Foreign if !force => Err(ServiceError::Foreign { path }),
        Standing::Edited | Standing::Foreign => {
            let bytes = before.to_vec();
            Ok(vec![Step::Backup { path: files::backup_name(&path)?, bytes, mode: 0o644 }])
        }
    }
}

fn take_back(undos: Vec<Undo>, failure: ServiceError, manager: &Manager) -> ServiceError {
    let changed = !undos.is_empty();
    for undo in undos.into_iter().rev() {
        if let Err((path, source)) = undo.run() {
            return ServiceError::Undo { failure: Box::new(failure), path, source };
        }
    }
    if changed {
        // The files are as before; if the init system cannot even be told, the first error says why.
        manager.reload_files().unwrap_or_default();
    }
    failure
}

#[cfg(test)]
mod tests;
