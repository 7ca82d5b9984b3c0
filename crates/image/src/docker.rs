// SPDX-License-Identifier: Apache-2.0
//! Docker's own store, as of Docker 1.10: `image/DRIVER` has the images, `DRIVER` the layers, `containers` the
//! containers.
//!
//! A layer is found by its chain id, the digest over the digests of all layers below; `layerdb` has its directory.

use crate::config::{Config, Document, Run, volume};
use crate::files::{DOCUMENT_LIMIT, Place, TABLE_LIMIT, digits, is_name};
use crate::stores::Engine;
use crate::tree::{Image, LAYERS_LIMIT, Tree};
use crate::{ImageError, Stores, containerd};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Storage drivers that keep layers as directories to be laid over each other.
const OVERLAYS: [&str; 2] = ["overlay2", "fuse-overlayfs"];
/// The one that keeps each layer with all below it.
const WHOLE: &str = "vfs";
/// Docker's namespace where containerd keeps its images.
const NAMESPACE: &str = "moby";

#[derive(Debug, Deserialize)]
struct Repositories {
    #[serde(rename = "Repositories", default)]
    names: BTreeMap<String, BTreeMap<String, String>>,
}

/// What is in the store. Of a damaged table the images come without names.
pub(crate) fn images(root: &Path) -> Vec<Image> {
    let Some(place) = Place::open(root) else { return Vec::new() };
    let mut all = Vec::new();
    for driver in place.names("image") {
        let names = place.json::<Repositories>(&format!("image/{driver}/repositories.json"), TABLE_LIMIT);
        let names = names.ok().flatten().map(|table| table.names).unwrap_or_default();
        let ids = place.names(&format!("image/{driver}/imagedb/content/sha256"));
        let mut images: Vec<Image> = ids
            .into_iter()
            .filter(|id| crate::files::is_hex(id))
            .map(|id| Image {
                names: Vec::new(),
                id,
                digests: Vec::new(),
                engine: Engine::Docker,
                store: root.to_path_buf(),
                part: driver.clone(),
            })
            .collect();
        for (name, id) in names.into_values().flatten() {
            let at = images.binary_search_by(|image| image.id.as_str().cmp(digits(&id).unwrap_or_default()));
            let Some(image) = at.ok().and_then(|at| images.get_mut(at)) else { continue };
            match name.split_once('@') {
                Some((_, digest)) => image.digests.push(digest.to_owned()),
                None => image.names.push(name),
            }
        }
        all.append(&mut images);
    }
    all
}

/// An image's tree.
pub(crate) fn tree(image: &Image) -> Result<Tree, ImageError> {
    let place = opened(&image.store)?;
    let driver = known(&image.part, image.title())?;
    let (diffs, config) = document(&place, driver, &image.id)?;
    let layers = match chain(&diffs) {
        Some(top) => layers(&place, driver, &top, image.title())?,
        None => Vec::new(),
    };
    Ok(Tree {
        name: image.title().to_owned(),
        id: image.id.clone(),
        image: image.title().to_owned(),
        engine: Engine::Docker,
        store: image.store.clone(),
        layers,
        upper: None,
        config,
        volumes: Vec::new(),
    })
}

/// An image's layers and configuration.
fn document(place: &Place, driver: &str, id: &str) -> Result<(Vec<String>, Config), ImageError> {
    let at = format!("image/{driver}/imagedb/content/sha256/{id}");
    let document: Document =
        place.json(&at, DOCUMENT_LIMIT)?.ok_or_else(|| place.damaged(&at, "it is gone"))?;
    document.parts().map_err(|why| place.damaged(&at, why))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    driver: String,
    /// Of its image.
    #[serde(default)]
    image: String,
    config: Option<Run>,
    #[serde(default)]
    mount_points: Option<BTreeMap<String, MountPoint>>,
    /// Files that the engine writes for the container.
    #[serde(default)]
    hosts_path: String,
    #[serde(default)]
    hostname_path: String,
    #[serde(default)]
    resolv_conf_path: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MountPoint {
    #[serde(default)]
    source: String,
    #[serde(default)]
    destination: String,
}

/// A container's tree; `None` when it is not here.
pub(crate) fn stopped(stores: &Stores, root: &Path, id: &str) -> Result<Option<Tree>, ImageError> {
    let Some(place) = Place::open(root) else { return Ok(None) };
    let at = format!("containers/{id}/config.v2.json");
    let Some(container) = place.json::<Container>(&at, DOCUMENT_LIMIT)? else { return Ok(None) };
    if container.id != id {
        return Err(place.damaged(&at, "it is another container's"));
    }
    let name = container.name.trim_start_matches('/').to_owned();
    let image = container.config.as_ref().map_or(String::new(), |run| run.image().to_owned());
    let volumes = container.mount_points.unwrap_or_default().into_values();
    let volumes = volumes.map(|mount| (mount.source, mount.destination));
    let files = [
        (container.hosts_path, "/etc/hosts"),
        (container.hostname_path, "/etc/hostname"),
        (container.resolv_conf_path, "/etc/resolv.conf"),
    ];
    let files = files.map(|(source, destination)| (source, destination.to_owned()));
    let volumes = volumes.chain(files).filter_map(|(source, at)| volume(source, at)).collect();
    let of_image = digits(&container.image).map(|id| document(&place, &container.driver, id));
    // A container whose image is gone has files all the same.
    let of_image = of_image.and_then(|parts| Some(parts.ok()?.1)).unwrap_or_default();
    let config = container.config.unwrap_or_default().config(Some(of_image.architecture), Some(of_image.os));
    let mut tree = Tree {
        name,
        id: id.to_owned(),
        image,
        engine: Engine::Docker,
        store: root.to_path_buf(),
        layers: Vec::new(),
        upper: None,
        config,
        volumes,
    };
    // With containerd's images a container's files are there, under its id.
    if !place.has_directory(&format!("image/{}", container.driver)) {
        for store in &stores.containerd {
            if let Some((store, layers, upper)) =
                containerd::snapshot(store, NAMESPACE, &container.driver, id)?
            {
                (tree.store, tree.layers, tree.upper) = (store, layers, Some(upper));
                return Ok(Some(tree));
            }
        }
    }
    let driver = known(&container.driver, &tree.name)?;
    let mounts = format!("image/{driver}/layerdb/mounts/{id}");
    let line = |file: &str| place.line(&format!("{mounts}/{file}"));
    let needed = |file: &str| {
        line(file)?
            .filter(|id| is_name(id))
            .ok_or_else(|| place.damaged(&mounts, format!("there is no {file}")))
    };
    if let Some(parent) = line("parent")? {
        tree.layers = layers(&place, driver, &parent, &tree.name)?;
    }
    let upper = directory(&place, driver, &needed("mount-id")?, &tree.name)?;
    if driver == WHOLE {
        tree.layers = vec![upper];
    } else {
        // Mount points and the like, which the engine made; not all containers have it.
        if let Some(init) = line("init-id")?.filter(|id| is_name(id)) {
            tree.layers.push(directory(&place, driver, &init, &tree.name)?);
        }
        tree.upper = Some(upper);
    }
    Ok(Some(tree))
}

fn opened(store: &Path) -> Result<Place, ImageError> {
    let gone = || ImageError::Read { path: store.to_path_buf(), source: std::io::ErrorKind::NotFound.into() };
    Place::open(store).ok_or_else(gone)
}

fn known<'a>(driver: &'a str, name: &str) -> Result<&'a str, ImageError> {
    if OVERLAYS.contains(&driver) || driver == WHOLE {
        return Ok(driver);
    }
    Err(ImageError::Driver { name: name.to_owned(), driver: driver.to_owned() })
}

/// The id of the whole chain of layers: each digest over the one before and the layer's own.
pub(crate) fn chain(diffs: &[String]) -> Option<String> {
    let mut diffs = diffs.iter();
    let first = diffs.next()?.clone();
    Some(diffs.fold(first, |below, diff| {
        let sum = Sha256::digest(format!("{below} {diff}"));
        let hex: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    }))
}

/// The directories from the lowest layer to the one with this chain id.
fn layers(place: &Place, driver: &str, top: &str, name: &str) -> Result<Vec<PathBuf>, ImageError> {
    let mut found = Vec::new();
    let mut at = Some(top.to_owned());
    while let Some(id) = at {
        let table = format!("image/{driver}/layerdb/sha256");
        let hex = digits(&id).ok_or_else(|| place.damaged(&table, format!("{id:?} is no layer")))?;
        let cache = place.line(&format!("{table}/{hex}/cache-id"))?;
        let missing =
            || ImageError::Missing { name: name.to_owned(), path: place.join(&format!("{table}/{hex}")) };
        let cache = cache.filter(|cache| is_name(cache)).ok_or_else(missing)?;
        found.push(directory(place, driver, &cache, name)?);
        if driver == WHOLE {
            return Ok(found);
        }
        if found.len() > LAYERS_LIMIT {
            return Err(place.damaged(&table, "its layers have no end"));
        }
        at = place.line(&format!("{table}/{hex}/parent"))?;
    }
    found.reverse();
    Ok(found)
}

fn directory(place: &Place, driver: &str, id: &str, name: &str) -> Result<PathBuf, ImageError> {
    let below = if driver == WHOLE { format!("{driver}/dir/{id}") } else { format!("{driver}/{id}/diff") };
    match place.has_directory(&below) {
        true => Ok(place.join(&below)),
        false => Err(ImageError::Missing { name: name.to_owned(), path: place.join(&below) }),
    }
}

#[cfg(test)]
mod tests {
    use super::{chain, images, stopped, tree};
    use crate::{ImageError, Stores};
    use std::fs;
    use std::path::Path;

    const DRIVER: &str = "image/overlay2";

    fn write(root: &Path, below: &str, text: &str) {
        let path = root.join(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn digest(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    /// An image of two layers and a container of it.
    fn store() -> (tempfile::TempDir, String, String) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let (image, container) = ("a".repeat(64), "c".repeat(64));
        let (low, high) = (digest('1'), digest('2'));
        let top = chain(&[low.clone(), high.clone()]).unwrap();
        let names = format!(
            r#"{{"Repositories":{{"web":{{"web:1":"sha256:{image}","web@{low}":"sha256:{image}"}}}}}}"#
        );
        write(root, &format!("{DRIVER}/repositories.json"), &names);
        let document = format!(
            r#"{{"architecture":"arm64","os":"linux","config":{{"User":"app"}},"rootfs":{{"diff_ids":["{low}","{high}"]}}}}"#
        );
        write(root, &format!("{DRIVER}/imagedb/content/sha256/{image}"), &document);
        for (id, cache, parent) in [(&low, "low", None), (&top, "high", Some(&low))] {
            let layer = format!("{DRIVER}/layerdb/sha256/{}", &id[7..]);
            write(root, &format!("{layer}/cache-id"), cache);
            parent.iter().for_each(|parent| write(root, &format!("{layer}/parent"), parent));
        }
        for layer in ["low", "high", "init", "own"] {
            fs::create_dir_all(root.join(format!("overlay2/{layer}/diff"))).unwrap();
        }
        let text = format!(
            r#"{{"ID":"{container}","Name":"/shop","Driver":"overlay2","Image":"sha256:{image}","Config":{{"Image":"web:1","Cmd":["run"]}},
            "MountPoints":{{"/data":{{"Source":"/srv","Destination":"/data"}},"/x":{{"Source":"srv","Destination":"/x"}}}}}}"#
        );
        write(root, &format!("containers/{container}/config.v2.json"), &text);
        let mounts = format!("{DRIVER}/layerdb/mounts/{container}");
        for (name, text) in [("mount-id", "own"), ("init-id", "init"), ("parent", &top)] {
            write(root, &format!("{mounts}/{name}"), text);
        }
        (dir, image, container)
    }

    #[test]
    fn an_image_and_its_container() {
        let (dir, id, container) = store();
        let root = dir.path();
        let all = images(root);
        let [image] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((&image.id, image.names.as_slice()), (&id, ["web:1".to_owned()].as_slice()));
        assert_eq!(image.digests, [digest('1')]);
        let layer = |name: &str| root.join(format!("overlay2/{name}/diff"));
        let found = tree(image).unwrap();
        assert_eq!(found.layers, [layer("low"), layer("high")]);
        assert_eq!((found.config.user.as_str(), found.config.architecture.as_str()), ("app", "arm64"));
        let found = stopped(&Stores::default(), root, &container).unwrap().unwrap();
        assert_eq!(found.layers, [layer("low"), layer("high"), layer("init")]);
        assert_eq!(found.upper, Some(layer("own")));
        assert_eq!((found.name.as_str(), found.image.as_str(), found.volumes.len()), ("shop", "web:1", 1));
        assert_eq!(found.config.architecture, "arm64");
        assert!(stopped(&Stores::default(), root, &"d".repeat(64)).unwrap().is_none());
    }

    #[test]
    fn what_is_damaged_is_named() {
        let (dir, id, container) = store();
        let root = dir.path();
        let image = images(root).remove(0);
        fs::remove_dir_all(root.join("overlay2/low")).unwrap();
        assert!(matches!(tree(&image), Err(ImageError::Missing { path, .. }) if path.ends_with("low/diff")));
        std::os::unix::fs::symlink("/etc", root.join("overlay2/low")).unwrap();
        assert!(matches!(tree(&image), Err(ImageError::Missing { .. })));
        let low = format!("{DRIVER}/layerdb/sha256/{}", "1".repeat(64));
        write(root, &format!("{low}/cache-id"), "../../../etc");
        assert!(matches!(tree(&image), Err(ImageError::Missing { .. })));
        write(root, &format!("{low}/cache-id"), "high");
        write(root, &format!("{low}/parent"), &digest('1'));
        assert!(matches!(tree(&image), Err(ImageError::Damaged { .. })));
        write(root, &format!("{DRIVER}/repositories.json"), "{");
        assert!(images(root)[0].names.is_empty());
        write(root, &format!("{DRIVER}/imagedb/content/sha256/{id}"), "[1");
        assert!(matches!(tree(&image), Err(ImageError::Damaged { .. })));
        let config = format!("containers/{container}/config.v2.json");
        write(root, &config, &format!(r#"{{"ID":"{container}","Driver":"btrfs"}}"#));
        let error = stopped(&Stores::default(), root, &container).unwrap_err();
        assert!(error.to_string().contains("btrfs"), "{error}");
        write(root, &config, r#"{"ID":"other"}"#);
        assert!(matches!(stopped(&Stores::default(), root, &container), Err(ImageError::Damaged { .. })));
    }
}
