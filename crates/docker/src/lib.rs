// SPDX-License-Identifier: Apache-2.0
//! The little that a session on another host needs of the Docker Engine API: bring an image there, start a container
//! of it, and talk with what runs in it.
//!
//! [`Host`] says where a daemon is and how to get there; [`Daemon`] is a connection to one, and [`Attached`] what
//! becomes of it in the end: the streams of a container. The version of the API is agreed upon, never assumed.
//! Everything that comes from a daemon is bounded, in bytes and in time. Reads no environment, prints nothing, and
//! knows nothing of sessions.

mod api;
mod archive;
mod attached;
mod context;
mod daemon;
mod error;
mod host;
mod http;
mod ssh;
#[cfg(test)]
mod strict;
mod tls;
mod wire;

pub use api::Version;
pub use archive::{Image, Layer};
pub use attached::{Attached, Output, Taken};
pub use context::context;
pub use daemon::{About, Container, Daemon, Labels, Settings, Wanted};
pub use error::DockerError;
pub use host::{Certificates, Host, Way};
