// SPDX-License-Identifier: Apache-2.0
//! Our settings in librdkafka's words.

use super::Producer;
use super::reports::Reports;
use crate::error::Error;
use crate::template::Template;
use crate::tls::TlsSettings;
use ::tls::Secret;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Bytes that librdkafka may hold for us; a batch is smaller.
const QUEUE_KIB: &str = "32768";
/// Messages it may hold.
const QUEUE_MESSAGES: &str = "65536";
/// How long librdkafka gathers documents for a request when it is not told to send them.
pub(super) const LINGER: Duration = Duration::from_millis(10);

/// How batches are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    #[default]
    Zstd,
}

impl Compression {
    fn word(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }

    /// Documents are so much alike that zstd's quickest level makes them as small as its usual one.
    fn usual_level(self) -> Option<i32> {
        (self == Compression::Zstd).then_some(1)
    }
}

/// What decides which partition a record goes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RecordKey {
    /// The container's id, or the host's name: events of one container stay in order.
    #[default]
    Container,
    /// The host's name: events of one host stay in order.
    Host,
    /// Nothing: records are spread evenly.
    None,
}

/// A token of an identity provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// The token.
    pub token: Secret,
    /// Whom it is for.
    pub principal: String,
    /// When it ends, ms since 1970.
    pub ends_ms: i64,
}

/// Where tokens come from.
#[derive(Clone)]
pub struct TokenSource {
    /// Two sources of the same name are the same.
    pub name: String,
    /// Gets a fresh one; called by the thread of the sink. The error is in words.
    pub fetch: Arc<dyn Fn() -> Result<AccessToken, String> + Send + Sync>,
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSource").field("name", &self.name).finish_non_exhaustive()
    }
}

impl PartialEq for TokenSource {
    fn eq(&self, other: &TokenSource) -> bool {
        self.name == other.name
    }
}

impl Eq for TokenSource {}

/// How we say who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are what they are called")]
pub enum Sasl {
    Plain { username: String, password: Secret },
    ScramSha256 { username: String, password: Secret },
    ScramSha512 { username: String, password: Secret },
    OauthBearer(TokenSource),
}

/// Where and how to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaSettings {
    /// `HOST:PORT` of some of the brokers.
    pub brokers: Vec<String>,
    /// The topic; fields are made of the characters that Kafka allows.
    pub topic: Template,
    /// What decides on the partition.
    pub key: RecordKey,
    /// How batches are compressed.
    pub compression: Compression,
    /// How hard; what that means depends on the compression.
    pub compression_level: Option<i32>,
    /// Who we are.
    pub sasl: Option<Sasl>,
    /// Encryption; none when not given.
    pub tls: Option<TlsSettings>,
    /// Whether documents and cursor are written in one transaction.
    pub exactly_once: bool,
    /// The compacted topic of the cursors.
    pub cursor_topic: String,
    /// Longest document, in bytes, with its headers.
    pub max_message_bytes: u32,
}

impl KafkaSettings {
    /// What producers and consumers share.
    pub(super) fn common(&self) -> Result<ClientConfig, Error> {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Warning);
        config
            .set("bootstrap.servers", self.brokers.join(","))
            .set("client.id", "purser")
            .set("socket.keepalive.enable", "true")
            .set("reconnect.backoff.ms", "100")
            .set("reconnect.backoff.max.ms", "10000")
            .set("topic.metadata.propagation.max.ms", "5000")
            .set("client.dns.lookup", "use_all_dns_ips");
        let protocol = match (&self.sasl, &self.tls) {
            (None, None) => "plaintext",
            (None, Some(_)) => "ssl",
            (Some(_), None) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        self.set_sasl(&mut config)?;
        self.set_tls(&mut config)?;
        Ok(config)
    }

    fn set_sasl(&self, config: &mut ClientConfig) -> Result<(), Error> {
        let (mechanism, user) = match &self.sasl {
            None => return Ok(()),
            Some(Sasl::Plain { username, password }) => ("PLAIN", Some((username, password))),
            Some(Sasl::ScramSha256 { username, password }) => ("SCRAM-SHA-256", Some((username, password))),
            Some(Sasl::ScramSha512 { username, password }) => ("SCRAM-SHA-512", Some((username, password))),
            Some(Sasl::OauthBearer(_)) => ("OAUTHBEARER", None),
        };
        config.set("sasl.mechanism", mechanism);
        if let Some((username, password)) = user {
            config.set("sasl.username", username).set("sasl.password", text("password", password)?);
        }
        Ok(())
    }

    fn set_tls(&self, config: &mut ClientConfig) -> Result<(), Error> {
        let Some(tls) = &self.tls else { return Ok(()) };
        let ca = tls.ca.as_deref().map_or("probe".into(), |path| path.to_string_lossy());
        config.set("ssl.ca.location", ca);
        if let Some(certificate) = &tls.certificate {
            config.set("ssl.certificate.location", certificate.to_string_lossy());
        }
        if let Some(key) = &tls.key {
            config.set("ssl.key.location", key.to_string_lossy());
        }
        if let Some(password) = &tls.key_password {
            config.set("ssl.key.password", text("key's password", password)?);
        }
        let check = if tls.skip_name_check { "none" } else { "https" };
        config.set("ssl.endpoint.identification.algorithm", check);
        Ok(())
    }

    /// A producer; `more` are settings that override ours.
    pub(super) fn producer(&self, more: &[(&str, &str)]) -> Result<Producer, Error> {
        let mut config = self.common()?;
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            // Without this messages would be given up after five minutes.
            .set("message.timeout.ms", "0")
            .set("queue.buffering.max.kbytes", QUEUE_KIB)
            .set("queue.buffering.max.messages", QUEUE_MESSAGES)
            .set("linger.ms", LINGER.as_millis().to_string())
            .set("message.max.bytes", self.max_message_bytes.to_string())
            .set("compression.type", self.compression.word());
        if let Some(level) = self.compression_level.or(self.compression.usual_level()) {
            config.set("compression.level", level.to_string());
        }
        for (name, value) in more {
            config.set(*name, *value);
        }
        Producer::from_config_and_context(&config, Reports::new(self.token()))
            .map_err(|error| Error::Settings(format!("setting up Kafka: {error}")))
    }

    pub(super) fn token(&self) -> Option<TokenSource> {
        match &self.sasl {
            Some(Sasl::OauthBearer(source)) => Some(source.clone()),
            _ => None,
        }
    }
}

fn text<'a>(what: &str, secret: &'a Secret) -> Result<&'a str, Error> {
    let text = secret.expose_text().filter(|text| !text.contains('\0'));
    text.ok_or_else(|| Error::Settings(format!("the {what} is not text")))
}
