// SPDX-License-Identifier: Apache-2.0
//! The processes of a command, as far as they executed something, and the containers that are
//! theirs: those one of them is in, and those a runtime was told to make by one of them.

use event::{Body, Event, ProcessKey};
use std::collections::{HashMap, HashSet};

/// Most processes remembered; a command that runs more is followed through its containers.
const PROCESSES_LIMIT: usize = 65_536;
/// Most words remembered of the family's command lines.
const WORDS_LIMIT: usize = 65_536;

/// A command's processes and containers.
#[derive(Debug, Default)]
pub(super) struct Family {
    processes: HashSet<ProcessKey>,
    /// Containers decided upon: whether they are ours.
    containers: HashMap<String, bool>,
    /// Ids and names that a runtime's interface gave to the command.
    told: HashSet<String>,
    /// Arguments of the family: `ctr run IMAGE NAME` names the container it asks for.
    words: HashSet<Vec<u8>>,
}

impl Family {
    /// A container, by id or name, that the command made or entered through a daemon.
    pub(super) fn add_container(&mut self, container: &str) {
        if self.told.insert(container.to_string()) {
            // What was decided before may have been about this one.
            self.containers.retain(|_, ours| *ours);
        }
    }

    /// Whether the event happened in a container of the command. `name` is the container's.
    pub(super) fn owns(&mut self, event: &Event, name: &str) -> bool {
        let member = self.meet(event);
        if event.container.is_empty() {
            return false;
        }
        if let Some(&ours) = self.containers.get(&event.container) {
            return ours;
        }
        let id = event.container.as_str();
        let ours = member
            || self.told.contains(id)
            || (!name.is_empty() && self.told.contains(name))
            || self.told.iter().any(|told| told.len() >= 12 && id.starts_with(told.as_str()))
            || self.words.contains(id.as_bytes());
        self.containers.insert(id.to_string(), ours);
        ours
    }

    /// Takes note of a process that one of ours started. True when it is one of ours.
    fn meet(&mut self, event: &Event) -> bool {
        let Body::Exec(exec) = &event.body else { return false };
        let process = &exec.process;
        let ours = process.parent.pid == std::process::id()
            || [process.key, process.parent, process.ancestor].iter().any(|key| self.processes.contains(key));
        if ours && self.processes.len() < PROCESSES_LIMIT {
            self.processes.insert(process.key);
        }
        if ours && event.container.is_empty() && self.words.len() < WORDS_LIMIT {
            self.words.extend(exec.args.iter().skip(1).filter(|arg| !arg.is_empty()).cloned());
        }
        ours
    }
}

#[cfg(test)]
mod tests {
    use super::Family;
    use event::{Body, Event, Exec, Process, ProcessKey};

    fn exec(container: &str, pid: u32, parent: u32, args: &[&str]) -> Event {
        let key = |pid| ProcessKey { pid, start_boot_ns: 1 };
        let exec = Exec {
            process: Process { key: key(pid), parent: key(parent), ..Process::default() },
            args: args.iter().map(|arg| arg.as_bytes().to_vec()).collect(),
            ..Exec::default()
        };
        let container = container.to_string();
        Event { boot_id: [0; 16], time_ns: 0, boot_ns: 0, container, body: Body::Exec(Box::new(exec)) }
    }

    #[test]
    fn follows_children_into_containers_and_leaves_others_alone() {
        let us = std::process::id();
        let mut family = Family::default();
        assert!(!family.owns(&exec("", 10, us, &["podman", "run"]), ""));
        assert!(!family.owns(&exec("", 11, 10, &["runc", "init"]), ""));
        assert!(family.owns(&exec("c1", 12, 11, &["id"]), ""));
        assert!(family.owns(&exec("c1", 13, 99, &["entered later"]), ""));
        assert!(!family.owns(&exec("c2", 14, 1, &["other"]), "other"));
        family.add_container("other");
        assert!(family.owns(&exec("c2", 14, 1, &["other"]), "other"));
    }

    #[test]
    fn a_container_named_on_the_command_line_is_ours() {
        let mut family = Family::default();
        family.owns(&exec("", 10, std::process::id(), &["ctr", "run", "image", "web1"]), "");
        assert!(family.owns(&exec("web1", 20, 1, &["id"]), ""));
        assert!(!family.owns(&exec("web2", 21, 1, &["id"]), ""));
    }
}
