// SPDX-License-Identifier: Apache-2.0
//! Names of images: `NAME[:TAG][@DIGEST]`, or an id. Engines write the same name in several ways; here they are
//! compared in their shortest form.

use crate::files::{digits, is_hex};
use crate::tree::Image;

/// The longest word taken for a name.
const WORD_LIMIT: usize = 1024;

/// What a word may mean.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    name: String,
    tag: Option<String>,
    digest: Option<String>,
    /// The word as the start of an id.
    id: Option<String>,
}

impl Reference {
    pub(crate) fn parse(word: &str) -> Option<Reference> {
        let is_odd = |byte: u8| byte.is_ascii_control() || byte == b' ' || !byte.is_ascii();
        if word.is_empty() || word.len() > WORD_LIMIT || word.bytes().any(is_odd) {
            return None;
        }
        let (named, digest) = match word.split_once('@') {
            Some((named, digest)) => (named, Some(digits(digest)?.to_owned())),
            None => (word, None),
        };
        let (name, tag) = parted(named);
        let hex = word.strip_prefix("sha256:").unwrap_or(word);
        let is_start = hex.len() <= 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        if name.is_empty() && digest.is_none() {
            return None;
        }
        Some(Reference {
            name: short(name).to_owned(),
            tag: tag.map(str::to_owned),
            digest,
            id: is_start.then(|| hex.to_ascii_lowercase()),
        })
    }

    /// Those of the images that are meant: by name and tag, by name alone when it has one tag, else by id.
    pub(crate) fn among(&self, images: &[Image]) -> Vec<Image> {
        let named = |tag: Option<&str>| {
            once(images.iter().filter(|image| {
                self.fits_digest(image) && image.names.iter().any(|name| self.fits(name, tag))
            }))
        };
        let found = match (&self.tag, &self.digest) {
            // Behind a digest a tag says nothing more.
            (_, Some(_)) if self.name.is_empty() => {
                once(images.iter().filter(|image| self.fits_digest(image)))
            }
            (_, Some(_)) => named(None),
            (Some(tag), None) => named(Some(tag)),
            (None, None) => {
                let latest = named(Some("latest"));
                if latest.is_empty() { named(None) } else { latest }
            }
        };
        match &self.id {
            Some(id) if found.is_empty() => once(images.iter().filter(|image| {
                let digests = image.digests.iter().filter_map(|digest| digits(digest));
                image.id.starts_with(id) || digests.clone().any(|digest| digest.starts_with(id.as_str()))
            })),
            _ => found,
        }
    }

    /// The image with the name that it was asked for by as its first.
    pub(crate) fn asked_for(&self, image: &Image) -> Image {
        let mut image = image.clone();
        let tags = [Some(self.tag.as_deref().unwrap_or("latest")), None];
        let fits = |tag: &Option<&str>| image.names.iter().position(|name| self.fits(name, *tag));
        if let Some(at) = tags.iter().find_map(fits) {
            image.names.swap(0, at);
        }
        image
    }

    fn fits(&self, name: &str, tag: Option<&str>) -> bool {
        let (name, its_tag) = parted(name.split('@').next().unwrap_or_default());
        short(name) == self.name && tag.is_none_or(|tag| its_tag.unwrap_or("latest") == tag)
    }

    fn fits_digest(&self, image: &Image) -> bool {
        self.digest.as_ref().is_none_or(|digest| {
            image.id == *digest || image.digests.iter().any(|known| digits(known) == Some(digest))
        })
    }
}

/// Each image once, the one of the first store.
fn once<'a>(images: impl Iterator<Item = &'a Image>) -> Vec<Image> {
    let mut found: Vec<Image> = Vec::new();
    for image in images {
        if !found.iter().any(|known| known.id == image.id) {
            found.push(image.clone());
        }
    }
    found
}

/// Name and tag. A colon before a slash belongs to a port.
fn parted(named: &str) -> (&str, Option<&str>) {
    match named.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (named, None),
    }
}

/// Without what engines put before a name that had no registry.
fn short(name: &str) -> &str {
    let plain = ["docker.io/library/", "index.docker.io/library/", "docker.io/", "localhost/"];
    plain.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name)
}

/// `sha256:` before what is a digest's digits.
pub(crate) fn with_algorithm(hex: &str) -> Option<String> {
    is_hex(hex).then(|| format!("sha256:{hex}"))
}

#[cfg(test)]
mod tests {
    use super::Reference;
    use crate::stores::Engine;
    use crate::tree::Image;

    fn image(id: char, names: &[&str], engine: Engine) -> Image {
        Image {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            id: id.to_string().repeat(64),
            digests: vec![format!("sha256:{}", format!("{id}f").repeat(32))],
            engine,
            store: "/s".into(),
            part: String::new(),
        }
    }

    fn asked(word: &str) -> String {
        let images = [
            image('1', &["nginx:latest", "nginx:1.2"], Engine::Docker),
            image('2', &["docker.io/library/nginx:1.1"], Engine::Storage),
            image('3', &["registry:5000/team/app:7"], Engine::Docker),
            image('4', &["localhost/own:1", "localhost/own:2"], Engine::Storage),
            image('4', &["docker.io/library/own:1"], Engine::Containerd),
            image('5', &[], Engine::Docker),
            image('6', &["abc:1"], Engine::Docker),
            image('7', &["abc:2"], Engine::Docker),
        ];
        Reference::parse(word).unwrap().among(&images).iter().map(|image| &image.id[..1]).collect()
    }

    #[test]
    fn words() {
        for (word, found) in [
            ("nginx", "1"),
            ("nginx:1.1", "2"),
            ("docker.io/library/nginx:1.2", "1"),
            ("nginx:3", ""),
            ("registry:5000/team/app", "3"),
            ("registry:5000/team/app:7", "3"),
            ("team/app", ""),
            ("own", "4"),
            ("abc", "67"),
            ("5555", "5"),
            ("sha256:5555", "5"),
            ("5f5f", "5"),
            ("55556", ""),
        ] {
            assert_eq!(asked(word), found, "{word}");
        }
        let digest = format!("sha256:{}", "1f".repeat(32));
        assert_eq!(asked(&format!("nginx@{digest}")), "1");
        assert_eq!(asked(&format!("nginx:any@{digest}")), "1");
        assert_eq!(asked(&format!("@{digest}")), "1");
        assert_eq!(asked(&format!("own@{digest}")), "");
    }

    #[test]
    fn the_name_that_was_asked_for() {
        let names = ["prod/app:1", "dev/app:2", "dev/app:latest"];
        for (word, title) in [
            ("dev/app:2", "dev/app:2"),
            ("dev/app", "dev/app:latest"),
            ("prod/app", "prod/app:1"),
            ("1111", "prod/app:1"),
        ] {
            let image = image('1', &names, Engine::Docker);
            assert_eq!(Reference::parse(word).unwrap().asked_for(&image).title(), title, "{word}");
        }
    }

    #[test]
    fn no_names() {
        for word in ["", " ", "a b", ":x", "a@sha256:0", "a@md5:0", "a\n", "\u{e4}"] {
            assert!(Reference::parse(word).is_none(), "{word:?}");
        }
    }
}
