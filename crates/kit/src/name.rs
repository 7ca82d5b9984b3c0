// SPDX-License-Identifier: Apache-2.0
//! Names of kits. They stand in paths, links and scripts, so little is allowed in them.

use crate::error::KitError;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where kits are mounted, one directory each.
pub const PREFIX: &str = "/dev/.purser";

/// Longest name.
const NAME_LIMIT: usize = 32;

/// The name of a kit: lower case letters, digits and `-`, a letter first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// A name from what was written.
    ///
    /// # Errors
    /// When it is no name.
    pub fn new(text: &str) -> Result<Name, KitError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        // A directory of the shelf may be called by its digest.
        let reserved = text.starts_with("sha256-");
        if first && text.len() <= NAME_LIMIT && text.bytes().all(plain) && !reserved {
            Ok(Name(text.to_string()))
        } else {
            Err(KitError::Name { name: text.to_string() })
        }
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path at which the kit is mounted and for which its programs are made.
    #[must_use]
    pub fn prefix(&self) -> String {
        format!("{PREFIX}/{}", self.0)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = KitError;

    fn try_from(text: String) -> Result<Name, KitError> {
        Name::new(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::Name;

    #[test]
    fn names() {
        for right in ["base", "x", "my-tools-2"] {
            assert_eq!(Name::new(right).unwrap().prefix(), format!("/dev/.purser/{right}"));
        }
        for wrong in ["", ".", "..", "a/b", "A", "1x", "-x", "a b", "sha256-00", &"x".repeat(33), "a\n"] {
            assert!(Name::new(wrong).is_err(), "{wrong:?}");
        }
    }
}
