// SPDX-License-Identifier: Apache-2.0
//! File trees of images and stopped containers: which directories they lie in, in which order, and their
//! configuration.
//!
//! - [`Stores`] says where the engines of this host keep what they have.
//! - [`images`] lists the images in them, [`find`] is the one that somebody named, [`stopped`] a container.
//! - A [`Tree`] is what a container would see as its root; a [`View`] opens single files of it without mounting.
//!
//! All of it comes from files: Docker's, those of containers-storage (Podman, Buildah, CRI-O), and containerd's.
//! No engine is asked, so none need run. What is in the files may be anybody's doing: it is bounded, no symbolic
//! link of it is followed, and no path in it leads out of its store. This room never prints or mounts, and writes only
//! what [`Archive::unpack`] is told to.

mod archive;
mod bolt;
mod config;
mod containerd;
mod docker;
mod error;
mod files;
mod find;
mod reference;
mod storage;
mod stores;
mod tree;
mod view;

pub use archive::{Archive, digest};
pub use config::Config;
pub use containerd::Kept;
pub use error::ImageError;
pub use find::{find, images, kept, stopped};
pub use stores::{Engine, Stores, architecture};
pub use tree::{Image, Tree, Volume};
pub use view::{Opened, View};
