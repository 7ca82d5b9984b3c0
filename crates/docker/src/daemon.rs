// SPDX-License-Identifier: Apache-2.0
//! A daemon and what is asked of it, one question after the other on one connection: the way there may be slow to open,
//! as `ssh` is.

use crate::api::{NEWEST, OLDEST, agreed};
use crate::archive::Image;
use crate::attached::Attached;
use crate::http::{self, Answer, Upload};
use crate::wire::Wire;
use crate::{DockerError, Host, Version};
use ::http::escaped;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// The longest answer.
const ANSWER_LIMIT: usize = 8 << 20;
/// The longest message of a daemon that is passed on.
const MESSAGE_LIMIT: usize = 2048;
/// Time for a daemon to unpack what it was sent.
const UNPACKING: Duration = Duration::from_secs(300);

/// What is written on an image or a container.
pub type Labels = BTreeMap<String, String>;

/// A daemon that answers.
#[derive(Debug)]
pub struct Daemon {
    host: Host,
    ssh: Vec<String>,
    timeout: Duration,
    wire: Option<Wire>,
    version: Version,
    /// The processor of its host, as Go calls it.
    pub architecture: String,
}

/// A container that is to be made. It is removed by the daemon when it ends, and its standard input is closed when
/// whoever attached to it is gone.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Its own name.
    pub name: String,
    /// The image's name.
    pub image: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// What can be asked about it.
    pub labels: Labels,
    /// Capabilities, without `CAP_`; it has no others.
    pub capabilities: Vec<String>,
    /// Whether it may use every device node.
    pub devices: bool,
}

/// A container, as far as anybody asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Container {
    /// Its id.
    #[serde(rename = "Id")]
    pub id: String,
    /// The program that it was started with.
    #[serde(rename = "Path")]
    pub program: String,
    /// How it is set up.
    #[serde(rename = "HostConfig")]
    pub settings: Settings,
}

/// How a container is set up, as far as anybody asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Capabilities that it was given.
    #[serde(rename = "CapAdd")]
    pub cap_add: Option<Vec<String>>,
}

/// What a daemon is, as far as anybody asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Where it keeps its state.
    pub root: String,
    /// Whether it runs without the rights of its host's root.
    pub is_rootless: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Versions {
    api_version: String,
    #[serde(rename = "MinAPIVersion")]
    least: Option<String>,
    os: Option<String>,
    arch: Option<String>,
}

impl Daemon {
    /// Connects and agrees upon a version. `ssh` is the program for that way with words of its own in front; each step
    /// may take `timeout`.
    ///
    /// # Errors
    /// When there is no way, nobody answers, or not as a Docker daemon of Linux does.
    pub fn connect(host: &Host, ssh: &[String], timeout: Duration) -> Result<Daemon, DockerError> {
        let wire = Some(Wire::connect(host, ssh, timeout)?);
        let mut daemon = Daemon {
            host: host.clone(),
            ssh: ssh.to_vec(),
            timeout,
            wire,
            version: OLDEST,
            architecture: String::new(),
        };
        let answer = daemon.ask("GET", "/version", None)?;
        let answer = daemon.fine(answer, "asking for its version")?;
        let about: Versions = daemon.parsed(&answer)?;
        let odd =
            || DockerError::Garbage { host: daemon.host.to_string(), what: "it tells no version of its API" };
        let most = Version::parse(&about.api_version).ok_or_else(odd)?;
        let least = about.least.as_deref().and_then(Version::parse).unwrap_or(OLDEST);
        daemon.version = agreed(least, most).ok_or_else(|| DockerError::Versions {
            host: daemon.host.to_string(),
            least: least.to_string(),
            most: most.to_string(),
            ours: format!("{OLDEST} to {NEWEST}"),
        })?;
        if about.os.is_some_and(|os| os != "linux") {
            return Err(DockerError::Garbage {
                host: daemon.host.to_string(),
                what: "its containers are not of Linux",
            });
        }
        daemon.architecture = about.arch.unwrap_or_default();
        Ok(daemon)
    }

    /// The version that both speak.
    pub fn version(&self) -> Version {
        self.version
    }

    /// What it is.
    ///
    /// # Errors
    /// When it does not say.
    pub fn about(&mut self) -> Result<About, DockerError> {
        #[derive(Deserialize)]
        struct Info {
            #[serde(rename = "DockerRootDir", default)]
            root: String,
            #[serde(rename = "SecurityOptions", default)]
            security: Option<Vec<String>>,
        }
        let answer = self.get("/info", "asking about it")?;
        let info: Info = self.parsed(&answer)?;
        let is_rootless = info.security.iter().flatten().any(|option| option == "name=rootless");
        Ok(About { root: info.root, is_rootless })
    }

    /// Whether it removes a container that has ended by itself, as [`Wanted`] says. Before 1.25 that was the client's.
    pub fn removes_by_itself(&self) -> bool {
        self.version >= Version(1, 25)
    }

    /// The same daemon, which is connected to when it is asked.
    #[must_use]
    pub fn again(&self) -> Daemon {
        Daemon {
            host: self.host.clone(),
            ssh: self.ssh.clone(),
            timeout: self.timeout,
            wire: None,
            version: self.version,
            architecture: self.architecture.clone(),
        }
    }

    /// The container with this name, id, or start of one; nothing when there is none.
    ///
    /// # Errors
    /// When it does not say.
    pub fn container(&mut self, name: &str) -> Result<Option<Container>, DockerError> {
        match self.get(&format!("/containers/{}/json", escaped(name)), "asking for a container") {
            Ok(answer) => self.parsed(&answer).map(Some),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The labels of an image; nothing when there is none of this name.
    ///
    /// # Errors
    /// When it does not say.
    pub fn labels(&mut self, image: &str) -> Result<Option<Labels>, DockerError> {
        #[derive(Deserialize)]
        struct Found {
            #[serde(rename = "Config")]
            config: Option<Labelled>,
        }
        #[derive(Deserialize)]
        struct Labelled {
            #[serde(rename = "Labels", default)]
            labels: Option<Labels>,
        }
        match self.get(&format!("/images/{}/json", escaped(image)), "asking for an image") {
            Ok(answer) => {
                let found: Found = self.parsed(&answer)?;
                Ok(Some(found.config.and_then(|config| config.labels).unwrap_or_default()))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The names and labels of all images of a repository.
    ///
    /// # Errors
    /// When it does not say.
    pub fn images(&mut self, repository: &str) -> Result<Vec<(String, Labels)>, DockerError> {
        #[derive(Deserialize)]
        struct Row {
            #[serde(rename = "RepoTags", default)]
            names: Option<Vec<String>>,
            #[serde(rename = "Labels", default)]
            labels: Option<Labels>,
        }
        // The first that knows the filter is 1.25.
        let asked = match self.version >= Version(1, 25) {
            true => format!("filters={}", escaped(&json!({ "reference": [repository] }).to_string())),
            false => format!("filter={}", escaped(repository)),
        };
        let answer = self.get(&format!("/images/json?{asked}"), "listing images")?;
        let rows: Vec<Row> = self.parsed(&answer)?;
        let named = |row: Row| {
            let labels = row.labels.unwrap_or_default();
            let names = row.names.unwrap_or_default().into_iter();
            // As Podman calls what came from no registry.
            let plain = |name: String| name.strip_prefix("localhost/").map_or(name.clone(), str::to_owned);
            names.map(move |name| (plain(name), labels.clone()))
        };
        let prefix = format!("{repository}:");
        Ok(rows.into_iter().flat_map(named).filter(|(name, _)| name.starts_with(&prefix)).collect())
    }

    /// Takes a name away from an image, and the image if that was the last one. One that is used stays.
    ///
    /// # Errors
    /// When the daemon says no.
    pub fn forget(&mut self, image: &str) -> Result<(), DockerError> {
        let target = self.target(&format!("/images/{}", escaped(image)));
        let answer = self.ask("DELETE", &target, None)?;
        self.fine(answer, &format!("removing image {image}")).map(drop)
    }

    /// Sends an image there. `progress` is told how many bytes of how many are done.
    ///
    /// # Errors
    /// When something of it cannot be read, or the daemon does not take it.
    pub fn load(&mut self, image: &Image, progress: &mut dyn FnMut(u64, u64)) -> Result<(), DockerError> {
        let target = self.target("/images/load?quiet=1");
        let packed = !self.host.is_local();
        let mut upload = Upload::begin(self.wire()?, &target)?;
        let written = if packed {
            let mut gzip = GzEncoder::new(&mut upload, Compression::fast());
            image.write(&mut gzip, progress).and_then(|()| gzip.finish().map(drop))
        } else {
            image.write(&mut upload, progress)
        };
        let sent = upload.finish(written);
        let answer = match sent {
            Ok(()) => http::late_answer(self.wire()?, UNPACKING, ANSWER_LIMIT),
            // It may have said why before it hung up.
            Err(broken @ DockerError::Broken { .. }) => {
                match self.wire().and_then(|wire| http::answer(wire, ANSWER_LIMIT)) {
                    Ok(answer) if answer.status >= 400 => Ok(answer),
                    _ => Err(broken),
                }
            }
            Err(error) => Err(error),
        };
        let answer = self.kept(answer)?;
        let doing = format!("loading image {}", image.name);
        let answer = self.fine(answer, &doing)?;
        // Messages one after the other, of which one may be an error, with a status that says all is well.
        match String::from_utf8_lossy(&answer.body).split_once("\"error\":") {
            None => Ok(()),
            Some((_, said)) => {
                let said = said.trim().trim_matches(['"', '}', '\r', '\n']);
                Err(self.refused(&doing, answer.status, said))
            }
        }
    }

    /// Makes a container; its id.
    ///
    /// # Errors
    /// When the daemon says no.
    pub fn create(&mut self, wanted: &Wanted) -> Result<String, DockerError> {
        #[derive(Deserialize)]
        struct Made {
            #[serde(rename = "Id")]
            id: String,
        }
        let document = wanted.document().to_string();
        let target = self.target(&format!("/containers/create?name={}", escaped(&wanted.name)));
        let answer = self.ask("POST", &target, Some(document.as_bytes()))?;
        let answer = self.fine(answer, "making a container")?;
        Ok(self.parsed::<Made>(&answer)?.id)
    }

    /// Containers with this label in one of these states, such as `created`, which is made and never started: their
    /// ids, and when they were made, in seconds since 1970.
    ///
    /// # Errors
    /// When it does not say.
    pub fn containers(&mut self, label: &str, states: &[&str]) -> Result<Vec<(String, u64)>, DockerError> {
        #[derive(Deserialize)]
        struct Row {
            #[serde(rename = "Id")]
            id: String,
            #[serde(rename = "Created")]
            made_secs: u64,
        }
        let filters = escaped(&json!({ "label": [label], "status": states }).to_string());
        let answer = self.get(&format!("/containers/json?all=1&filters={filters}"), "listing containers")?;
        let rows: Vec<Row> = self.parsed(&answer)?;
        Ok(rows.into_iter().map(|row| (row.id, row.made_secs)).collect())
    }

    /// Starts it.
    ///
    /// # Errors
    /// When the daemon says no.
    pub fn start(&mut self, id: &str) -> Result<(), DockerError> {
        let target = self.target(&format!("/containers/{}/start", escaped(id)));
        let answer = self.ask("POST", &target, None)?;
        self.fine(answer, "starting the container").map(drop)
    }

    /// Ends and removes it.
    ///
    /// # Errors
    /// When the daemon says no.
    pub fn remove(&mut self, id: &str) -> Result<(), DockerError> {
        let target = self.target(&format!("/containers/{}?force=1&v=1", escaped(id)));
        let answer = self.ask("DELETE", &target, None)?;
        self.fine(answer, "removing the container").map(drop)
    }

    /// The connection becomes the container's streams.
    ///
    /// # Errors
    /// When the daemon says no.
    pub fn attach(mut self, id: &str) -> Result<Attached, DockerError> {
        let target =
            self.target(&format!("/containers/{}/attach?stream=1&stdin=1&stdout=1&stderr=1", escaped(id)));
        match http::take_over(self.wire()?, &target, ANSWER_LIMIT)? {
            None => {}
            Some(answer) => {
                self.fine(answer, "attaching to the container")?;
                return Err(DockerError::Garbage {
                    host: self.host.to_string(),
                    what: "it does not hand over the streams",
                });
            }
        }
        let wire = self.wire.take();
        Attached::new(
            wire.ok_or(DockerError::Garbage { host: self.host.to_string(), what: "the connection is gone" })?,
        )
    }

    fn target(&self, path: &str) -> String {
        format!("/v{}{path}", self.version)
    }

    fn get(&mut self, path: &str, doing: &str) -> Result<Answer, DockerError> {
        let target = self.target(path);
        let answer = self.ask("GET", &target, None)?;
        self.fine(answer, doing)
    }

    /// The connection; a new one when the daemon has closed the last.
    fn wire(&mut self) -> Result<&mut Wire, DockerError> {
        let wire = match self.wire.take() {
            Some(wire) => wire,
            None => Wire::connect(&self.host, &self.ssh, self.timeout)?,
        };
        Ok(self.wire.insert(wire))
    }

    fn ask(&mut self, method: &str, target: &str, document: Option<&[u8]>) -> Result<Answer, DockerError> {
        let answer = http::ask(self.wire()?, method, target, document, ANSWER_LIMIT);
        self.kept(answer)
    }

    /// Nothing is asked again on a connection that is over, or in the middle of something.
    fn kept(&mut self, answer: Result<Answer, DockerError>) -> Result<Answer, DockerError> {
        if !answer.as_ref().is_ok_and(|answer| answer.is_open) {
            self.wire = None;
        }
        answer
    }

    fn fine(&self, answer: Answer, doing: &str) -> Result<Answer, DockerError> {
        #[derive(Deserialize)]
        struct Message {
            message: String,
        }
        if (200..400).contains(&answer.status) {
            return Ok(answer);
        }
        let said = serde_json::from_slice::<Message>(&answer.body).map(|document| document.message);
        let said = said.unwrap_or_else(|_| String::from_utf8_lossy(&answer.body).into_owned());
        Err(self.refused(doing, answer.status, &said))
    }

    fn refused(&self, doing: &str, status: u16, said: &str) -> DockerError {
        let said: String = said.trim().chars().take(MESSAGE_LIMIT).collect();
        let said = if said.is_empty() { format!("HTTP status {status}") } else { said };
        DockerError::Refused { host: self.host.to_string(), doing: doing.to_owned(), status, said }
    }

    fn parsed<T: serde::de::DeserializeOwned>(&self, answer: &Answer) -> Result<T, DockerError> {
        serde_json::from_slice(&answer.body).map_err(|_| DockerError::Garbage {
            host: self.host.to_string(),
            what: "a document is not as documented",
        })
    }
}

impl Wanted {
    fn document(&self) -> serde_json::Value {
        json!({
            "Image": self.image,
            "Cmd": self.command,
            "Labels": self.labels,
            "WorkingDir": "/",
            "User": "0:0",
            "Tty": false,
            "OpenStdin": true,
            "StdinOnce": true,
            "AttachStdin": true,
            "AttachStdout": true,
            "AttachStderr": true,
            "HostConfig": {
                "AutoRemove": true,
                "NetworkMode": "none",
                "PidMode": "host",
                "CgroupnsMode": "host",
                "UsernsMode": "host",
                "CapDrop": ["ALL"],
                "CapAdd": self.capabilities,
                "SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined", "label=disable"],
                "DeviceCgroupRules": if self.devices { &["a *:* rwm"][..] } else { &[] },
                "MaskedPaths": [],
                "ReadonlyPaths": [],
                "ReadonlyRootfs": true,
                // What a session shows is nobody's log.
                "LogConfig": { "Type": "none" },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Daemon;
    use crate::{Host, Version};
    use proptest::prelude::{any, proptest};
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;
    use std::thread;
    use std::time::Duration;

    /// What comes of a daemon that answers so, each piece after a pause, and then hangs up.
    fn connect(pieces: &[&[u8]], pause: Duration, timeout: Duration) -> Result<Daemon, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let host: Host = format!("unix://{}", path.display()).parse().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
                for piece in pieces {
                    if stream.write_all(piece).is_err() {
                        return;
                    }
                    thread::sleep(pause);
                }
            });
            Daemon::connect(&host, &[], timeout).map_err(|error| error.to_string())
        })
    }

    fn answers(text: &str) -> Result<Daemon, String> {
        connect(&[text.as_bytes()], Duration::ZERO, Duration::from_secs(5))
    }

    fn version(document: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{document}", document.len())
    }

    #[test]
    fn versions_are_agreed_upon() {
        let told = |most: &str, least: &str| {
            version(&format!(
                r#"{{"ApiVersion":"{most}","MinAPIVersion":"{least}","Os":"linux","Arch":"amd64"}}"#
            ))
        };
        for (most, least, version) in [("1.41", "1.12", Version(1, 41)), ("1.52", "1.44", Version(1, 51))] {
            assert_eq!(answers(&told(most, least)).unwrap().version(), version);
        }
        let error = answers(&told("1.70", "1.60")).unwrap_err();
        assert!(error.contains("1.60 to 1.70") && error.contains("1.24 to 1.51"), "{error}");
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n16\r\n{\"ApiVersion\":\"1.30\"}\r\n0\r\n\r\n";
        assert_eq!(answers(chunked).unwrap().version(), Version(1, 30));
    }

    #[test]
    fn what_is_no_daemon_is_told() {
        let long = format!("HTTP/1.1 200 OK\r\n{}", "x".repeat(100_000));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(1000));
        for (answer, why) in [
            ("", "closed before the answer was whole"),
            ("SSH-2.0-x\r\n", "does not speak HTTP/1.1"),
            (&long, "headers without end"),
            (&many, "headers without end"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "longer than any should be"),
            ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "its length in one number"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", "longer than it says"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "closed before"),
            (&version("[]"), "not as documented"),
            (&version(r#"{"ApiVersion":"new"}"#), "no version"),
            (&version(r#"{"ApiVersion":"1.41","Os":"windows"}"#), "not of Linux"),
            (
                "HTTP/1.1 500 x\r\nContent-Length: 18\r\n\r\n{\"message\":\"full\"}",
                "asking for its version: full",
            ),
            ("HTTP/1.1 403 x\r\n\r\n", "HTTP status 403"),
        ] {
            let error = answers(answer).unwrap_err();
            assert!(error.contains(why), "{answer:.80}: {error}");
        }
    }

    #[test]
    fn nobody_is_waited_for_longer_than_said() {
        // Who waited for all of it would be told that the other side has hung up.
        let mut pieces = [b"x".as_slice(); 100];
        pieces[0] = b"HTTP/1.1 200 OK\r\n";
        let error = connect(&pieces, Duration::from_millis(50), Duration::from_secs(1)).unwrap_err();
        assert!(error.contains("has not answered within 1 s"), "{error}");
    }

    proptest! {
        #[test]
        fn no_answer_panics(body in any::<Vec<u8>>()) {
            for head in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"] {
                let answer = [head.as_bytes(), &body].concat();
                connect(&[&answer], Duration::ZERO, Duration::from_secs(5)).map(drop).unwrap_or_default();
            }
        }
    }
}
