// SPDX-License-Identifier: Apache-2.0
//! Over all stores of the host: which images there are, which of them a word means, where a container is.

use crate::containerd::Kept;
use crate::reference::Reference;
use crate::tree::{Image, Tree};
use crate::{ImageError, Stores, containerd, docker, storage};
use std::fmt::Write as _;

/// The most candidates in an error.
const CANDIDATES_LIMIT: usize = 20;

/// All images, those of root's stores first. A store that cannot be read has none.
#[must_use]
pub fn images(stores: &Stores) -> Vec<Image> {
    let mut all = Vec::new();
    for root in &stores.docker {
        all.extend(docker::images(root));
    }
    for root in &stores.storage {
        all.extend(storage::images(root));
    }
    for root in &stores.containerd {
        all.extend(containerd::images(root));
    }
    // Sorting keeps the order of equal ones.
    all.sort_by_key(|image| stores.is_of_user(&image.store));
    all
}

/// The tree of the image that `word` means: `NAME[:TAG][@DIGEST]`, or the start of an id. Nothing is fetched. Errors name
/// only images that are `shown`; one that is not is found when it alone is meant.
///
/// # Errors
/// When no image or several are called so, or its files cannot be had.
pub fn find(stores: &Stores, word: &str, shown: &dyn Fn(&Image) -> bool) -> Result<Tree, ImageError> {
    let reference = Reference::parse(word).ok_or_else(|| ImageError::Reference { word: word.to_owned() })?;
    let mut all = images(stores);
    let mut found = reference.among(&all);
    all.retain(|image| shown(image));
    if found.iter().any(shown) {
        found.retain(|image| shown(image));
    } else {
        found.truncate(1);
    }
    match found.as_slice() {
        [one] => reference.asked_for(one).tree(),
        [] => Err(ImageError::Unknown { word: word.to_owned(), candidates: candidates(word, &all) }),
        several => {
            // What users have in their homes does not stand in the way of what the host has.
            let mut own = several.iter().filter(|image| !stores.is_of_user(&image.store));
            match (own.next(), own.next()) {
                (Some(one), None) => reference.asked_for(one).tree(),
                _ => Err(ImageError::Ambiguous { word: word.to_owned(), candidates: lines(several.iter()) }),
            }
        }
    }
}

/// Containers of which nothing but containerd's own database knows once they have ended, the newest of each store first.
/// Those of users are left out: only a process could show whose they are.
#[must_use]
pub fn kept(stores: &Stores) -> Vec<Kept> {
    let of_host = stores.containerd.iter().filter(|root| !stores.is_of_user(root));
    of_host.flat_map(|root| containerd::kept(root)).collect()
}

/// The tree of a container that need not run, by its whole id.
///
/// # Errors
/// When no store has it, or its files cannot be had.
pub fn stopped(stores: &Stores, id: &str) -> Result<Tree, ImageError> {
    if !crate::files::is_name(id) {
        return Err(ImageError::NoContainer { id: id.to_owned() });
    }
    for root in &stores.docker {
        if let Some(tree) = docker::stopped(stores, root, id)? {
            return Ok(tree);
        }
    }
    for root in &stores.storage {
        if let Some(tree) = storage::stopped(root, id)? {
            return Ok(tree);
        }
    }
    for root in &stores.containerd {
        if let Some(tree) = containerd::stopped(root, id)? {
            return Ok(tree);
        }
    }
    Err(ImageError::NoContainer { id: id.to_owned() })
}

/// What goes on from "no image is called so": those that look alike first.
fn candidates(word: &str, all: &[Image]) -> String {
    if all.is_empty() {
        return "; there are no images on this host (nothing is pulled: do that with the engine)".to_owned();
    }
    let name = word.split([':', '@']).next().unwrap_or_default();
    let is_alike = |image: &&Image| image.names.iter().any(|known| known.contains(name));
    let alike = all.iter().filter(is_alike);
    let others = all.iter().filter(|image| !is_alike(image) && !image.names.is_empty());
    let nameless = all.iter().filter(|image| !is_alike(image) && image.names.is_empty());
    format!("; these are here:{}", lines(alike.chain(others).chain(nameless)))
}

fn lines<'a>(images: impl Iterator<Item = &'a Image>) -> String {
    let mut text = String::new();
    let mut more = 0_usize;
    for (at, image) in images.enumerate() {
        if at < CANDIDATES_LIMIT {
            let name: String = image.names.join(" ").chars().take(200).collect();
            // A String takes everything.
            write!(text, "\n  {:<12} {} ({})", image.short_id(), name.escape_debug(), image.engine)
                .unwrap_or_default();
        } else {
            more += 1;
        }
    }
    if more > 0 {
        write!(text, "\n  and {more} more").unwrap_or_default();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{find, stopped};
    use crate::{ImageError, Stores};

    fn store(root: &std::path::Path, ids: &[(&str, &str)]) {
        let row = |(id, name): &(&str, &str)| format!(r#"{{"id":"{}","names":["{name}"]}}"#, id.repeat(64));
        let dir = root.join("overlay-images");
        std::fs::create_dir_all(&dir).unwrap();
        let rows = ids.iter().map(row).collect::<Vec<_>>().join(",");
        std::fs::write(dir.join("images.json"), format!("[{rows}]")).unwrap();
    }

    #[test]
    fn words_that_are_not_clear() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        store(one.path(), &[("1", "web:1"), ("2", "web:2"), ("3", r"db\u001b:1")]);
        store(two.path(), &[("4", "web:1")]);
        let mut stores =
            Stores { storage: vec![one.path().to_path_buf(), two.path().to_path_buf()], ..Stores::default() };
        let said = |stores: &Stores, word: &str| find(stores, word, &|_| true).unwrap_err().to_string();
        let unknown = said(&stores, "nope");
        assert!(
            unknown.contains(
                "no image on this host is called \"nope\"; these are here:\n  111111111111 web:1 (podman)"
            ),
            "{unknown}"
        );
        assert!(unknown.contains("db\\u{1b}:1"), "{unknown}");
        assert!(said(&stores, "web").contains("may be one of several"));
        assert!(said(&stores, "web:1").contains("444444444444"));
        // It is found, and has no configuration.
        assert!(matches!(find(&stores, "web:2", &|_| true), Err(ImageError::Damaged { .. })));
        stores.of_users.push(two.path().to_path_buf());
        assert!(matches!(find(&stores, "web:1", &|_| true), Err(ImageError::Damaged { .. })));
        assert!(matches!(find(&stores, "", &|_| true), Err(ImageError::Reference { .. })));
        assert!(said(&Stores::default(), "web").contains("no images on this host"));
        // Somebody who may not know of all.
        let some = |word: &str| {
            let shown = |image: &crate::Image| image.names.iter().all(|name| name != "web:2");
            find(&stores, word, &shown).unwrap_err().to_string()
        };
        assert!(!some("nope").contains("web:2") && some("nope").contains("web:1"), "{}", some("nope"));
        assert!(some("web:2").contains("there is no configuration"), "{}", some("web:2"));
        assert!(!some("web").contains("may be one of several"), "{}", some("web"));
        for id in ["none", "../x", ""] {
            assert!(matches!(stopped(&stores, id), Err(ImageError::NoContainer { .. })));
        }
    }
}
