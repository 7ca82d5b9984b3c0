// SPDX-License-Identifier: Apache-2.0
//! From the store to other systems. One [`Line`] a sink: a thread that reads along with the store,
//! hands batches to a [`Sink`], and moves a durable [`Cursor`] only behind what was acknowledged.
//!
//! It never prints, reads no configuration and asks no wall clock: [`Tools`] brings what it needs
//! of the world. Sinks know nothing of cursors and retries; the loop knows nothing of protocols.
//!
//! # Files, in `STORE/sinks/NAME/`
//! | name | what |
//! |---|---|
//! | `cursor` | the next event to send, in two slots; locked by the line that moves it |
//! | `dead.jsonl` | documents the receiver will never take, each with the reason |
//!
//! # Promises
//! * An event is sent again until the sink has said that it is safe, whatever ends this process.
//! * What a receiver refuses for good is set aside, counted and told; it neither blocks nor vanishes.
//! * A line holds one batch in memory, however long its receiver is away.

#[cfg(feature = "answers")]
pub mod answers;
mod backoff;
mod batch;
mod cursor;
mod dead;
mod elastic;
mod error;
mod file;
mod http;
mod kafka;
mod latency;
mod line;
mod logstash;
mod otlp;
mod post;
mod rate;
mod render;
mod runner;
mod sink;
mod status;
mod stdout;
mod syslog;
mod target;
mod template;
mod tls;
mod webhook;
mod wire;

pub use ::tls::Secret;
pub use backoff::{Backoff, Random};
pub use batch::{Batch, CANARY, Document, Limits};
pub use cursor::{Cursor, MAX_MARK_BYTES, Place};
pub use elastic::{ElasticSettings, SetUp, SetUpStep, dashboards};
pub use error::Error;
pub use file::FileSettings;
pub use http::{HttpAuth, HttpSettings, Url};
pub use kafka::{AccessToken, Compression, KafkaSettings, RecordKey, Sasl, TokenSource, is_topic_character};
pub use line::{Line, LineSettings, Notice, Tools, Turn};
pub use logstash::LogstashSettings;
pub use otlp::OtlpSettings;
pub use render::{Renderer, Schema};
pub use runner::{Make, Order, RewindTo, Runner};
pub use sink::{Poison, Rejected, SendError, Sent, Sink, Step, Trouble};
pub use status::{Head, State, Status};
pub use stdout::Stdout;
pub use syslog::{SyslogSettings, SyslogTransport};
pub use target::{Origin, Target};
pub use template::{FIELDS, Template};
pub use tls::TlsSettings;
pub use webhook::{Signing, WebhookForm, WebhookMethod, WebhookSettings};
pub use wire::HostPort;
