// SPDX-License-Identifier: Apache-2.0
//! Batches to any receiver over HTTP, signed if need be, and two receivers that want a form of their
//! own: Loki and ClickHouse.

mod clickhouse;
mod loki;
mod signature;

pub use signature::Signing;

use crate::batch::Batch;
use crate::cursor::hex;
use crate::http::{Answer, HttpSettings, Request, gzip};
use crate::post::{Protocol, Verdict, by_status};
use crate::sink::SendError;
use crate::template::Template;
use ::tls::Secret;
use std::ops::Range;

/// Where and how to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSettings {
    /// The receiver.
    pub http: HttpSettings,
    /// What it is sent.
    pub form: WebhookForm,
    /// Statuses that lie in a document: it is looked for and set aside.
    pub poison_statuses: Vec<u16>,
    /// How requests are signed.
    pub signing: Option<Signing>,
}

/// What a request holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookForm {
    /// One document a line, by POST or PUT.
    Lines(WebhookMethod),
    /// A JSON array of documents.
    Array(WebhookMethod),
    /// Loki's push API with these labels.
    Loki(Vec<(String, Template)>),
    /// An INSERT into a table of ClickHouse.
    ClickHouse {
        /// The database.
        database: String,
        /// The table.
        table: String,
    },
}

/// How a request begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum WebhookMethod {
    Post,
    Put,
}

impl WebhookMethod {
    fn word(self) -> &'static str {
        match self {
            WebhookMethod::Post => "POST",
            WebhookMethod::Put => "PUT",
        }
    }
}

impl WebhookSettings {
    /// Whether `name` can be a label's for Loki, and `value` make few enough values of it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_label(name: &str, value: &Template) -> Result<(), String> {
        loki::check_label(name, value)
    }

    /// Whether `name` can be a database's or a table's of ClickHouse.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_table(name: &str) -> Result<(), String> {
        clickhouse::check_name(name)
    }
}

/// The protocol of a sink with these settings.
#[derive(Debug, Clone)]
pub(crate) struct Webhook(WebhookSettings);

impl Webhook {
    pub(crate) fn new(settings: WebhookSettings) -> Webhook {
        let mut settings = settings;
        if let WebhookForm::Loki(_) = settings.form {
            settings.http.urls = settings.http.urls.iter().map(|url| url.below(loki::PATH)).collect();
        }
        Webhook(settings)
    }

    fn plain(&self, batch: &Batch, range: Range<usize>, method: WebhookMethod, array: bool) -> Request {
        let mut body = Vec::with_capacity(batch.bytes() + batch.len() + 2);
        if array {
            body.push(b'[');
        }
        for (at, document) in range.clone().filter_map(|index| batch.document(index)).enumerate() {
            if at > 0 {
                body.extend_from_slice(if array { b",\n" } else { b"\n" });
            }
            body.extend_from_slice(document.json);
        }
        body.extend_from_slice(if array { b"]" } else { b"\n" });
        let kind = if array { "application/json" } else { "application/x-ndjson" };
        let mut request = self.0.http.request(method.word(), String::new(), kind, body);
        request.headers.push(("idempotency-key".into(), key(batch, range)));
        request
    }
}

/// The same for the same documents, and for no others.
fn key(batch: &Batch, range: Range<usize>) -> String {
    let sequence = |index: usize| batch.document(index).map_or(0, |document| document.sequence);
    let (first, last) = (sequence(range.start), sequence(range.end.saturating_sub(1)));
    format!("{}-{first}-{last}-{}", hex(&batch.context().store_id), range.len())
}

impl Protocol for Webhook {
    fn http(&self) -> &HttpSettings {
        &self.0.http
    }

    fn http_mut(&mut self) -> &mut HttpSettings {
        &mut self.0.http
    }

    fn secret(&self) -> Option<&Secret> {
        self.0.signing.as_ref().map(|signing| &signing.secret)
    }

    fn request(&self, batch: &Batch, range: Range<usize>) -> Result<Request, SendError> {
        let http = &self.0.http;
        let mut request = match &self.0.form {
            WebhookForm::Lines(method) => self.plain(batch, range, *method, false),
            WebhookForm::Array(method) => self.plain(batch, range, *method, true),
            WebhookForm::Loki(labels) => {
                http.request("POST", String::new(), "application/json", loki::body(batch, range, labels))
            }
            WebhookForm::ClickHouse { database, table } => {
                let path = clickhouse::path(database, table, &key(batch, range.clone()));
                http.request("POST", path, "application/x-ndjson", clickhouse::body(batch, range))
            }
        };
        if let Some(signing) = &self.0.signing {
            // What is signed is what is sent, so that it can be checked before it is unpacked.
            if request.gzip {
                request.body = gzip(&request.body)
                    .map_err(|error| SendError::Transient(format!("compressing: {error}")))?;
                request.headers.push(("content-encoding".into(), "gzip".to_string()));
                request.gzip = false;
            }
            signing.sign(&mut request).map_err(SendError::Refused)?;
        }
        Ok(request)
    }

    fn judge(&self, answer: &Answer, _count: usize, place: &str) -> Verdict {
        match &self.0.form {
            WebhookForm::Loki(_) if loki::blames_an_entry(answer) => Verdict::Split(answer.told()),
            _ => by_status(answer, place, &self.0.poison_statuses),
        }
    }
}
