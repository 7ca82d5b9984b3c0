// SPDX-License-Identifier: Apache-2.0
//! Containers of containerd: annotations from the state directory, and image and labels from its
//! socket when the annotations do not tell. Leaves Docker's namespace to Docker, who knows names.

use std::path::PathBuf;
use std::time::Duration;

use crate::files::{self, FILE_LIMIT};
use crate::info::{Info, Raw};
use crate::lane::{Found, Ticket};
use crate::oci::{Bundle, named_by_id};
use crate::{LookupError, Runtime, Sources, grpc, unit};

const TASKS: &str = "io.containerd.runtime.v2.task";
/// The most namespaces asked.
const NAMESPACES_LIMIT: usize = 32;
/// The namespaces that Docker and its plugins use.
const OF_DOCKER: [&str; 2] = ["moby", "plugins.moby"];

/// One daemon, and what it can be asked by.
#[derive(Debug)]
pub(crate) struct Containerd {
    state: Option<PathBuf>,
    socket: Option<PathBuf>,
    timeout: Duration,
}

impl Containerd {
    /// One for each daemon, so that one which hangs does not hold up another: a state directory
    /// belongs to the socket at the same place of the list. At least one, so that every question
    /// finds somebody who answers it.
    pub(crate) fn all(sources: &Sources) -> Vec<Containerd> {
        let count = sources.containerd_states.len().max(sources.containerd_sockets.len());
        let one = |index: usize| Containerd {
            state: sources.containerd_states.get(index).cloned(),
            socket: sources.containerd_sockets.get(index).cloned(),
            timeout: sources.request_timeout,
        };
        (0..count.max(1)).map(one).collect()
    }

    /// `rest` leaves the socket alone, because it is known to hang.
    pub(crate) fn look_up(&self, ticket: &Ticket, rest: bool) -> Found {
        let id = ticket.id.as_str();
        // Ids of containerd are of these characters only.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if !unit::is_one_name(id.as_bytes()) || !id.bytes().all(plain) {
            return Found::default();
        }
        let (told, failure) = match self.state(id) {
            Ok(told) => (told, None),
            Err(error) => (None, Some(error)),
        };
        if rest || told.as_ref().is_some_and(|(_, info)| !info.image.is_empty()) {
            return Found { info: told.map(|(_, info)| info), failure };
        }
        let namespaces = match &told {
            Some((namespace, _)) => vec![namespace.clone()],
            None => self.namespaces(),
        };
        let told = told.map(|(_, info)| info);
        match self.ask(&namespaces, id) {
            Ok(found) => Found { info: found.or(told), failure },
            Err(error) => Found { info: told, failure: Some(error) },
        }
    }

    fn namespaces(&self) -> Vec<String> {
        let tasks = self.state.iter().flat_map(|state| files::names(&state.join(TASKS), NAMESPACES_LIMIT));
        tasks.filter(|name| !OF_DOCKER.contains(&name.as_str())).collect()
    }

    /// The namespace and the description by the bundle's annotations.
    fn state(&self, id: &str) -> Result<Option<(String, Info)>, LookupError> {
        let Some(state) = &self.state else { return Ok(None) };
        for namespace in self.namespaces() {
            let names = [TASKS, &namespace, id, "config.json"];
            let Some(text) = files::read(state, &names, FILE_LIMIT)? else { continue };
            let path = || state.join(TASKS).join(&namespace).join(id);
            let bundle: Bundle =
                serde_json::from_slice(&text).map_err(|source| LookupError::Json { path: path(), source })?;
            let labels = bundle.annotations.unwrap_or_default();
            return Ok(Some((namespace, named_by_id(Runtime::Containerd, id, labels))));
        }
        Ok(None)
    }

    fn ask(&self, namespaces: &[String], id: &str) -> Result<Option<Info>, LookupError> {
        let Some(socket) = self.socket.as_ref().filter(|socket| socket.exists()) else { return Ok(None) };
        for namespace in namespaces {
            let Some(found) = grpc::container(socket, namespace, id, self.timeout)? else { continue };
            let (runtime, image) = (Runtime::Containerd, Some(found.image));
            let raw = Raw { id: found.id, runtime, name: None, image, image_id: None, labels: found.labels };
            return Ok(Some(Info::from_raw(raw)));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::Containerd;
    use crate::lane::Ticket;
    use crate::{Runtime, Sources};

    #[test]
    fn annotations_of_the_state() {
        let dir = tempfile::tempdir().unwrap();
        let write = |namespace: &str, id: &str, text: &str| {
            let path = dir.path().join("io.containerd.runtime.v2.task").join(namespace).join(id);
            std::fs::create_dir_all(&path).unwrap();
            std::fs::write(path.join("config.json"), text).unwrap();
        };
        write(
            "k8s.io",
            "c1",
            r#"{"annotations":{"io.kubernetes.cri.container-name":"app","io.kubernetes.cri.image-name":"i:1"}}"#,
        );
        write("default", "web1", r#"{"process":{}}"#);
        write("moby", "d1", "{}");
        write("default", "bad", "{");
        let containerd =
            Containerd::all(&Sources { containerd_states: vec![dir.path().into()], ..Sources::none() })
                .remove(0);
        let ask = |id: &str| containerd.look_up(&Ticket::of(id, Runtime::Containerd), false);
        let app = ask("c1").info.unwrap();
        assert_eq!((app.name.as_str(), app.image.as_str()), ("app", "i:1"));
        assert_eq!(ask("web1").info.unwrap().name, "web1");
        assert_eq!(ask("d1").info, None);
        assert_eq!(ask("../default/web1").info, None);
        assert!(ask("bad").failure.is_some());
    }
}
