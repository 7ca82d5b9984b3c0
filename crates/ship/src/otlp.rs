// SPDX-License-Identifier: Apache-2.0
//! OpenTelemetry's protocol over HTTP, logs as protobuf. Documents are those of the schema `otel`,
//! grouped by their resource.

mod message;
mod protobuf;
mod reply;

#[cfg(feature = "answers")]
pub(crate) use reply::rejected;

use crate::batch::Batch;
use crate::http::{Answer, HttpSettings, Request};
use crate::post::{Protocol, Verdict, by_status};
use crate::sink::{Rejected, SendError};
use std::ops::Range;

/// Where logs are taken below a URL.
const PATH: &str = "/v1/logs";
const KIND: &str = "application/x-protobuf";

/// Where and how to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpSettings {
    /// The receiver.
    pub http: HttpSettings,
    /// Statuses that lie in a document: it is looked for and set aside.
    pub poison_statuses: Vec<u16>,
}

/// The protocol of a sink with these settings.
#[derive(Debug, Clone)]
pub(crate) struct Otlp(OtlpSettings);

impl Otlp {
    pub(crate) fn new(settings: OtlpSettings) -> Otlp {
        let mut settings = settings;
        settings.http.urls = settings.http.urls.iter().map(|url| url.below(PATH)).collect();
        Otlp(settings)
    }
}

impl Protocol for Otlp {
    fn http(&self) -> &HttpSettings {
        &self.0.http
    }

    fn http_mut(&mut self) -> &mut HttpSettings {
        &mut self.0.http
    }

    fn request(&self, batch: &Batch, range: Range<usize>) -> Result<Request, SendError> {
        Ok(self.0.http.request("POST", String::new(), KIND, message::logs(batch, range)))
    }

    fn judge(&self, answer: &Answer, count: usize, place: &str) -> Verdict {
        if answer.is_good() {
            return match reply::rejected(answer) {
                Ok(None) => Verdict::Taken,
                // Then it is clear which they are.
                Ok(Some(rejected)) if rejected.count >= count as u64 => Verdict::Poison(rejected.reason),
                Ok(Some(rejected)) => Verdict::Rejected(rejected),
                Err(why) => Verdict::Failed(SendError::Refused(format!("{place}: {why}"))),
            };
        }
        // The reason stands in a message of protobuf, too.
        let told = Answer { body: reply::reason(answer).into_bytes(), ..answer.clone() };
        by_status(&told, place, &self.0.poison_statuses)
    }
}

/// What a receiver says of records that it refused.
fn refusal(count: u64, reason: &str) -> Option<Rejected> {
    let reason = if reason.is_empty() { "the receiver does not say why" } else { reason };
    (count > 0).then(|| Rejected { count, reason: reason.to_string() })
}
