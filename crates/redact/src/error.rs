// SPDX-License-Identifier: Apache-2.0
//! What can be wrong with a set of rules. Redacting itself never fails.

/// Why a set of rules cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// A name in [`crate::Rules::disable`] is no built-in rule.
    #[error("no built-in redaction rule is called {name:?}; did you mean {nearest:?}?")]
    UnknownRule {
        /// The name as written.
        name: String,
        /// The built-in name closest to it.
        nearest: &'static str,
    },
    /// The pattern of an extra rule is no regular expression, or is too large when compiled.
    #[error("redaction rule {name:?}: the pattern cannot be used: {source}")]
    Pattern {
        /// The name of the extra rule.
        name: String,
        /// What the regular expression compiler says.
        source: Box<regex::Error>,
    },
    /// The pattern of an extra rule matches the empty text, so it would match everywhere.
    #[error(
        "redaction rule {name:?}: the pattern also matches an empty text; make it match at least one byte"
    )]
    MatchesNothing {
        /// The name of the extra rule.
        name: String,
    },
    /// The extra rules are more than [`crate::EXTRA_LIMIT`].
    #[error("{count} extra redaction rules are too many; at most {limit} are allowed")]
    TooMany {
        /// How many were given.
        count: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// The built-in search table cannot be built, which is a defect of this program.
    #[error("the built-in redaction table cannot be built: {0}")]
    Table(#[from] aho_corasick::BuildError),
}
