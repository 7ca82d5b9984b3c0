// SPDX-License-Identifier: Apache-2.0
//! Globs for names: `*` stands for any text, `?` for one character, all else for itself.
//!
//! There are no escapes and no special meaning of `/`: container names and cgroup paths need none.
//! Sets such as `[ab]` and `{a,b}` are refused rather than taken for plain text, which would match
//! nothing and say nothing. Matching never takes longer than text length times pattern length.

use serde::{Deserialize, Serialize};

/// Longest pattern, in bytes.
pub const GLOB_LIMIT: usize = 256;

/// A pattern of at most [`GLOB_LIMIT`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Glob(String);

impl Glob {
    /// A glob from what was written.
    ///
    /// # Errors
    /// When the pattern is empty, longer than [`GLOB_LIMIT`], or has a bracket or brace.
    pub fn new(pattern: &str) -> Result<Glob, String> {
        if pattern.is_empty() {
            return Err("a glob must not be empty; write * for everything".to_string());
        }
        if pattern.len() > GLOB_LIMIT {
            return Err(format!("a glob of {} bytes is too long; at most {GLOB_LIMIT}", pattern.len()));
        }
        if let Some((place, found)) = pattern.chars().enumerate().find(|(_, one)| "[]{}".contains(*one)) {
            return Err(format!(
                "{pattern:?} is no glob: {found:?} at character {} has no meaning here; \
                 write * for any text or ? for one character",
                place + 1
            ));
        }
        Ok(Glob(pattern.to_string()))
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern is plain text without `*` and `?`.
    pub fn is_literal(&self) -> bool {
        !self.0.contains(['*', '?'])
    }

    /// Whether the whole of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        let (mut pattern, mut rest) = (self.0.as_str(), text);
        // Where to go on when what follows the latest `*` does not fit: the pattern behind
        // that star, and the text one character further than last time.
        let mut retry: Option<(&str, &str)> = None;
        loop {
            let wanted = pattern.chars().next();
            let found = rest.chars().next();
            match (wanted, found) {
                (Some('*'), _) => {
                    pattern = &pattern[1..];
                    retry = Some((pattern, rest));
                }
                (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
                    pattern = &pattern[wanted.len_utf8()..];
                    rest = &rest[found.len_utf8()..];
                }
                (None, None) => return true,
                _ => {
                    let Some((behind, from)) = retry else { return false };
                    let Some(skipped) = from.chars().next() else { return false };
                    (pattern, rest) = (behind, &from[skipped.len_utf8()..]);
                    retry = Some((pattern, rest));
                }
            }
        }
    }
}

impl TryFrom<String> for Glob {
    type Error = String;

    fn try_from(pattern: String) -> Result<Glob, String> {
        Glob::new(&pattern)
    }
}

impl From<Glob> for String {
    fn from(glob: Glob) -> String {
        glob.0
    }
}

#[cfg(test)]
mod tests {
    use super::Glob;

    fn matches(pattern: &str, text: &str) -> bool {
        Glob::new(pattern).unwrap().matches(text)
    }

    #[test]
    fn stars_and_marks() {
        assert!(matches("*", ""));
        assert!(matches("*", "web-1"));
        assert!(matches("web-*", "web-"));
        assert!(matches("web-?", "web-1"));
        assert!(!matches("web-?", "web-12"));
        assert!(!matches("web-?", "web-"));
        assert!(matches("*a*b", "xxaxxbxxb"));
        assert!(!matches("*a*b", "xxaxxbxxc"));
        assert!(matches("a**b", "ab"));
        assert!(matches("?", "é"));
        assert!(matches("/kube*/pod?", "/kubepods/burstable/podé"));
        assert!(!matches("demo", "demo-1"));
    }

    #[test]
    fn a_hostile_pattern_ends_soon() {
        let pattern = "a*".repeat(100);
        assert!(!matches(&(pattern + "b"), &"a".repeat(10_000)));
    }

    #[test]
    fn refuses_nothing_and_too_much() {
        assert!(Glob::new("").is_err());
        for (broken, place) in [("[", 1), ("web-[12]", 5), ("é{a,b}", 2), ("a]", 2)] {
            let error = Glob::new(broken).unwrap_err();
            assert!(error.contains(&format!("at character {place} ")), "{broken}: {error}");
        }
        assert!(Glob::new(&"x".repeat(257)).is_err());
        assert!(Glob::new(&"x".repeat(256)).is_ok());
    }
}
