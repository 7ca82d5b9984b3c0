// SPDX-License-Identifier: Apache-2.0
//! `[sink.NAME]`: where events go. What is common to all sinks, and one structure for each type.
//! Secrets never stand here, only where they are to be read.

pub mod http;
pub mod logstash;
pub mod syslog;
pub mod webhook;

use super::check::{self, Fault};
use super::quantity::{Age, Size};
use super::spots;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

/// Most sinks.
const SINKS_LIMIT: usize = 32;
/// Longest name: it is also a directory's.
const NAME_LIMIT: usize = 64;
/// The types there are.
pub(super) const TYPES: [&str; 8] =
    ["elasticsearch", "file", "kafka", "logstash", "otlp", "stdout", "syslog", "webhook"];

/// One sink.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sink {
    /// What all have.
    #[serde(flatten)]
    pub common: Common,
    /// What its type has.
    #[serde(flatten)]
    pub kind: Kind,
}

/// Keys of every sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Common {
    /// The names that documents use.
    pub schema: Schema,
    /// Where a sink without a cursor begins.
    pub from: From,
    /// Documents sent at once.
    pub batch_events: u32,
    /// Bytes of documents sent at once.
    pub batch_bytes: Size,
    /// Time between canaries.
    pub canary: Age,
}

impl Default for Common {
    fn default() -> Common {
        let usual = ship::Limits::default();
        Common {
            schema: Schema::Ecs,
            from: From::Start,
            batch_events: usual.events as u32,
            batch_bytes: Size::of_bytes(usual.bytes as u64),
            canary: Age::none(),
        }
    }
}

/// The names that documents use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schema {
    /// Elastic Common Schema.
    Ecs,
    /// OpenTelemetry's semantic conventions.
    Otel,
    /// Open Cybersecurity Schema Framework.
    Ocsf,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum From {
    /// With the oldest event of the store.
    Start,
    /// With the first that comes after the sink was configured.
    End,
}

/// A type with its keys.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Kind {
    /// Standard output.
    Stdout,
    /// A file of JSON lines.
    File(File),
    /// Kafka.
    Kafka(Box<Kafka>),
    /// Elasticsearch or OpenSearch.
    Elasticsearch(Box<http::Elastic>),
    /// A receiver of lumberjack.
    Logstash(Box<logstash::Logstash>),
    /// A receiver of syslog.
    Syslog(Box<syslog::Syslog>),
    /// Any receiver over HTTP.
    Webhook(Box<webhook::Webhook>),
    /// A receiver of OpenTelemetry's protocol.
    Otlp(Box<webhook::Otlp>),
}

impl Kind {
    /// What sinks that speak HTTP have in common.
    pub fn http(&self) -> Option<&http::Http> {
        match self {
            Kind::Elasticsearch(elastic) => Some(&elastic.http),
            Kind::Webhook(webhook) => Some(&webhook.http),
            Kind::Otlp(otlp) => Some(&otlp.http),
            Kind::Stdout | Kind::File(_) | Kind::Kafka(_) | Kind::Logstash(_) | Kind::Syslog(_) => None,
        }
    }

    /// The word of `type`.
    pub fn word(&self) -> &'static str {
        match self {
            Kind::Stdout => "stdout",
            Kind::File(_) => "file",
            Kind::Kafka(_) => "kafka",
            Kind::Elasticsearch(_) => "elasticsearch",
            Kind::Logstash(_) => "logstash",
            Kind::Syslog(_) => "syslog",
            Kind::Webhook(_) => "webhook",
            Kind::Otlp(_) => "otlp",
        }
    }
}

/// `type = "file"`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct File {
    /// The file, absolute.
    pub path: PathBuf,
    /// Size above which a new one is begun.
    pub rotate_bytes: Size,
    /// Age at which a new one is begun.
    pub rotate_after: Age,
    /// Older files that are kept.
    pub keep: u32,
}

impl Default for File {
    fn default() -> File {
        File {
            path: PathBuf::new(),
            rotate_bytes: Size::of_bytes(256 << 20),
            rotate_after: Age::of_secs(86_400),
            keep: 7,
        }
    }
}

/// `type = "kafka"`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kafka {
    /// `HOST:PORT` of some of the brokers.
    pub brokers: Vec<String>,
    /// The topic, with fields of the document.
    pub topic: String,
    /// What decides on the partition.
    pub key: RecordKey,
    /// How batches are compressed.
    pub compression: Compression,
    /// How hard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression_level: Option<i32>,
    /// Who we are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sasl: Option<Sasl>,
    /// Encryption.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Documents and cursor in one transaction.
    pub exactly_once: bool,
    /// The compacted topic of the cursors.
    pub cursor_topic: String,
    /// Longest document.
    pub max_message_bytes: Size,
}

impl Default for Kafka {
    fn default() -> Kafka {
        Kafka {
            brokers: Vec::new(),
            topic: "purser".to_string(),
            key: RecordKey::Container,
            compression: Compression::Zstd,
            compression_level: None,
            sasl: None,
            tls: None,
            exactly_once: false,
            cursor_topic: "purser-cursors".to_string(),
            max_message_bytes: Size::of_bytes(1_000_000),
        }
    }
}

/// What decides on the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "docs/kafka.md says it")]
pub enum RecordKey {
    Container,
    Host,
    None,
}

/// How batches are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// `sasl = { … }`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sasl {
    /// How.
    pub mechanism: Mechanism,
    /// The user; none for tokens.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// The file that holds the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// The program that prints the password.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub password_command: Vec<String>,
    /// The systemd credential that holds the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_credential: Option<String>,
    /// The file that holds the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// The program that prints the token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub token_command: Vec<String>,
}

/// How we say who we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the standards")]
pub enum Mechanism {
    #[serde(rename = "PLAIN")]
    Plain,
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
    #[serde(rename = "OAUTHBEARER")]
    OauthBearer,
}

/// `tls = { … }`, the same for every type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Certificates of the authorities that are trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Our certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// The file with the password of the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_password_file: Option<PathBuf>,
    /// Take a certificate for any name.
    pub skip_name_check: bool,
}

/// What is wrong, and the byte where.
pub(super) struct Wrong {
    pub(super) at: usize,
    pub(super) message: String,
}

/// Takes `sink` out of the whole table and reads it. The keys are known to be right.
pub(super) fn take(table: &mut DeTable<'_>) -> Result<BTreeMap<String, Sink>, Wrong> {
    let Some((_, value)) = table.remove_entry("sink") else { return Ok(BTreeMap::new()) };
    let at = value.span().start;
    let DeValue::Table(named) = value.into_inner() else {
        return Err(Wrong { at, message: "write [sink.NAME], one section a sink".to_string() });
    };
    let mut sinks = BTreeMap::new();
    for (name, value) in named {
        let (at, span) = (name.span().start, value.span());
        let name = name.into_inner().into_owned();
        let DeValue::Table(table) = value.into_inner() else {
            return Err(Wrong { at, message: "write [sink.NAME], one section a sink".to_string() });
        };
        check_name(&name).map_err(|message| Wrong { at, message })?;
        sinks.insert(name, read(Spanned::new(span, table))?);
    }
    Ok(sinks)
}

fn check_name(name: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.is_empty() || name.len() > NAME_LIMIT || !name.chars().all(good) {
        return Err(format!("a sink's name has 1 to {NAME_LIMIT} letters, digits, - or _"));
    }
    Ok(())
}

fn read(table: Spanned<DeTable<'_>>) -> Result<Sink, Wrong> {
    let span = table.span();
    let mut own = table.into_inner();
    let mut common = DeTable::new();
    for name in ["schema", "from", "batch_events", "batch_bytes", "canary"] {
        if let Some((key, value)) = own.remove_entry(name) {
            common.insert(key, value);
        }
    }
    let kind = own.remove("type").and_then(|value| value.into_inner().as_str().map(str::to_string));
    let spanned = |table| Deserializer::from(Spanned::new(span.clone(), table));
    let wrong = |error: toml::de::Error| Wrong {
        at: error.span().map_or(span.start, |span| span.start),
        message: error.message().trim().replace('\n', "; "),
    };
    let has_schema = common.contains_key("schema");
    let mut common = Common::deserialize(spanned(common)).map_err(wrong)?;
    if kind.as_deref() == Some("otlp") && !has_schema {
        common.schema = Schema::Otel;
    }
    let own = spanned(own);
    let kind = match kind.as_deref() {
        Some("file") => Kind::File(File::deserialize(own).map_err(wrong)?),
        Some("elasticsearch") => {
            Kind::Elasticsearch(Box::new(http::Elastic::deserialize(own).map_err(wrong)?))
        }
        Some("logstash") => Kind::Logstash(Box::new(logstash::Logstash::deserialize(own).map_err(wrong)?)),
        Some("webhook") => Kind::Webhook(Box::new(webhook::Webhook::deserialize(own).map_err(wrong)?)),
        Some("otlp") => Kind::Otlp(Box::new(webhook::Otlp::deserialize(own).map_err(wrong)?)),
        Some("syslog") => Kind::Syslog(Box::new(syslog::Syslog::deserialize(own).map_err(wrong)?)),
        Some("kafka") => Kind::Kafka(Box::new(Kafka::deserialize(own).map_err(wrong)?)),
        _ => Kind::Stdout,
    };
    Ok(Sink { common, kind })
}

/// The checks that types cannot make.
pub(super) fn check(sinks: &BTreeMap<String, Sink>) -> Result<(), Fault> {
    if sinks.len() > SINKS_LIMIT {
        return check::fault("sink", format!("{} sinks; at most {SINKS_LIMIT}", sinks.len()));
    }
    for (name, sink) in sinks {
        let at = |key: &str| format!("sink.{name}.{key}");
        check::within(&at("batch_events"), sink.common.batch_events, 1, 65_536)?;
        let bytes = sink.common.batch_bytes.bytes().unwrap_or(u64::MAX);
        if !(1024..=64 << 20).contains(&bytes) {
            return check::fault(at("batch_bytes"), "a batch has from 1KiB to 64MiB");
        }
        if sink.common.canary.secs().is_some_and(|secs| !(1..=86_400).contains(&secs)) {
            return check::fault(at("canary"), "a canary comes each 1s to 1d, or \"none\"");
        }
        match &sink.kind {
            Kind::Stdout => {}
            Kind::File(file) => {
                check::absolute(&at("path"), &file.path)?;
                check::within(&at("keep"), file.keep, 0, 10_000)?;
            }
            Kind::Kafka(kafka) => check_kafka(&at, kafka)?,
            Kind::Elasticsearch(elastic) => {
                if sink.common.schema != Schema::Ecs {
                    let why = "a data stream needs the @timestamp that only schema = \"ecs\" has";
                    return check::fault(at("schema"), why);
                }
                elastic.check(&at)?;
            }
            Kind::Logstash(logstash) => logstash.check(&at)?,
            Kind::Syslog(syslog) => syslog.check(&at)?,
            Kind::Webhook(webhook) => webhook.check(&at)?,
            Kind::Otlp(otlp) => {
                if sink.common.schema != Schema::Otel {
                    return check::fault(at("schema"), "this type sends schema = \"otel\" and no other");
                }
                otlp.check(&at)?;
            }
        }
    }
    Ok(())
}

fn check_kafka(at: &dyn Fn(&str) -> String, kafka: &Kafka) -> Result<(), Fault> {
    if kafka.brokers.is_empty() {
        return check::fault(at("brokers"), "write brokers = [\"HOST:PORT\"], at least one");
    }
    check::list(&at("brokers"), kafka.brokers.len())?;
    for (index, broker) in kafka.brokers.iter().enumerate() {
        let port = broker.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
        if port.is_none_or(|(host, _)| host.is_empty()) || broker.contains(',') {
            return check::fault(at(&format!("brokers[{index}]")), format!("{broker:?} is not HOST:PORT"));
        }
    }
    let topic = match ship::Template::new(&kafka.topic) {
        Ok(topic) => topic,
        Err(message) => return check::fault(at("topic"), message),
    };
    if let Some(wrong) = topic.wrong_character(ship::is_topic_character) {
        let message = format!("{wrong:?} is in no name of a topic; letters, digits, '.', '_' and '-' are");
        return check::fault(at("topic"), message);
    }
    if topic.is_constant() && (matches!(kafka.topic.as_str(), "." | "..") || kafka.topic.len() > 249) {
        return check::fault(at("topic"), "a topic has 1 to 249 characters and is not called . or ..");
    }
    let cursors = &kafka.cursor_topic;
    if cursors.is_empty() || cursors.len() > 249 || !cursors.chars().all(ship::is_topic_character) {
        let message = format!("{cursors:?} is no name of a topic; letters, digits, '.', '_' and '-' are");
        return check::fault(at("cursor_topic"), message);
    }
    if *cursors == kafka.topic {
        return check::fault(at("cursor_topic"), "the cursors need a topic of their own");
    }
    let bytes = kafka.max_message_bytes.bytes().unwrap_or(u64::MAX);
    if !(1000..=100_000_000).contains(&bytes) {
        return check::fault(at("max_message_bytes"), "it is from 1kB to 100MB");
    }
    if let Some(sasl) = &kafka.sasl {
        check_sasl(at, sasl)?;
    }
    kafka.tls.as_ref().map_or(Ok(()), |tls| check_tls(at, tls))
}

fn check_sasl(at: &dyn Fn(&str) -> String, sasl: &Sasl) -> Result<(), Fault> {
    let count = |file: &Option<PathBuf>, command: &[String], credential: bool| {
        usize::from(file.is_some()) + usize::from(!command.is_empty()) + usize::from(credential)
    };
    let passwords = count(&sasl.password_file, &sasl.password_command, sasl.password_credential.is_some());
    let tokens = count(&sasl.token_file, &sasl.token_command, false);
    let (wanted, key) = match sasl.mechanism {
        Mechanism::OauthBearer => ((0, 1), "token_file or token_command"),
        _ => ((1, 0), "password_file, password_command or password_credential"),
    };
    if (passwords, tokens) != wanted {
        return check::fault(at("sasl"), format!("write exactly one of {key}"));
    }
    if sasl.mechanism != Mechanism::OauthBearer && sasl.username.is_empty() {
        return check::fault(at("sasl.username"), "a password needs a username");
    }
    for (key, path) in [("sasl.password_file", &sasl.password_file), ("sasl.token_file", &sasl.token_file)] {
        if let Some(path) = path {
            check::absolute(&at(key), path)?;
        }
    }
    for (key, command) in
        [("sasl.password_command", &sasl.password_command), ("sasl.token_command", &sasl.token_command)]
    {
        if command.first().is_some_and(|program| !program.starts_with('/')) {
            return check::fault(at(key), "the program is named by its absolute path");
        }
    }
    let credential = sasl.password_credential.as_deref();
    if credential.is_some_and(|name| name.is_empty() || name.contains('/') || name.starts_with('.')) {
        return check::fault(at("sasl.password_credential"), "it is the name of a credential, not a path");
    }
    Ok(())
}

/// Certificates where the transport can do without.
fn check_certificates(at: &dyn Fn(&str) -> String, is_used: bool, tls: Option<&Tls>) -> Result<(), Fault> {
    match tls {
        Some(_) if !is_used => check::fault(at("tls"), "certificates are for transport = \"tls\" only"),
        Some(tls) => check_tls(at, tls),
        None => Ok(()),
    }
}

fn check_tls(at: &dyn Fn(&str) -> String, tls: &Tls) -> Result<(), Fault> {
    for (key, path) in [
        ("tls.ca", &tls.ca),
        ("tls.certificate", &tls.certificate),
        ("tls.key", &tls.key),
        ("tls.key_password_file", &tls.key_password_file),
    ] {
        if let Some(path) = path {
            check::absolute(&at(key), path)?;
        }
    }
    if tls.certificate.is_some() != tls.key.is_some() {
        return check::fault(at("tls"), "certificate and key belong together");
    }
    Ok(())
}

/// The section of [`super::KEYS`] for a table at `sink.NAME`, by its `type`.
pub(super) fn section(table: &DeTable<'_>, at: usize) -> Result<String, spots::Unknown> {
    let fail = |at, message| Err(spots::Unknown { at, message });
    let known = TYPES.join(", ");
    let Some((key, value)) = table.get_key_value("type") else {
        return fail(at, format!("a sink needs a type: {known}"));
    };
    let word = value.get_ref().as_str().unwrap_or_default();
    if TYPES.contains(&word) {
        return Ok(format!("sink.{word}"));
    }
    if word == "opensearch" {
        let hint = "there is no sink of type \"opensearch\"; \"elasticsearch\" is for OpenSearch, too";
        return fail(value.span().start, hint.to_string());
    }
    let nearest = TYPES.iter().map(|known| (strsim::damerau_levenshtein(known, word), known)).min();
    match nearest {
        Some((distance, known)) if distance <= known.len().max(3) / 2 => {
            fail(value.span().start, format!("there is no sink of type {word:?}; did you mean {known:?}?"))
        }
        _ => fail(key.span().start, format!("there is no sink of type {word:?}; known: {known}")),
    }
}
