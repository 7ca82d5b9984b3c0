// SPDX-License-Identifier: Apache-2.0
//! A signature over time and body, by which a receiver tells that a request comes from who has the
//! secret and is not an old one sent again.

use crate::http::Request;
use ::tls::Secret;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use std::fmt::Write as _;

/// How requests are signed: HMAC with SHA-256 over `TIME.BODY`, in hexadecimal behind `sha256=`.
#[derive(Debug, Clone)]
pub struct Signing {
    /// What both sides know.
    pub secret: Secret,
    /// The header of the signature.
    pub header: String,
    /// The header of the time, in seconds since 1970.
    pub timestamp_header: String,
    /// Nanoseconds since 1970.
    pub clock: fn() -> u64,
}

/// There is one clock.
impl PartialEq for Signing {
    fn eq(&self, other: &Signing) -> bool {
        let parts = |signing: &Signing| {
            (signing.secret.clone(), signing.header.clone(), signing.timestamp_header.clone())
        };
        parts(self) == parts(other)
    }
}

impl Eq for Signing {}

impl Signing {
    /// Adds both headers; the error is in words.
    pub(super) fn sign(&self, request: &mut Request) -> Result<(), String> {
        let time = (self.clock)() / 1_000_000_000;
        let signature = signature(self.secret.expose(), time, &request.body)
            .map_err(|error| format!("signing a request: {error}"))?;
        request.headers.push((self.timestamp_header.clone().into(), time.to_string()));
        request.headers.push((self.header.clone().into(), signature));
        Ok(())
    }
}

fn signature(secret: &[u8], time: u64, body: &[u8]) -> Result<String, ErrorStack> {
    let key = PKey::hmac(secret)?;
    let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
    signer.update(format!("{time}.").as_bytes())?;
    signer.update(body)?;
    let mut text = String::from("sha256=");
    for byte in signer.sign_to_vec()? {
        write!(text, "{byte:02x}").unwrap_or_default();
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::signature;

    /// printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac hunter2
    #[test]
    fn is_what_others_compute() {
        let expected = "sha256=56b25cbf563812b38800e5f4dd1febfde087d36841155e70b3aa285517e1570a";
        assert_eq!(signature(b"hunter2", 1_700_000_000, br#"{"a":1}"#).unwrap(), expected);
    }
}
