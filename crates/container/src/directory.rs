// SPDX-License-Identifier: Apache-2.0
//! The handle to the look-up threads. Asking never blocks: a question goes into bounded queues or is
//! refused and counted. Answers come back in any order, each question at most once.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::api::Api;
use crate::containerd::Containerd;
use crate::counters::{Counters, Statistics, count};
use crate::detect::{RuntimeState, detect};
use crate::identity::{Identity, Runtime};
use crate::info::Info;
use crate::lane::{Deliver, Lane, QUEUE_LIMIT, Source, Ticket};
use crate::listen::Listener;
use crate::oci::StateFiles;
use crate::recent::Recent;
use crate::sources::{Sources, matches};

/// The most lanes for API sockets and for daemons of containerd; further sockets of users are not asked.
const LANES_LIMIT: usize = 24;

/// The answer to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The id that was asked for.
    pub id: String,
    /// What its runtime says; `None` when no runtime knows it.
    pub info: Option<Info>,
}

/// The handle to the threads that ask the runtimes. They end after it is dropped.
pub struct Directory {
    sources: Sources,
    lanes: Vec<Entrance>,
    counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
}

/// The asker's side of a lane.
#[derive(Debug)]
struct Entrance {
    questions: SyncSender<Arc<Ticket>>,
    held: Arc<AtomicUsize>,
    serves: &'static [Runtime],
    /// The user whose runtime this is: it is believed about that user's containers only.
    user: Option<String>,
}

impl fmt::Debug for Directory {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Directory").field("lanes", &self.lanes).finish_non_exhaustive()
    }
}

// Files never hang, but a question waits in every lane it is in: three lanes, so that many unanswered
// questions about one runtime fill no queue of another.
const DOCKER_FILES: &[Runtime] = &[Runtime::Docker, Runtime::Unknown];
const STORAGE_FILES: &[Runtime] = &[Runtime::Podman, Runtime::CriO, Runtime::Unknown];
const OTHER_FILES: &[Runtime] = &[Runtime::Runc, Runtime::Lxc, Runtime::Nspawn];
// Kubernetes with Docker behind it looks like containerd in the cgroup path.
const OF_DOCKER: &[Runtime] = &[Runtime::Docker, Runtime::Containerd, Runtime::Unknown];
const OF_PODMAN: &[Runtime] = &[Runtime::Podman, Runtime::Unknown];
// A namespace of containerd with a name of its own looks like bare runc.
const OF_CONTAINERD: &[Runtime] = &[Runtime::Containerd, Runtime::Runc, Runtime::Unknown];

impl Directory {
    /// Starts the threads. Answers go into `results`; a full channel holds up the look-ups, and
    /// then [`ask`](Directory::ask) refuses, so nothing grows without bound.
    pub fn start(sources: Sources, results: SyncSender<Resolved>) -> std::io::Result<Directory> {
        Directory::start_with(sources, move |resolved| results.send(resolved).is_ok())
    }

    /// Like [`start`](Directory::start), with a function that takes the answers, on the look-up
    /// threads; it returns `false` when no more answers are wanted.
    pub fn start_with(
        sources: Sources,
        deliver: impl Fn(Resolved) -> bool + Send + Sync + 'static,
    ) -> std::io::Result<Directory> {
        let (counters, stop) = (Arc::new(Counters::default()), Arc::new(AtomicBool::new(false)));
        let mut directory = Directory { sources, lanes: Vec::new(), counters, stop };
        let deliver: Deliver = Arc::new(deliver);
        let sources = directory.sources.clone();
        for (files, serves) in [
            (StateFiles::of_docker(&sources), DOCKER_FILES),
            (StateFiles::of_storage(&sources), STORAGE_FILES),
            (StateFiles::of_others(&sources), OTHER_FILES),
        ] {
            directory.open(Source::Files(files), serves, None, &deliver)?;
        }
        for containerd in Containerd::all(&sources).into_iter().take(LANES_LIMIT) {
            directory.open(Source::Containerd(containerd), OF_CONTAINERD, None, &deliver)?;
        }
        for (socket, runtime, user) in api_sockets(&sources).into_iter().take(LANES_LIMIT) {
            directory.open_api(&socket, runtime, user, &deliver)?;
        }
        Ok(directory)
    }

    fn open_api(
        &mut self,
        socket: &Path,
        runtime: Runtime,
        user: Option<String>,
        deliver: &Deliver,
    ) -> std::io::Result<()> {
        let api = Api { socket: socket.into(), runtime, timeout: self.sources.request_timeout };
        let recent = Arc::new(Mutex::new(Recent::default()));
        let serves = if runtime == Runtime::Docker { OF_DOCKER } else { OF_PODMAN };
        if runtime == Runtime::Docker {
            let listener = Listener {
                api: api.clone(),
                recent: Arc::clone(&recent),
                counters: Arc::clone(&self.counters),
                stop: Arc::clone(&self.stop),
            };
            thread::Builder::new().name("names-events".into()).spawn(move || listener.run())?;
        }
        self.open(Source::Api { api, recent }, serves, user, deliver)
    }

    fn open(
        &mut self,
        source: Source,
        serves: &'static [Runtime],
        user: Option<String>,
        deliver: &Deliver,
    ) -> std::io::Result<()> {
        let (sender, questions) = mpsc::sync_channel(QUEUE_LIMIT);
        let held = Arc::new(AtomicUsize::new(0));
        let lane = Lane {
            source,
            questions,
            held: Arc::clone(&held),
            deliver: Arc::clone(deliver),
            counters: Arc::clone(&self.counters),
        };
        thread::Builder::new().name("names".into()).spawn(move || lane.run())?;
        self.lanes.push(Entrance { questions: sender, held, serves, user });
        Ok(())
    }

    /// Asks for a container's description; never blocks. `false` when a queue is full: counted, and
    /// to be asked again later. Each question taken is answered once; who asks twice hears twice.
    pub fn ask(&self, identity: &Identity, cgroup_path: &[u8]) -> bool {
        let user = user_of(cgroup_path);
        let fit = |lane: &&Entrance| {
            lane.serves.contains(&identity.runtime) && lane.user.as_deref().is_none_or(|of| Some(of) == user)
        };
        let lanes: Vec<&Entrance> = self.lanes.iter().filter(fit).collect();
        for (index, lane) in lanes.iter().enumerate() {
            if lane.held.fetch_add(1, Ordering::AcqRel) >= QUEUE_LIMIT {
                for reserved in lanes.iter().take(index + 1) {
                    reserved.held.fetch_sub(1, Ordering::AcqRel);
                }
                count(&self.counters.refused);
                return false;
            }
        }
        count(&self.counters.asked);
        let ticket = Arc::new(Ticket::new(&identity.id, identity.runtime, lanes.len()));
        // Places are reserved above, so this fails only when the lane has ended with its listener.
        let mut taken = true;
        for lane in lanes {
            taken &= lane.questions.try_send(Arc::clone(&ticket)).is_ok();
        }
        taken
    }

    /// The runtimes that are here, by which socket or directory, and whether they answer. Takes up
    /// to a second when one hangs: for the start line and for reports.
    pub fn runtimes(&self) -> Vec<RuntimeState> {
        detect(&self.sources)
    }

    /// How the look-ups went so far.
    pub fn statistics(&self) -> Statistics {
        self.counters.read()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // The lanes end by themselves when their queues are closed.
        self.stop.store(true, Ordering::Release);
    }
}

/// The API sockets to ask, and whose they are. Those of users exist only while the user is there;
/// the system's are asked whether they exist yet or not.
pub(crate) fn api_sockets(sources: &Sources) -> Vec<(PathBuf, Runtime, Option<String>)> {
    let docker = std::iter::once(&sources.docker_socket).filter(|socket| !socket.as_os_str().is_empty());
    let mut out: Vec<_> = docker.map(|socket| (socket.clone(), Runtime::Docker, None)).collect();
    out.extend(sources.podman_sockets.iter().map(|socket| (socket.clone(), Runtime::Podman, None)));
    for (patterns, runtime) in
        [(&sources.docker_user_sockets, Runtime::Docker), (&sources.podman_user_sockets, Runtime::Podman)]
    {
        let found = patterns.iter().flat_map(|pattern| matches(pattern));
        out.extend(found.map(|(socket, user)| (socket, runtime, user)));
    }
    out
}

/// The user of `/user.slice/user-1000.slice/…`.
fn user_of(cgroup_path: &[u8]) -> Option<&str> {
    let rest = cgroup_path.strip_prefix(b"/user.slice/user-")?;
    let end = rest.iter().position(|byte| !byte.is_ascii_digit()).filter(|&end| end > 0)?;
    rest.get(end..)?.starts_with(b".slice").then(|| std::str::from_utf8(rest.get(..end)?).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::user_of;

    #[test]
    fn users() {
        assert_eq!(user_of(b"/user.slice/user-1000.slice/user@1000.service/x"), Some("1000"));
        for path in [
            b"/user.slice/user-.slice/x".as_slice(),
            b"/user.slice/user-10",
            b"/docker/user.slice/user-1.slice",
        ] {
            assert_eq!(user_of(path), None);
        }
    }
}
