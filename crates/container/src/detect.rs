// SPDX-License-Identifier: Apache-2.0
//! Which runtimes are on this host. Asks each socket once, side by side, and is over within a
//! second whatever they do; starts nothing and changes nothing.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::api::Api;
use crate::directory::api_sockets;
use crate::socket::Wire;
use crate::{LookupError, Runtime, Sources};

/// How long one socket may take.
const SOCKET_PATIENCE: Duration = Duration::from_millis(700);
/// How long all of it may take.
const PATIENCE: Duration = Duration::from_millis(900);
/// The most sockets asked.
const SOCKETS_LIMIT: usize = 32;

/// One way to a runtime that exists on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeState {
    /// Whose it is.
    pub runtime: Runtime,
    /// The socket or the state directory.
    pub path: PathBuf,
    /// Whether that is a socket.
    pub is_socket: bool,
    /// Why it cannot be used; `None` when it can.
    pub error: Option<String>,
}

/// The runtimes found, in a fixed order: sockets first. Takes at most a second.
pub fn detect(sources: &Sources) -> Vec<RuntimeState> {
    let mut states = sockets(sources);
    let (results, answers) = mpsc::channel();
    let deadline = Instant::now() + PATIENCE;
    let mut waiting = 0;
    for (index, state) in states.iter().enumerate() {
        let (results, runtime, path) = (results.clone(), state.runtime, state.path.clone());
        let asked = thread::Builder::new().name("names-detect".into()).spawn(move || {
            // The receiver may have stopped waiting.
            drop(results.send((index, ask(runtime, &path).err().map(|error| error.to_string()))));
        });
        waiting += usize::from(asked.is_ok());
    }
    for _ in 0..waiting {
        let Ok((index, error)) = answers.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        else {
            break;
        };
        if let Some(state) = states.get_mut(index) {
            state.error = error;
        }
    }
    states.extend(directories(sources));
    states
}

/// The sockets that exist, each taken for hanging until it has answered.
fn sockets(sources: &Sources) -> Vec<RuntimeState> {
    let apis = api_sockets(sources).into_iter().map(|(path, runtime, _)| (path, runtime));
    let containerd = sources.containerd_sockets.iter().map(|path| (path.clone(), Runtime::Containerd));
    let found = apis.chain(containerd).filter(|(path, _)| path.exists()).take(SOCKETS_LIMIT);
    found
        .map(|(path, runtime)| {
            let error = Some(LookupError::TimedOut { socket: path.clone() }.to_string());
            RuntimeState { runtime, path, is_socket: true, error }
        })
        .collect()
}

fn ask(runtime: Runtime, path: &Path) -> Result<(), LookupError> {
    if runtime == Runtime::Containerd {
        return Wire::connect(path, SOCKET_PATIENCE).map(drop);
    }
    Api { socket: path.into(), runtime, timeout: SOCKET_PATIENCE }.ping()
}

fn directories(sources: &Sources) -> Vec<RuntimeState> {
    let one = |runtime, path: &Path| (runtime, path.to_owned());
    let mut all = vec![one(Runtime::Docker, &sources.docker_containers)];
    let tasks = |state: &PathBuf| (Runtime::Containerd, state.join("io.containerd.runtime.v2.task"));
    all.extend(sources.containerd_states.iter().map(tasks));
    all.extend(sources.podman_storage.iter().map(|path| (Runtime::Podman, path.join("overlay-containers"))));
    all.extend(sources.runc_roots.iter().map(|path| one(Runtime::Runc, path)));
    all.push(one(Runtime::Lxc, &sources.lxc));
    all.push(one(Runtime::Nspawn, &sources.machines));
    all.into_iter()
        .filter(|(_, path)| path.exists())
        .map(|(runtime, path)| {
            let error = std::fs::read_dir(&path).err();
            let error = error.map(|source| LookupError::Read { path: path.clone(), source }.to_string());
            RuntimeState { runtime, path, is_socket: false, error }
        })
        .collect()
}
