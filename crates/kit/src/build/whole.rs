// SPDX-License-Identifier: Apache-2.0
//! A kit of all programs in an image's `PATH`. What cannot be moved to the kit's prefix is left out and told.

use super::{Built, Picker, musl_paths};
use crate::error::KitError;
use crate::glob;
use crate::manifest::ITEMS_LIMIT;
use crate::name::Name;
use crate::recipe::Recipe;
use crate::tree::{Node, Tree};
use std::collections::{BTreeMap, BTreeSet};

/// Taken beside the programs, where an image has them: what C libraries and programs open by themselves.
const USUAL: [&str; 7] = [
    "**/libnss_files.so.*",
    "**/libnss_dns.so.*",
    "usr/share/terminfo/**",
    "etc/ssl/certs/ca-certificates.crt",
    "etc/ssl/cert.pem",
    "usr/lib/python3*/**",
    "usr/local/lib/python3*/**",
];
/// Variables for what is found at a path.
const VARIABLES: [(&str, &str); 3] = [
    ("TERMINFO", "usr/share/terminfo"),
    ("SSL_CERT_FILE", "etc/ssl/cert.pem"),
    ("SSL_CERT_FILE", "etc/ssl/certs/ca-certificates.crt"),
];

/// What an image is called, and what is wanted of it.
#[derive(Clone, Debug)]
pub struct Whole {
    /// The kit's name.
    pub name: Name,
    /// The kit's version.
    pub version: String,
    /// What it is, in one line.
    pub summary: String,
    /// What it is made of, for the manifest.
    pub title: String,
    /// The directories of the image's `PATH`, in their order.
    pub path: Vec<String>,
    /// Patterns of more files to take.
    pub keep: Vec<String>,
}

/// What was left out, and why.
pub type Skipped = (String, String);

/// Makes a kit of all programs of a tree.
///
/// # Errors
/// When there is none that can be moved.
pub fn build_whole(whole: &Whole, pool: Tree) -> Result<(Built, Vec<Skipped>), KitError> {
    let recipe = Recipe::bare(&whole.name, &whole.version, &whole.summary);
    let mut picker = Picker::new(&recipe, &pool);
    picker.more = super::library_places(&pool);
    picker.strict = true;
    let mut skipped = BTreeMap::new();
    let (mut commands, mut path) = (BTreeMap::new(), Vec::new());
    for directory in whole.path.iter().filter_map(|at| pool.resolve(at.trim_start_matches('/'))) {
        if path.contains(&directory) {
            continue;
        }
        for at in programs(&pool, &directory) {
            let name = at.rsplit('/').next().unwrap_or_default().to_string();
            match picker.lenient(&at) {
                Ok(()) => {
                    commands.entry(name).or_insert(at);
                }
                Err(why) => {
                    skipped.insert(at, why);
                }
            }
        }
        path.push(directory);
    }
    let fits = |at: &str| {
        USUAL
            .iter()
            .copied()
            .chain(whole.keep.iter().map(String::as_str))
            .any(|pattern| glob::fits(pattern, at))
    };
    for (at, _) in pool.iter().filter(|(at, _)| fits(at) && pool.resolve(at).is_some()) {
        if let Err(why) = picker.lenient(at) {
            skipped.insert(at.to_string(), why);
        }
    }
    let (mut tree, more) = (picker.tree, picker.more);
    musl_paths(&mut tree, &recipe, &more);
    // A link to what was left out leads nowhere.
    let lost: Vec<String> =
        tree.iter().map(|(at, _)| at).filter(|at| tree.resolve(at).is_none()).map(str::to_string).collect();
    lost.iter().for_each(|at| tree.remove(at));
    commands.retain(|_, at| tree.get(at).is_some());
    path.retain(|directory| commands.values().any(|at| at.starts_with(&format!("{directory}/"))));
    if commands.is_empty() {
        let first = skipped.iter().next().map_or(String::new(), |(at, why)| format!("; {at}: {why}"));
        let why = format!("no program in {} can be moved{first}", whole.path.join(":"));
        return Err(KitError::Image { image: whole.title.clone(), why });
    }
    let mut manifest = recipe.manifest(vec![whole.title.clone()]);
    manifest.path = path;
    let there = VARIABLES.iter().filter(|(_, at)| tree.resolve(at).is_some());
    manifest.environment = there.map(|(name, at)| ((*name).to_string(), format!("@/{at}"))).collect();
    // Whoever has more is known by its directories only.
    manifest.commands = if commands.len() > ITEMS_LIMIT { BTreeMap::new() } else { commands };
    Ok((Built { manifest, tree }, skipped.into_iter().collect()))
}

/// What lies in a directory and can be executed, links followed.
fn programs(pool: &Tree, directory: &str) -> BTreeSet<String> {
    let within = format!("{directory}/");
    let is_program = |at: &str| {
        let real = pool.resolve(at).unwrap_or_default();
        matches!(pool.get(&real), Some(Node::File { executable: true, .. }))
    };
    let below = pool
        .iter()
        .map(|(at, _)| at)
        .filter(|at| at.strip_prefix(&within).is_some_and(|name| !name.contains('/')) && is_program(at));
    below.map(str::to_string).collect()
}

impl Picker<'_> {
    /// Takes one thing and all it needs, or tells why it cannot.
    fn lenient(&mut self, at: &str) -> Result<(), String> {
        self.left = vec![at.to_string()];
        self.pick().map_err(|error| {
            self.left.clear();
            let real = self.pool.resolve(at).unwrap_or_default();
            self.tree.remove(&real);
            let why = match error {
                KitError::Build { at: culprit, why, .. } if culprit == real => why,
                KitError::Build { at: culprit, why, .. } => {
                    self.failed.insert(culprit.clone());
                    format!("{culprit} {why}")
                }
                error => error.to_string(),
            };
            self.failed.insert(real);
            why
        })
    }
}
