// SPDX-License-Identifier: Apache-2.0
//! Every kind of sink with its settings, and the one place that makes sinks of them.

use crate::elastic::{ElasticSettings, ElasticSink};
use crate::error::Error;
use crate::file::{FileSettings, FileSink};
use crate::kafka::{KafkaSettings, KafkaSink};
use crate::logstash::{LogstashSettings, LogstashSink};
use crate::otlp::{Otlp, OtlpSettings};
use crate::post::Post;
use crate::sink::Sink;
use crate::stdout::Stdout;
use crate::syslog::{SyslogSettings, SyslogSink};
use crate::webhook::{Webhook, WebhookSettings};
use std::io::Write;

/// Where documents go. Two equal ones lead to the same place in the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file of JSON lines.
    File(FileSettings),
    /// A Kafka cluster.
    Kafka(Box<KafkaSettings>),
    /// Elasticsearch or OpenSearch.
    Elastic(Box<ElasticSettings>),
    /// Logstash, or another receiver of lumberjack.
    Logstash(Box<LogstashSettings>),
    /// A receiver of syslog.
    Syslog(Box<SyslogSettings>),
    /// Any receiver over HTTP, Loki and ClickHouse.
    Webhook(Box<WebhookSettings>),
    /// A receiver of OpenTelemetry's protocol.
    Otlp(Box<OtlpSettings>),
}

/// Who sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The sink's name.
    pub sink: String,
    /// The store's id.
    pub store_id: [u8; 16],
}

impl Target {
    /// The word for it in configurations.
    pub fn word(&self) -> &'static str {
        match self {
            Target::Stdout => "stdout",
            Target::File(_) => "file",
            Target::Kafka(_) => "kafka",
            Target::Elastic(_) => "elasticsearch",
            Target::Logstash(_) => "logstash",
            Target::Syslog(_) => "syslog",
            Target::Webhook(_) => "webhook",
            Target::Otlp(_) => "otlp",
        }
    }

    /// Makes the sink. Nothing is connected, opened or written yet.
    ///
    /// # Errors
    /// When the settings contradict each other or a library refuses them.
    pub fn sink(&self, origin: Origin, stdout: Box<dyn Write + Send>) -> Result<Box<dyn Sink>, Error> {
        // Before the first one uses it: OpenSSL must not read the host's configuration.
        sys::openssl_without_configuration();
        Ok(match self {
            Target::Stdout => Box::new(Stdout::new(stdout)),
            Target::File(settings) => Box::new(FileSink::new(settings.clone())),
            Target::Kafka(settings) => Box::new(KafkaSink::new(settings.as_ref().clone(), origin)?),
            Target::Elastic(settings) => Box::new(ElasticSink::new(settings.as_ref().clone())?),
            Target::Logstash(settings) => Box::new(LogstashSink::new(settings.as_ref().clone())?),
            Target::Syslog(settings) => Box::new(SyslogSink::new(settings.as_ref().clone())?),
            Target::Webhook(settings) => Box::new(Post::new(Webhook::new(settings.as_ref().clone()))?),
            Target::Otlp(settings) => Box::new(Post::new(Otlp::new(settings.as_ref().clone()))?),
        })
    }
}
