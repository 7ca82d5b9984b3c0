// SPDX-License-Identifier: Apache-2.0
//! Core files: which program died, of what, and which files it consisted of, so that the same files can be found
//! again in a container, an image or a directory.
//!
//! [`Core::read`] takes the notes and the first pages of mapped objects out of a core, whatever its size, and
//! [`compare`] holds them against files. [`stored`] lists what systemd-coredump has kept, and [`unpack`] makes a
//! compressed core readable. A core is written by whoever died and believed in nothing: all counts have limits, and
//! what is not there is said. Never prints, never mounts, and knows neither containers nor images.

mod auxv;
mod compare;
mod core;
mod elf;
mod error;
mod files;
mod identity;
mod notes;
mod packed;
mod signal;
mod stored;

pub use compare::{Compared, Match, Open, compare};
pub use core::{Core, Cut, Object};
pub use elf::{Bytes, machine_name};
pub use error::CoreError;
pub use identity::{BuildId, Identity, identify};
pub use packed::{Packing, Room, head, packing, unpack};
pub use signal::signal_name;
pub use stored::{Stored, stored};
