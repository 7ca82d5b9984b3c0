// SPDX-License-Identifier: Apache-2.0
//! The kits of a session: those named and those they need, or those that suit the target.

use crate::command::Usage;
use anyhow::{Context, bail};
use debug::{Capabilities, Kit};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Where kits are kept.
pub(super) const DIRECTORY: &str = "/var/lib/purser-kits";
/// The kit that every session has which names none.
const USUAL: &str = "base";
/// The most kits of a session.
const KITS_LIMIT: usize = 32;
/// The most kits looked at for those that suit.
const KNOWN_LIMIT: usize = 256;
/// The longest kit.toml.
const FILE_LIMIT: u64 = 1 << 20;

/// A kit, and what it needs beside the target's rights.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    pub(super) kit: Kit,
    pub(super) capabilities: Capabilities,
    requires: Vec<String>,
    suits: Vec<String>,
}

/// What a session wants to know of a `kit.toml`.
#[derive(Debug, Deserialize)]
struct Described {
    name: String,
    #[serde(default)]
    arch: Option<String>,
    #[serde(default)]
    requires: Vec<String>,
    #[serde(default)]
    capabilities: Vec<String>,
    #[serde(default)]
    path: Vec<String>,
    #[serde(default)]
    suits: Vec<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
}

/// The kits of a session: first those named, then those they require; without names the usual one and those
/// that say they suit a program called `command`.
pub(super) fn chosen(directory: &Path, wanted: &[String], command: &str) -> anyhow::Result<Vec<Chosen>> {
    let mut open: Vec<Chosen> = Vec::new();
    if wanted.is_empty() {
        open.extend(
            known(directory)
                .into_iter()
                .filter(|kit| kit.kit.name == USUAL || kit.suits.iter().any(|suits| suits == command)),
        );
        // The special one's programs go before the usual one's.
        open.sort_by_key(|kit| kit.kit.name == USUAL);
    } else {
        for word in wanted {
            open.push(read(&place(directory, word)?)?);
        }
    }
    let mut all: Vec<Chosen> = Vec::new();
    let mut at = 0;
    while let Some(kit) = open.get(at).cloned() {
        at += 1;
        if all.iter().any(|known| known.kit.name == kit.kit.name) {
            continue;
        }
        if all.len() == KITS_LIMIT {
            bail!(Usage(format!("more than {KITS_LIMIT} kits for one session")));
        }
        for required in &kit.requires {
            let found = place(directory, required).and_then(|dir| read(&dir));
            open.push(found.with_context(|| format!("kit {} needs kit {required}", kit.kit.name))?);
        }
        all.push(kit);
    }
    Ok(all)
}

/// A directory for what looks like one, else a kit by name.
fn place(directory: &Path, word: &str) -> anyhow::Result<PathBuf> {
    if word.contains('/') {
        return std::path::absolute(word).context("looking at the kit's directory");
    }
    let dir = directory.join(word);
    if is_name(word) && dir.join("kit.toml").exists() {
        return Ok(dir);
    }
    let names: Vec<String> = known(directory).into_iter().map(|kit| kit.kit.name).collect();
    let names = if names.is_empty() {
        "there are none".to_owned()
    } else {
        format!("there are {}", names.join(", "))
    };
    bail!(Usage(format!("no kit {word:?} in {}: {names}", directory.display())))
}

/// What may stand below `/dev/.purser`.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.is_empty() && name.len() <= 64 && !name.starts_with('.') && name.chars().all(plain)
}

/// The kits in a directory that can be read.
fn known(directory: &Path) -> Vec<Chosen> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().take(KNOWN_LIMIT);
    let mut all: Vec<Chosen> = entries
        .filter(|entry| {
            entry.file_name().to_str().is_some_and(|name| is_name(name) && !name.starts_with("sha256-"))
        })
        .filter_map(|entry| read(&entry.path()).ok())
        .collect();
    all.sort_by(|one, other| one.kit.name.cmp(&other.kit.name));
    all
}

fn read(dir: &Path) -> anyhow::Result<Chosen> {
    let file = dir.join("kit.toml");
    let doing = || format!("reading kit {}", file.display());
    let length = fs::metadata(&file).with_context(doing)?.len();
    if length > FILE_LIMIT {
        bail!("{} is longer than {FILE_LIMIT} bytes", file.display());
    }
    let described: Described =
        toml::from_str(&fs::read_to_string(&file).with_context(doing)?).with_context(doing)?;
    if !is_name(&described.name) {
        bail!("{}: {:?} is no name for a kit", file.display(), described.name);
    }
    if let Some(arch) = described.arch.filter(|arch| arch != std::env::consts::ARCH) {
        bail!("kit {} is for {arch}, this host is {}", described.name, std::env::consts::ARCH);
    }
    let mut capabilities = Capabilities::default();
    for word in &described.capabilities {
        capabilities = capabilities.and(word.parse().with_context(doing)?);
    }
    // What is mounted; a kit made by hand may be the directory itself.
    let root = Some(dir.join("root")).filter(|root| root.is_dir()).unwrap_or_else(|| dir.to_owned());
    let root = fs::canonicalize(&root).with_context(doing)?;
    let kit = Kit {
        name: described.name,
        root,
        path: described.path,
        environment: described.environment.into_iter().collect(),
    };
    Ok(Chosen { kit, capabilities, requires: described.requires, suits: described.suits })
}

#[cfg(test)]
mod tests {
    use super::chosen;
    use std::fs;

    fn kit(dir: &std::path::Path, name: &str, more: &str) {
        fs::create_dir_all(dir.join(name).join("root/bin")).unwrap();
        fs::write(dir.join(name).join("kit.toml"), format!("name = \"{name}\"\npath = [\"bin\"]\n{more}"))
            .unwrap();
    }

    #[test]
    fn named_suiting_and_required() {
        let dir = tempfile::tempdir().unwrap();
        kit(dir.path(), "base", "");
        kit(dir.path(), "gdb", "requires = [\"base\", \"gdb\"]\ncapabilities = [\"SYS_PTRACE\"]");
        kit(dir.path(), "jvm", "requires = [\"gdb\"]\nsuits = [\"java\"]");
        kit(dir.path(), "bad", "requires = [\"gone\"]");
        kit(dir.path(), "alien", "arch = \"vax\"");
        let names = |wanted: &[&str], command: &str| {
            let wanted: Vec<String> = wanted.iter().map(|word| (*word).to_owned()).collect();
            chosen(dir.path(), &wanted, command)
                .map(|kits| kits.into_iter().map(|one| one.kit.name).collect::<Vec<_>>().join(" "))
                .map_err(|error| format!("{error:#}"))
        };
        assert_eq!(names(&[], "sh").unwrap(), "base");
        assert_eq!(names(&[], "java").unwrap(), "jvm base gdb");
        assert_eq!(names(&["gdb", "base"], "").unwrap(), "gdb base");
        assert!(names(&["bad"], "").unwrap_err().contains("kit bad needs kit gone"));
        assert!(names(&["nope"], "").unwrap_err().contains("there are bad, base, gdb, jvm"));
        assert!(names(&["alien"], "").unwrap_err().contains("vax"));
        assert!(names(&["../etc"], "").is_err());
        let by_place = dir.path().join("base").display().to_string();
        assert_eq!(names(&[&by_place], "").unwrap(), "base");
    }
}
