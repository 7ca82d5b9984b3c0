// SPDX-License-Identifier: Apache-2.0
//! What sinks that speak HTTP have in common, and the sections of each. Unknown keys are found
//! before these structures are filled.

use super::super::check::{self, Fault};
use super::{Tls, check_tls};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Words in the names of headers whose values are secrets: those are read from files.
const SECRET_WORDS: [&str; 7] = ["auth", "token", "secret", "password", "api-key", "apikey", "cookie"];

/// Where a secret is read: exactly one of the three.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretPlace {
    /// A file that only root can read.
    pub file: Option<PathBuf>,
    /// A program that prints it.
    pub command: Vec<String>,
    /// The name of a systemd credential.
    pub credential: Option<String>,
}

impl SecretPlace {
    /// How many places are named.
    pub(super) fn count(&self) -> usize {
        let (file, credential) = (self.file.is_some(), self.credential.is_some());
        usize::from(file) + usize::from(!self.command.is_empty()) + usize::from(credential)
    }

    /// Whether the place, whose keys begin with `key`, can be one.
    pub(super) fn check(&self, key: &str) -> Result<(), Fault> {
        if let Some(path) = &self.file {
            check::absolute(&format!("{key}_file"), path)?;
        }
        if self.command.first().is_some_and(|program| !program.starts_with('/')) {
            return check::fault(format!("{key}_command"), "the program is named by its absolute path");
        }
        let credential = self.credential.as_deref();
        if credential.is_some_and(|name| name.is_empty() || name.contains('/') || name.starts_with('.')) {
            return check::fault(format!("{key}_credential"), "it is the name of a credential, not a path");
        }
        Ok(())
    }
}

/// `auth = { … }`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the keys say it, and docs/configuration.md")]
pub struct Auth {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub password_command: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_credential: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_key_command: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_credential: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub token_command: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_credential: Option<String>,
}

/// What a secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum AuthKind {
    Password,
    ApiKey,
    Token,
}

impl Auth {
    /// Kind and place of the one secret.
    pub fn secret(&self) -> (AuthKind, SecretPlace) {
        let place = |file: &Option<PathBuf>, command: &[String], credential: &Option<String>| SecretPlace {
            file: file.clone(),
            command: command.to_vec(),
            credential: credential.clone(),
        };
        let key = place(&self.api_key_file, &self.api_key_command, &self.api_key_credential);
        let token = place(&self.token_file, &self.token_command, &self.token_credential);
        match (key.count(), token.count()) {
            (0, 0) => {
                let place = place(&self.password_file, &self.password_command, &self.password_credential);
                (AuthKind::Password, place)
            }
            (0, _) => (AuthKind::Token, token),
            _ => (AuthKind::ApiKey, key),
        }
    }

    fn check(&self, at: &str) -> Result<(), Fault> {
        let (kind, place) = self.secret();
        let password = self.password_file.is_some() || !self.password_command.is_empty();
        let password = password || self.password_credential.is_some() || !self.username.is_empty();
        let token =
            self.token_file.is_some() || !self.token_command.is_empty() || self.token_credential.is_some();
        let two = (kind != AuthKind::Password && password) || (kind == AuthKind::ApiKey && token);
        if two || place.count() != 1 {
            return check::fault(
                at,
                "write exactly one of password_…, api_key_… and token_…: …_file, …_command or …_credential",
            );
        }
        if kind == AuthKind::Password && (self.username.is_empty() || self.username.contains(':')) {
            return check::fault(format!("{at}.username"), "a password needs a username, without a colon");
        }
        let name = match kind {
            AuthKind::Password => "password",
            AuthKind::ApiKey => "api_key",
            AuthKind::Token => "token",
        };
        place.check(&format!("{at}.{name}"))
    }
}

/// Keys of every sink that speaks HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Http {
    /// Ways to the receiver.
    pub urls: Vec<String>,
    /// Who we are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Headers of every request.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The same with files that hold the values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub header_files: BTreeMap<String, PathBuf>,
    /// Certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Whether requests are compressed.
    pub gzip: bool,
    /// For one request.
    pub timeout_secs: u32,
}

impl Default for Http {
    fn default() -> Http {
        Http {
            urls: Vec::new(),
            auth: None,
            headers: BTreeMap::new(),
            header_files: BTreeMap::new(),
            tls: None,
            gzip: true,
            timeout_secs: 60,
        }
    }
}

impl Http {
    pub(super) fn check(&self, at: &dyn Fn(&str) -> String) -> Result<(), Fault> {
        if self.urls.is_empty() {
            return check::fault(at("urls"), "write urls = [\"https://HOST:PORT\"], at least one");
        }
        check::list(&at("urls"), self.urls.len())?;
        for (index, url) in self.urls.iter().enumerate() {
            if let Err(message) = ship::Url::parse(url) {
                return check::fault(at(&format!("urls[{index}]")), message);
            }
        }
        check::within(&at("timeout_secs"), self.timeout_secs, 1, 3600)?;
        if let Some(auth) = &self.auth {
            auth.check(&at("auth"))?;
        }
        self.check_headers(at)?;
        self.tls.as_ref().map_or(Ok(()), |tls| check_tls(at, tls))
    }

    fn check_headers(&self, at: &dyn Fn(&str) -> String) -> Result<(), Fault> {
        let plain = self.headers.iter().map(|(name, value)| ("headers", name, value.as_str()));
        let files = self.header_files.keys().map(|name| ("header_files", name, ""));
        let mut seen = BTreeSet::new();
        for (key, name, value) in plain.chain(files) {
            let at = at(&format!("{key}.{name}"));
            if let Err(message) = ship::HttpSettings::check_header(name, value) {
                return check::fault(at, message);
            }
            let lower = name.to_ascii_lowercase();
            if key == "headers" && SECRET_WORDS.iter().any(|word| lower.contains(word)) {
                let message =
                    format!("{name} looks like a secret; write it into a file and name that in header_files");
                return check::fault(at, message);
            }
            if !seen.insert(lower) {
                return check::fault(at, format!("there are two headers {name}"));
            }
        }
        check::list(&at("headers"), seen.len())?;
        if self.auth.is_some() && seen.contains("authorization") {
            return check::fault(
                at("auth"),
                "auth writes the header authorization, too; leave one of both out",
            );
        }
        for (name, path) in &self.header_files {
            check::absolute(&at(&format!("header_files.{name}")), path)?;
        }
        Ok(())
    }
}

/// `type = "elasticsearch"`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Elastic {
    /// The cluster.
    #[serde(flatten)]
    pub http: Http,
    /// The data stream.
    pub data_stream: String,
    /// An ingest pipeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
}

impl Default for Elastic {
    fn default() -> Elastic {
        Elastic { http: Http::default(), data_stream: "logs-purser.exec-default".to_string(), pipeline: None }
    }
}

impl Elastic {
    pub(super) fn check(&self, at: &dyn Fn(&str) -> String) -> Result<(), Fault> {
        for (key, name) in [("data_stream", Some(&self.data_stream)), ("pipeline", self.pipeline.as_ref())] {
            if let Some(Err(message)) = name.map(|name| ship::ElasticSettings::check_name(name)) {
                return check::fault(at(key), message);
            }
        }
        self.http.check(at)
    }
}
