// SPDX-License-Identifier: Apache-2.0
//! Events as bytes for the store, and back.
//!
//! An event is a list of tagged fields. A number is a tag and a varint, a string is a tag, a
//! length and bytes; zero and empty fields are left out, a field may repeat, and a reader
//! passes over tags it does not know: older stores stay readable, newer ones nearly so.

mod event;
mod field;
mod session;

pub use event::{decode, encode};

use crate::Container;
use field::{Fields, Put, Value};

/// Bytes that are not an event.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes end inside a field.
    #[error("the event is cut off inside a field")]
    Cut,
    /// A number longer than 64 bits.
    #[error("a number in the event is longer than 64 bits")]
    Number,
    /// The kind is missing or unknown to this version.
    #[error("event kind {0} is unknown to this version of purser")]
    Kind(u64),
}

mod container_tag {
    pub(super) const ID: u32 = 1;
    pub(super) const RUNTIME: u32 = 2;
    pub(super) const NAME: u32 = 3;
    pub(super) const IMAGE: u32 = 4;
    pub(super) const LABEL_KEY: u32 = 5;
    pub(super) const LABEL_VALUE: u32 = 6;
    pub(super) const POD_NAME: u32 = 7;
    pub(super) const POD_NAMESPACE: u32 = 8;
    pub(super) const POD_UID: u32 = 9;
}

/// Encodes what is known of a container.
pub fn encode_container(container: &Container) -> Vec<u8> {
    use container_tag as tag;
    let mut out = Vec::with_capacity(160);
    out.text(tag::ID, &container.id);
    out.text(tag::RUNTIME, &container.runtime);
    out.text(tag::NAME, &container.name);
    out.text(tag::IMAGE, &container.image);
    for (key, value) in &container.labels {
        out.item(tag::LABEL_KEY, key.as_bytes());
        out.item(tag::LABEL_VALUE, value.as_bytes());
    }
    out.text(tag::POD_NAME, &container.pod_name);
    out.text(tag::POD_NAMESPACE, &container.pod_namespace);
    out.text(tag::POD_UID, &container.pod_uid);
    out
}

/// Decodes what [`encode_container`] wrote.
pub fn decode_container(bytes: &[u8]) -> Result<Container, CodecError> {
    use container_tag as tag;
    let mut container = Container::default();
    let mut fields = Fields::new(bytes);
    while let Some((number, value)) = fields.next()? {
        let Value::Bytes(bytes) = value else { continue };
        let text = || String::from_utf8_lossy(bytes).into_owned();
        match number {
            tag::ID => container.id = text(),
            tag::RUNTIME => container.runtime = text(),
            tag::NAME => container.name = text(),
            tag::IMAGE => container.image = text(),
            tag::LABEL_KEY => container.labels.push((text(), String::new())),
            tag::LABEL_VALUE => {
                if let Some(label) = container.labels.last_mut() {
                    label.1 = text();
                }
            }
            tag::POD_NAME => container.pod_name = text(),
            tag::POD_NAMESPACE => container.pod_namespace = text(),
            tag::POD_UID => container.pod_uid = text(),
            _ => {}
        }
    }
    Ok(container)
}
