// SPDX-License-Identifier: Apache-2.0
//! Tokens for OAUTHBEARER: from a file or a program, with the end that the token itself names.

use super::secrets;
use crate::config::sink::Sasl;
use serde_json::Value;
use ship::{AccessToken, Secret, TokenSource};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// How long a token counts that does not say how long it does, ms.
const DEFAULT_LIFE_MS: i64 = 5 * 60 * 1000;

/// Where the tokens of `sasl` come from.
pub(super) fn source(sasl: &Sasl) -> TokenSource {
    let sasl = sasl.clone();
    let name = match &sasl.token_file {
        Some(path) => path.display().to_string(),
        None => sasl.token_command.first().cloned().unwrap_or_default(),
    };
    let fetch = move || {
        let secret = match &sasl.token_file {
            Some(path) => secrets::file(path),
            None => secrets::command(&sasl.token_command),
        };
        secret.map(|secret| token(secret, now_ms())).map_err(|error| format!("{error:#}"))
    };
    TokenSource { name, fetch: Arc::new(fetch) }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// What a JSON web token says of itself; other tokens say nothing.
fn token(secret: Secret, now_ms: i64) -> AccessToken {
    let claims = secret
        .expose_text()
        .and_then(|text| text.split('.').nth(1))
        .and_then(decode)
        .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok())
        .unwrap_or_default();
    let ends_ms = claims.get("exp").and_then(Value::as_f64).map(|secs| (secs * 1000.0) as i64);
    AccessToken {
        principal: claims.get("sub").and_then(Value::as_str).unwrap_or("purser").to_string(),
        ends_ms: ends_ms.unwrap_or(now_ms + DEFAULT_LIFE_MS),
        token: secret,
    }
}

/// Base64 with the alphabet of URLs and without padding (RFC 4648, section 5).
fn decode(text: &str) -> Option<Vec<u8>> {
    let (mut bits, mut count, mut bytes) = (0u32, 0, Vec::new());
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' | b'+' => 62,
            b'_' | b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{decode, token};
    use ship::Secret;

    #[test]
    fn a_token_says_when_it_ends_and_whose_it_is() {
        // {"alg":"none"}.{"sub":"alice","exp":1700000000}.
        let jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSIsImV4cCI6MTcwMDAwMDAwMH0.";
        let read = token(Secret::new(jwt.as_bytes().to_vec()), 5);
        assert_eq!((read.principal.as_str(), read.ends_ms), ("alice", 1_700_000_000_000));
        let opaque = token(Secret::new(b"opaque".to_vec()), 5);
        assert_eq!((opaque.principal.as_str(), opaque.ends_ms), ("purser", 300_005));
        assert_eq!(decode("-_8"), Some(vec![0xfb, 0xff]));
        assert_eq!(decode("a b"), None);
    }
}
