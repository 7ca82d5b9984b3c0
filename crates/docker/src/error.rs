// SPDX-License-Identifier: Apache-2.0
//! What goes wrong with a daemon elsewhere, and with whom.

use std::io;
use std::path::PathBuf;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// A text that names no host.
    #[error("{text:?} is no Docker host: {why}; write unix:///PATH, tcp://HOST:PORT or ssh://USER@HOST")]
    Host {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A Docker context that is not there, or that nothing can be done with.
    #[error("docker context {name:?}: {why}")]
    Context {
        /// Its name.
        name: String,
        /// Why not.
        why: String,
    },
    /// A file of ours that cannot be used.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// There is no connection.
    #[error("connecting to {host}: {why}")]
    Connect {
        /// The host as the user knows it.
        host: String,
        /// Why not.
        why: String,
    },
    /// Silence.
    #[error("{host} has not answered within {secs} s; it may hang, or need a longer --timeout")]
    TimedOut {
        /// The host as the user knows it.
        host: String,
        /// How long was waited.
        secs: u64,
    },
    /// The connection broke.
    #[error("the connection to {host} broke: {why}")]
    Broken {
        /// The host as the user knows it.
        host: String,
        /// How.
        why: String,
    },
    /// The other side does not speak as a Docker daemon does.
    #[error("{host} does not answer as a Docker daemon does: {what}")]
    Garbage {
        /// The host as the user knows it.
        host: String,
        /// What is odd.
        what: &'static str,
    },
    /// The daemon says no.
    #[error("{host}: {doing}: {said}")]
    Refused {
        /// The host as the user knows it.
        host: String,
        /// What was asked for.
        doing: String,
        /// The HTTP status.
        status: u16,
        /// Its message.
        said: String,
    },
    /// A daemon that speaks no version of the API that we do.
    #[error("{host} speaks versions {least} to {most} of the Docker API, and purser {ours}")]
    Versions {
        /// The host as the user knows it.
        host: String,
        /// Its oldest.
        least: String,
        /// Its newest.
        most: String,
        /// Ours.
        ours: String,
    },
    /// Something of ours could not be read or packed.
    #[error("{doing}")]
    Local {
        /// What was being done.
        doing: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl DockerError {
    /// Whether the daemon said that there is no such thing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, DockerError::Refused { status: 404, .. })
    }
}
