// SPDX-License-Identifier: Apache-2.0
//! Images of registries, as the OCI distribution specification (1.1) has them: what they are called, who we are
//! there, their manifests and their blobs, to and fro.
//!
//! - [`Reference`] is what people write: `registry.example:5000/kits/gdb:18@sha256:…`. It names its registry: there
//!   is no registry that is meant when none is named.
//! - [`Logins`] are the credentials that Docker's and Podman's tools keep, each for the host it is for.
//! - [`Repository`] speaks to a registry. What it hands on was compared with its digest and its size, byte for byte.
//!
//! A registry is not believed: it may lie about digests and sizes, send without end, send nothing, send others
//! away in a circle, or want credentials for another host. This room never prints, and reads no configuration of
//! purser and no environment.

mod challenge;
mod digest;
mod document;
mod error;
mod http;
mod login;
mod reference;
mod repository;

pub use digest::Digest;
pub use document::{Descriptor, Manifest, Platform};
pub use error::{RegistryError, Why};
pub use login::{Helper, Login, Logins};
pub use reference::{Host, Reference};
pub use repository::{Image, Repository, Settings};

#[cfg(feature = "said")]
pub use said::said;

#[cfg(feature = "said")]
mod said {
    //! Every parser of this room, for bytes that nobody meant.

    use crate::{Manifest, Reference, challenge, http, login};

    /// Reads the bytes as all that a registry or a file may say.
    pub fn said(bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        if let Ok(reference) = Reference::parse(&text) {
            assert_eq!(Reference::parse(&reference.to_string()).ok().as_ref(), Some(&reference));
        }
        challenge::parse(&text);
        login::read(bytes).map(drop).unwrap_or_default();
        Manifest::parse(bytes, "").map(drop).unwrap_or_default();
        http::read_all(bytes);
    }
}
