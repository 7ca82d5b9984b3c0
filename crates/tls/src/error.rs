// SPDX-License-Identifier: Apache-2.0
//! What goes wrong with TLS, without OpenSSL's numbers.

use openssl::error::ErrorStack;
use openssl::ssl::{Error, HandshakeError};
use openssl::x509::X509VerifyResult;
use std::io;
use std::path::PathBuf;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// OpenSSL refuses.
    #[error("setting up TLS: {0}")]
    SetUp(String),
    /// A file with certificates or a key that cannot be used.
    #[error("loading {what} {}: {why}", path.display())]
    File {
        /// What it should have, such as "the certificate".
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// What kept both sides from agreeing.
#[derive(Debug, PartialEq, Eq)]
pub enum Disagreement {
    /// There was no time left.
    Slow,
    /// Its certificate is not accepted, for this reason; that does not change by itself.
    Certificate(&'static str),
    /// One of both refuses, for this reason.
    Refused(String),
    /// The connection ended.
    Closed(String),
}

/// What kept both sides from agreeing.
pub fn disagreement<S>(error: &HandshakeError<S>) -> Disagreement {
    let stream = match error {
        HandshakeError::SetupFailure(stack) => return Disagreement::Refused(said(stack)),
        HandshakeError::WouldBlock(_) => return Disagreement::Slow,
        HandshakeError::Failure(stream) => stream,
    };
    let verdict = stream.ssl().verify_result();
    if verdict != X509VerifyResult::OK {
        return Disagreement::Certificate(verdict.error_string());
    }
    match stream.error().ssl_error().filter(|stack| !stack.errors().is_empty()) {
        Some(stack) => Disagreement::Refused(said(stack)),
        None => Disagreement::Closed(spoken(stream.error())),
    }
}

/// What OpenSSL complains about.
#[must_use]
pub fn said(error: &ErrorStack) -> String {
    let reasons: Vec<&str> = error.errors().iter().filter_map(|one| one.reason()).collect();
    if reasons.is_empty() { "OpenSSL does not say why".to_owned() } else { reasons.join("; ") }
}

/// An error of an encrypted stream, or of any other, in words.
#[must_use]
pub fn told(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    inner.map_or_else(|| error.to_string(), spoken)
}

fn spoken(error: &Error) -> String {
    match (error.ssl_error(), error.io_error()) {
        (Some(stack), _) => said(stack),
        (_, Some(error)) => error.to_string(),
        _ => "the connection was closed".to_owned(),
    }
}
