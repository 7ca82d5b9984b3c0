// SPDX-License-Identifier: Apache-2.0
//! Images of this host's engines as kits: their files, read from the engines' stores without an engine.

use super::super::say;
use super::progress::Progress;
use crate::table::harmless;
use anyhow::bail;
use image::Stores;
use kit::{Built, Name, Recipe, Shelf, Skipped, Whole};
use std::os::fd::AsFd;
use std::path::Path;

/// Where programs are when an image does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What the kits that images have by themselves are called, before so much of the image's id.
const IMAGE: &str = "image";
const ID_LENGTH: usize = 12;
/// Most that is told of what was left out.
const TOLD_LIMIT: usize = 20;

/// An image's files, and what is known of it.
struct Files {
    pool: kit::Tree,
    /// For the manifest: the same on every host that has the image.
    title: String,
    path: Vec<String>,
}

fn files(word: &str) -> anyhow::Result<Files> {
    let tree = image::find(&Stores::of_host(), word, &|_| true)?;
    let (here, there) = (super::fetch::architecture(), tree.config.architecture.as_str());
    if !there.is_empty() && there != here {
        bail!("the image {word} is for {}, and this host is {here}", harmless(there));
    }
    let progress = Progress::new("reading", 1);
    progress.note(word);
    let view = tree.view()?;
    let layers: Vec<_> = view.layers().iter().rev().map(AsFd::as_fd).collect();
    let pool = kit::layers(&layers, word)?;
    let path = tree.config.environment.iter().find_map(|one| one.strip_prefix("PATH=")).unwrap_or(PATH);
    let path = path.split(':').filter(|at| at.starts_with('/')).map(str::to_string).collect();
    Ok(Files { pool, title: format!("image sha256:{}", tree.id.trim_start_matches("sha256:")), path })
}

/// The kit of all programs of an image of this host, made where there is none of this very image yet, and the name that
/// it has on the shelf.
pub(in crate::command) fn of_image(shelf: &Path, word: &str) -> anyhow::Result<String> {
    let tree = image::find(&Stores::of_host(), word, &|_| true)?;
    let id = tree.id.trim_start_matches("sha256:");
    let name = Name::new(&format!("{IMAGE}-{}", id.get(..ID_LENGTH).unwrap_or(id)))?;
    let shelf = Shelf::new(shelf);
    if shelf.find(&name).is_err() {
        let (built, _) = programs(word, name.clone(), &[])?;
        shelf.put(&built)?;
    }
    Ok(name.to_string())
}

/// A kit by a recipe that names an image.
pub(super) fn by_recipe(recipe: &Recipe, word: &str) -> anyhow::Result<Built> {
    let files = files(word)?;
    Ok(kit::build_from_image(recipe, files.pool, &files.title)?)
}

/// A kit of all programs of an image. What is left out is told.
pub(super) fn whole(word: &str, name: Option<&str>, keep: &[String]) -> anyhow::Result<Built> {
    let (built, skipped) = programs(word, Name::new(name.unwrap_or(called(word)))?, keep)?;
    for (at, why) in skipped.iter().take(TOLD_LIMIT) {
        say(&format!("purser: left out: {at}: {why}"));
    }
    if skipped.len() > TOLD_LIMIT {
        say(&format!("purser: and {} more", skipped.len() - TOLD_LIMIT));
    }
    Ok(built)
}

/// All programs of an image, and what is left out of them.
fn programs(word: &str, name: Name, keep: &[String]) -> anyhow::Result<(Built, Vec<Skipped>)> {
    let files = files(word)?;
    let whole = Whole {
        name,
        version: tag(word).to_string(),
        summary: format!("all programs of the image {word}"),
        title: files.title,
        path: files.path,
        keep: keep.to_vec(),
    };
    Ok(kit::build_whole(&whole, files.pool)?)
}

/// The last part of an image's name.
fn called(word: &str) -> &str {
    let last = word.rsplit('/').next().unwrap_or_default();
    last.split([':', '@']).next().unwrap_or_default()
}

fn tag(word: &str) -> &str {
    let last = word.split('@').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    last.split_once(':').map_or("latest", |(_, tag)| tag)
}

#[cfg(test)]
mod tests {
    use super::{called, tag};

    #[test]
    fn names_of_kits_from_names_of_images() {
        for (word, name, version) in [
            ("nicolaka/netshoot:latest", "netshoot", "latest"),
            ("r.example:5000/a/tools@sha256:00", "tools", "latest"),
            ("alpine:3.20", "alpine", "3.20"),
        ] {
            assert_eq!((called(word), tag(word)), (name, version));
        }
    }
}
