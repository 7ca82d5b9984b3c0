// SPDX-License-Identifier: Apache-2.0
//! Manifests: of one image, or of one image for each platform. OCI's and Docker's differ in their names only.

use crate::digest::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All that we can read, as a registry is told.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// Where something is, and what it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// Of its bytes.
    pub digest: Digest,
    /// How many there are.
    pub size: u64,
    /// For which platform, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// What others may have noted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What an image runs on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// As Go calls the processor.
    pub architecture: String,
    /// The system.
    pub os: String,
}

/// What a registry has under a tag or digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manifest {
    /// One image.
    Image {
        /// Says how it is run, and what its layers are when unpacked.
        config: Descriptor,
        /// Its files.
        layers: Vec<Descriptor>,
        /// What others may have noted.
        annotations: BTreeMap<String, String>,
    },
    /// One for each platform.
    Index(Vec<Descriptor>),
}

/// Both in one, as they come.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u32,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// Reads a document; `kind` is what the registry says it is.
    pub(crate) fn parse(bytes: &[u8], kind: &str) -> Result<Manifest, String> {
        let wrong = |why: String| {
            let said: String = kind.chars().filter(|c| c.is_ascii_graphic()).take(80).collect();
            let said = if said.is_empty() { String::new() } else { format!(" but {said}") };
            format!("it answers with no manifest{said} ({why}); is this a registry?")
        };
        let document: Document = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
        match document {
            Document {
                schema_version: 2, manifests: Some(manifests), config: None, layers: None, ..
            } => Ok(Manifest::Index(manifests)),
            Document {
                schema_version: 2,
                config: Some(config),
                layers: Some(layers),
                manifests: None,
                annotations,
            } => Ok(Manifest::Image { config, layers, annotations }),
            Document { schema_version, .. } => {
                Err(wrong(format!("schema {schema_version}, neither image nor index")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Manifest;

    const DIGEST: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn images_and_indexes() {
        let one = format!(r#"{{"mediaType":"m","digest":"{DIGEST}","size":3}}"#);
        let image = format!(r#"{{"schemaVersion":2,"config":{one},"layers":[{one},{one}],"other":[]}}"#);
        assert!(matches!(
            Manifest::parse(image.as_bytes(), "").unwrap(),
            Manifest::Image { layers, .. } if layers.len() == 2
        ));
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{one}]}}"#);
        assert!(matches!(Manifest::parse(index.as_bytes(), "").unwrap(), Manifest::Index(_)));
        for (wrong, says) in [
            ("<html>Sign in</html>".to_string(), "no manifest but text/html"),
            (format!(r#"{{"schemaVersion":1,"config":{one},"layers":[]}}"#), "schema 1"),
            (format!(r#"{{"schemaVersion":2,"config":{one}}}"#), "neither"),
            (image.replace(DIGEST, "sha256:00"), "a digest is"),
            (image.replace("3", "-3"), "no manifest"),
        ] {
            let said = Manifest::parse(wrong.as_bytes(), "text/html").unwrap_err();
            assert!(said.contains(says), "{wrong}: {said}");
        }
    }
}
