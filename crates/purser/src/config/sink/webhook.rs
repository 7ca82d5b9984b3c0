// SPDX-License-Identifier: Apache-2.0
//! `type = "webhook"` and `type = "otlp"`. Unknown keys are found before these structures are filled.

use super::super::check::{self, Fault};
use super::http::{Http, SecretPlace};
use serde::{Deserialize, Serialize};
use ship::{HttpSettings, Template, Url, WebhookSettings};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Most labels of a stream: Loki takes 15 unless told otherwise.
const LABELS_LIMIT: usize = 15;
/// Statuses that say something about the receiver or the credentials, never about a document.
const NEVER_POISON: [u16; 6] = [401, 403, 404, 408, 425, 429];

/// Receivers that want a form of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Preset {
    Loki,
    ClickHouse,
}

/// How documents stand in a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Format {
    #[default]
    Lines,
    Array,
}

/// How a request begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Method {
    #[default]
    Post,
    Put,
}

/// What signatures are made with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the name says it")]
pub enum Algorithm {
    #[default]
    Sha256,
}

/// `hmac = { … }`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the keys say it, and docs/configuration.md")]
pub struct Hmac {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secret_command: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_credential: Option<String>,
    pub header: String,
    pub timestamp_header: String,
    pub algorithm: Algorithm,
}

impl Default for Hmac {
    fn default() -> Hmac {
        Hmac {
            secret_file: None,
            secret_command: Vec::new(),
            secret_credential: None,
            header: "x-purser-signature".to_string(),
            timestamp_header: "x-purser-timestamp".to_string(),
            algorithm: Algorithm::Sha256,
        }
    }
}

impl Hmac {
    /// Where the secret is.
    pub fn secret(&self) -> SecretPlace {
        SecretPlace {
            file: self.secret_file.clone(),
            command: self.secret_command.clone(),
            credential: self.secret_credential.clone(),
        }
    }

    fn check(&self, at: &str) -> Result<(), Fault> {
        let secret = self.secret();
        if secret.count() != 1 {
            return check::fault(
                at,
                "write exactly one of secret_file, secret_command and secret_credential",
            );
        }
        secret.check(&format!("{at}.secret"))?;
        for (key, name) in [("header", &self.header), ("timestamp_header", &self.timestamp_header)] {
            if let Err(message) = HttpSettings::check_header(name, "") {
                return check::fault(format!("{at}.{key}"), message);
            }
        }
        if self.header.eq_ignore_ascii_case(&self.timestamp_header) {
            return check::fault(format!("{at}.timestamp_header"), "signature and time need two headers");
        }
        Ok(())
    }
}

/// `type = "webhook"`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Webhook {
    /// The receiver.
    #[serde(flatten)]
    pub http: Http,
    /// A receiver that wants a form of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// How documents stand in a request.
    pub format: Format,
    /// How it begins.
    pub method: Method,
    /// Labels for Loki.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// ClickHouse's database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// ClickHouse's table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// How requests are signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hmac: Option<Hmac>,
    /// Statuses that lie in a document.
    pub poison_statuses: Vec<u16>,
}

impl Webhook {
    /// Labels for Loki, as configured or as usual.
    pub fn labels(&self) -> BTreeMap<String, String> {
        if !self.labels.is_empty() {
            return self.labels.clone();
        }
        let usual = [("job", "purser"), ("host", "{host.name}"), ("container", "{container.name}")];
        usual.map(|(name, value)| (name.to_string(), value.to_string())).into()
    }

    pub(super) fn check(&self, at: &dyn Fn(&str) -> String) -> Result<(), Fault> {
        self.http.check(at)?;
        check_poison(at, &self.poison_statuses)?;
        if let Some(hmac) = &self.hmac {
            hmac.check(&at("hmac"))?;
        }
        if self.preset.is_some() {
            check_urls(at, &self.http)?;
            for (key, changed) in
                [("format", self.format != Format::Lines), ("method", self.method != Method::Post)]
            {
                if changed {
                    return check::fault(at(key), "the preset decides on that; leave it out");
                }
            }
        }
        if self.preset != Some(Preset::Loki) && !self.labels.is_empty() {
            return check::fault(at("labels"), "labels are for preset = \"loki\" only");
        }
        for (key, name) in [("database", &self.database), ("table", &self.table)] {
            let Some(name) = name else { continue };
            if self.preset != Some(Preset::ClickHouse) {
                return check::fault(at(key), "it is for preset = \"clickhouse\" only");
            }
            if let Err(message) = WebhookSettings::check_table(name) {
                return check::fault(at(key), message);
            }
        }
        self.check_labels(at)
    }

    fn check_labels(&self, at: &dyn Fn(&str) -> String) -> Result<(), Fault> {
        if self.labels.len() > LABELS_LIMIT {
            return check::fault(
                at("labels"),
                format!("{} labels; at most {LABELS_LIMIT}", self.labels.len()),
            );
        }
        for (name, value) in &self.labels {
            let checked = Template::new(value).and_then(|value| WebhookSettings::check_label(name, &value));
            if let Err(message) = checked {
                return check::fault(at(&format!("labels.{name}")), message);
            }
        }
        Ok(())
    }
}

/// `type = "otlp"`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Otlp {
    /// The receiver.
    #[serde(flatten)]
    pub http: Http,
    /// Statuses that lie in a document.
    pub poison_statuses: Vec<u16>,
}

impl Otlp {
    pub(super) fn check(&self, at: &dyn Fn(&str) -> String) -> Result<(), Fault> {
        self.http.check(at)?;
        check_urls(at, &self.http)?;
        check_poison(at, &self.poison_statuses)
    }
}

/// The rest of the path is ours: a query would stand in its middle.
fn check_urls(at: &dyn Fn(&str) -> String, http: &Http) -> Result<(), Fault> {
    let query = |url: &String| Url::parse(url).is_ok_and(|url| url.has_query());
    match http.urls.iter().position(query) {
        Some(index) => check::fault(at(&format!("urls[{index}]")), "leave out the query, which is behind ?"),
        None => Ok(()),
    }
}

fn check_poison(at: &dyn Fn(&str) -> String, statuses: &[u16]) -> Result<(), Fault> {
    check::list(&at("poison_statuses"), statuses.len())?;
    for (index, status) in statuses.iter().enumerate() {
        if !(400..500).contains(status) || NEVER_POISON.contains(status) {
            let message = format!(
                "{status} says nothing of a document; write statuses from 400 to 499, but not {}",
                NEVER_POISON.map(|status| status.to_string()).join(", ")
            );
            return check::fault(at(&format!("poison_statuses[{index}]")), message);
        }
    }
    Ok(())
}
