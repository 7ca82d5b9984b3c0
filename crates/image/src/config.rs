// SPDX-License-Identifier: Apache-2.0
//! What an image says about the container to be made of it (image-spec 1.1, and Docker's files, which have the
//! same keys), and what a runtime was told (runtime-spec 1.1).

use crate::tree::{LAYERS_LIMIT, Volume};
use serde::{Deserialize, Serialize};

/// The most words of a list that are taken.
const WORDS_LIMIT: usize = 4096;
/// The longest word that is taken.
const WORD_LIMIT: usize = 128 << 10;

/// With what a container is to be started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Config {
    /// Variables, as `NAME=VALUE`.
    pub environment: Vec<String>,
    /// The directory to start in; empty for `/`.
    pub work_dir: String,
    /// `USER[:GROUP]`; empty for root.
    pub user: String,
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// What follows it, or the program when there is no entry point.
    pub command: Vec<String>,
    /// As Go names it, such as `amd64`; empty when it is not told.
    pub architecture: String,
    /// The operating system; empty when it is not told.
    pub os: String,
}

impl Config {
    /// The program a container would run, without its directory.
    #[must_use]
    pub fn program(&self) -> &str {
        let first = self.entrypoint.first().or_else(|| self.command.first());
        first.map_or("", |program| program.rsplit('/').next().unwrap_or_default())
    }
}

/// The keys as Docker and OCI write them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Run {
    env: Option<Vec<String>>,
    working_dir: Option<String>,
    user: Option<String>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    image: Option<String>,
}

impl Run {
    pub(crate) fn image(&self) -> &str {
        self.image.as_deref().unwrap_or_default()
    }

    pub(crate) fn config(self, architecture: Option<String>, os: Option<String>) -> Config {
        Config {
            environment: words(self.env),
            work_dir: word(self.working_dir),
            user: word(self.user),
            entrypoint: words(self.entrypoint),
            command: words(self.cmd),
            architecture: word(architecture),
            os: word(os),
        }
    }
}

fn word(word: Option<String>) -> String {
    word.filter(|word| is_word(word)).unwrap_or_default()
}

fn words(words: Option<Vec<String>>) -> Vec<String> {
    words.unwrap_or_default().into_iter().filter(|word| is_word(word)).take(WORDS_LIMIT).collect()
}

fn is_word(word: &str) -> bool {
    word.len() <= WORD_LIMIT && !word.contains('\0')
}

/// An image's configuration.
#[derive(Debug, Deserialize)]
pub(crate) struct Document {
    architecture: Option<String>,
    os: Option<String>,
    config: Option<Run>,
    rootfs: Option<RootFs>,
}

#[derive(Debug, Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Option<Vec<String>>,
}

impl Document {
    /// The digests of the unpacked layers, the lowest first, and all the rest.
    pub(crate) fn parts(self) -> Result<(Vec<String>, Config), &'static str> {
        let layers = self.rootfs.and_then(|root| root.diff_ids).unwrap_or_default();
        if layers.len() > LAYERS_LIMIT {
            return Err("it has too many layers");
        }
        if layers.iter().any(|layer| crate::files::digits(layer).is_none()) {
            return Err("a layer's digest is none");
        }
        Ok((layers, self.config.unwrap_or_default().config(self.architecture, self.os)))
    }
}

/// What a runtime was told, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Bundle {
    process: Option<Process>,
    mounts: Option<Vec<BundleMount>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Process {
    args: Option<Vec<String>>,
    env: Option<Vec<String>>,
    cwd: Option<String>,
    user: Option<User>,
}

#[derive(Debug, Deserialize)]
struct User {
    uid: u32,
    gid: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct BundleMount {
    destination: String,
    source: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl Bundle {
    /// What the container was started with, and what it had mounted of the host.
    pub(crate) fn parts(self, image: Config) -> (Config, Vec<Volume>) {
        let volumes = self.mounts.unwrap_or_default().into_iter().filter_map(|mount| {
            let is_bind = mount.kind.as_deref().is_none_or(|kind| kind == "bind" || kind == "none");
            volume(is_bind.then_some(mount.source?)?, mount.destination)
        });
        let volumes = volumes.take(WORDS_LIMIT).collect();
        let Some(process) = self.process else { return (image, volumes) };
        let config = Config {
            environment: words(process.env),
            work_dir: word(process.cwd),
            user: process.user.map_or(String::new(), |user| format!("{}:{}", user.uid, user.gid)),
            entrypoint: words(process.args),
            command: Vec::new(),
            ..image
        };
        (config, volumes)
    }
}

/// A volume, when both paths can be ones.
pub(crate) fn volume(source: String, destination: String) -> Option<Volume> {
    let is_path = |path: &str| path.starts_with('/') && path.len() < 4096 && !path.contains('\0');
    let leads_up = destination.split('/').any(|part| part == "..");
    (is_path(&source) && is_path(&destination) && !leads_up && destination != "/")
        .then(|| Volume { source: source.into(), destination: destination.into() })
}

#[cfg(test)]
mod tests {
    use super::{Bundle, Config, Document, volume};

    #[test]
    fn an_image() {
        let layer = format!("sha256:{}", "1".repeat(64));
        let text = format!(
            r#"{{"architecture":"arm64","os":"linux","config":{{"Env":["A=b"],"Cmd":null,"Entrypoint":["/usr/bin/java","-jar"],"User":"app","WorkingDir":"/srv"}},"rootfs":{{"type":"layers","diff_ids":["{layer}"]}}}}"#
        );
        let (layers, config) = serde_json::from_str::<Document>(&text).unwrap().parts().unwrap();
        assert_eq!(layers, [layer]);
        assert_eq!(config.program(), "java");
        assert_eq!(
            (config.user.as_str(), config.work_dir.as_str(), config.architecture.as_str()),
            ("app", "/srv", "arm64")
        );
        assert!(config.command.is_empty());
    }

    #[test]
    fn odd_images() {
        for (text, is_right) in [
            (r#"{}"#, true),
            (r#"{"rootfs":{"diff_ids":null},"config":null}"#, true),
            (r#"{"rootfs":{"diff_ids":["sha256:../../etc"]}}"#, false),
        ] {
            assert_eq!(serde_json::from_str::<Document>(text).unwrap().parts().is_ok(), is_right, "{text}");
        }
        let many = vec![format!("\"sha256:{}\"", "1".repeat(64)); 501].join(",");
        let many = format!(r#"{{"rootfs":{{"diff_ids":[{many}]}}}}"#);
        assert!(serde_json::from_str::<Document>(&many).unwrap().parts().is_err());
        let nul = r#"{"config":{"Env":["A=\u0000","B=1"],"User":"a\u0000"}}"#;
        let (_, config) = serde_json::from_str::<Document>(nul).unwrap().parts().unwrap();
        assert_eq!((config.environment, config.user), (vec!["B=1".to_owned()], String::new()));
    }

    #[test]
    fn a_bundle() {
        let text = r#"{"process":{"args":["sleep","1"],"env":["A=1"],"cwd":"/x","user":{"uid":7,"gid":8}},"mounts":[
            {"destination":"/proc","type":"proc","source":"proc"},
            {"destination":"/data","type":"bind","source":"/srv/data"}]}"#;
        let (config, volumes) = serde_json::from_str::<Bundle>(text).unwrap().parts(Config::default());
        assert_eq!((config.user.as_str(), config.program()), ("7:8", "sleep"));
        assert_eq!(volumes, [volume("/srv/data".into(), "/data".into()).unwrap()]);
        assert!(
            volume("/a".into(), "/b/../../c".into()).is_none() && volume("a".into(), "/b".into()).is_none()
        );
    }
}
