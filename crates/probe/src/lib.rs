// SPDX-License-Identifier: Apache-2.0
//! The kernel side: BPF programs, their loader, the reader of their rings and the decoder.
//!
//! This room knows records, not events: no names of containers, no clock but the kernel's,
//! no store. bpf/wire.h is the only definition of what passes between the two sides.

mod decode;
mod error;
mod object;
mod pins;
mod probe;
mod reader;
pub mod record;
mod rules;
mod state;
mod support;
mod wire;

pub use decode::{DecodeError, decode, decode_bulk};
pub use error::ProbeError;
pub use probe::{Origin, Probe, Sizes};
pub use reader::{Item, Missing, Position, Reader};
pub use rules::{Action, RULES_LIMIT, Rule, TEXT_LIMIT};
pub use state::{Cgroup, Lane, Scope, Settings};
pub use support::{State, Support, support};
