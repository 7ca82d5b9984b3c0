// SPDX-License-Identifier: Apache-2.0
//! The program `purser` as a library, so that tests and fuzzing can reach its parts.
//!
//! This room joins all others. Only here the configuration, the environment and the clock are
//! read and anything is printed; nothing here decodes kernel records or store blocks.

mod agent;
mod brief;
mod command;
pub mod config;
pub mod control;
mod exit;
pub mod metrics;
mod pipeline;
mod policy;
mod sinks;
mod sources;
mod table;

// Not called here: it puts its functions in place of glibc's, for everything that is linked in.
use names as _;

pub use command::main;
pub use exit::Exit;
