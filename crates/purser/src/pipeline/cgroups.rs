// SPDX-License-Identifier: Apache-2.0
//! Which container a cgroup is, whether it is in scope, and what the runtimes know of it.
//!
//! Runtimes are asked on threads of their own and the line goes on meanwhile. Only a scope that
//! itself asks for names, images or labels makes the line wait, once for each new container, at
//! most [`PATIENCE`] at a time and a tenth of all time: records wait in the ring, none is lost.
//! A container without a name by then is recorded until its name says otherwise.

use crate::config::{Config, Include, Scope};
use anyhow::Context;
use container::{Directory, Identity, Resolved, identify};
use event::Container;
use probe::Probe;
use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// Answers of the runtimes that may wait to be taken.
const ANSWERS_LIMIT: usize = 4096;
/// The longest wait for a name that the scope depends on.
const PATIENCE: Duration = Duration::from_millis(500);
/// One part in this many of all time may be spent waiting for names.
const WAITING_SHARE: u32 = 10;
/// Time after which a removed cgroup is forgotten: its last records have long been read.
const FORGET_NS: u64 = 30_000_000_000;

/// The most images and archives that are known before anything runs in them.
const INTRODUCED_LIMIT: usize = 10_000;

/// What was decided about a cgroup.
#[derive(Clone, Debug)]
struct Seen {
    /// Empty for processes of the host.
    container: String,
    wanted: bool,
    /// Its path is in the scope by itself, whatever the container is called.
    listed: bool,
    /// Identified when a task was known to have a pid namespace of its own.
    inside: bool,
}

/// Every cgroup met so far.
#[derive(Debug)]
pub(crate) struct Cgroups {
    scope: Scope,
    directory: Directory,
    answers: Receiver<Resolved>,
    seen: HashMap<u64, Seen>,
    known: HashMap<String, Known>,
    /// What an earlier agent knew, or a client told, by id, until the container is met.
    met_before: HashMap<String, Container>,
    /// Containers whose description changed and has not been taken yet.
    changed: Vec<String>,
    /// Time left for waiting, and when it was last counted.
    budget: (Duration, Instant),
}

/// A container.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) info: Container,
    pub(crate) cgroups: Vec<u64>,
    answered: bool,
    /// An earlier agent was told its name.
    named: bool,
}

impl Cgroups {
    /// `met_before`: what an earlier agent was told, believed until the runtimes answer anew.
    pub(crate) fn new(config: &Config, met_before: Vec<Container>) -> anyhow::Result<Cgroups> {
        let (results, answers) = sync_channel(ANSWERS_LIMIT);
        let directory = Directory::start(config.runtimes.clone(), results)
            .context("starting the threads that ask the container runtimes")?;
        Ok(Cgroups {
            scope: config.scope.clone(),
            directory,
            answers,
            seen: HashMap::new(),
            known: HashMap::new(),
            met_before: met_before.into_iter().map(|known| (known.id.clone(), known)).collect(),
            changed: Vec::new(),
            budget: (PATIENCE, Instant::now()),
        })
    }

    /// The runtimes found on this host.
    pub(crate) fn runtimes(&self) -> Vec<container::RuntimeState> {
        self.directory.runtimes()
    }

    /// Decides everything again under another scope.
    pub(crate) fn configure(&mut self, config: &Config, probe: &Probe) -> anyhow::Result<()> {
        self.scope = config.scope.clone();
        for (key, seen) in self.seen.drain() {
            if !seen.wanted {
                probe.set_scope(key, probe::Scope::Unknown, seen.inside)?;
            }
        }
        Ok(())
    }

    /// The container of a record: its id, empty for the host, `None` when it is out of scope.
    /// `inside`: the task has a pid namespace of its own.
    pub(crate) fn container(
        &mut self,
        probe: &Probe,
        key: u64,
        inside: bool,
    ) -> anyhow::Result<Option<String>> {
        match self.seen.get(&key) {
            Some(seen) if seen.inside || !inside || !seen.container.is_empty() => {
                return Ok(seen.wanted.then(|| seen.container.clone()));
            }
            _ => {}
        }
        let seen = self.decide(probe, key, inside)?;
        let scope = if seen.wanted { probe::Scope::In } else { probe::Scope::Out };
        // Whose container is known needs no more hints.
        probe.set_scope(key, scope, seen.inside || !seen.container.is_empty())?;
        let container = seen.wanted.then(|| seen.container.clone());
        self.seen.insert(key, seen);
        Ok(container)
    }

    fn decide(&mut self, probe: &Probe, key: u64, inside: bool) -> anyhow::Result<Seen> {
        let Some(cgroup) = probe.cgroup(key)? else {
            // The kernel had no memory for it: rather record without an id than lose.
            return Ok(Seen { container: String::new(), wanted: true, listed: false, inside });
        };
        let listed =
            self.scope.cgroups.iter().any(|glob| glob.matches(&String::from_utf8_lossy(&cgroup.path)));
        let inside = inside || cgroup.own_pid_namespace;
        let described = container::Cgroup { path: &cgroup.path, pid_ns_differs_from_host: inside };
        let Some(identity) = identify(&described) else {
            let wanted = listed || self.scope.include.contains(&Include::Host);
            return Ok(Seen { container: String::new(), wanted, listed, inside });
        };
        self.meet(&identity, &cgroup.path, key);
        let wanted = listed || self.is_wanted(&identity.id);
        Ok(Seen { container: identity.id, wanted, listed, inside })
    }

    /// Takes note of what is no container, and in which something will run.
    pub(crate) fn introduce(&mut self, info: Container) {
        if self.met_before.len() < INTRODUCED_LIMIT && !self.known.contains_key(&info.id) {
            self.met_before.insert(info.id.clone(), info);
        }
    }

    /// Takes note of a container and has the runtimes asked about it.
    fn meet(&mut self, identity: &Identity, path: &[u8], key: u64) {
        let before = self.met_before.remove(&identity.id);
        let known = self.known.entry(identity.id.clone()).or_insert_with(|| Known {
            named: before.as_ref().is_some_and(|before| !before.name.is_empty()),
            info: match before {
                Some(before) if !before.runtime.is_empty() => before,
                before => Container {
                    id: identity.id.clone(),
                    runtime: identity.runtime.as_str().to_string(),
                    pod_uid: identity.pod_uid.clone().unwrap_or_default(),
                    ..before.unwrap_or_default()
                },
            },
            cgroups: Vec::new(),
            answered: false,
        });
        known.cgroups.push(key);
        self.changed.push(identity.id.clone());
        if is_still(&known.info.name) {
            known.answered = true;
        }
        if !known.answered {
            // A refused question is counted by the directory; the name is then missing.
            self.directory.ask(identity, path);
        }
    }

    fn is_wanted(&mut self, id: &str) -> bool {
        let scope = &self.scope;
        if !scope.include.contains(&Include::Container) {
            return false;
        }
        if !scope.ids.is_empty() && !scope.ids.iter().any(|glob| glob.matches(id)) {
            return false;
        }
        let by_name = !scope.names.is_empty() || !scope.exclude_names.is_empty();
        if by_name || !scope.images.is_empty() || !scope.labels.is_empty() {
            self.wait_for(id);
        }
        let Some(known) = self.known.get(id) else { return true };
        matches_scope(&self.scope, &known.info)
    }

    /// Takes answers until this container's is among them, or patience or the budget ends.
    fn wait_for(&mut self, id: &str) {
        let start = Instant::now();
        let (left, counted) = self.budget;
        let budget = (left + start.saturating_duration_since(counted) / WAITING_SHARE).min(PATIENCE);
        let until = start + budget;
        while self.known.get(id).is_some_and(|known| !known.answered && !known.named) {
            let left = until.saturating_duration_since(Instant::now());
            match self.answers.recv_timeout(left) {
                Ok(answer) => self.take(answer),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        self.budget = (budget.saturating_sub(start.elapsed()), Instant::now());
    }

    fn take(&mut self, answer: Resolved) {
        let Some(known) = self.known.get_mut(&answer.id) else { return };
        known.answered = true;
        let Some(info) = answer.info else { return };
        known.info = Container { id: answer.id.clone(), ..described(info) };
        self.changed.push(answer.id);
    }

    /// Containers in scope that are new or better known since the last call.
    pub(crate) fn take_changed(&mut self, probe: &Probe) -> anyhow::Result<Vec<Known>> {
        while let Ok(answer) = self.answers.try_recv() {
            self.take(answer);
        }
        let mut changed = Vec::new();
        for id in std::mem::take(&mut self.changed) {
            let Some(known) = self.known.get(&id).cloned() else { continue };
            if self.settle(&known, probe)? {
                changed.push(known);
            }
        }
        Ok(changed)
    }

    /// Drops a container from the scope when its name, known by now, is not among the wanted.
    fn settle(&mut self, known: &Known, probe: &Probe) -> anyhow::Result<bool> {
        let mut wanted = false;
        for &key in &known.cgroups {
            let Some(seen) = self.seen.get_mut(&key).filter(|seen| seen.wanted) else { continue };
            if known.answered && !seen.listed && !matches_scope(&self.scope, &known.info) {
                seen.wanted = false;
                probe.set_scope(key, probe::Scope::Out, true)?;
            }
            wanted |= seen.wanted;
        }
        Ok(wanted)
    }

    /// What is known of a container.
    pub(crate) fn known(&self, id: &str) -> Option<&Known> {
        self.known.get(id)
    }

    /// Every container met and not forgotten.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Known> {
        self.known.values()
    }

    /// The container decided for a cgroup, `None` when it was never met or is out of scope.
    pub(crate) fn of(&self, key: u64) -> Option<&str> {
        self.seen.get(&key).filter(|seen| seen.wanted).map(|seen| seen.container.as_str())
    }

    /// Lets go of cgroups that were removed a while ago.
    pub(crate) fn sweep(&mut self, probe: &Probe, boot_now_ns: u64) -> anyhow::Result<()> {
        for (key, cgroup) in probe.cgroups()? {
            if cgroup.gone_ns == 0 || boot_now_ns.saturating_sub(cgroup.gone_ns) < FORGET_NS {
                continue;
            }
            probe.forget(key)?;
            let Some(seen) = self.seen.remove(&key) else { continue };
            if let Some(known) = self.known.get_mut(&seen.container) {
                known.cgroups.retain(|&other| other != key);
                if known.cgroups.is_empty() {
                    self.known.remove(&seen.container);
                }
            }
        }
        Ok(())
    }
}

/// What a runtime says of a container, as events have it.
pub(crate) fn described(info: container::Info) -> Container {
    let pod = info.pod.unwrap_or_default();
    Container {
        id: info.id,
        runtime: info.runtime.as_str().to_string(),
        name: info.name,
        image: info.image,
        labels: info.labels,
        pod_name: pod.name,
        pod_namespace: pod.namespace,
        pod_uid: pod.uid,
    }
}

/// A container nobody could name is recorded: rather too much than a hole.
pub(crate) fn matches_scope(scope: &Scope, info: &Container) -> bool {
    if info.name.is_empty() && info.image.is_empty() {
        return true;
    }
    if scope.exclude_names.iter().any(|glob| glob.matches(&info.name)) {
        return false;
    }
    // What runs there is a session's, which somebody may want to know of whatever the image is called.
    if is_still(&info.name) {
        return true;
    }
    let name = scope.names.is_empty() || scope.names.iter().any(|glob| glob.matches(&info.name));
    let image = scope.images.is_empty() || scope.images.iter().any(|glob| glob.matches(&info.image));
    let label = scope.labels.is_empty()
        || scope
            .labels
            .iter()
            .any(|wanted| info.labels.iter().any(|(key, value)| wanted.matches(key, value)));
    name && image && label
}

/// Whether it is the name of an image or an archive with a session in it. No container can be called so.
pub(crate) fn is_still(name: &str) -> bool {
    name.starts_with("image:") || name.starts_with("archive:")
}
