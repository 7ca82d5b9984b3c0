// SPDX-License-Identifier: Apache-2.0
//! containers-storage, which Podman, Buildah and CRI-O share: `overlay-images`, `overlay-layers` and
//! `overlay-containers` have tables, `overlay` the layers. With the driver `vfs` they are called so.

use crate::ImageError;
use crate::config::{Bundle, Config, Document};
use crate::files::{DOCUMENT_LIMIT, Place, TABLE_LIMIT, digits, is_name};
use crate::reference::with_algorithm;
use crate::stores::Engine;
use crate::tree::{Image, LAYERS_LIMIT, Tree};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const DRIVERS: [&str; 2] = ["overlay", "vfs"];

#[derive(Debug, Deserialize)]
struct ImageRow {
    id: String,
    #[serde(default)]
    digest: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    layer: String,
}

#[derive(Debug, Deserialize)]
struct LayerRow {
    id: String,
    #[serde(default)]
    parent: String,
}

#[derive(Debug, Deserialize)]
struct ContainerRow {
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    image: String,
    #[serde(default)]
    layer: String,
}

/// What is in the store; nothing when its table is damaged.
pub(crate) fn images(root: &Path) -> Vec<Image> {
    let Some(place) = Place::open(root) else { return Vec::new() };
    let mut all = Vec::new();
    for driver in DRIVERS {
        let rows = image_rows(&place, driver).unwrap_or_default();
        all.extend(rows.into_iter().filter(|row| is_name(&row.id)).map(|row| Image {
            names: row.names.unwrap_or_default(),
            id: row.id,
            digests: Some(row.digest).filter(|digest| digits(digest).is_some()).into_iter().collect(),
            engine: Engine::Storage,
            store: root.to_path_buf(),
            part: driver.to_owned(),
        }));
    }
    all
}

fn image_rows(place: &Place, driver: &str) -> Result<Vec<ImageRow>, ImageError> {
    Ok(place.json(&format!("{driver}-images/images.json"), TABLE_LIMIT)?.unwrap_or_default())
}

/// An image's tree.
pub(crate) fn tree(image: &Image) -> Result<Tree, ImageError> {
    let gone = || ImageError::Missing { name: image.title().to_owned(), path: image.store.clone() };
    let place = Place::open(&image.store).ok_or_else(gone)?;
    let rows = image_rows(&place, &image.part)?;
    let row = rows.into_iter().find(|row| row.id == image.id).ok_or_else(gone)?;
    let (config, _) = config(&place, &image.part, &image.id)?;
    Ok(Tree {
        name: image.title().to_owned(),
        id: image.id.clone(),
        image: image.title().to_owned(),
        engine: Engine::Storage,
        store: image.store.clone(),
        layers: layers(&place, &image.part, &row.layer, image.title())?,
        upper: None,
        config,
        volumes: Vec::new(),
    })
}

/// A container's tree; `None` when it is not here.
pub(crate) fn stopped(root: &Path, id: &str) -> Result<Option<Tree>, ImageError> {
    let Some(place) = Place::open(root) else { return Ok(None) };
    for driver in DRIVERS {
        for table in ["containers.json", "volatile-containers.json"] {
            let rows: Option<Vec<ContainerRow>> =
                place.json(&format!("{driver}-containers/{table}"), TABLE_LIMIT)?;
            if let Some(row) = rows.unwrap_or_default().into_iter().find(|row| row.id == id) {
                return container(&place, root, driver, row).map(Some);
            }
        }
    }
    Ok(None)
}

fn container(place: &Place, root: &Path, driver: &str, row: ContainerRow) -> Result<Tree, ImageError> {
    let name = row.names.and_then(|names| names.into_iter().next()).unwrap_or_else(|| row.id.clone());
    let mut found = layers(place, driver, &row.layer, &name)?;
    // With overlay the last one is the container's own; with vfs it has all the rest in it.
    let upper = if driver == "overlay" { found.pop() } else { None };
    let images = image_rows(place, driver)?;
    let image = images.into_iter().find(|image| image.id == row.image).and_then(|image| image.names);
    // A container without an image has files all the same.
    let of_image = config(place, driver, &row.image).map_or(Config::default(), |(config, _)| config);
    // The last start has left what the runtime was told.
    let bundle = format!("{driver}-containers/{}/userdata/config.json", row.id);
    let bundle: Option<Bundle> = place.json(&bundle, DOCUMENT_LIMIT)?;
    let (config, volumes) = match bundle {
        Some(bundle) => bundle.parts(of_image),
        None => (of_image, Vec::new()),
    };
    Ok(Tree {
        name,
        id: row.id,
        image: image.unwrap_or_default().into_iter().next().unwrap_or_default(),
        engine: Engine::Storage,
        store: root.to_path_buf(),
        layers: found,
        upper,
        config,
        volumes,
    })
}

/// The directories from the lowest layer to this one.
fn layers(place: &Place, driver: &str, top: &str, name: &str) -> Result<Vec<PathBuf>, ImageError> {
    let mut parents: BTreeMap<String, String> = BTreeMap::new();
    let dir = format!("{driver}-layers");
    for table in ["layers.json", "volatile-layers.json"] {
        let rows: Option<Vec<LayerRow>> = place.json(&format!("{dir}/{table}"), TABLE_LIMIT)?;
        parents.extend(rows.unwrap_or_default().into_iter().map(|row| (row.id, row.parent)));
    }
    let mut found = Vec::new();
    let mut at = top;
    while !at.is_empty() {
        let known = parents.get(at).filter(|_| is_name(at));
        let parent =
            known.ok_or_else(|| place.damaged(&dir, format!("there is no layer {at:?} of {name}")))?;
        let below = if driver == "overlay" { format!("overlay/{at}/diff") } else { format!("vfs/dir/{at}") };
        if !place.has_directory(&below) {
            return Err(ImageError::Missing { name: name.to_owned(), path: place.join(&below) });
        }
        found.push(place.join(&below));
        if driver != "overlay" {
            break;
        }
        if found.len() > LAYERS_LIMIT {
            return Err(place.damaged(&dir, "its layers have no end"));
        }
        at = parent;
    }
    found.reverse();
    Ok(found)
}

/// An image's configuration. Its digest is the image's id.
fn config(place: &Place, driver: &str, id: &str) -> Result<(Config, Vec<String>), ImageError> {
    let dir = format!("{driver}-images/{id}");
    let key = with_algorithm(id).ok_or_else(|| place.damaged(&dir, "its id is no digest"))?;
    let at = format!("{dir}/={}", base64(key.as_bytes()));
    let document: Document =
        place.json(&at, DOCUMENT_LIMIT)?.ok_or_else(|| place.damaged(&at, "there is no configuration"))?;
    let (diffs, config) = document.parts().map_err(|why| place.damaged(&at, why))?;
    Ok((config, diffs))
}

/// As containers-storage names files whose keys have other characters than letters, digits and `.-_`.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let index = usize::try_from(bits >> (18 - 6 * at) & 63).unwrap_or(0);
            let is_there = at <= chunk.len();
            text.push(char::from(if is_there { DIGITS.get(index).copied().unwrap_or(b'=') } else { b'=' }));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{base64, images, stopped, tree};
    use crate::ImageError;
    use std::fs;
    use std::path::Path;

    fn write(root: &Path, below: &str, text: &str) {
        let path = root.join(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn an_image_and_its_container() {
        let dir = tempfile::tempdir().unwrap();
        let (root, id) = (dir.path(), "b".repeat(64));
        let rows = format!(r#"[{{"id":"{id}","names":["localhost/web:1"],"layer":"two"}},{{"id":"../x"}}]"#);
        write(root, "overlay-images/images.json", &rows);
        let document = format!("overlay-images/{id}/={}", base64(format!("sha256:{id}").as_bytes()));
        write(root, &document, r#"{"architecture":"amd64","config":{"Cmd":["sh"]}}"#);
        let layers = r#"[{"id":"one"},{"id":"two","parent":"one"},{"id":"own","parent":"two"},{"id":"x","parent":"x"}]"#;
        write(root, "overlay-layers/layers.json", layers);
        let rows = format!(
            r#"[{{"id":"c1","names":["shop"],"image":"{id}","layer":"own"}},{{"id":"c2","layer":"x"}}]"#
        );
        write(root, "overlay-containers/containers.json", &rows);
        let bundle = r#"{"process":{"args":["/bin/run"],"cwd":"/w","user":{"uid":1,"gid":2}}}"#;
        write(root, "overlay-containers/c1/userdata/config.json", bundle);
        for layer in ["one", "two", "own", "x"] {
            fs::create_dir_all(root.join(format!("overlay/{layer}/diff"))).unwrap();
        }
        let layer = |name: &str| root.join(format!("overlay/{name}/diff"));
        let all = images(root);
        let [image] = all.as_slice() else { panic!("{all:?}") };
        let found = tree(image).unwrap();
        assert_eq!(found.layers, [layer("one"), layer("two")]);
        assert_eq!((found.name.as_str(), found.config.program()), ("localhost/web:1", "sh"));
        let found = stopped(root, "c1").unwrap().unwrap();
        assert_eq!((found.layers, found.upper), (vec![layer("one"), layer("two")], Some(layer("own"))));
        assert_eq!((found.config.user.as_str(), found.config.program()), ("1:2", "run"));
        assert_eq!(found.image, "localhost/web:1");
        assert!(stopped(root, "c3").unwrap().is_none());
        assert!(matches!(stopped(root, "c2"), Err(ImageError::Damaged { .. })));
        fs::remove_dir(layer("one")).unwrap();
        assert!(matches!(tree(image), Err(ImageError::Missing { .. })));
        write(root, "overlay-layers/layers.json", "[]");
        assert!(matches!(tree(image), Err(ImageError::Damaged { .. })));
        write(root, "overlay-containers/containers.json", "{}");
        assert!(stopped(root, "c1").is_err());
    }

    #[test]
    fn names_of_files() {
        assert_eq!(base64(b"sha256:ab"), "c2hhMjU2OmFi");
        assert_eq!(base64(b"a"), "YQ==");
        assert_eq!(base64(b"ab"), "YWI=");
        assert_eq!(base64(b""), "");
    }
}
