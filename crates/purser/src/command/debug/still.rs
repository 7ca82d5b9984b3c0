// SPDX-License-Identifier: Apache-2.0
//! Targets that do not run: images and stopped containers. What a session in them sees, and who stands in.

use super::target::Knows;
use crate::exit::Exit;
use anyhow::Context;
use container::{Recorded, Runtime};
use debug::{Layers, Stand, Target};
use image::{Archive, Config, Engine, Stores, Tree};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

/// The hidden command that stands in for a target.
const STAND_IN: &str = "debug-stand-in";

/// Stands in for a target; never called by hand.
#[derive(Debug, clap::Args)]
#[command(hide = true, after_help = "Examples: none; purser debug calls it")]
pub(crate) struct StandInArgs {}

/// Something with files and without processes.
#[derive(Debug)]
pub(super) struct Still {
    /// How the policy and the record call it.
    pub(super) name: String,
    /// What it is, for who watches.
    pub(super) what: &'static str,
    /// Whether it is no container, so that its name says what it is.
    pub(super) is_image: bool,
    /// The host name inside.
    host_name: String,
    config: Config,
    ground: Ground,
}

/// What the stand-in's root is made of, as it is handed to it.
#[derive(Debug, Serialize, Deserialize)]
enum Ground {
    Tree(Box<Tree>),
    /// A file or directory, and the name of an image in it.
    Archive(PathBuf, Option<String>),
}

impl Still {
    /// An image of this host, and what the record calls it.
    pub(super) fn image(word: &str, knows: Knows<'_>) -> anyhow::Result<(Still, Recorded)> {
        let tree = image::find(&stores(), word, &|image| knows.of_image(image))?;
        let name = format!("image:{}", tree.name);
        let recorded = Recorded { name: name.clone(), ..recorded(&tree) };
        Ok((Still { is_image: true, ..Still::of(tree, name, "an image") }, recorded))
    }

    /// A container by its whole id.
    pub(super) fn container(id: &str, what: &'static str) -> anyhow::Result<(Still, Recorded)> {
        let stores = stores();
        let mut tree = image::stopped(&stores, id)?;
        if stores.is_of_user(&tree.store) {
            // Which files of the host it has is that user's word, who need not be able to read them.
            tree.volumes.clear();
        }
        let recorded = recorded(&tree);
        Ok((Still::of(tree, recorded.name.clone(), what), recorded))
    }

    /// An image or a tree in a file or a directory: `PATH`, or `PATH#NAME` for one of several images.
    pub(super) fn archive(word: &str) -> anyhow::Result<(Still, Recorded)> {
        let (path, name) = match word.rsplit_once('#') {
            Some((path, name)) if !Path::new(word).exists() => (path, Some(name)),
            _ => (word, None),
        };
        let path = std::path::absolute(path).context("looking at the archive")?;
        let archive = Archive::open(&path, name)?;
        let file = path.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
        let called = format!("archive:{}", path.display());
        // Not the image's, which may be here as well: by it the record knows what runs in which. Nor is its name that
        // of an image, for who made the file has chosen it.
        let id = image::digest(format!("{called}\n{}", archive.id).as_bytes());
        let recorded = Recorded { name: called.clone(), ..blank(id, Runtime::Unknown) };
        let still = Still {
            name: called,
            what: "an archive",
            is_image: true,
            host_name: file.split('.').next().unwrap_or_default().to_owned(),
            config: archive.config.clone(),
            ground: Ground::Archive(path, name.map(str::to_owned)),
        };
        Ok((still, recorded))
    }

    fn of(tree: Tree, name: String, what: &'static str) -> Still {
        let host_name = tree.id.get(..12).unwrap_or(&tree.id).to_owned();
        let config = tree.config.clone();
        Still { name, what, is_image: false, host_name, config, ground: Ground::Tree(Box::new(tree)) }
    }

    /// The program it would run.
    pub(super) fn program(&self) -> &str {
        self.config.program()
    }

    /// The processor it is for, when that is not this one.
    pub(super) fn foreign(&self) -> Option<&str> {
        let of = Some(self.config.architecture.as_str()).filter(|of| !of.is_empty())?;
        (of != image::architecture()).then_some(of)
    }

    /// The user it would run as, when that is not root.
    pub(super) fn user(&self) -> Option<&str> {
        let user = self.config.user.as_str();
        let is_root = ["", "0", "root", "0:0", "root:root"].contains(&user);
        (!is_root).then_some(user)
    }

    /// A regular file of it; none in an archive, which is not unpacked yet.
    pub(super) fn open(&self, path: &Path) -> anyhow::Result<Option<File>> {
        let Ground::Tree(tree) = &self.ground else { return Ok(None) };
        Ok(tree.view()?.open(path)?.map(|opened| opened.file))
    }

    /// A process to enter, with `room` bytes for changes.
    pub(super) fn stand(&self, room: u64) -> anyhow::Result<Target> {
        let path = self.config.environment.iter().find_map(|line| line.strip_prefix("PATH="));
        let work_dir = Some(self.config.work_dir.as_str()).filter(|dir| dir.starts_with('/'));
        let user_marks = match &self.ground {
            Ground::Tree(tree) => stores().is_of_user(&tree.store),
            Ground::Archive(..) => false,
        };
        let stand = Stand {
            name: self.host_name.clone(),
            path: path.filter(|path| !path.is_empty()).map(str::to_owned),
            work_dir: PathBuf::from(work_dir.unwrap_or("/")),
            room,
            user_marks,
            note: serde_json::to_string(&(&self.ground, room)).context("writing a note down")?,
        };
        Ok(debug::stand_in(&[STAND_IN], &stand)?)
    }
}

/// Those of the host's for who comes by `sudo`: in a home there may be an image of any name and with any links.
pub(super) fn stores() -> Stores {
    let stores = Stores::of_host();
    if super::who::comes_by_sudo() { stores.without_users() } else { stores }
}

fn recorded(tree: &Tree) -> Recorded {
    Recorded {
        name: tree.name.clone(),
        image: tree.image.clone(),
        ..blank(tree.id.clone(), runtime(tree.engine))
    }
}

fn blank(id: String, runtime: Runtime) -> Recorded {
    let (name, image) = (String::new(), String::new());
    Recorded { id, runtime, name, image, pod: None, pid: None, started: None, owner: None }
}

fn runtime(engine: Engine) -> Runtime {
    match engine {
        Engine::Docker => Runtime::Docker,
        Engine::Storage => Runtime::Podman,
        Engine::Containerd => Runtime::Containerd,
    }
}

/// What the policy knows of an image.
pub(super) fn of_image(image: &image::Image) -> Recorded {
    Recorded {
        name: format!("image:{}", image.title()),
        image: image.title().to_owned(),
        ..blank(image.id.clone(), runtime(image.engine))
    }
}

/// The main function of what stands in.
pub(crate) fn stand_in() -> Exit {
    Exit::Command(debug::stand(open))
}

fn open(note: &str, memory: BorrowedFd<'_>) -> Result<Layers, String> {
    let (ground, room) = serde_json::from_str(note).map_err(|error| error.to_string())?;
    match ground {
        Ground::Tree(tree) => {
            let from_top = tree.view().map_err(|error| error.to_string())?.into_layers();
            let volumes = tree.volumes.into_iter().map(|volume| (volume.source, volume.destination));
            Ok(Layers { from_top, volumes: volumes.collect() })
        }
        Ground::Archive(path, name) => {
            let unpacked =
                Archive::open(&path, name.as_deref()).and_then(|archive| archive.unpack(memory, room));
            Ok(Layers { from_top: unpacked.map_err(|error| error.to_string())?, volumes: Vec::new() })
        }
    }
}
