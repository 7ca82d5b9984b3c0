// SPDX-License-Identifier: Apache-2.0
//! Why an image could not be fetched or put. Never with a credential in it.

/// What went wrong, where, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// No reference, or one that cannot be used.
    #[error("{text:?} cannot be used as an image's name: {why}")]
    Reference {
        /// What was written.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// Certificates or credentials of this host that cannot be used.
    #[error("{doing}: {why}")]
    Setup {
        /// What was being done.
        doing: String,
        /// What is wrong.
        why: String,
    },
    /// A registry that cannot be reached, refuses, or lies.
    #[error("{place}: {why}")]
    Registry {
        /// Registry and repository.
        place: String,
        /// What happened.
        why: Why,
    },
}

/// What happened at a registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// There is no such thing.
    #[error("there is no {0}")]
    Absent(String),
    /// It does not let us.
    #[error("{0}")]
    Denied(String),
    /// What it says is not true, or not what a registry says.
    #[error("{0}")]
    Lie(String),
    /// It cannot be reached, breaks off, or is too busy.
    #[error("{0}")]
    Trouble(String),
    /// What was fetched cannot be put where it belongs.
    #[error("{0}")]
    Local(String),
}
