// SPDX-License-Identifier: Apache-2.0
//! The kits of a session: those named and those they need, or those that suit the target.

use crate::command::{Usage, say};
use crate::config::{Debug, Pull};
use anyhow::{Context, bail};
use debug::{Capabilities, Kit};
use kit::{Digest, Manifest, Name, Shelf, Shelved};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The kit that every session has which names none.
const USUAL: &str = "base";
/// The most kits of a session.
const KITS_LIMIT: usize = 32;
/// The most kits looked at for those that suit.
const KNOWN_LIMIT: usize = 256;
/// What says what a kit is.
const FILE: &str = "kit.toml";
/// The longest one.
const FILE_LIMIT: u64 = 1 << 20;

/// A kit, and what it needs beside the target's rights.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    pub(super) kit: Kit,
    pub(super) capabilities: Capabilities,
    /// What says what it is.
    pub(super) file: PathBuf,
    /// Of all that is in it; a directory that somebody made by hand has none.
    digest: Option<Digest>,
    /// Keeps it from being removed until the session's keeper does.
    _hold: Option<Arc<OwnedFd>>,
    requires: Vec<String>,
    suits: Vec<String>,
}

impl Chosen {
    /// Whether it has a program of this name.
    pub(super) fn has(&self, program: &OsStr) -> bool {
        self.kit.path.iter().any(|dir| self.kit.root.join(dir).join(program).symlink_metadata().is_ok())
    }

    /// How the record calls it.
    pub(super) fn told(&self) -> String {
        match &self.digest {
            Some(digest) => format!("{}@{digest}", self.kit.name),
            None => self.kit.name.clone(),
        }
    }

    /// The digest and the directory of one that is on a shelf.
    pub(super) fn shelved(&self) -> Option<(&Digest, &Path)> {
        Some((self.digest.as_ref()?, self.file.parent()?))
    }
}

/// Fetches kits from the registry, as the configuration wants it: those that are named and what they need, or the
/// usual one. What is there serves when no other can be had.
pub(super) fn fetch(debug: &Debug, directory: &Path, wanted: &[String]) -> anyhow::Result<()> {
    if debug.pull == Pull::Never {
        return Ok(());
    }
    let debug = Debug { kits: directory.to_owned(), ..debug.clone() };
    let usual = [USUAL.to_string()];
    let words = if wanted.is_empty() { &usual[..] } else { wanted };
    let mut left: Vec<Name> = words.iter().filter_map(|word| Name::new(word).ok()).collect();
    let mut seen = BTreeSet::new();
    while let Some(name) = left.pop() {
        if seen.len() == KITS_LIMIT || !seen.insert(name.clone()) {
            continue;
        }
        let place = directory.join(name.as_str());
        let there = place.join(FILE).exists();
        // What somebody has made by hand is not replaced.
        let ours = !there || place.is_symlink();
        if ours && (!there || debug.pull == Pull::Always) {
            match crate::command::kit::fetch(&debug, name.as_str(), &[]) {
                Err(error) if there => say(&format!("purser: {error:#}; taking kit {name} as it is here")),
                fetched => drop(fetched.with_context(|| format!("fetching kit {name}, which is not here"))?),
            }
        }
        left.extend(Shelf::new(directory).find(&name).into_iter().flat_map(|kit| kit.manifest.requires));
    }
    Ok(())
}

/// What a session is for, as far as it decides on kits.
pub(super) struct Job<'a> {
    /// The program of the target.
    pub(super) suits: &'a str,
    /// What is to be run.
    pub(super) tool: Option<&'a OsStr>,
    /// Whether the target has a program of this name itself.
    pub(super) is_there: &'a dyn Fn(&OsStr) -> bool,
}

impl Job<'_> {
    /// The kit that has what is to be run, where neither the target nor the usual kit has it; of several the one that
    /// needs least.
    fn kit_with_tool(&self, known: &[Chosen]) -> Option<Chosen> {
        let tool = self.tool.filter(|tool| !tool.as_bytes().contains(&b'/'))?;
        let mut having: Vec<&Chosen> = known.iter().filter(|kit| kit.has(tool)).collect();
        having.sort_by_key(|kit| (kit.kit.name != USUAL, kit.capabilities.bits().count_ones()));
        let best = having.into_iter().next()?;
        (best.kit.name != USUAL && !(self.is_there)(tool)).then(|| best.clone())
    }
}

/// Whether the program is this one, also with its version behind it, as in `python3.11`.
fn is_called(program: &str, name: &str) -> bool {
    let version = program.strip_prefix(name);
    version.is_some_and(|version| version.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-')))
}

/// The kits of a session: first those named, then those they require; without names the usual one, those that suit the
/// target's program, and the one that has what is to be run.
pub(super) fn chosen(directory: &Path, wanted: &[String], job: &Job<'_>) -> anyhow::Result<Vec<Chosen>> {
    let mut open: Vec<Chosen> = Vec::new();
    if wanted.is_empty() {
        let known = known(directory);
        open.extend(job.kit_with_tool(&known));
        let fits =
            |kit: &Chosen| kit.kit.name == USUAL || kit.suits.iter().any(|suits| is_called(job.suits, suits));
        open.extend(known.into_iter().filter(fits));
        // The special one's programs go before the usual one's.
        open.sort_by_key(|kit| kit.kit.name == USUAL);
    } else {
        for word in wanted {
            open.push(find(directory, word)?);
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
            let found = find(directory, required);
            open.push(found.with_context(|| format!("kit {} needs kit {required}", kit.kit.name))?);
        }
        all.push(kit);
    }
    Ok(all)
}

/// A directory for what looks like one, else a kit by name.
fn find(directory: &Path, word: &str) -> anyhow::Result<Chosen> {
    if word.contains('/') {
        return by_hand(&std::path::absolute(word).context("looking at the kit's directory")?);
    }
    let name = Name::new(word).map_err(|error| Usage(error.to_string()))?;
    if !directory.join(word).join(FILE).exists() {
        let names: Vec<String> = known(directory).into_iter().map(|kit| kit.kit.name).collect();
        let names = match names.is_empty() {
            true => {
                "there are none; purser kit build base makes one, purser kit pull base fetches one".to_owned()
            }
            false => format!("there are {}", names.join(", ")),
        };
        bail!(Usage(format!("no kit {word:?} in {}: {names}", directory.display())));
    }
    named(directory, &name)
}

/// The kit of this name, from the shelf or made by hand.
fn named(directory: &Path, name: &Name) -> anyhow::Result<Chosen> {
    let place = directory.join(name.as_str());
    if !place.is_symlink() {
        return by_hand(&place);
    }
    let shelved: Shelved = Shelf::new(directory).find(name)?;
    let hold = Arc::new(shelved.hold()?);
    let mut chosen = read(&shelved.manifest, shelved.root(), shelved.directory.join(FILE))?;
    chosen.kit.hold = Some(shelved.directory.clone());
    Ok(Chosen { digest: Some(shelved.digest), _hold: Some(hold), ..chosen })
}

/// The kits in a directory that can be read.
fn known(directory: &Path) -> Vec<Chosen> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().take(KNOWN_LIMIT);
    let names = entries.filter_map(|entry| Name::new(entry.file_name().to_str()?).ok());
    let mut all: Vec<Chosen> = names.filter_map(|name| named(directory, &name).ok()).collect();
    all.sort_by(|one, other| one.kit.name.cmp(&other.kit.name));
    all
}

/// A directory with a kit.toml that nobody has put on a shelf.
fn by_hand(dir: &Path) -> anyhow::Result<Chosen> {
    let file = dir.join(FILE);
    let doing = || format!("reading kit {}", file.display());
    let meta = fs::metadata(&file).with_context(doing)?;
    if !meta.is_file() {
        bail!("{} is no regular file", file.display());
    }
    if meta.len() > FILE_LIMIT {
        bail!("{} is longer than {FILE_LIMIT} bytes", file.display());
    }
    let text = fs::read_to_string(&file).with_context(doing)?;
    let manifest = Manifest::parse(&text, &file.display().to_string())?;
    // What is mounted may be the directory itself.
    let root = Some(dir.join("root")).filter(|root| root.is_dir()).unwrap_or_else(|| dir.to_owned());
    let root = fs::canonicalize(&root).with_context(doing)?;
    // A directory that came from somewhere shows the session nothing else of the host.
    if !root.starts_with(fs::canonicalize(dir).with_context(doing)?) {
        bail!("{}: root leads to {}, which is not in it", dir.display(), root.display());
    }
    read(&manifest, root, file)
}

fn read(manifest: &Manifest, root: PathBuf, file: PathBuf) -> anyhow::Result<Chosen> {
    manifest.must_run_here()?;
    let name = manifest.name.to_string();
    let mut capabilities = Capabilities::default();
    for word in &manifest.capabilities {
        capabilities = capabilities.and(word.parse().with_context(|| format!("capabilities of kit {name}"))?);
    }
    let kit =
        Kit { name, root, hold: None, path: manifest.path.clone(), environment: manifest.environment() };
    let requires = manifest.requires.iter().map(ToString::to_string).collect();
    Ok(Chosen { kit, capabilities, file, digest: None, _hold: None, requires, suits: manifest.suits.clone() })
}

#[cfg(test)]
mod tests {
    use super::{Job, chosen};
    use std::ffi::OsStr;
    use std::fs;

    fn kit(dir: &std::path::Path, name: &str, more: &str) {
        fs::create_dir_all(dir.join(name).join("root/bin")).unwrap();
        let arch = if more.contains("arch") { "" } else { "arch = \"x86_64\"\n" };
        let head = format!("name = \"{name}\"\nversion = \"1\"\nsummary = \"a kit\"\npath = [\"bin\"]");
        let text = format!("{head}\n{arch}{more}");
        fs::write(dir.join(name).join("kit.toml"), text).unwrap();
    }

    #[test]
    fn named_suiting_and_required() {
        let dir = tempfile::tempdir().unwrap();
        kit(dir.path(), "base", "");
        kit(dir.path(), "gdb", "requires = [\"base\", \"jvm\"]\ncapabilities = [\"SYS_PTRACE\"]");
        kit(dir.path(), "jvm", "requires = [\"gdb\"]\nsuits = [\"java\"]");
        kit(dir.path(), "bad", "requires = [\"gone\"]");
        kit(dir.path(), "alien", "arch = \"vax\"");
        let names = |wanted: &[&str], command: &str| {
            let wanted: Vec<String> = wanted.iter().map(|word| (*word).to_owned()).collect();
            let job = Job { suits: command, tool: None, is_there: &|_| false };
            chosen(dir.path(), &wanted, &job)
                .map(|kits| kits.into_iter().map(|one| one.kit.name).collect::<Vec<_>>().join(" "))
                .map_err(|error| format!("{error:#}"))
        };
        assert_eq!(names(&[], "sh").unwrap(), "base");
        for (program, wanted) in [("java", "jvm base gdb"), ("java-17.0", "jvm base gdb"), ("javac", "base")]
        {
            assert_eq!(names(&[], program).unwrap(), wanted, "{program}");
        }
        assert_eq!(names(&["gdb", "base"], "").unwrap(), "gdb base jvm");
        assert!(names(&["bad"], "").unwrap_err().contains("kit bad needs kit gone"));
        assert!(names(&["nope"], "").unwrap_err().contains("there are bad, base, gdb, jvm"));
        assert!(names(&["alien"], "").unwrap_err().contains("vax"));
        assert!(names(&["../etc"], "").is_err());
        let put =
            |kit: &str, tool: &str| fs::write(dir.path().join(kit).join("root/bin").join(tool), "").unwrap();
        for (kit, tool) in
            [("base", "ls"), ("gdb", "ls"), ("gdb", "python3"), ("jvm", "python3"), ("gdb", "gdb")]
        {
            put(kit, tool);
        }
        let for_tool = |tool: &str, is_there: bool| {
            let job = Job { suits: "sh", tool: Some(OsStr::new(tool)), is_there: &|_| is_there };
            let kits = chosen(dir.path(), &[], &job).unwrap();
            kits.into_iter().map(|one| one.kit.name).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(for_tool("gdb", false), "gdb base jvm");
        assert_eq!(for_tool("gdb", true), "base");
        assert_eq!(for_tool("ls", false), "base");
        assert_eq!(for_tool("python3", false), "jvm base gdb");
        assert_eq!((for_tool("../x", false), for_tool("none", false)), ("base".into(), "base".into()));
        let by_place = dir.path().join("base").display().to_string();
        assert_eq!(names(&[&by_place], "").unwrap(), "base");
    }

    #[test]
    fn a_directory_shows_nothing_else_of_the_host() {
        let dir = tempfile::tempdir().unwrap();
        kit(dir.path(), "out", "");
        fs::remove_dir_all(dir.path().join("out/root")).unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("out/root")).unwrap();
        fs::create_dir_all(dir.path().join("odd/kit.toml")).unwrap();
        let job = Job { suits: "", tool: None, is_there: &|_| false };
        for (kit, why) in [("out", "root leads to /etc"), ("odd", "is no regular file")] {
            let place = dir.path().join(kit).display().to_string();
            let told = chosen(dir.path(), &[place], &job).unwrap_err().to_string();
            assert!(told.contains(why), "{told}");
        }
    }
}
