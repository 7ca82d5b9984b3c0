// SPDX-License-Identifier: Apache-2.0
//! What is found: an image as a store lists it, and the tree of an image or a container.

use crate::config::Config;
use crate::stores::Engine;
use crate::{ImageError, View, containerd, docker, storage};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The most layers of a tree.
pub(crate) const LAYERS_LIMIT: usize = 500;

/// An image in a store. What its files say is read by [`Image::tree`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// What it is called; nothing when it has lost its names.
    pub names: Vec<String>,
    /// Its id: the 64 digits of the digest of its configuration (with containerd: of what was pulled).
    pub id: String,
    /// Digests under which registries have it, as `sha256:…`.
    pub digests: Vec<String>,
    /// Whose files it is in.
    pub engine: Engine,
    /// The directory of the store.
    pub store: PathBuf,
    /// The part of the store it is in: Docker's storage driver, containerd's namespace.
    pub(crate) part: String,
}

impl Image {
    /// A name for people.
    #[must_use]
    pub fn title(&self) -> &str {
        self.names.first().map_or(self.short_id(), String::as_str)
    }

    /// The start of the id.
    #[must_use]
    pub fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }

    /// Its tree.
    ///
    /// # Errors
    /// When files of it are missing, damaged, or kept in another way.
    pub fn tree(&self) -> Result<Tree, ImageError> {
        match self.engine {
            Engine::Docker => docker::tree(self),
            Engine::Storage => storage::tree(self),
            Engine::Containerd => containerd::tree(self),
        }
    }
}

/// The files a container of an image starts with, or those a stopped container has left.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Tree {
    /// What people call the image or the container.
    pub name: String,
    /// The id of the image or the container.
    pub id: String,
    /// Of a container, the image's name; empty where the files do not tell it.
    pub image: String,
    /// Whose files it is in.
    pub engine: Engine,
    /// The directory of the store.
    pub store: PathBuf,
    /// The directories of the layers, the lowest first; below `store`.
    pub layers: Vec<PathBuf>,
    /// A container's own changes, above all layers.
    pub upper: Option<PathBuf>,
    /// What the image, or the container, is to be started with.
    pub config: Config,
    /// What a container has mounted in its tree.
    pub volumes: Vec<Volume>,
}

impl Tree {
    /// All directories, the highest first.
    pub fn from_top(&self) -> impl Iterator<Item = &PathBuf> {
        self.upper.iter().chain(self.layers.iter().rev())
    }

    /// Opens the directories, to look for files in them.
    ///
    /// # Errors
    /// When one is not there, or is reached by a symbolic link below the store.
    pub fn view(&self) -> Result<View, ImageError> {
        View::of(self)
    }
}

/// A directory or file of the host in a container's tree.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Volume {
    /// Where on the host.
    pub source: PathBuf,
    /// Where in the tree.
    pub destination: PathBuf,
}
