// SPDX-License-Identifier: Apache-2.0
//! One kit from a registry onto the shelf: found by its name or its whole reference, compared with all that is said
//! about it, and there as a whole or not at all.

use super::super::{Usage, say};
use super::progress::Progress;
use super::{login, pins, trusted};
use crate::agent::hide;
use crate::config::Debug;
use anyhow::{Context, anyhow, bail};
use kit::{Digest, Gathering, Name, Packed, Shelf, Shelved, Wanted};
use registry::{Host, Image, Logins, Reference, RegistryError, Repository, Settings, Why};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

/// Longest configuration of an image.
const CONFIG_LIMIT: u64 = 1 << 20;

/// What is to be fetched.
#[derive(Debug)]
pub(super) struct Wish {
    /// Where it may be, the first one first.
    pub(super) places: Vec<Reference>,
    /// What it must be called, when it was asked for by name.
    pub(super) name: Option<Name>,
}

/// How it came to be there.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) kit: Shelved,
    /// Whether it was there before.
    pub(crate) known: bool,
}

/// Fetches a kit by its name, `NAME:TAG`, or a whole reference. With `digests`, only one of these is taken.
pub(crate) fn fetch(debug: &Debug, word: &str, digests: &[Digest]) -> anyhow::Result<Fetched> {
    let wish = wish(debug, word)?;
    let mut failed = None;
    for place in &wish.places {
        if let Some(error) = failed.take() {
            say(&format!("purser: {error:#}; trying {}", place.registry));
        }
        match from(debug, place, &wish, digests) {
            Ok(fetched) => return Ok(fetched),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or_else(|| anyhow!("there is no place to fetch {word} from")))
}

/// What a word means: a whole reference, or a name in the registry of the configuration and its mirrors.
pub(super) fn wish(debug: &Debug, word: &str) -> anyhow::Result<Wish> {
    if word.contains('/') {
        let reference = Reference::parse(word).map_err(|error| Usage(error.to_string()))?;
        return Ok(Wish { places: vec![reference], name: None });
    }
    let name = word.split([':', '@']).next().unwrap_or_default();
    let name = Name::new(name).map_err(|error| Usage(error.to_string()))?;
    if debug.registry.is_empty() && debug.mirrors.is_empty() {
        bail!(Usage(format!(
            "{word:?} names no registry, and there is none that is meant without a name; write REGISTRY/PATH/{word}, \
             or registry = \"REGISTRY/PATH\" below [debug] of the configuration"
        )));
    }
    let registry = Some(&debug.registry).filter(|registry| !registry.is_empty());
    let places = debug.mirrors.iter().chain(registry).map(|base| Reference::parse(&format!("{base}/{word}")));
    let places = places.collect::<Result<_, _>>().map_err(|error| Usage(error.to_string()))?;
    Ok(Wish { places, name: Some(name) })
}

/// Speaks to the registry of a reference.
pub(super) fn with_registry<T>(
    debug: &Debug,
    reference: &Reference,
    act: impl FnOnce(&mut Repository<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    // Passwords and tokens are in this process from now on.
    hide()?;
    let login = |reference: &Reference| {
        Logins::read(&login::files())?.find(&reference.registry, &reference.repository, &login::helper)
    };
    let insecure = debug.insecure.iter().map(|host| Host::parse(host)).collect::<Result<_, _>>()?;
    let settings = Settings {
        ca: debug.ca.clone(),
        insecure,
        patience: Duration::from_secs(debug.timeout_secs.into()),
        login: &login,
        note: &|note| say(&format!("purser: {note}")),
    };
    let mut repository = Repository::open(&settings, reference)?;
    act(&mut repository)
}

fn from(debug: &Debug, reference: &Reference, wish: &Wish, digests: &[Digest]) -> anyhow::Result<Fetched> {
    let shelf = Shelf::new(&debug.kits);
    let (trust, pins) = (trusted(debug)?, pins(debug));
    let wanted = Wanted { digests, pins: Some(&pins), name: wish.name.as_ref(), trust: &trust };
    with_registry(debug, reference, |repository| {
        let image = repository.image(reference.wanted(), architecture())?;
        let config = repository.document(&image.config, CONFIG_LIMIT)?;
        let [_] = &image.layers[..] else {
            bail!(
                "{reference} is an image of {} layers and no kit; what is in an image of the local engine becomes one \
                 with: purser kit import --image",
                image.layers.len()
            );
        };
        if let Some(kit) = kit::kit_digest(&config).and_then(|digest| known(&shelf, &digest, &wanted)) {
            return Ok(Fetched { kit, known: true });
        }
        let signatures = signatures(repository, &image, !trust.is_empty())?;
        let archive = gathered(repository, reference, &image, &config, signatures.as_deref(), &debug.kits)?;
        let progress = Progress::new("unpacking", archive.kits().iter().map(|kit| kit.packed).sum());
        let taken = archive.import(&shelf, &wanted, &|bytes| progress.add(bytes))?;
        let kit = taken.into_iter().next().context("it holds no kit")?;
        Ok(Fetched { kit, known: false })
    })
}

/// As registries call this processor.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The kit of this digest, when it is on the shelf, whole, and all that is wanted.
fn known(shelf: &Shelf, digest: &Digest, wanted: &Wanted<'_>) -> Option<Shelved> {
    let kits = shelf.list().ok()?;
    let kit = kits.into_iter().find_map(|(_, kit)| kit.ok().filter(|kit| kit.digest == *digest))?;
    let name = &kit.manifest.name;
    let signatures = shelf.signatures(digest).ok()?;
    let signed = |key| signatures.iter().any(|one| one.is_good(digest, key));
    let right = (wanted.digests.is_empty() || wanted.digests.contains(digest))
        && wanted.pins?.get(name).is_none_or(|pin| pin == digest)
        && wanted.name.is_none_or(|wanted| wanted == name)
        && (wanted.trust.is_empty() || wanted.trust.iter().any(signed));
    (right && shelf.verify(name).is_ok()).then_some(kit)
}

/// Who vouches for the kit, as the registry has it beside the image. Only whoever needs that minds its absence.
fn signatures(
    repository: &mut Repository<'_>,
    image: &Image,
    needed: bool,
) -> anyhow::Result<Option<String>> {
    let tag = Packed::signature_tag(&Digest::new(image.descriptor.digest.as_str())?);
    match repository.image(&tag, architecture()) {
        Ok(beside) => Ok(Packed::signed(&beside.annotations).map(str::to_string)),
        Err(RegistryError::Registry { why: Why::Absent(_), .. }) => Ok(None),
        Err(_) if !needed => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The image as an archive in a file that has no name, so that nothing of it stays.
fn gathered(
    repository: &mut Repository<'_>,
    reference: &Reference,
    image: &Image,
    config: &[u8],
    signatures: Option<&str>,
    directory: &Path,
) -> anyhow::Result<kit::Archive> {
    let file = nameless(directory).with_context(|| format!("making a file in {}", directory.display()))?;
    let mut gathering = Gathering::new(file, Path::new(&reference.to_string()))?;
    let progress = Progress::new("fetching", image.layers.iter().map(|layer| layer.size).sum());
    for layer in &image.layers {
        gathering.blob::<anyhow::Error>(layer.digest.as_str(), layer.size, |out| {
            Ok(repository.blob(layer, out, &|bytes| progress.add(bytes))?)
        })?;
    }
    drop(progress);
    gathering.blob::<anyhow::Error>(image.config.digest.as_str(), image.config.size, |out| {
        Ok(out.write_all(config)?)
    })?;
    let title = reference.repository.rsplit('/').next().unwrap_or_default();
    gathering.image(&image.descriptor.media_type, &image.bytes, title, signatures)?;
    Ok(gathering.finish()?)
}

fn nameless(directory: &Path) -> io::Result<File> {
    fs::create_dir_all(directory)?;
    let path = directory.join(format!(".fetching-{}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::wish;
    use crate::config::Debug;

    #[test]
    fn what_a_word_means() {
        let mut debug = Debug::default();
        let told = |debug: &Debug, word: &str| match wish(debug, word) {
            Ok(wish) => {
                let places = wish.places.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
                format!("{places} {:?}", wish.name.map(|name| name.to_string()))
            }
            Err(error) => error.to_string(),
        };
        // There is no registry that is meant when none is named, and no docker.io.
        for word in ["gdb", "gdb:18"] {
            assert!(told(&debug, word).contains("names no registry"), "{word}");
        }
        assert!(told(&debug, "library/gdb").contains("names no registry"));
        assert_eq!(told(&debug, "r.example/kits/gdb:18"), "r.example/kits/gdb:18 None");
        debug.registry = "r.example:5000/kits".to_string();
        debug.mirrors = vec!["m.example".to_string()];
        assert_eq!(told(&debug, "gdb:18"), "m.example/gdb:18 r.example:5000/kits/gdb:18 Some(\"gdb\")");
        assert!(told(&debug, "Gdb").contains("no name for a kit"));
        assert!(
            told(&debug, "gdb:a/b").contains("names no registry") || told(&debug, "gdb:a/b").contains("HOST")
        );
    }
}
