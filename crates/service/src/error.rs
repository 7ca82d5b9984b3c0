// SPDX-License-Identifier: Apache-2.0
//! Why something could not be made a service, or be asked of one.

use std::io;
use std::path::PathBuf;

/// What went wrong, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The name cannot be used.
    #[error(
        "{name:?} is no name for a service: use up to 200 letters, digits, _, - and ., a letter or digit first"
    )]
    Name {
        /// What was given.
        name: String,
    },
    /// Something that no unit or script can hold.
    #[error("{what:?} cannot be written into a service's file: {why}")]
    Unwritable {
        /// What was given.
        what: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No known init system.
    #[error("no init system was found that is known here; looked for {looked_for}")]
    NoInit {
        /// Which files and directories tell one.
        looked_for: String,
    },
    /// The init system has no such thing.
    #[error("{init} cannot do this: {what}")]
    Unsupported {
        /// Its name.
        init: &'static str,
        /// What was asked for.
        what: &'static str,
    },
    /// The file is there and not ours.
    #[error(
        "{path} was not made by purser install, so it is left alone; choose another name with --service, or \
         replace it with --force, which keeps it as a .bak", path = path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Another unit of that name would not be used any more.
    #[error(
        "there is a unit {path} already, which this one would replace as long as it is installed; choose another \
         name with --service, or do it all the same with --force", path = path.display()
    )]
    Shadows {
        /// The other unit.
        path: PathBuf,
    },
    /// The file is ours and a person changed it.
    #[error(
        "{path} was edited after purser install had written it, so it is left alone; see the edits with: \
         purser install … --print-unit | diff {path} -   and replace it with --force, which keeps it as a .bak",
        path = path.display()
    )]
    Edited {
        /// The file.
        path: PathBuf,
    },
    /// No such service was installed by us.
    #[error("no service {name} is installed: there is no {path}", path = path.display())]
    NotInstalled {
        /// Its name.
        name: String,
        /// Its file.
        path: PathBuf,
    },
    /// The file system said no.
    #[error("{doing} {path}: {source}", path = path.display())]
    Files {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A command of the init system could not be started.
    #[error("starting {command}: {source}")]
    Start {
        /// The command line.
        command: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A command of the init system failed.
    #[error("{command} failed with {code}: {said}")]
    Command {
        /// The command line.
        command: String,
        /// Its exit code, or the signal it died of.
        code: String,
        /// What it printed.
        said: String,
    },
    /// Undoing after a failure failed as well.
    #[error("{failure}; undoing what had been done failed too, at {path}: {source}", path = path.display())]
    Undo {
        /// The first failure.
        failure: Box<ServiceError>,
        /// What could not be put back.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}
