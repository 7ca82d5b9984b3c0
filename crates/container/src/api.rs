// SPDX-License-Identifier: Apache-2.0
//! The Docker API, which Podman speaks too: one container, all containers, and the stream of
//! events. Only ever reads; asks by full id, because a shorter one could name another container.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use crate::http::{self, Body};
use crate::identity::is_full_id;
use crate::info::{Info, Raw};
use crate::logs::Output;
use crate::{LookupError, Runtime};

/// The longest description of one container.
const ONE_LIMIT: usize = 1024 * 1024;
/// The longest list of all containers; it is read as a stream and never held.
const LIST_LIMIT: usize = 128 * 1024 * 1024;
/// How much longer than one request the list may take.
const LIST_PATIENCE: u32 = 5;
/// The longest line of the event stream.
const EVENT_LIMIT: usize = 256 * 1024;
/// The last 256 events of before the connection come first: some of them are of containers gone.
const EVENTS: &str = "/v1.24/events?since=1&filters=%7B%22type%22%3A%5B%22container%22%5D%7D";

/// One API socket.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub(crate) socket: PathBuf,
    pub(crate) runtime: Runtime,
    pub(crate) timeout: Duration,
}

/// A container as `/containers/ID/json` tells it, and as Docker keeps it.
#[derive(Deserialize)]
struct Inspected {
    #[serde(rename = "Id", alias = "ID")]
    id: String,
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Image", default)]
    image_id: String,
    #[serde(rename = "Config")]
    config: Config,
}

#[derive(Deserialize)]
struct Config {
    #[serde(rename = "Image", default)]
    image: String,
    #[serde(rename = "Labels", default)]
    labels: Option<BTreeMap<String, String>>,
}

/// Where the output goes, as `/containers/ID/json` tells it.
#[derive(Deserialize)]
struct OutputOf {
    #[serde(rename = "LogPath", default)]
    path: String,
    #[serde(rename = "HostConfig")]
    host: HostConfig,
}

#[derive(Deserialize)]
struct HostConfig {
    #[serde(rename = "LogConfig")]
    log: LogConfig,
}

#[derive(Deserialize)]
struct LogConfig {
    #[serde(rename = "Type", default)]
    driver: String,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "Id")]
    id: String,
    #[serde(rename = "Names", default)]
    names: Option<Vec<String>>,
    #[serde(rename = "Image", default)]
    image: String,
    #[serde(rename = "ImageID", default)]
    image_id: String,
    #[serde(rename = "Labels", default)]
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(rename = "Action")]
    action: String,
    #[serde(rename = "Actor")]
    actor: Actor,
}

#[derive(Deserialize)]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Attributes", default)]
    attributes: BTreeMap<String, String>,
}

impl Api {
    /// The container with this full id; `None` when the runtime does not know it.
    pub(crate) fn inspect(&self, id: &str) -> Result<Option<Info>, LookupError> {
        let Some(text) = self.description(id)? else { return Ok(None) };
        described(&text, self.runtime).ok().filter(|info| info.id == id).map(Some).ok_or_else(|| {
            LookupError::Garbage { socket: self.socket.clone(), what: "no description of that container" }
        })
    }

    /// Where the output of the container with this full id goes; `None` when it is gone, or was never
    /// started and has no file yet.
    pub(crate) fn output(&self, id: &str) -> Result<Option<Output>, LookupError> {
        let Some(text) = self.description(id)? else { return Ok(None) };
        let found: OutputOf = serde_json::from_slice(&text).map_err(|_| LookupError::Garbage {
            socket: self.socket.clone(),
            what: "no log driver of that container",
        })?;
        Ok(match found.host.log.driver.as_str() {
            "json-file" if found.path.starts_with('/') => Some(Output::JsonFile(found.path.into())),
            "json-file" => None,
            driver => Some(Output::Driver(driver.to_owned())),
        })
    }

    fn description(&self, id: &str) -> Result<Option<Vec<u8>>, LookupError> {
        if !is_full_id(id) {
            return Ok(None);
        }
        let target = format!("/v1.24/containers/{id}/json");
        let response = match http::get(&self.socket, &target, self.timeout, ONE_LIMIT) {
            Err(LookupError::Connect { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(None);
            }
            other => other?,
        };
        match response.status {
            200 => {}
            404 => return Ok(None),
            status => return Err(LookupError::Refused { socket: self.socket.clone(), status }),
        }
        response.body.all().map(Some)
    }

    /// All containers, one after the other.
    pub(crate) fn list(&self, each: &mut dyn FnMut(Info)) -> Result<(), LookupError> {
        let (target, timeout) = ("/v1.24/containers/json?all=1", self.timeout * LIST_PATIENCE);
        let response = http::get(&self.socket, target, timeout, LIST_LIMIT)?;
        if response.status != 200 {
            return Err(LookupError::Refused { socket: self.socket.clone(), status: response.status });
        }
        let reader = std::io::BufReader::new(response.body);
        let visitor = Each { runtime: self.runtime, each };
        serde_json::Deserializer::from_reader(reader).deserialize_seq(visitor).map_err(|error| {
            let fallback =
                LookupError::Garbage { socket: self.socket.clone(), what: "no list of containers" };
            if !error.is_io() {
                return fallback;
            }
            std::io::Error::from(error).downcast::<LookupError>().unwrap_or(fallback)
        })
    }

    /// Opens the stream of events.
    pub(crate) fn follow(&self) -> Result<Events, LookupError> {
        let response = http::get(&self.socket, EVENTS, self.timeout, usize::MAX)?;
        match response.status {
            200 => Ok(Events { body: response.body, line: Vec::new(), runtime: self.runtime }),
            status => Err(LookupError::Refused { socket: self.socket.clone(), status }),
        }
    }

    /// Whether somebody sane answers.
    pub(crate) fn ping(&self) -> Result<(), LookupError> {
        let response = http::get(&self.socket, "/_ping", self.timeout, 4096)?;
        match response.status {
            200 => response.body.all().map(drop),
            status => Err(LookupError::Refused { socket: self.socket.clone(), status }),
        }
    }
}

/// A description as `/containers/ID/json` gives it, and as Docker keeps it in `config.v2.json`.
fn described(text: &[u8], runtime: Runtime) -> Result<Info, serde_json::Error> {
    let container: Inspected = serde_json::from_slice(text)?;
    Ok(Info::from_raw(Raw {
        id: container.id,
        runtime,
        name: Some(container.name.trim_start_matches('/').to_owned()),
        image: Some(container.config.image),
        image_id: Some(container.image_id),
        labels: container.config.labels.unwrap_or_default(),
    }))
}

/// Hands on one container after the other, so that the list is never held whole.
struct Each<'a> {
    runtime: Runtime,
    each: &'a mut dyn FnMut(Info),
}

impl<'de> Visitor<'de> for Each<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a list of containers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(listed) = seq.next_element::<Listed>()? {
            // Links of old give a container further names, with a slash inside.
            let names = listed.names.unwrap_or_default();
            let name = names.iter().map(|name| name.trim_start_matches('/')).find(|name| !name.contains('/'));
            (self.each)(Info::from_raw(Raw {
                id: listed.id,
                runtime: self.runtime,
                name: name.map(str::to_owned),
                image: Some(listed.image),
                image_id: Some(listed.image_id),
                labels: listed.labels.unwrap_or_default(),
            }));
        }
        Ok(())
    }
}

/// The stream of container events.
#[derive(Debug)]
pub(crate) struct Events {
    body: Body,
    line: Vec<u8>,
    runtime: Runtime,
}

impl Events {
    /// Waits at most `patience` and hands on every container named by the events that came.
    /// `false` when the stream has ended.
    pub(crate) fn wait(
        &mut self,
        patience: Duration,
        each: &mut dyn FnMut(Info),
    ) -> Result<bool, LookupError> {
        let mut part = [0; 4096];
        self.body.extend(patience);
        let count = match self.body.next(&mut part) {
            Err(LookupError::TimedOut { .. }) => return Ok(true),
            Ok(0) => return Ok(false),
            other => other?,
        };
        for &byte in part.iter().take(count) {
            if byte == b'\n' {
                if let Some(info) = told(&self.line, self.runtime).map_err(|what| self.body.garbage(what))? {
                    each(info);
                }
                self.line.clear();
            } else if self.line.len() < EVENT_LIMIT {
                self.line.push(byte);
            } else {
                return Err(self.body.garbage("an endless event"));
            }
        }
        Ok(true)
    }
}

/// The container an event names. Attributes are its labels and a few facts of the runtime.
fn told(line: &[u8], runtime: Runtime) -> Result<Option<Info>, &'static str> {
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    let event: Event = serde_json::from_slice(line).map_err(|_| "no event")?;
    if event.kind != "container" || !matches!(event.action.as_str(), "create" | "start" | "rename") {
        return Ok(None);
    }
    let mut labels = event.actor.attributes;
    let (name, image) = (labels.remove("name"), labels.remove("image"));
    labels.remove("oldName");
    let Some(name) = name.filter(|_| is_full_id(&event.actor.id)) else { return Ok(None) };
    let name = Some(name.trim_start_matches('/').to_owned());
    Ok(Some(Info::from_raw(Raw { id: event.actor.id, runtime, name, image, image_id: None, labels })))
}

/// What Docker keeps of a container in `config.v2.json`.
pub(crate) fn from_config_file(text: &[u8]) -> Result<Info, serde_json::Error> {
    described(text, Runtime::Docker)
}

#[cfg(test)]
mod tests {
    use super::{described, told};
    use crate::Runtime;

    const ID: &str = "5b22af62c82901e1e8e8ca927c0f822f613bd9863943cf4bdf4b8a479d410e3c";

    #[test]
    fn a_description() {
        let text = format!(
            r#"{{"Id":"{ID}","Name":"/web","Image":"sha256:aa","Config":{{"Image":"bb:1","Labels":{{"a":"b"}}}},"X":[{{}}]}}"#
        );
        let info = described(text.as_bytes(), Runtime::Docker).unwrap();
        assert_eq!((info.name.as_str(), info.image.as_str()), ("web", "bb:1"));
        assert_eq!(info.image_id.as_deref(), Some("sha256:aa"));
        assert_eq!(info.labels, [("a".to_owned(), "b".to_owned())]);
        assert!(described(b"{\"Id\":3}", Runtime::Docker).is_err());
        let bare = format!(r#"{{"Id":"{ID}","Name":"/web","Config":{{"Labels":null}}}}"#);
        assert_eq!(described(bare.as_bytes(), Runtime::Docker).unwrap().image, "");
    }

    #[test]
    fn events() {
        let event = |action: &str, id: &str| {
            let text = format!(
                r#"{{"Type":"container","Action":"{action}","Actor":{{"ID":"{id}","Attributes":{{"image":"bb:1","name":"web","tier":"x"}}}}}}"#
            );
            told(text.as_bytes(), Runtime::Docker).unwrap()
        };
        let info = event("create", ID).unwrap();
        assert_eq!((info.name.as_str(), info.image.as_str()), ("web", "bb:1"));
        assert_eq!(info.labels, [("tier".to_owned(), "x".to_owned())]);
        assert!(event("exec_create: sh", ID).is_none());
        assert!(event("create", "../../etc").is_none());
        assert!(told(b"garbage", Runtime::Docker).is_err());
        assert!(told(b" \r", Runtime::Docker).unwrap().is_none());
    }
}
