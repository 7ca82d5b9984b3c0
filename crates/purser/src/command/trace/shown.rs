// SPDX-License-Identifier: Apache-2.0
//! Which ends belong to a program that was shown. A runtime's helper starts on the host and ends in
//! the container it made: without its start, its end would be a riddle.

use event::{Body, Event, ProcessKey};
use std::collections::HashSet;

/// Most running processes remembered; the ends of more are shown in any case.
const RUNNING_LIMIT: usize = 65_536;

#[derive(Debug, Default)]
pub(super) struct Shown {
    running: HashSet<ProcessKey>,
    /// More ran at a time than are remembered.
    full: bool,
}

impl Shown {
    /// Whether an event of the containers asked for is one to show.
    pub(super) fn fits(&mut self, event: &Event) -> bool {
        match &event.body {
            Body::Exec(exec) | Body::Running(exec) => {
                if self.running.len() < RUNNING_LIMIT {
                    self.running.insert(exec.process.key);
                } else {
                    self.full = true;
                }
                true
            }
            Body::Exit(exit) => self.running.remove(&exit.process.key) || self.full,
            Body::ExecFailed(_) | Body::Gap(_) | Body::Agent(_) | Body::Line(_) => true,
            Body::Session(_) => true,
            Body::Tty(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Shown;
    use event::{Body, Event, Exec, Exit, Process, ProcessKey};

    fn event(body: Body) -> Event {
        Event { boot_id: [0; 16], time_ns: 0, boot_ns: 0, container: "c".to_string(), body }
    }

    fn process(pid: u32) -> Process {
        Process { key: ProcessKey { pid, start_boot_ns: 1 }, ..Process::default() }
    }

    #[test]
    fn an_end_without_a_start_is_left_out() {
        let exit = |pid| event(Body::Exit(Exit { process: process(pid), ..Exit::default() }));
        let exec = |pid| event(Body::Exec(Box::new(Exec { process: process(pid), ..Exec::default() })));
        let mut shown = Shown::default();
        assert!(!shown.fits(&exit(1)));
        assert!(shown.fits(&exec(1)) && shown.fits(&exec(1)) && shown.fits(&exit(1)));
        assert!(!shown.fits(&exit(1)));
    }
}
