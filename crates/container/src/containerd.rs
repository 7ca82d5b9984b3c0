// SPDX-License-Identifier: Apache-2.0
//! Containers of containerd: annotations from the state directory, and image and labels from its
//! socket when the annotations do not tell. Leaves Docker's namespace to Docker, who knows names.

use std::collections::BTreeMap;
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

type Labels = BTreeMap<String, String>;

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
        let (namespace, annotations) = told.unzip();
        let told = annotations.clone().map(|labels| named_by_id(Runtime::Containerd, id, labels));
        if rest || told.as_ref().is_some_and(|info| !info.image.is_empty()) {
            return Found { info: told, failure };
        }
        let namespaces = namespace.map_or_else(|| self.namespaces(), |namespace| vec![namespace]);
        match self.ask(&namespaces, id) {
            Ok(Some(found)) => Found { info: Some(both(annotations.unwrap_or_default(), found)), failure },
            Ok(None) => Found { info: told, failure },
            Err(error) => Found { info: told, failure: Some(error) },
        }
    }

    fn namespaces(&self) -> Vec<String> {
        let tasks = self.state.iter().flat_map(|state| files::names(&state.join(TASKS), NAMESPACES_LIMIT));
        tasks.filter(|name| !OF_DOCKER.contains(&name.as_str())).collect()
    }

    /// The namespace and the bundle's annotations.
    fn state(&self, id: &str) -> Result<Option<(String, Labels)>, LookupError> {
        let Some(state) = &self.state else { return Ok(None) };
        for namespace in self.namespaces() {
            let names = [TASKS, &namespace, id, "config.json"];
            let Some(text) = files::read(state, &names, FILE_LIMIT)? else { continue };
            let path = || state.join(TASKS).join(&namespace).join(id);
            let bundle: Bundle =
                serde_json::from_slice(&text).map_err(|source| LookupError::Json { path: path(), source })?;
            return Ok(Some((namespace, bundle.annotations.unwrap_or_default())));
        }
        Ok(None)
    }

    fn ask(&self, namespaces: &[String], id: &str) -> Result<Option<grpc::Container>, LookupError> {
        let Some(socket) = self.socket.as_ref().filter(|socket| socket.exists()) else { return Ok(None) };
        for namespace in namespaces {
            if let Some(found) = grpc::container(socket, namespace, id, self.timeout)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// The sandbox of a pod has its names in the annotations alone, and its image in containerd alone.
fn both(mut labels: Labels, found: grpc::Container) -> Info {
    labels.extend(found.labels);
    let (runtime, image) = (Runtime::Containerd, Some(found.image));
    Info::from_raw(Raw { id: found.id, runtime, name: None, image, image_id: None, labels })
}

#[cfg(test)]
mod tests {
    use super::{Containerd, both};
    use crate::grpc::Container;
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

    #[test]
    fn the_sandbox_of_a_pod() {
        let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let annotations = pairs(&[
            ("io.kubernetes.cri.sandbox-name", "shop-7f"),
            ("io.kubernetes.cri.sandbox-namespace", "prod"),
            ("io.kubernetes.cri.sandbox-uid", "u-1"),
        ]);
        let labels = pairs(&[("app", "shop"), ("io.cri-containerd.kind", "sandbox")]);
        let info = both(annotations, Container { id: "s1".into(), image: "pause:1".into(), labels });
        assert_eq!((info.name.as_str(), info.image.as_str()), ("shop-7f", "pause:1"));
        let pod = info.pod.unwrap();
        assert_eq!((pod.name.as_str(), pod.namespace.as_str(), pod.uid.as_str()), ("shop-7f", "prod", "u-1"));
        assert!(info.labels.contains(&("app".into(), "shop".into())));
    }
}
