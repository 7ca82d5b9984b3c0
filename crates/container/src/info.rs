// SPDX-License-Identifier: Apache-2.0
//! What a runtime says about a container, cut to bounded sizes. Text stays as the runtime gave it:
//! whoever prints it must escape it.

use std::collections::BTreeMap;

use crate::Runtime;

/// The longest name, image or pod name kept, in bytes.
const TEXT_LIMIT: usize = 1024;
/// The most labels kept of one container.
const LABELS_LIMIT: usize = 64;
/// The most bytes of labels kept of one container, keys and values together.
const LABELS_BYTES_LIMIT: usize = 8 * 1024;

/// A container as its runtime describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// The id, as in the [`Identity`](crate::Identity).
    pub id: String,
    /// The runtime that answered.
    pub runtime: Runtime,
    /// The name people use; the id where the runtime has no names.
    pub name: String,
    /// The image as it was named at creation; empty when the runtime has no images.
    pub image: String,
    /// The image's digest, when the runtime told it.
    pub image_id: Option<String>,
    /// Labels or annotations, by key: at most 64 and 8 KiB.
    pub labels: Vec<(String, String)>,
    /// How many labels were left out because of those limits.
    pub labels_dropped: usize,
    /// The Kubernetes pod.
    pub pod: Option<Pod>,
}

/// A Kubernetes pod; a field is empty when the runtime does not tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its uid.
    pub uid: String,
}

/// What a source read, before limits.
pub(crate) struct Raw {
    pub(crate) id: String,
    pub(crate) runtime: Runtime,
    pub(crate) name: Option<String>,
    pub(crate) image: Option<String>,
    pub(crate) image_id: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
}

impl Info {
    /// Fills what is missing from the well-known labels, and applies the limits.
    pub(crate) fn from_raw(raw: Raw) -> Info {
        let label =
            |keys: &[&str]| keys.iter().find_map(|key| raw.labels.get(*key)).filter(|text| !text.is_empty());
        let pod = label(&["io.kubernetes.pod.name", "io.kubernetes.cri.sandbox-name"]).map(|name| Pod {
            name: cut(name),
            namespace: label(&["io.kubernetes.pod.namespace", "io.kubernetes.cri.sandbox-namespace"])
                .map(|text| cut(text))
                .unwrap_or_default(),
            uid: label(&["io.kubernetes.pod.uid", "io.kubernetes.cri.sandbox-uid"])
                .map(|text| cut(text))
                .unwrap_or_default(),
        });
        let given = raw.name.as_ref().filter(|name| !name.is_empty());
        let name = given
            .or_else(|| {
                label(&["io.kubernetes.cri.container-name", "io.kubernetes.container.name", "nerdctl/name"])
            })
            .or_else(|| label(&["io.kubernetes.cri.sandbox-name"]))
            .unwrap_or(&raw.id);
        let image = raw.image.as_ref().filter(|image| !image.is_empty()).or_else(|| {
            label(&[
                "io.kubernetes.cri.image-name",
                "io.kubernetes.cri-o.ImageName",
                "io.container.manager.image",
            ])
        });
        let (name, image) = (cut(name), image.map(|text| cut(text)).unwrap_or_default());
        let image_id = raw.image_id.as_ref().filter(|text| !text.is_empty()).map(|text| cut(text));
        let (labels, labels_dropped) = bounded(raw.labels);
        Info { id: raw.id, runtime: raw.runtime, name, image, image_id, labels, labels_dropped, pod }
    }

    /// About how many bytes this keeps in memory.
    pub(crate) fn size(&self) -> usize {
        let labels: usize = self.labels.iter().map(|(key, value)| key.len() + value.len() + 48).sum();
        let pod = self.pod.as_ref().map_or(0, |pod| pod.name.len() + pod.namespace.len() + pod.uid.len());
        256 + 2 * self.id.len() + self.name.len() + self.image.len() + labels + pod
    }
}

fn cut(text: &str) -> String {
    text.get(..text.floor_char_boundary(TEXT_LIMIT)).unwrap_or_default().to_owned()
}

/// Labels within the limits, and how many were left out; a label is kept whole or not at all.
fn bounded(labels: BTreeMap<String, String>) -> (Vec<(String, String)>, usize) {
    let (mut kept, mut bytes, mut dropped) = (Vec::new(), 0_usize, 0);
    for (key, value) in labels {
        let size = key.len() + value.len();
        if kept.len() < LABELS_LIMIT && bytes + size <= LABELS_BYTES_LIMIT {
            bytes += size;
            kept.push((key, value));
        } else {
            dropped += 1;
        }
    }
    (kept, dropped)
}

#[cfg(test)]
mod tests {
    use super::{Info, Raw};
    use crate::Runtime;

    fn raw(labels: &[(&str, &str)]) -> Raw {
        Raw {
            id: "web1".into(),
            runtime: Runtime::Containerd,
            name: None,
            image: None,
            image_id: None,
            labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        }
    }

    #[test]
    fn kubernetes_annotations_fill_in() {
        let info = Info::from_raw(raw(&[
            ("io.kubernetes.cri.container-name", "app"),
            ("io.kubernetes.cri.image-name", "registry/app:1"),
            ("io.kubernetes.cri.sandbox-name", "app-7f"),
            ("io.kubernetes.cri.sandbox-namespace", "shop"),
            ("io.kubernetes.cri.sandbox-uid", "u-1"),
        ]));
        assert_eq!((info.name.as_str(), info.image.as_str()), ("app", "registry/app:1"));
        let pod = info.pod.unwrap();
        assert_eq!((pod.name.as_str(), pod.namespace.as_str(), pod.uid.as_str()), ("app-7f", "shop", "u-1"));
    }

    #[test]
    fn the_id_stands_in_for_a_name() {
        assert_eq!(Info::from_raw(raw(&[])).name, "web1");
        assert_eq!(Info::from_raw(raw(&[])).pod, None);
    }

    #[test]
    fn sizes_are_bounded() {
        let mut big = raw(&[]);
        big.name = Some("é".repeat(5000));
        big.labels = (0..1000).map(|n| (format!("k{n:04}"), "v".repeat(100))).collect();
        big.labels.insert("a".into(), "x".repeat(100_000));
        let info = Info::from_raw(big);
        assert_eq!(info.name.len(), 1024);
        assert_eq!(info.labels.len(), 64);
        assert_eq!(info.labels_dropped, 937);
        assert!(info.size() < 20_000);
    }
}
