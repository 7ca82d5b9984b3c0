// SPDX-License-Identifier: Apache-2.0
//! Where Docker keeps what its containers print. Unlike the rest of this room it waits for the runtime's
//! answer, so it is for threads that may wait; each request has its limit.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use crate::api::Api;
use crate::directory::api_sockets;
use crate::sources::Sources;
use crate::{Info, LookupError, Runtime};

/// Most containers that are looked at.
const CONTAINERS_LIMIT: usize = 10_000;

/// Where a container's output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Into a file of Docker's JSON, and those it is rotated to.
    JsonFile(PathBuf),
    /// To this log driver.
    Driver(String),
}

/// A container with where its output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// What the runtime says of it.
    pub info: Info,
    /// `None` while it has not been started.
    pub output: Option<Output>,
}

/// Asks the sockets of Docker, and remembers what does not change.
#[derive(Debug)]
pub struct Logs {
    apis: Vec<(Api, Vec<Logged>)>,
    outputs: HashMap<String, Output>,
}

impl Logs {
    /// Nothing is asked yet.
    pub fn new(sources: &Sources) -> Logs {
        let timeout = sources.request_timeout;
        let docker = api_sockets(sources).into_iter().filter(|(_, runtime, _)| *runtime == Runtime::Docker);
        let apis = docker.map(|(socket, runtime, _)| (Api { socket, runtime, timeout }, Vec::new()));
        Logs { apis: apis.collect(), outputs: HashMap::new() }
    }

    /// All containers there are, those that ended included, and why some may be missing: a Docker that does
    /// not answer has those it had before.
    pub fn look(&mut self) -> (Vec<Logged>, Option<LookupError>) {
        let (mut all, mut trouble) = (Vec::new(), None);
        for (api, before) in &mut self.apis {
            match list(api, &mut self.outputs, &mut trouble) {
                Ok(found) => *before = found,
                // Not installed, or not started.
                Err(LookupError::Connect { source, .. }) if is_absent(&source) => {}
                Err(error) => trouble = Some(error),
            }
            all.extend(before.iter().cloned());
        }
        let there: HashSet<&str> = all.iter().map(|logged: &Logged| logged.info.id.as_str()).collect();
        self.outputs.retain(|id, _| there.contains(id.as_str()));
        (all, trouble)
    }
}

fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused)
}

/// `trouble`: why the output of some is not known.
fn list(
    api: &Api,
    outputs: &mut HashMap<String, Output>,
    trouble: &mut Option<LookupError>,
) -> Result<Vec<Logged>, LookupError> {
    let mut found = Vec::new();
    let mut more = false;
    api.list(&mut |info| match found.len() < CONTAINERS_LIMIT {
        true => found.push(Logged { info, output: None }),
        false => more = true,
    })?;
    if more {
        *trouble = Some(LookupError::TooMany { socket: api.socket.clone(), limit: CONTAINERS_LIMIT });
    }
    for logged in &mut found {
        let id = &logged.info.id;
        if !outputs.contains_key(id) {
            match api.output(id) {
                Ok(Some(output)) => drop(outputs.insert(id.clone(), output)),
                Ok(None) => {}
                // One that hangs would hold up the others as often as there are containers.
                Err(error @ LookupError::TimedOut { .. }) => return Err(error),
                Err(error) => *trouble = Some(error),
            }
        }
        logged.output = outputs.get(id).cloned();
    }
    Ok(found)
}
