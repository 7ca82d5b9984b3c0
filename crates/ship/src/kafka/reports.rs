// SPDX-License-Identifier: Apache-2.0
//! What librdkafka tells us: delivery reports, errors, log lines, and its wish for a token.

use super::settings::TokenSource;
use crate::sink::Trouble;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;
use std::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The index of a record that is no document.
pub(super) const CURSOR: u32 = u32::MAX;

/// One flight's number and a document's index in one word, which comes back with the report.
pub(super) fn tag(flight: u32, index: u32) -> usize {
    ((u64::from(flight) << 32) | u64::from(index)) as usize
}

/// Reports of the present flight.
#[derive(Debug, Default)]
pub(super) struct Reported {
    flight: u32,
    pub(super) acked: usize,
    /// With why, and where they should have gone.
    pub(super) failed: Vec<(u32, RDKafkaErrorCode, String)>,
    /// Partition and offset of the cursor's record.
    pub(super) cursor: Option<(i32, i64)>,
}

/// Collects them; it is called by the thread that polls.
#[derive(Debug)]
pub(crate) struct Reports {
    reported: Mutex<Reported>,
    trouble: Mutex<Option<(Trouble, RDKafkaErrorCode)>>,
    fatal: Mutex<Option<String>>,
    token: Option<TokenSource>,
}

impl Reports {
    pub(super) fn new(token: Option<TokenSource>) -> Reports {
        Reports { reported: Mutex::default(), trouble: Mutex::default(), fatal: Mutex::default(), token }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Reported> {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on only reports of this flight count.
    pub(super) fn expect(&self, flight: u32) {
        *self.lock() = Reported { flight, ..Reported::default() };
    }

    /// What librdkafka complained about since something went well last.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.as_ref().map(|(trouble, _)| trouble.clone())
    }

    /// Forgets old complaints.
    pub(super) fn clear(&self) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Why this client is of no use any more.
    pub(super) fn fatal(&self) -> Option<String> {
        self.fatal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn complain(&self, code: RDKafkaErrorCode, reason: &str) {
        let mut known = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        // "All brokers are down" says less than why each one is.
        if code == RDKafkaErrorCode::AllBrokersDown && known.is_some() {
            return;
        }
        *known = Some((Trouble { reason: told(code, reason), refused: is_refusal(code) }, code));
    }
}

impl ClientContext for Reports {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // Errors come as errors, too. Of the rest only the name of a broker that cannot be found is news.
        let _ = (level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        if code == RDKafkaErrorCode::Fatal {
            *self.fatal.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_string());
        }
        self.complain(code, reason);
    }

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let Some(source) = &self.token else { return Err("no source of tokens is configured".into()) };
        let fetched = (source.fetch)().and_then(|token| {
            let text = token.token.expose_text().map(str::to_string);
            let text = text.ok_or_else(|| "the token is not text".to_string())?;
            Ok(OAuthToken { token: text, principal_name: token.principal, lifetime_ms: token.ends_ms })
        });
        fetched.map_err(|reason| {
            let reason = format!("getting a token from {}: {reason}", source.name);
            self.complain(RDKafkaErrorCode::Authentication, &reason);
            reason.replace('\0', " ").into()
        })
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, tag: usize) {
        let (flight, index) = ((tag as u64 >> 32) as u32, (tag as u64 & u64::from(u32::MAX)) as u32);
        let mut reported = self.lock();
        if flight != reported.flight {
            return;
        }
        match result {
            Ok(message) => {
                reported.acked += 1;
                if index == CURSOR {
                    reported.cursor = Some((message.partition(), message.offset()));
                }
            }
            Err((error, message)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                reported.failed.push((index, code, message.topic().to_string()));
            }
        }
    }
}

impl ConsumerContext for Reports {}

/// Whether somebody has to change something before it can go on.
pub(super) fn is_refusal(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::Authentication
            | Code::SSL
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::UnknownTopic
            | Code::UnknownTopicOrPartition
            | Code::UnknownPartition
            | Code::InvalidTopic
            | Code::PolicyViolation
            | Code::InvalidRequiredAcks
            | Code::UnsupportedFeature
            | Code::UnsupportedVersion
            | Code::UnsupportedCompressionType
    )
}

/// The library's words with what to do about it.
pub(super) fn told(code: RDKafkaErrorCode, reason: &str) -> String {
    use RDKafkaErrorCode as Code;
    let what = match code {
        Code::Authentication | Code::SaslAuthenticationFailed => {
            "the broker refused who we say we are; check sasl (mechanism, user name, password)"
        }
        Code::UnsupportedSASLMechanism => "the broker does not offer this sasl mechanism",
        Code::SSL => "no encrypted connection; check tls (the authority's certificate, the broker's name)",
        Code::Resolve => "a broker's name is not known; check brokers and DNS",
        Code::BrokerTransportFailure | Code::AllBrokersDown => {
            "no broker can be reached, or it wants sasl or tls on this port; check brokers, sasl and tls"
        }
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
            "the topic does not exist and the broker does not create it; create it or change topic"
        }
        Code::InvalidTopic => "the broker does not take this name of a topic; change topic",
        Code::TopicAuthorizationFailed => "this user may not write to the topic; give it the right WRITE",
        Code::GroupAuthorizationFailed => {
            "this user may not read as the group purser-cursors; give it the right READ on that group"
        }
        Code::ClusterAuthorizationFailed => {
            "this user may not write with idempotence; give it the right IDEMPOTENT_WRITE on the cluster"
        }
        Code::TransactionalIdAuthorizationFailed => {
            "this user may not use our transactional id; give it the rights WRITE and DESCRIBE on it"
        }
        _ => return format!("kafka: {reason}"),
    };
    format!("{what} (kafka: {reason})")
}
