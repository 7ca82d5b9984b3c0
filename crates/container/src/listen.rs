// SPDX-License-Identifier: Apache-2.0
//! Listens to a runtime's events, so that a container which is gone before anybody asks has still
//! been heard of. Fills the memory of the lane beside it; answers nobody.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::api::Api;
use crate::counters::{Counters, count};
use crate::recent::Recent;
use crate::{Info, LookupError};

/// How long to wait before connecting again: first, and at most.
const WAIT_FIRST: Duration = Duration::from_millis(200);
const WAIT_MOST: Duration = Duration::from_secs(5);
/// How often a quiet stream looks whether it should stop.
const QUIET: Duration = Duration::from_secs(2);

/// The thread's own state.
pub(crate) struct Listener {
    pub(crate) api: Api,
    pub(crate) recent: Arc<Mutex<Recent>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) stop: Arc<AtomicBool>,
}

impl Listener {
    /// Listens until told to stop, connecting again whenever the stream ends.
    pub(crate) fn run(self) {
        let mut wait = WAIT_FIRST;
        while !self.stopped() {
            let before = self.counters.read().events;
            match self.listen() {
                Ok(()) => {}
                // Not installed, or not started yet.
                Err(LookupError::Connect { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                }
                Err(error) => self.counters.failure(&error),
            }
            let useful = self.counters.read().events > before;
            wait = if useful { WAIT_FIRST } else { (wait * 2).min(WAIT_MOST) };
            if !self.stopped() {
                thread::sleep(wait);
            }
        }
    }

    fn listen(&self) -> Result<(), LookupError> {
        let mut events = self.api.follow()?;
        count(&self.counters.streams);
        // The list comes after the stream is open, so that no container falls between them.
        // Without the list, the events still serve.
        if let Err(error) = self.api.list(&mut |info| self.remember(info, true)) {
            self.counters.failure(&error);
        }
        let mut heard = |info| {
            count(&self.counters.events);
            self.remember(info, false);
        };
        while !self.stopped() && events.wait(QUIET, &mut heard)? {}
        Ok(())
    }

    fn remember(&self, info: Info, complete: bool) {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).put(info, complete);
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}
