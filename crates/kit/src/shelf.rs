// SPDX-License-Identifier: Apache-2.0
//! Where a host keeps its kits: `NAME` is a link to `sha256-HEX`, which holds `kit.toml` and `root`; beside it
//! `sha256-HEX.sig`, if somebody vouches for the kit.
//!
//! A kit is written beside the others under a name that begins with a dot, and renamed when all of it is there and
//! right: whoever looks finds a whole kit or none. A session holds the directory of each kit it uses by a shared
//! lock ([`Shelved::hold`]); nothing is removed under its feet.

mod directory;

use crate::build::Built;
use crate::digest::{Digest, Digesting};
use crate::error::{KitError, files};
use crate::layer;
use crate::manifest::{MANIFEST_LIMIT, Manifest};
use crate::name::Name;
use crate::sign::{self, SecretKey, Signature};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Most entries of a shelf that are looked at.
const SHELVED_LIMIT: usize = 10_000;

/// The directory of kits on a host.
#[derive(Debug)]
pub struct Shelf {
    directory: PathBuf,
}

/// A name on a shelf, and the kit if that can be read.
pub type Listed = (Name, Result<Shelved, KitError>);

/// A kit on a shelf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shelved {
    /// What it is.
    pub manifest: Manifest,
    /// Of all that is in it.
    pub digest: Digest,
    /// Its directory: `kit.toml` and `root`.
    pub directory: PathBuf,
}

impl Shelved {
    /// What is mounted at the kit's prefix.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    /// Keeps the kit from being removed as long as the descriptor is open.
    ///
    /// # Errors
    /// When it is gone, or about to be.
    pub fn hold(&self) -> Result<OwnedFd, KitError> {
        let directory = open(&self.directory)?;
        flock(&directory, FlockOperation::NonBlockingLockShared)
            .map_err(files("holding the kit", &self.directory))?;
        Ok(directory)
    }
}

impl Shelf {
    /// The kits in this directory, which need not be there as long as nothing is put into it.
    #[must_use]
    pub fn new(directory: &Path) -> Shelf {
        Shelf { directory: directory.to_path_buf() }
    }

    /// All kits that have a name, in the order of names. A kit that cannot be read is an item, too.
    ///
    /// # Errors
    /// When the directory cannot be listed.
    pub fn list(&self) -> Result<Vec<Listed>, KitError> {
        let mut names: Vec<Name> = self.entries()?.iter().filter_map(|entry| Name::new(entry).ok()).collect();
        names.sort();
        Ok(names.into_iter().map(|name| (name.clone(), self.find(&name))).collect())
    }

    /// The kit of this name.
    ///
    /// # Errors
    /// When there is none, or it is damaged.
    pub fn find(&self, name: &Name) -> Result<Shelved, KitError> {
        let link = self.directory.join(name.as_str());
        let target = match fs::read_link(&link) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(KitError::NoKit { name: name.to_string(), shelf: self.directory.clone() });
            }
            other => other.map_err(files("looking at the link", &link))?,
        };
        let hex = target.to_str().and_then(|target| target.strip_prefix("sha256-"));
        let digest = hex.and_then(Digest::from_hex).ok_or_else(|| KitError::Damaged {
            kit: name.to_string(),
            why: format!("{} does not lead to a digest", link.display()),
        })?;
        self.read(name.as_str(), digest)
    }

    /// Puts a kit that was made here.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, built: &Built) -> Result<Shelved, KitError> {
        let text = built.manifest.render()?;
        let wrong = |error: io::Error| KitError::Build {
            kit: built.manifest.name.to_string(),
            at: "its files".to_string(),
            why: error.to_string(),
        };
        let bytes = layer::write(&text, &built.tree, Vec::new()).map_err(wrong)?;
        let digest = Digest::of(&bytes);
        let adding = self.adding()?;
        let kit = adding.unpack(&mut bytes.as_slice(), Some(digest))?;
        adding.keep(&[kit])?;
        self.read(built.manifest.name.as_str(), digest)
    }

    /// Who vouches for a kit of this digest.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn signatures(&self, digest: &Digest) -> Result<Vec<Signature>, KitError> {
        let path = self.signatures_at(digest);
        let mut text = String::new();
        match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other
                .and_then(|file| file.take(MANIFEST_LIMIT).read_to_string(&mut text))
                .map_err(files("reading", &path))?,
        };
        sign::parse(&text).map_err(|why| KitError::Wrong { origin: path.display().to_string(), why })
    }

    /// Keeps a signature beside the kit of this name.
    ///
    /// # Errors
    /// When there is no such kit, or it is damaged, or the signature cannot be written.
    pub fn sign(&self, name: &Name, key: &SecretKey) -> Result<Shelved, KitError> {
        // Nobody vouches for what has changed on the disk.
        let kit = self.verify(name)?;
        self.adding()?.vouch(&kit.digest, &[key.sign(&kit.digest)])?;
        Ok(kit)
    }

    fn signatures_at(&self, digest: &Digest) -> PathBuf {
        self.directory.join(format!("sha256-{}.sig", digest.hex()))
    }

    /// Begins to add kits: all of them are there in the end, or none.
    pub(crate) fn adding(&self) -> Result<Adding<'_>, KitError> {
        let lock = self.lock()?;
        self.sweep()?;
        Ok(Adding { shelf: self, _lock: lock })
    }

    /// Compares all that is in a kit with its digest.
    ///
    /// # Errors
    /// When there is a difference, or something cannot be read.
    pub fn verify(&self, name: &Name) -> Result<Shelved, KitError> {
        let kit = self.find(name)?;
        let damaged = |why: String| KitError::Damaged { kit: name.to_string(), why };
        let out = directory::write(&open(&kit.directory)?, Digesting::new(io::sink()))
            .map_err(|error| damaged(error.to_string()))?;
        let (_, digest) = out.finish();
        if digest != kit.digest {
            return Err(damaged(format!(
                "its files have the digest {digest} and should have {}",
                kit.digest
            )));
        }
        if kit.manifest.name != *name {
            return Err(damaged(format!("it says that it is {}", kit.manifest.name)));
        }
        Ok(kit)
    }

    /// Takes a kit's name away; [`Shelf::collect`] then removes its files.
    ///
    /// # Errors
    /// When there is none, or the name cannot be removed.
    pub fn forget(&self, name: &Name) -> Result<(), KitError> {
        let _lock = self.lock()?;
        let link = self.directory.join(name.as_str());
        match fs::remove_file(&link) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(KitError::NoKit { name: name.to_string(), shelf: self.directory.clone() })
            }
            other => other.map_err(files("removing", &link)),
        }
    }

    /// Removes the files of kits that have no name and that no session uses. Returns the digests of those that are
    /// gone and of those that are still used.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn collect(&self) -> Result<(Vec<Digest>, Vec<Digest>), KitError> {
        let _lock = self.lock()?;
        self.sweep()?;
        let named: Vec<Digest> =
            self.list()?.into_iter().filter_map(|(_, kit)| kit.ok()).map(|kit| kit.digest).collect();
        let (mut gone, mut used) = (Vec::new(), Vec::new());
        for entry in self.entries()? {
            let Some(digest) = entry.strip_prefix("sha256-").and_then(Digest::from_hex) else { continue };
            // A kit that cannot be read but has a name is left to be looked at.
            if named.contains(&digest) || self.is_named(&entry)? {
                continue;
            }
            let path = self.directory.join(&entry);
            let held = open(&path)?;
            if flock(&held, FlockOperation::NonBlockingLockExclusive).is_err() {
                used.push(digest);
                continue;
            }
            remove(&path)?;
            let signatures = self.signatures_at(&digest);
            if signatures.exists() {
                remove(&signatures)?;
            }
            gone.push(digest);
        }
        Ok((gone, used))
    }

    fn is_named(&self, directory: &str) -> Result<bool, KitError> {
        let leads = |name: &String| {
            fs::read_link(self.directory.join(name)).is_ok_and(|to| to == Path::new(directory))
        };
        Ok(self.entries()?.iter().any(leads))
    }

    /// The layer of a kit, into `out`.
    pub(crate) fn layer<W: io::Write>(&self, kit: &Shelved, out: W) -> Result<W, KitError> {
        let name = kit.manifest.name.to_string();
        directory::write(&open(&kit.directory)?, out)
            .map_err(|error| KitError::Damaged { kit: name, why: error.to_string() })
    }

    fn read(&self, name: &str, digest: Digest) -> Result<Shelved, KitError> {
        let directory = self.directory.join(format!("sha256-{}", digest.hex()));
        let path = directory.join("kit.toml");
        let mut text = String::new();
        let file = File::open(&path).map_err(files("opening", &path))?;
        file.take(MANIFEST_LIMIT + 1).read_to_string(&mut text).map_err(files("reading", &path))?;
        let manifest = Manifest::parse(&text, &path.display().to_string())?;
        if manifest.name.as_str() != name {
            let why = format!("{} leads to a kit that says it is {}", name, manifest.name);
            return Err(KitError::Damaged { kit: name.to_string(), why });
        }
        Ok(Shelved { manifest, digest, directory })
    }

    fn entries(&self) -> Result<Vec<String>, KitError> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(files("listing", &self.directory))?,
        };
        let names =
            entries.take(SHELVED_LIMIT).map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default()));
        names.collect::<io::Result<Vec<_>>>().map_err(files("listing", &self.directory))
    }

    /// One writes at a time.
    fn lock(&self) -> Result<File, KitError> {
        fs::create_dir_all(&self.directory).map_err(files("making the directory", &self.directory))?;
        let path = self.directory.join(".lock");
        let mut options = File::options();
        let file =
            options.create(true).truncate(false).write(true).open(&path).map_err(files("opening", &path))?;
        flock(&file, FlockOperation::LockExclusive).map_err(files("locking", &path))?;
        Ok(file)
    }

    /// What somebody left who did not come to an end. Only with the lock.
    fn sweep(&self) -> Result<(), KitError> {
        for entry in self.entries()?.iter().filter(|entry| entry.starts_with(".new")) {
            remove(&self.directory.join(entry))?;
        }
        Ok(())
    }
}

/// Kits on their way onto the shelf.
#[derive(Debug)]
pub(crate) struct Adding<'a> {
    shelf: &'a Shelf,
    _lock: File,
}

impl Drop for Adding<'_> {
    /// Whatever has no name by now is not wanted. The lock is still held.
    fn drop(&mut self) {
        // Something that cannot be removed is swept by the next one who adds.
        self.shelf.sweep().unwrap_or_default();
    }
}

/// A kit whose files are all there, but not under its name yet.
#[derive(Debug)]
pub(crate) struct Unpacked {
    pub(crate) name: Name,
    pub(crate) digest: Digest,
    at: PathBuf,
}

impl Adding<'_> {
    /// Writes the files of a layer beside the kits. `expected` is what the layer must turn out to be.
    pub(crate) fn unpack(
        &self,
        input: &mut dyn Read,
        expected: Option<Digest>,
    ) -> Result<Unpacked, KitError> {
        let mut count = 0_u32;
        let at = loop {
            let at = self.shelf.directory.join(format!(".new-{}-{count}", std::process::id()));
            match fs::create_dir(&at) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists && count < 1000 => count += 1,
                other => {
                    other.map_err(files("making the directory", &at))?;
                    break at;
                }
            }
        };
        let unpacked = self.into(&at, input, expected);
        unpacked.map(|(name, digest)| Unpacked { name, digest, at: at.clone() }).inspect_err(|_| {
            // The error that is told is why; what stays is swept the next time.
            remove(&at).unwrap_or_default();
        })
    }

    fn into(
        &self,
        at: &Path,
        input: &mut dyn Read,
        expected: Option<Digest>,
    ) -> Result<(Name, Digest), KitError> {
        let (mut input, manifest) =
            directory::read(&open(at)?, Digesting::new(input)).map_err(files("unpacking a kit into", at))?;
        // A reader that has seen the end of its archive may have left some of the input.
        io::copy(&mut input, &mut io::sink()).map_err(files("unpacking a kit into", at))?;
        let (_, digest) = input.finish();
        let manifest = Manifest::parse(&manifest, "kit.toml")?;
        manifest.must_run_here()?;
        if expected.is_some_and(|expected| expected != digest) {
            let why = format!("its files have the digest {digest}");
            return Err(KitError::Damaged { kit: manifest.name.to_string(), why });
        }
        Ok((manifest.name, digest))
    }

    /// Gives the kits their names. What has the same digest already stays as it is.
    pub(crate) fn keep(&self, kits: &[Unpacked]) -> Result<(), KitError> {
        for kit in kits {
            let directory = format!("sha256-{}", kit.digest.hex());
            let home = self.shelf.directory.join(&directory);
            if home.exists() && self.is_whole(kit) {
                remove(&kit.at)?;
            } else {
                if home.exists() {
                    // Damaged: a session that uses it keeps what it has mounted.
                    let old = self.shelf.directory.join(format!(".new-old-{}", kit.digest.hex()));
                    fs::rename(&home, &old).map_err(files("setting aside", &home))?;
                }
                fs::rename(&kit.at, &home).map_err(files("putting in place", &home))?;
            }
        }
        kits.iter().try_for_each(|kit| self.name(kit))
    }

    /// Adds to those who vouch for a kit.
    pub(crate) fn vouch(&self, digest: &Digest, signatures: &[Signature]) -> Result<(), KitError> {
        let mut all = self.shelf.signatures(digest)?;
        signatures.iter().for_each(|one| sign::add(&mut all, one.clone()));
        let path = self.shelf.signatures_at(digest);
        let fresh = self.shelf.directory.join(format!(".new-sig-{}", digest.hex()));
        fs::write(&fresh, sign::render(&all)).map_err(files("writing", &fresh))?;
        fs::rename(&fresh, &path).map_err(files("putting in place", &path))
    }

    fn is_whole(&self, kit: &Unpacked) -> bool {
        let home = self.shelf.directory.join(format!("sha256-{}", kit.digest.hex()));
        let written =
            open(&home).ok().and_then(|home| directory::write(&home, Digesting::new(io::sink())).ok());
        written.is_some_and(|out| out.finish().1 == kit.digest)
    }

    fn name(&self, kit: &Unpacked) -> Result<(), KitError> {
        let fresh = self.shelf.directory.join(format!(".new-name-{}", kit.name));
        let link = self.shelf.directory.join(kit.name.as_str());
        symlink(format!("sha256-{}", kit.digest.hex()), &fresh).map_err(files("linking", &fresh))?;
        fs::rename(&fresh, &link).map_err(files("linking", &link))
    }
}

fn open(path: &Path) -> Result<OwnedFd, KitError> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    rustix::fs::open(path, flags, Mode::empty()).map_err(files("opening", path))
}

/// Removes a file, link or directory with all in it; links are not followed.
fn remove(path: &Path) -> Result<(), KitError> {
    let kind = fs::symlink_metadata(path).map_err(files("looking at", path))?;
    let removed = if kind.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.map_err(files("removing", path))
}
