// SPDX-License-Identifier: Apache-2.0
//! What the service manager kept for us over a restart, and hands over with the start: open sockets, by name.

use std::os::fd::{OwnedFd, RawFd};

/// The first of them, by the protocol (`sd_listen_fds(3)`).
const FIRST: RawFd = 3;
/// Most of them that are looked at.
const LIMIT: usize = 16;

/// They are closed when nobody takes them.
#[derive(Debug, Default)]
pub(super) struct Handed {
    sockets: Vec<(String, OwnedFd)>,
}

impl Handed {
    /// Reads the environment that a service manager gives its services. To be called before anything is opened.
    pub(super) fn from_environment() -> Handed {
        let value = |name: &str| std::env::var(name).unwrap_or_default();
        if value("LISTEN_PID").parse() != Ok(std::process::id()) {
            return Handed::default();
        }
        let count = value("LISTEN_FDS").parse::<usize>().unwrap_or(0).min(LIMIT);
        let names = value("LISTEN_FDNAMES");
        let names = names.split(':').map(str::to_string).chain(std::iter::repeat(String::new()));
        let taken = (FIRST..).zip(names).take(count);
        Handed {
            sockets: taken.filter_map(|(number, name)| Some((name, sys::take_inherited(number)?))).collect(),
        }
    }

    /// The one called `name`.
    pub(super) fn take(&mut self, name: &str) -> Option<OwnedFd> {
        let index = self.sockets.iter().position(|(known, _)| known == name)?;
        Some(self.sockets.swap_remove(index).1)
    }
}
