// SPDX-License-Identifier: Apache-2.0
//! Programs as services: what they are, the files that tell the init system so, and asking it to
//! start and stop them. For systemd, OpenRC and SysV init scripts.
//!
//! - [`Definition`] says what is to run; [`Init`] which init system the host has.
//! - [`Plan`] compares that with the files that are there and makes the difference, or nothing.
//!   A file that a person edited, or that is not ours, is never overwritten unasked.
//! - [`Manager`] starts, stops and asks.
//!
//! Everything is below a root directory, so that the same code works on an image. This room prints
//! nothing, reads no configuration, and does not know what the program does that it installs.

mod definition;
mod error;
mod files;
mod init;
mod installed;
mod manager;
mod mark;
mod openrc;
mod place;
mod plan;
mod shell;
mod state;
mod systemd;
mod sysv;

pub use definition::{Agent, Definition, Kind, Name};
pub use error::ServiceError;
pub use init::{Init, Root};
pub use installed::Installed;
pub use manager::{Job, Manager};
pub use mark::Standing;
pub use place::Place;
pub use plan::{Plan, Step};
pub use state::{Active, State};
