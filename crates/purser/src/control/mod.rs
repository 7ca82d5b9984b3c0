// SPDX-License-Identifier: Apache-2.0
//! The agent's root-only socket: what can be asked, and asking it.

mod caller;
mod client;
mod protocol;
mod server;

pub use client::{ControlError, ask};
pub use protocol::{
    ContainerStats, EXPIRY_LIMIT_SECS, Notice, REPLY_LIMIT, REQUEST_LIMIT, Reply, Request, RingStats,
    RuleSource, RuleState, SOCKET_NAME, Stats, Status,
};
pub(crate) use server::Server;
