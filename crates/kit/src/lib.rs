// SPDX-License-Identifier: Apache-2.0
//! Toolkits for debugging: what a kit is, how one is built from packages, how it travels and where it is kept.
//!
//! A kit is a directory tree that is mounted at [`Name::prefix`] in whatever root, and brings all it needs: its own
//! loader, libraries and settings. Nothing in it looks for a file of the root it is mounted in, but for those the
//! user names.
//!
//! - [`Recipe`] says what a kit is made of; [`build`] makes a [`Tree`] of it, the same bytes each time. The files may
//!   also come from an image's [`layers`]: [`build_from_image`] by a recipe, [`build_whole`] all its programs.
//! - [`Shelf`] is where unpacked kits are kept on a host, each under the digest of all that is in it.
//! - [`export`] and [`Archive`] are the way to other hosts: an OCI image layout in one tar file. [`Gathering`] makes
//!   the same file of what comes from elsewhere, [`pack`] the images that are in it.
//! - [`SecretKey`] signs a kit's digest, and [`Wanted`] says whose signatures a kit needs to be taken.
//!
//! Bytes from outside are packages (checked by apt), recipes, manifests and archives; the last three may be
//! hostile. This room prints nothing, reads no configuration, and knows nothing of sessions.

mod archive;
mod build;
mod debian;
mod digest;
mod elf;
mod error;
mod glob;
mod layer;
mod layers;
mod libc;
mod manifest;
mod modules;
mod name;
mod oci;
mod path;
mod recipe;
mod script;
mod shelf;
mod sign;
mod tree;
mod unpack;
mod wheel;

#[cfg(feature = "around")]
pub use archive::around;
pub use archive::{Archive, Entry, Gathering, Packed, Wanted, export, pack, seal};
pub use build::{Built, Skipped, Whole, build, build_from_image, build_whole};
pub use debian::Mirror;
pub use digest::Digest;
pub use error::KitError;
pub use layers::layers;
pub use manifest::Manifest;
pub use name::{Name, PREFIX};
pub use oci::kit_digest;
pub use recipe::{Recipe, SHIPPED};
pub use shelf::{Listed, Shelf, Shelved};
pub use sign::{PublicKey, SecretKey, Signature};
pub use tree::{Node, Tree};
