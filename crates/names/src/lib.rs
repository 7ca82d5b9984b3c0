// SPDX-License-Identifier: Apache-2.0
//! Names to addresses for a static program: `/etc/hosts`, then DNS as `/etc/resolv.conf` says.
//!
//! glibc looks names up through modules that `nsswitch.conf` names and that it loads from the host.
//! A static program brings its own glibc, and a module of another glibc ends it: the assertion
//! `_dl_call_libc_early_init` fails, and no error can be handled. So this room answers itself and
//! loads nothing. `nsswitch.conf` is not read.
//!
//! Rust asks by [`resolve`] and gets an error that says who was asked and what each answered. C and
//! Rust's standard library ask by `getaddrinfo` and its kin, which [`symbols`] puts in place of glibc's.
//! That takes effect only in a program that names this crate: `use names as _;`.
//!
//! It holds no state: both files are read at each question, so a change holds from the next one on.

mod error;
mod exchange;
pub mod hosts;
pub mod message;
mod order;
mod resolver;
pub mod settings;
pub mod symbols;

pub use error::{NameError, Outcome, Said};
pub use message::{BadName, Kind, Name};
pub use resolver::{Family, Found, Resolver};

use std::net::SocketAddr;

/// The addresses of `host` (a name, or an address without brackets), best first, with `port`.
/// Blocks for at most [`resolver::WHOLE_LIMIT`](Resolver::WHOLE_LIMIT).
pub fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, NameError> {
    Resolver::system().resolve(host, port)
}
