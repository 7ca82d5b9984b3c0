// SPDX-License-Identifier: Apache-2.0
//! The look-up of names against hostile sockets and against the real runtimes of this host. Touches
//! no container that it did not make.

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod podman;
#[cfg(test)]
mod real;

use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use container::{Directory, Identity, Resolved, Runtime, Sources};

/// How long a test waits for what must come; only a failure ever takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

fn start(sources: Sources) -> (Directory, Receiver<Resolved>) {
    let (sender, results) = sync_channel(64);
    (Directory::start(sources, sender).expect("threads can be started"), results)
}

fn identity(id: &str, runtime: Runtime) -> Identity {
    Identity { id: id.into(), runtime, pod_uid: None, nested: false }
}
