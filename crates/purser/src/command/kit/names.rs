// SPDX-License-Identifier: Apache-2.0
//! What a shell offers in the place of a kit or a recipe.

use super::Kits;
use crate::command::completions::or_paths;
use clap_complete::CompletionCandidate;
use kit::{Recipe, SHIPPED};
use std::ffi::OsStr;

/// The kits of this host.
pub(super) fn shelved() -> Vec<CompletionCandidate> {
    let shelf = Kits { kits: None }.shelf();
    let listed = shelf.and_then(|shelf| Ok(shelf.list()?)).unwrap_or_default();
    listed
        .into_iter()
        .map(|(name, kit)| {
            let summary = kit.ok().map(|kit| kit.manifest.summary.into());
            CompletionCandidate::new(name.as_str()).help(summary)
        })
        .collect()
}

/// The recipes that purser has, as kits of a registry are called, too.
pub(super) fn shipped() -> Vec<CompletionCandidate> {
    let known = SHIPPED.iter();
    known
        .map(|(name, _)| {
            let summary = Recipe::shipped(name).and_then(Result::ok).map(|recipe| recipe.summary.into());
            CompletionCandidate::new(*name).help(summary)
        })
        .collect()
}

/// A kit of this host, or a path.
pub(in crate::command) fn shelved_or_path(begun: &OsStr) -> Vec<CompletionCandidate> {
    or_paths(begun, shelved)
}

/// A recipe, or a path.
pub(super) fn shipped_or_path(begun: &OsStr) -> Vec<CompletionCandidate> {
    or_paths(begun, shipped)
}
