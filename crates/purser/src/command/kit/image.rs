// SPDX-License-Identifier: Apache-2.0
//! Images of this host's engines as kits: their files, read from the engines' stores without an engine.

use super::super::say;
use super::progress::Progress;
use crate::table::harmless;
use anyhow::bail;
use image::Stores;
use kit::{Built, Name, Recipe, Whole};
use std::os::fd::AsFd;

/// Where programs are when an image does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
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
    let tree = image::find(&Stores::of_host(), word)?;
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

/// A kit by a recipe that names an image.
pub(super) fn by_recipe(recipe: &Recipe, word: &str) -> anyhow::Result<Built> {
    let files = files(word)?;
    Ok(kit::build_from_image(recipe, files.pool, &files.title)?)
}

/// A kit of all programs of an image. What is left out is told.
pub(super) fn whole(word: &str, name: Option<&str>, keep: &[String]) -> anyhow::Result<Built> {
    let name = Name::new(name.unwrap_or(called(word)))?;
    let files = files(word)?;
    let whole = Whole {
        name,
        version: tag(word).to_string(),
        summary: format!("all programs of the image {word}"),
        title: files.title,
        path: files.path,
        keep: keep.to_vec(),
    };
    let (built, skipped) = kit::build_whole(&whole, files.pool)?;
    for (at, why) in skipped.iter().take(TOLD_LIMIT) {
        say(&format!("purser: left out: {at}: {why}"));
    }
    if skipped.len() > TOLD_LIMIT {
        say(&format!("purser: and {} more", skipped.len() - TOLD_LIMIT));
    }
    Ok(built)
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
