// SPDX-License-Identifier: Apache-2.0
//! State that runtimes keep in files: Docker's own, the storage shared by Podman and CRI-O, the
//! state of runc and crun, LXC and machines. Reads only; what cannot be read is an error told.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::Deserialize;

use crate::files::{self, FILE_LIMIT};
use crate::identity::is_full_id;
use crate::info::{Info, Raw};
use crate::lane::{Found, Ticket};
use crate::recent::Recent;
use crate::running::docker_directories;
use crate::{LookupError, Runtime, Sources, api};

/// The longest table of a storage's containers.
const TABLE_LIMIT: usize = 32 * 1024 * 1024;
/// The tables of a storage; the second one holds containers that a reboot forgets.
const TABLES: [&str; 2] = ["containers.json", "volatile-containers.json"];

/// What is told by files; an empty path is never read.
#[derive(Debug, Default)]
pub(crate) struct StateFiles {
    docker: PathBuf,
    storages: Vec<PathBuf>,
    runc_roots: Vec<PathBuf>,
    tables: BTreeMap<PathBuf, Stamp>,
    stored: Recent,
}

/// Tells whether a table has changed since it was read.
type Stamp = (Option<SystemTime>, u64);

/// The parts of an OCI `config.json` that matter here.
#[derive(Deserialize)]
pub(crate) struct Bundle {
    #[serde(default)]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
}

/// A row of a storage's table.
#[derive(Deserialize)]
pub(crate) struct Row {
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    image: Option<String>,
    /// JSON inside JSON.
    #[serde(default)]
    metadata: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Metadata {
    image_name: Option<String>,
    pod_name: Option<String>,
    name: Option<String>,
    container_name: Option<String>,
}

impl StateFiles {
    /// Docker's own files.
    pub(crate) fn of_docker(sources: &Sources) -> StateFiles {
        StateFiles { docker: sources.docker_containers.clone(), ..StateFiles::default() }
    }

    /// What Podman and CRI-O keep.
    pub(crate) fn of_storage(sources: &Sources) -> StateFiles {
        StateFiles { storages: sources.podman_storage.clone(), ..StateFiles::default() }
    }

    /// runc and crun, and the runtimes whose ids are names.
    pub(crate) fn of_others(sources: &Sources) -> StateFiles {
        StateFiles { runc_roots: sources.runc_roots.clone(), ..StateFiles::default() }
    }

    pub(crate) fn look_up(&mut self, ticket: &Ticket) -> Found {
        let id = ticket.id.as_str();
        match ticket.runtime {
            // The name is the id, and there is no image.
            Runtime::Lxc | Runtime::Nspawn => {
                Found { info: Some(named_by_id(ticket.runtime, id, BTreeMap::new())), failure: None }
            }
            Runtime::Docker => self.docker(id).into(),
            Runtime::Podman | Runtime::CriO => self.storage(ticket),
            Runtime::Runc => self.runc(id).into(),
            Runtime::Containerd => Found::default(),
            Runtime::Unknown => match self.docker(id) {
                Ok(None) => self.storage(ticket),
                found => found.into(),
            },
        }
    }

    fn docker(&self, id: &str) -> Result<Option<Info>, LookupError> {
        if !is_full_id(id) {
            return Ok(None);
        }
        let name = "config.v2.json";
        for root in docker_directories(&self.docker) {
            let Some(text) = files::read(&root, &[id, name], FILE_LIMIT)? else { continue };
            let info = api::from_config_file(&text)
                .map_err(|source| LookupError::Json { path: root.join(id).join(name), source })?;
            return Ok((info.id == id).then_some(info));
        }
        Ok(None)
    }

    /// One table that cannot be read does not hide what the others tell.
    fn storage(&mut self, ticket: &Ticket) -> Found {
        if !is_full_id(&ticket.id) {
            return Found::default();
        }
        let mut failure = match crio(&self.storages, &ticket.id) {
            Ok(None) => None,
            Ok(info) => return Found { info, failure: None },
            Err(error) => Some(error),
        };
        for storage in self.storages.clone() {
            for table in TABLES {
                failure = self.load(&storage.join("overlay-containers"), table).err().or(failure);
            }
        }
        Found { info: self.stored.get(&ticket.id).map(|(info, _)| info), failure }
    }

    /// Reads a table again when it has changed.
    fn load(&mut self, dir: &std::path::Path, table: &str) -> Result<(), LookupError> {
        let Some((file, path)) = files::open(dir, &[table])? else { return Ok(()) };
        let stamp = file.metadata().map(|meta| (meta.modified().ok(), meta.len()));
        let stamp = stamp.map_err(|source| LookupError::Read { path: path.clone(), source })?;
        if self.tables.get(&path) == Some(&stamp) {
            return Ok(());
        }
        let text = files::content(file, path.clone(), TABLE_LIMIT)?;
        let rows: Vec<Row> = serde_json::from_slice(&text)
            .map_err(|source| LookupError::Json { path: path.clone(), source })?;
        for row in rows {
            self.stored.put(stored(row), true);
        }
        self.tables.insert(path, stamp);
        Ok(())
    }

    fn runc(&self, id: &str) -> Result<Option<Info>, LookupError> {
        for root in &self.runc_roots {
            if let Some(text) = files::read(root, &[id, "state.json"], FILE_LIMIT)? {
                return Ok(Some(named_by_id(Runtime::Runc, id, runc_labels(&text))));
            }
            if files::open(root, &[id, "status"])?.is_some() {
                let text = files::read(root, &[id, "config.json"], FILE_LIMIT)?.unwrap_or_default();
                let bundle = serde_json::from_slice::<Bundle>(&text).ok();
                let labels = bundle.and_then(|bundle| bundle.annotations).unwrap_or_default();
                return Ok(Some(named_by_id(Runtime::Runc, id, labels)));
            }
        }
        Ok(None)
    }
}

/// CRI-O writes everything into the annotations of the bundle, which lies in the storage.
pub(crate) fn crio(storages: &[PathBuf], id: &str) -> Result<Option<Info>, LookupError> {
    for storage in storages {
        let names = ["overlay-containers", id, "userdata", "config.json"];
        let Some(text) = files::read(storage, &names, FILE_LIMIT)? else { continue };
        let bundle: Bundle = serde_json::from_slice(&text).map_err(|source| LookupError::Json {
            path: storage.join("overlay-containers").join(id),
            source,
        })?;
        if let Some(info) = of_crio(id, bundle.annotations.unwrap_or_default()) {
            return Ok(Some(info));
        }
    }
    Ok(None)
}

/// What these annotations of a bundle tell, if they are of a pod's container. The sandbox is called like its pod, as
/// other runtimes have it.
pub(crate) fn of_crio(id: &str, labels: BTreeMap<String, String>) -> Option<Info> {
    let pod = labels.get("io.kubernetes.pod.name")?;
    // Podman's pods have some of these, too.
    if labels.get("io.container.manager").is_some_and(|manager| manager == "libpod") {
        return None;
    }
    let is_sandbox = labels.get("io.kubernetes.cri-o.ContainerType").is_some_and(|kind| kind == "sandbox");
    let name = is_sandbox.then(|| pod.clone());
    let (id, runtime) = (id.to_owned(), Runtime::CriO);
    Some(Info::from_raw(Raw { id, runtime, name, image: None, image_id: None, labels }))
}

pub(crate) fn named_by_id(runtime: Runtime, id: &str, labels: BTreeMap<String, String>) -> Info {
    Info::from_raw(Raw { id: id.to_owned(), runtime, name: None, image: None, image_id: None, labels })
}

pub(crate) fn stored(row: Row) -> Info {
    let metadata = row.metadata.as_deref().and_then(|text| serde_json::from_str::<Metadata>(text).ok());
    let metadata = metadata.unwrap_or_default();
    let runtime = if metadata.pod_name.is_some() { Runtime::CriO } else { Runtime::Podman };
    let name = metadata
        .name
        .or(metadata.container_name)
        .or_else(|| row.names.and_then(|names| names.into_iter().next()));
    let labels = BTreeMap::new();
    Info::from_raw(Raw { id: row.id, runtime, name, image: metadata.image_name, image_id: row.image, labels })
}

/// runc keeps the annotations as `key=value`, and the bundle's path among them.
fn runc_labels(text: &[u8]) -> BTreeMap<String, String> {
    #[derive(Deserialize)]
    struct State {
        config: Config,
    }
    #[derive(Deserialize)]
    struct Config {
        #[serde(default)]
        labels: Option<Vec<String>>,
    }
    let state = serde_json::from_slice::<State>(text).ok();
    let labels = state.and_then(|state| state.config.labels).unwrap_or_default();
    labels
        .iter()
        .filter_map(|label| label.split_once('='))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::StateFiles;
    use crate::lane::Ticket;
    use crate::{Runtime, Sources};

    const ID: &str = "5b22af62c82901e1e8e8ca927c0f822f613bd9863943cf4bdf4b8a479d410e3c";

    fn write(dir: &std::path::Path, path: &str, text: &str) {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn sources(dir: &std::path::Path) -> Sources {
        Sources {
            docker_containers: dir.join("docker"),
            podman_storage: vec![dir.join("storage")],
            runc_roots: vec![dir.join("runc")],
            ..Sources::none()
        }
    }

    #[test]
    fn podman_table() {
        let dir = tempfile::tempdir().unwrap();
        let row = r#"[{"id":"ID","names":["web"],"image":"abc","metadata":"{\"image-name\":\"bb:1\",\"name\":\"web\"}"}]"#;
        write(dir.path(), "storage/overlay-containers/containers.json", &row.replace("ID", ID));
        let mut files = StateFiles::of_storage(&sources(dir.path()));
        let info = files.look_up(&Ticket::of(ID, Runtime::Podman)).info.unwrap();
        assert_eq!((info.name.as_str(), info.image.as_str(), info.runtime), ("web", "bb:1", Runtime::Podman));
        write(dir.path(), "storage/overlay-containers/volatile-containers.json", "[{");
        let found = files.look_up(&Ticket::of(ID, Runtime::Podman));
        assert!(found.info.is_some() && found.failure.is_some());
    }

    #[test]
    fn crio_bundle() {
        let dir = tempfile::tempdir().unwrap();
        let text = r#"{"annotations":{"io.kubernetes.pod.name":"p","io.kubernetes.pod.namespace":"n","io.kubernetes.container.name":"app","io.kubernetes.cri-o.ImageName":"i:1"}}"#;
        write(dir.path(), &format!("storage/overlay-containers/{ID}/userdata/config.json"), text);
        let info = StateFiles::of_storage(&sources(dir.path()))
            .look_up(&Ticket::of(ID, Runtime::CriO))
            .info
            .unwrap();
        assert_eq!((info.name.as_str(), info.image.as_str()), ("app", "i:1"));
        assert_eq!(info.pod.unwrap().name, "p");
    }

    #[test]
    fn docker_and_runc_files() {
        let dir = tempfile::tempdir().unwrap();
        let kept = r#"{"ID":"ID","Name":"/web","Image":"sha256:a","Config":{"Image":"bb:1","Labels":{}}}"#;
        write(
            dir.path(),
            &format!("docker/{ID}/config.v2.json"),
            &kept.replace("ID\":\"ID", &format!("ID\":\"{ID}")),
        );
        write(dir.path(), "runc/web1/state.json", r#"{"config":{"labels":["bundle=/b","team=x=y"]}}"#);
        write(dir.path(), "runc/web2/status", "{}");
        let mut files = StateFiles::of_docker(&sources(dir.path()));
        assert_eq!(files.look_up(&Ticket::of(ID, Runtime::Docker)).info.unwrap().name, "web");
        let mut files = StateFiles::of_others(&sources(dir.path()));
        let runc = files.look_up(&Ticket::of("web1", Runtime::Runc)).info.unwrap();
        assert_eq!(runc.labels[1], ("team".to_owned(), "x=y".to_owned()));
        assert_eq!(files.look_up(&Ticket::of("web2", Runtime::Runc)).info.unwrap().name, "web2");
        assert_eq!(files.look_up(&Ticket::of("../runc/web1", Runtime::Runc)).info, None);
        assert_eq!(files.look_up(&Ticket::of("deb", Runtime::Lxc)).info.unwrap().name, "deb");
    }
}
