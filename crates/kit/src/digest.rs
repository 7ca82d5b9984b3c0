// SPDX-License-Identifier: Apache-2.0
//! SHA-256 digests, as OCI writes them, and a writer that makes them on the way.

use crate::error::KitError;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::io::{self, Read, Write};

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    /// From `sha256:` and 64 lower case hexadecimal digits.
    ///
    /// # Errors
    /// When it is something else.
    pub fn new(text: &str) -> Result<Digest, KitError> {
        let wrong = || KitError::Digest { text: text.to_string() };
        text.strip_prefix("sha256:").and_then(Digest::from_hex).ok_or_else(wrong)
    }

    /// From 64 lower case hexadecimal digits.
    pub(crate) fn from_hex(hex: &str) -> Option<Digest> {
        let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if hex.len() != 64 || !hex.bytes().all(lower) {
            return None;
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(hex.get(at * 2..at * 2 + 2)?, 16).ok()?;
        }
        Some(Digest(bytes))
    }

    /// The 64 digits.
    #[must_use]
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl TryFrom<String> for Digest {
    type Error = KitError;

    fn try_from(text: String) -> Result<Digest, KitError> {
        Digest::new(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

/// Passes bytes on and digests them.
pub(crate) struct Digesting<T> {
    inner: T,
    state: Sha256,
}

impl<T> Digesting<T> {
    pub(crate) fn new(inner: T) -> Digesting<T> {
        Digesting { inner, state: Sha256::new() }
    }

    /// Whom it was passed to, or came from, and the digest of all of it.
    pub(crate) fn finish(self) -> (T, Digest) {
        (self.inner, Digest(self.state.finalize().into()))
    }
}

impl<T: Read> Read for Digesting<T> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        self.state.update(into.get(..count).unwrap_or_default());
        Ok(count)
    }
}

impl<T: Write> Write for Digesting<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.state.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::Digest;

    #[test]
    fn digests_as_text() {
        let text = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(b"abc").to_string(), text);
        assert_eq!(Digest::new(text).unwrap(), Digest::of(b"abc"));
        for wrong in ["", "sha256:", &text.to_uppercase(), &text[..70], "sha512:00", &format!("{text}0")] {
            assert!(Digest::new(wrong).is_err(), "{wrong}");
        }
    }
}
