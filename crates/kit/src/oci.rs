// SPDX-License-Identifier: Apache-2.0
//! The documents of an OCI image layout (image-spec 1.1), as far as kits need them. Unknown keys are other people's
//! and are passed over; what is used is checked.

use crate::digest::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub(crate) const LAYOUT_FILE: &str = "oci-layout";
pub(crate) const INDEX_FILE: &str = "index.json";
pub(crate) const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const TITLE: &str = "org.opencontainers.image.title";
const VERSION: &str = "org.opencontainers.image.version";
/// Beside a kit's image: who vouches for the kit, as [`crate::sign::render`] writes it.
pub(crate) const SIGNATURES: &str = "purser.kit.signatures";
const REFERENCE: &str = "org.opencontainers.image.ref.name";

/// Where something is, and what it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Descriptor {
    pub(crate) fn new(media_type: &str, bytes: &[u8]) -> Descriptor {
        Descriptor {
            media_type: media_type.to_string(),
            digest: Digest::of(bytes),
            size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            annotations: BTreeMap::new(),
        }
    }

    /// Its path in the layout.
    pub(crate) fn path(&self) -> String {
        format!("blobs/sha256/{}", self.digest.hex())
    }

    /// What a person may call it.
    pub(crate) fn title(&self) -> &str {
        let named = self.annotations.get(TITLE).or_else(|| self.annotations.get(REFERENCE));
        named.map_or("", String::as_str)
    }

    /// Who vouches for the kit it describes.
    pub(crate) fn signatures(&self) -> &str {
        self.annotations.get(SIGNATURES).map_or("", String::as_str)
    }

    /// How the layer it describes is packed.
    pub(crate) fn packing(&self) -> Option<Packing> {
        match self.media_type.strip_prefix(LAYER)? {
            "" => Some(Packing::Plain),
            "+gzip" => Some(Packing::Gzip),
            "+zstd" => Some(Packing::Zstd),
            _ => None,
        }
    }
}

/// How a layer is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    pub(crate) manifests: Vec<Descriptor>,
}

impl Index {
    pub(crate) fn of(manifests: Vec<Descriptor>) -> Index {
        Index { schema_version: 2, media_type: INDEX.to_string(), manifests }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImageManifest {
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ImageConfig {
    pub(crate) architecture: String,
    os: String,
    #[serde(default)]
    config: serde_json::Map<String, serde_json::Value>,
    pub(crate) rootfs: RootFs,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RootFs {
    #[serde(rename = "type")]
    kind: String,
    /// The digests of the layers when they are unpacked: of a kit, its own.
    pub(crate) diff_ids: Vec<Digest>,
}

/// The digest of the kit that an image is, from the image's configuration.
#[must_use]
pub fn kit_digest(config: &[u8]) -> Option<Digest> {
    let config: ImageConfig = serde_json::from_slice(config).ok()?;
    match config.rootfs.diff_ids[..] {
        [digest] => Some(digest),
        _ => None,
    }
}

/// What stands in the place of files where there are none.
pub(crate) const EMPTY: &[u8] = b"{}";
const EMPTY_KIND: &str = "application/vnd.oci.empty.v1+json";
const SIGNATURES_KIND: &str = "application/vnd.purser.kit.signatures.v1";

/// The manifest of an artifact that belongs to an image and carries signatures.
pub(crate) fn vouching(kind: &str, subject: &[u8], signatures: &str) -> serde_json::Value {
    let empty = Descriptor::new(EMPTY_KIND, EMPTY);
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": SIGNATURES_KIND,
        "config": empty,
        "layers": [empty],
        "subject": Descriptor::new(kind, subject),
        "annotations": { SIGNATURES: signatures },
    })
}

/// A kit as an image: its documents, of which each names the next.
pub(crate) struct Image {
    pub(crate) descriptor: Descriptor,
    pub(crate) blobs: Vec<(Descriptor, Vec<u8>)>,
}

impl Image {
    /// Of a kit with this digest, whose layer was packed with zstd.
    pub(crate) fn new(
        name: &str,
        version: &str,
        digest: Digest,
        packed: Vec<u8>,
    ) -> Result<Image, serde_json::Error> {
        let config = serde_json::to_vec(&ImageConfig {
            architecture: crate::debian::architecture().to_string(),
            os: "linux".to_string(),
            config: serde_json::Map::new(),
            rootfs: RootFs { kind: "layers".to_string(), diff_ids: vec![digest] },
        })?;
        let layer = Descriptor::new(&format!("{LAYER}+zstd"), &packed);
        let config_at = Descriptor::new(CONFIG, &config);
        let manifest = serde_json::to_vec(&ImageManifest {
            schema_version: 2,
            media_type: MANIFEST.to_string(),
            config: config_at.clone(),
            layers: vec![layer.clone()],
        })?;
        let mut descriptor = Descriptor::new(MANIFEST, &manifest);
        let blobs = vec![(layer, packed), (config_at, config), (descriptor.clone(), manifest)];
        descriptor.annotations = [(TITLE, name), (VERSION, version), (REFERENCE, name)]
            .into_iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect();
        Ok(Image { descriptor, blobs })
    }
}

#[cfg(test)]
mod tests {
    use super::{Image, ImageConfig, ImageManifest, Packing};
    use crate::digest::Digest;

    #[test]
    fn documents_of_an_image() {
        let digest = Digest::of(b"layer");
        let image = Image::new("gdb", "1", digest, b"packed".to_vec()).unwrap();
        assert_eq!(image.descriptor.title(), "gdb");
        let [(layer, _), (_, config), (manifest_at, manifest)] = &image.blobs[..] else { panic!() };
        assert_eq!(layer.packing(), Some(Packing::Zstd));
        assert_eq!(manifest_at.digest, image.descriptor.digest);
        let manifest: ImageManifest = serde_json::from_slice(manifest).unwrap();
        assert_eq!(&manifest.layers[0], layer);
        let config: ImageConfig = serde_json::from_slice(config).unwrap();
        assert_eq!(config.rootfs.diff_ids, [digest]);
    }
}
