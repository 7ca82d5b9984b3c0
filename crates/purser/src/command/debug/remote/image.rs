// SPDX-License-Identifier: Apache-2.0
//! The image that is brought to another host: this program and the kits of a session, under a name that says what is in
//! it. Sent only where there is none of that name yet; no registry has a part in this.

use super::progress;
use crate::command::debug::kits::Chosen;
use anyhow::{Context, bail};
use docker::{Daemon, Image, Layer};
use kit::Digest;
use std::path::Path;

const REPOSITORY: &str = "purser-debug";
/// The labels that say what is in an image.
const PROGRAM: &str = "purser.debug.program";
const KITS: &str = "purser.debug.kits";
/// The form of images; another one has other names.
const FORM: &str = "purser-debug 1";
/// Of the digest, as much as a name takes.
const TAG_DIGITS: usize = 32;

/// This program's processor, as Go calls it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The name of an image with this program and these kits, which is there when this returns.
pub(super) fn ready(daemon: &mut Daemon, kits: &[Chosen]) -> anyhow::Result<String> {
    if daemon.architecture != architecture() {
        bail!("that host's processor is {}, and this purser is for {}", daemon.architecture, architecture());
    }
    let mut program = Layer::default();
    program.file("purser", Path::new("/proc/self/exe"), true);
    let of_program = program.digest().context("reading this program")?;
    // Always in the same order, so that images share as many layers as they can.
    let mut sorted: Vec<&Chosen> = kits.iter().collect();
    sorted.sort_by(|one, other| one.kit.name.cmp(&other.kit.name));
    let mut layers = vec![program];
    let mut text = format!("{FORM}\n{of_program}\n");
    let mut names = Vec::new();
    for chosen in sorted {
        let (layer, digest) = of_kit(chosen)?;
        text += &format!("{} {digest}\n", chosen.kit.name);
        names.push(chosen.kit.name.clone());
        layers.push(layer);
    }
    let tag: String = Digest::of(text.as_bytes()).hex().chars().take(TAG_DIGITS).collect();
    let labels = [(PROGRAM.to_owned(), of_program), (KITS.to_owned(), names.join(" "))];
    let image = Image {
        name: format!("{REPOSITORY}:{tag}"),
        layers,
        labels: labels.into(),
        architecture: architecture().into(),
    };
    if daemon.labels(&image.name)?.as_ref() != Some(&image.labels) {
        daemon.load(&image, &mut progress("purser: sending tools to the host"))?;
        forget_others(daemon, &image)?;
    }
    Ok(image.name)
}

/// A kit's files, below `kits` as a shelf has them, and the digest of all that is in it.
fn of_kit(chosen: &Chosen) -> anyhow::Result<(Layer, String)> {
    let name = &chosen.kit.name;
    let mut layer = Layer::default();
    layer.directory("kits");
    if let Some((digest, directory)) = chosen.shelved() {
        let at = format!("sha256-{}", digest.hex());
        layer.tree(&format!("kits/{at}"), directory)?;
        layer.link(&format!("kits/{name}"), Path::new(&at));
        return Ok((layer, digest.to_string()));
    }
    layer.directory(&format!("kits/{name}"));
    layer.file(&format!("kits/{name}/kit.toml"), &chosen.file, false);
    layer.tree(&format!("kits/{name}/root"), &chosen.kit.root)?;
    let digest = layer.digest()?;
    Ok((layer, digest))
}

/// Images of other programs, and of other versions of the same kits: nobody will ask for them again.
fn forget_others(daemon: &mut Daemon, image: &Image) -> anyhow::Result<()> {
    for (name, labels) in daemon.images(REPOSITORY)? {
        let same = |key: &str| labels.get(key) == image.labels.get(key);
        if name != image.name && (!same(PROGRAM) || same(KITS)) {
            // One that a session uses stays until the next time.
            daemon.forget(&name).unwrap_or_default();
        }
    }
    Ok(())
}
