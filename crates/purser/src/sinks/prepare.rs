// SPDX-License-Identifier: Apache-2.0
//! From a section of the configuration to a sink: secrets are read, words become settings.

use super::{http, oauth, secrets};
use crate::agent;
use crate::command::{boot_id, host_name};
use crate::config::sink::{self, Kafka, Kind, Mechanism, Sasl};
use crate::config::{Age, Sink};
use event::document::Context;
use event::{Agent, Body, Event};
use ship::{
    Batch, Compression, FileSettings, Head, KafkaSettings, Limits, Line, LineSettings, Notice, Origin,
    RecordKey, Renderer, Schema, Secret, Status, Target, Template, Tools,
};
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A sink whose secrets could be read. Two equal ones lead to the same place in the same way.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Prepared {
    pub(crate) name: String,
    pub(crate) sink: Sink,
    /// Password, key or token, unless a program is asked for it when it is needed.
    password: Option<Secret>,
    key_password: Option<Secret>,
    /// Values of headers.
    headers: Vec<(String, Secret)>,
    /// What requests are signed with; as for the password.
    hmac_secret: Option<Secret>,
}

/// Reads the secrets of `sink`, without asking programs for them.
pub(crate) fn prepare(name: &str, sink: &Sink) -> anyhow::Result<Prepared> {
    agent::hide()?;
    let about = |error: anyhow::Error| error.context(format!("setting up sink {name}"));
    let (password, tls) = match &sink.kind {
        Kind::Stdout | Kind::File(_) => (Ok(None), None),
        Kind::Kafka(kafka) => {
            let password = kafka.sasl.as_ref().map_or(Ok(None), |sasl| secrets::password(sasl, false));
            (password, kafka.tls.as_ref())
        }
        Kind::Logstash(logstash) => (Ok(None), logstash.tls.as_ref()),
        Kind::Syslog(syslog) => (Ok(None), syslog.tls.as_ref()),
        Kind::Elasticsearch(_) | Kind::Webhook(_) | Kind::Otlp(_) => {
            let http = sink.kind.http();
            (http::read(http.and_then(|http| http.auth.as_ref())), http.and_then(|http| http.tls.as_ref()))
        }
    };
    let headers = sink.kind.http().map_or(Ok(Vec::new()), http::header_files).map_err(about)?;
    let hmac_secret = match &sink.kind {
        Kind::Webhook(webhook) => http::read_hmac(webhook.hmac.as_ref()).map_err(about)?,
        _ => None,
    };
    let password = password.map_err(about)?;
    let file = tls.and_then(|tls| tls.key_password_file.as_deref());
    let key_password = file.map(secrets::file).transpose().map_err(about)?;
    Ok(Prepared { name: name.to_string(), sink: sink.clone(), password, key_password, headers, hmac_secret })
}

impl Prepared {
    pub(super) fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    pub(super) fn key_password(&self) -> Option<&Secret> {
        self.key_password.as_ref()
    }

    pub(super) fn headers(&self) -> &[(String, Secret)] {
        &self.headers
    }

    pub(super) fn hmac_secret(&self) -> Option<&Secret> {
        self.hmac_secret.as_ref()
    }

    /// The settings for the room that ships; asks programs for secrets where that is configured.
    pub(crate) fn target(&self) -> anyhow::Result<Target> {
        Ok(match &self.sink.kind {
            Kind::Stdout => Target::Stdout,
            Kind::File(file) => Target::File(FileSettings {
                path: file.path.clone(),
                rotate_bytes: file.rotate_bytes.bytes(),
                rotate_after: Age::secs(file.rotate_after).map(Duration::from_secs),
                keep: file.keep,
            }),
            Kind::Kafka(kafka) => Target::Kafka(Box::new(self.kafka(kafka)?)),
            Kind::Logstash(logstash) => Target::Logstash(Box::new(self.logstash(logstash)?)),
            Kind::Syslog(syslog) => Target::Syslog(Box::new(self.syslog(syslog)?)),
            Kind::Webhook(webhook) => Target::Webhook(Box::new(self.webhook(webhook)?)),
            Kind::Otlp(otlp) => Target::Otlp(Box::new(self.otlp(otlp)?)),
            Kind::Elasticsearch(elastic) => Target::Elastic(Box::new(self.elastic(elastic)?)),
        })
    }

    fn kafka(&self, kafka: &Kafka) -> anyhow::Result<KafkaSettings> {
        let tls = kafka.tls.as_ref().map(|tls| http::tls(Some(tls), self.key_password.as_ref()));
        Ok(KafkaSettings {
            brokers: kafka.brokers.clone(),
            topic: Template::new(&kafka.topic).map_err(anyhow::Error::msg)?,
            key: match kafka.key {
                sink::RecordKey::Container => RecordKey::Container,
                sink::RecordKey::Host => RecordKey::Host,
                sink::RecordKey::None => RecordKey::None,
            },
            compression: match kafka.compression {
                sink::Compression::None => Compression::None,
                sink::Compression::Gzip => Compression::Gzip,
                sink::Compression::Snappy => Compression::Snappy,
                sink::Compression::Lz4 => Compression::Lz4,
                sink::Compression::Zstd => Compression::Zstd,
            },
            compression_level: kafka.compression_level,
            sasl: kafka.sasl.as_ref().map(|sasl| self.sasl(sasl)).transpose()?,
            tls,
            exactly_once: kafka.exactly_once,
            cursor_topic: kafka.cursor_topic.clone(),
            max_message_bytes: kafka
                .max_message_bytes
                .bytes()
                .and_then(|bytes| u32::try_from(bytes).ok())
                .unwrap_or(u32::MAX),
        })
    }

    fn sasl(&self, sasl: &Sasl) -> anyhow::Result<ship::Sasl> {
        let username = sasl.username.clone();
        let password = || -> anyhow::Result<Secret> {
            Ok(match &self.password {
                Some(password) => password.clone(),
                None => secrets::password(sasl, true)?.unwrap_or_else(|| Secret::new(Vec::new())),
            })
        };
        Ok(match sasl.mechanism {
            Mechanism::OauthBearer => ship::Sasl::OauthBearer(oauth::source(sasl)),
            Mechanism::Plain => ship::Sasl::Plain { username, password: password()? },
            Mechanism::ScramSha256 => ship::Sasl::ScramSha256 { username, password: password()? },
            Mechanism::ScramSha512 => ship::Sasl::ScramSha512 { username, password: password()? },
        })
    }

    fn schema(&self) -> Schema {
        match self.sink.common.schema {
            sink::Schema::Ecs => Schema::Ecs,
            sink::Schema::Otel => Schema::Otel,
            sink::Schema::Ocsf => Schema::Ocsf,
        }
    }
}

/// Everything a line is made of.
pub(super) struct Setting {
    pub(super) prepared: Prepared,
    pub(super) store: PathBuf,
    pub(super) store_end: u64,
    pub(super) head: Arc<Head>,
    pub(super) status: Arc<Mutex<Status>>,
    pub(super) tell: Arc<dyn Fn(Notice) -> bool + Send + Sync>,
}

impl Setting {
    /// Makes the line; the error is in words.
    pub(super) fn line(&self) -> Result<Line, String> {
        let common = &self.prepared.sink.common;
        let origin = origin(&self.prepared.name, &self.store).map_err(|error| format!("{error:#}"))?;
        let target = self.prepared.target().map_err(|error| format!("{error:#}"))?;
        let sink = target.sink(origin, stdout()).map_err(|error| error.to_string())?;
        let usual = Limits::default();
        let settings = LineSettings {
            name: self.prepared.name.clone(),
            store: self.store.clone(),
            host_name: host_name(),
            schema: self.prepared.schema(),
            limits: Limits {
                events: common.batch_events as usize,
                bytes: common.batch_bytes.bytes().map_or(usual.bytes, |bytes| bytes as usize),
            },
            from_start: common.from == sink::From::Start,
            store_end: self.store_end,
        };
        let tell = Arc::clone(&self.tell);
        let line = Line::open(
            settings,
            sink,
            tools(Box::new(move |notice| tell(notice))),
            Arc::clone(&self.head),
            Arc::clone(&self.status),
        );
        line.map_err(|error| error.to_string())
    }
}

fn stdout() -> Box<dyn Write + Send> {
    Box::new(std::io::stdout())
}

fn tools(tell: Box<dyn FnMut(Notice) -> bool + Send>) -> Tools {
    let started = Instant::now();
    let (seed, mut count) = (RandomState::new(), 0u64);
    Tools {
        wall_ns: Box::new(wall_ns),
        monotonic: Box::new(move || started.elapsed()),
        // Keyed anew in each process: as random as waits need it.
        random: Box::new(move || {
            count += 1;
            seed.hash_one(count)
        }),
        tell,
    }
}

pub(super) fn wall_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn origin(name: &str, store: &Path) -> anyhow::Result<Origin> {
    Ok(Origin { sink: name.to_string(), store_id: store::Reader::open(store)?.store_id() })
}

/// A sink of its own and one document for it, for `sink test`.
pub(crate) fn canary(prepared: &Prepared, store: &Path) -> anyhow::Result<(Box<dyn ship::Sink>, Batch)> {
    // A host may be tested before its first start.
    let store_id = store::Reader::open(store).map_or([0; 16], |reader| reader.store_id());
    let origin = Origin { sink: prepared.name.clone(), store_id };
    let sink = prepared.target()?.sink(origin, stdout())?;
    let context = Context { store_id, host_name: host_name() };
    let mut renderer = Renderer::new(context, prepared.schema());
    let body = Body::Agent(Agent {
        action: "sink_test".to_string(),
        message: format!("a test of sink {}; nothing happened", prepared.name),
        version: env!("CARGO_PKG_VERSION").to_string(),
    });
    let now = wall_ns();
    let event = Event { boot_id: boot_id(), time_ns: now, boot_ns: 0, container: String::new(), body };
    Ok((sink, Batch::of_event(&mut renderer, &event)))
}
