// SPDX-License-Identifier: Apache-2.0
//! containerd's store: `meta.db` has images, containers and the names of snapshots by namespace, the content
//! store documents and packed layers, each snapshotter a database and directories. Layout of containerd 1.2 to 2.

use crate::ImageError;
use crate::bolt::{Bolt, Bucket, Value, consistent};
use crate::config::{Bundle, Config, Document};
use crate::docker::chain;
use crate::files::{DOCUMENT_LIMIT, Place, digits};
use crate::stores::Engine;
use crate::tree::{Image, LAYERS_LIMIT, Tree};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

const META: &str = "io.containerd.metadata.v1.bolt/meta.db";
const CONTENT: &str = "io.containerd.content.v1.content/blobs/sha256";
/// Snapshotters that keep directories to be laid over each other.
const SNAPSHOTTERS: [&str; 2] = ["overlayfs", "fuse-overlayfs"];
/// The namespace in which Docker has its containers.
const NOT_HERE: &str = "moby";
const NAMESPACES_LIMIT: usize = 1000;
const ROWS_LIMIT: usize = 100_000;
/// How many indexes within indexes are followed.
const NESTING_LIMIT: usize = 4;

/// Store, layers and the top one.
pub(crate) type Layers = (PathBuf, Vec<PathBuf>, PathBuf);

/// What is in the store, of all namespaces; nothing when its tables are damaged.
pub(crate) fn images(root: &Path) -> Vec<Image> {
    let Some(place) = Place::open(root) else { return Vec::new() };
    let ask = |bolt: &Bolt| {
        let mut all: Vec<Image> = Vec::new();
        let Some(top) = bolt.bucket(&["v1"])? else { return Ok(all) };
        for (namespace, bucket) in bolt.buckets(&top, NAMESPACES_LIMIT)? {
            let Some(Value::Bucket(rows)) = bolt.get(&bucket, b"images")? else { continue };
            let mut known: BTreeMap<String, usize> = BTreeMap::new();
            for (name, row) in bolt.buckets(&rows, ROWS_LIMIT)? {
                let Some(Value::Bucket(target)) = bolt.get(&row, b"target")? else { continue };
                let digest = bolt.text(&target, "digest")?.unwrap_or_default();
                let Some(id) = digits(&digest) else { continue };
                // CRI also keeps ids as names.
                let name = Some(name).filter(|name| !name.starts_with("sha256:"));
                if let Some(image) = known.get(id).and_then(|at| all.get_mut(*at)) {
                    image.names.extend(name);
                    continue;
                }
                if all.len() >= ROWS_LIMIT {
                    return Ok(all);
                }
                known.insert(id.to_owned(), all.len());
                all.push(Image {
                    names: name.into_iter().collect(),
                    id: id.to_owned(),
                    digests: vec![digest],
                    engine: Engine::Containerd,
                    store: root.to_path_buf(),
                    part: namespace.clone(),
                });
            }
        }
        Ok(all)
    };
    asked(&place, META, ask).ok().flatten().unwrap_or_default()
}

/// A container that containerd knows of, whether it runs or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Its whole id.
    pub id: String,
    /// The image's name.
    pub image: String,
    /// Labels and annotations: its names, and the pod.
    pub labels: BTreeMap<String, String>,
}

/// Containers of all namespaces but Docker's, who knows more of its own; the newest first. Not those that only hold a
/// pod together: there is nothing to look at in them.
pub(crate) fn kept(root: &Path) -> Vec<Kept> {
    let Some(place) = Place::open(root) else { return Vec::new() };
    let ask = |bolt: &Bolt| {
        let mut all = Vec::new();
        let Some(top) = bolt.bucket(&["v1"])? else { return Ok(Vec::new()) };
        for (namespace, bucket) in bolt.buckets(&top, NAMESPACES_LIMIT)? {
            let Some(Value::Bucket(rows)) = bolt.get(&bucket, b"containers")? else { continue };
            for (id, row) in bolt.buckets(&rows, ROWS_LIMIT)?.into_iter().filter(|_| namespace != NOT_HERE) {
                let mut labels = labels(bolt, &row)?;
                let spec = bolt.bytes(&row, "spec")?.unwrap_or_default();
                labels.extend(any_value(&spec).map(annotations).unwrap_or_default());
                if labels.get("io.cri-containerd.kind").is_some_and(|kind| kind == "sandbox") {
                    continue;
                }
                let image = bolt.text(&row, "image")?.unwrap_or_default();
                // Big-endian seconds behind a byte for the form.
                let made = bolt.bytes(&row, "createdat")?.unwrap_or_default();
                all.push((made, Kept { id, image, labels }));
            }
        }
        all.sort_by(|one, other| other.0.cmp(&one.0));
        Ok(all.into_iter().map(|(_, kept)| kept).collect())
    };
    asked(&place, META, ask).ok().flatten().unwrap_or_default()
}

/// Whoever made a pod's container wrote its names into what the runtime is told, too.
fn annotations(spec: &[u8]) -> BTreeMap<String, String> {
    #[derive(Default, Deserialize)]
    struct Spec {
        #[serde(default)]
        annotations: Option<BTreeMap<String, String>>,
    }
    serde_json::from_slice::<Spec>(spec).unwrap_or_default().annotations.unwrap_or_default()
}

fn labels(bolt: &Bolt, row: &Bucket) -> io::Result<BTreeMap<String, String>> {
    let Some(Value::Bucket(labels)) = bolt.get(row, b"labels")? else { return Ok(BTreeMap::new()) };
    let text = |bytes| String::from_utf8(bytes).ok();
    let pairs = bolt.all(&labels, ROWS_LIMIT)?.into_iter().filter_map(|(key, value)| match value {
        Value::Bytes(value) => Some((text(key)?, text(value)?)),
        Value::Bucket(_) => None,
    });
    Ok(pairs.collect())
}

/// An answer of a database; `None` when there is none.
fn asked<T>(
    place: &Place,
    file: &str,
    ask: impl Fn(&Bolt) -> io::Result<T>,
) -> Result<Option<T>, ImageError> {
    if place.file(file)?.is_none() {
        return Ok(None);
    }
    let open = || match place.file(file) {
        Ok(Some(file)) => Ok(file),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    consistent(open, ask).map(Some).map_err(|error| place.damaged(file, error.to_string()))
}

#[derive(Debug, Deserialize)]
struct Manifest {
    config: Option<Descriptor>,
    manifests: Option<Vec<Descriptor>>,
}

#[derive(Debug, Deserialize)]
struct Descriptor {
    digest: String,
    platform: Option<Platform>,
}

#[derive(Debug, Deserialize)]
struct Platform {
    #[serde(default)]
    architecture: String,
}

/// An image's tree.
pub(crate) fn tree(image: &Image) -> Result<Tree, ImageError> {
    let name = image.title();
    let gone = || ImageError::Missing { name: name.to_owned(), path: image.store.clone() };
    let place = Place::open(&image.store).ok_or_else(gone)?;
    let (diffs, config) = configuration(&place, &image.id, name, 0)?;
    let (layers, top) = match chain(&diffs) {
        None => (Vec::new(), None),
        Some(id) => {
            let found = SNAPSHOTTERS
                .into_iter()
                .find_map(|kind| snapshot(&image.store, &image.part, kind, &id).transpose());
            let packed = || ImageError::Packed {
                name: name.to_owned(),
                why: "no snapshot of it in containerd".into(),
            };
            let (_, layers, top) = found.ok_or_else(packed)??;
            (layers, Some(top))
        }
    };
    Ok(Tree {
        name: name.to_owned(),
        id: image.id.clone(),
        image: name.to_owned(),
        engine: Engine::Containerd,
        store: image.store.clone(),
        layers: layers.into_iter().chain(top).collect(),
        upper: None,
        config,
        volumes: Vec::new(),
    })
}

/// Layers and configuration of what has this digest: of an index, of the part for this processor, or else of one
/// that is here.
fn configuration(
    place: &Place,
    digest: &str,
    name: &str,
    depth: usize,
) -> Result<(Vec<String>, Config), ImageError> {
    let at = format!("{CONTENT}/{digest}");
    let packed = || ImageError::Packed { name: name.to_owned(), why: format!("sha256:{digest} is not here") };
    if depth > NESTING_LIMIT {
        return Err(place.damaged(&at, "its indexes have no end"));
    }
    let manifest: Manifest = place.json(&at, DOCUMENT_LIMIT)?.ok_or_else(packed)?;
    if let Some(config) = manifest.config {
        let id = digits(&config.digest).ok_or_else(|| place.damaged(&at, "a digest is none"))?;
        let at = format!("{CONTENT}/{id}");
        let document: Document = place.json(&at, DOCUMENT_LIMIT)?.ok_or_else(packed)?;
        return document.parts().map_err(|why| place.damaged(&at, why));
    }
    let mut manifests = manifest.manifests.unwrap_or_default();
    manifests.retain(|one| digits(&one.digest).is_some());
    let is_ours = |one: &Descriptor| {
        one.platform.as_ref().is_some_and(|platform| platform.architecture == crate::stores::architecture())
    };
    // False goes before true, and equal ones keep their order.
    manifests.sort_by_key(|one| !is_ours(one));
    let mut first = None;
    for one in manifests.iter().take(64) {
        match configuration(place, digits(&one.digest).unwrap_or_default(), name, depth + 1) {
            Ok(found) => return Ok(found),
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first.unwrap_or_else(packed))
}

/// A container's tree; `None` when it is not here.
pub(crate) fn stopped(root: &Path, id: &str) -> Result<Option<Tree>, ImageError> {
    let Some(place) = Place::open(root) else { return Ok(None) };
    let ask = |bolt: &Bolt| {
        let Some(top) = bolt.bucket(&["v1"])? else { return Ok(None) };
        for (namespace, _) in bolt.buckets(&top, NAMESPACES_LIMIT)? {
            let Some(row) = bolt.bucket(&["v1", &namespace, "containers", id])? else { continue };
            let text = |key: &str| bolt.text(&row, key).map(Option::unwrap_or_default);
            let spec = bolt.bytes(&row, "spec")?.unwrap_or_default();
            return Ok(Some((namespace, text("image")?, text("snapshotter")?, text("snapshotKey")?, spec)));
        }
        Ok(None)
    };
    let Some(Some((namespace, image, snapshotter, key, spec))) = asked(&place, META, ask)? else {
        return Ok(None);
    };
    let Some((_, layers, upper)) = snapshot(root, &namespace, &snapshotter, &key)? else {
        return Err(ImageError::NoContainer { id: id.to_owned() });
    };
    let bundle = any_value(&spec).and_then(|text| serde_json::from_slice::<Bundle>(text).ok());
    let (config, volumes) = bundle.unwrap_or_default().parts(Config::default());
    Ok(Some(Tree {
        name: id.to_owned(),
        id: id.to_owned(),
        image,
        engine: Engine::Containerd,
        store: root.to_path_buf(),
        layers,
        upper: Some(upper),
        config,
        volumes,
    }))
}

/// The directories of a snapshot: those below it, and its own. `None` when there is no such snapshot.
pub(crate) fn snapshot(
    root: &Path,
    namespace: &str,
    snapshotter: &str,
    key: &str,
) -> Result<Option<Layers>, ImageError> {
    let Some(place) = Place::open(root) else { return Ok(None) };
    let name = asked(&place, META, |bolt| {
        let Some(row) = bolt.bucket(&["v1", namespace, "snapshots", snapshotter, key])? else {
            return Ok(None);
        };
        bolt.text(&row, "name")
    })?;
    let Some(Some(name)) = name else { return Ok(None) };
    if !SNAPSHOTTERS.contains(&snapshotter) {
        return Err(ImageError::Driver { name: key.to_owned(), driver: snapshotter.to_owned() });
    }
    let dir = format!("io.containerd.snapshotter.v1.{snapshotter}");
    let database = format!("{dir}/metadata.db");
    let ids = asked(&place, &database, |bolt| numbers(bolt, &name))?.flatten();
    let ids = ids.ok_or_else(|| place.damaged(&database, format!("there is no snapshot {name:?}")))?;
    let mut found = Vec::new();
    for id in ids {
        let below = format!("{dir}/snapshots/{id}/fs");
        if !place.has_directory(&below) {
            return Err(ImageError::Missing { name: key.to_owned(), path: place.join(&below) });
        }
        found.push(place.join(&below));
    }
    let top = found.pop();
    Ok(top.map(|top| (root.to_path_buf(), found, top)))
}

/// The numbers of a snapshot's directories, the lowest first.
fn numbers(bolt: &Bolt, name: &str) -> io::Result<Option<Vec<u64>>> {
    let Some(rows) = bolt.bucket(&["v1", "snapshots"])? else { return Ok(None) };
    let mut found = Vec::new();
    let mut at = name.to_owned();
    while !at.is_empty() {
        let Some(Value::Bucket(row)) = bolt.get(&rows, at.as_bytes())? else { return Ok(None) };
        let Some(id) = id(bolt, &row)? else { return Ok(None) };
        found.push(id);
        if found.len() > LAYERS_LIMIT {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its snapshots have no end"));
        }
        at = bolt.text(&row, "parent")?.unwrap_or_default();
    }
    found.reverse();
    Ok(Some(found))
}

fn id(bolt: &Bolt, row: &Bucket) -> io::Result<Option<u64>> {
    Ok(bolt.bytes(row, "id")?.and_then(|bytes| varint(&bytes)).map(|(id, _)| id))
}

/// A number in groups of seven bits, and how many bytes it had.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut number = 0_u64;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        number |= u64::from(byte & 0x7f).checked_shl(u32::try_from(at).ok()? * 7)?;
        if byte & 0x80 == 0 {
            return Some((number, at + 1));
        }
    }
    None
}

/// The value of a `google.protobuf.Any`: field 1 is its type, field 2 its bytes.
fn any_value(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let (tag, used) = varint(bytes)?;
        let (length, more) = varint(bytes.get(used..)?)?;
        let from = used + more;
        let end = from.checked_add(usize::try_from(length).ok()?)?;
        let field = bytes.get(from..end)?;
        match tag {
            0x12 => return Some(field),
            0x0a => bytes = bytes.get(end..)?,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{any_value, varint};

    #[test]
    fn numbers_and_values() {
        assert_eq!(varint(&[0x96, 0x01]), Some((150, 2)));
        assert_eq!(varint(&[0x80]), None);
        assert_eq!(varint(&[0xff; 11]), None);
        assert_eq!(any_value(b"\x0a\x01t\x12\x02{}"), Some(b"{}".as_slice()));
        assert_eq!(any_value(b"\x12\x09{}"), None);
        assert_eq!(any_value(b""), None);
    }
}
