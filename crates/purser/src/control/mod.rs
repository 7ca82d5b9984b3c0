// SPDX-License-Identifier: Apache-2.0
//! The agent's root-only socket: what can be asked, and asking it.

mod caller;
mod client;
mod protocol;
mod server;
mod text;

pub use client::{ControlError, ask};
pub use protocol::{
    ContainerStats, EXPIRY_LIMIT_SECS, GapStats, Mishap, Notice, REPLY_LIMIT, REQUEST_LIMIT, Reply, Request,
    RewindTo, RingStats, RuleSource, RuleState, SOCKET_NAME, SinkState, SourceState, Stats, Status,
};
pub(crate) use server::{Answer, Server};
pub use text::Text;
