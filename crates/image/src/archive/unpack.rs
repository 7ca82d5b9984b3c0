// SPDX-License-Identifier: Apache-2.0
//! Unpacks tar streams that may be hostile into a directory: nothing is made, linked or changed outside of it, no
//! symbolic link is followed, no device is made, and all lengths and numbers have limits.
//!
//! A layer's marks for what is gone become those of overlayfs. They are about the layers below, so what the layer itself
//! has by such a name stays, whichever comes first.

use super::extended::{Extended, Owner};
use super::made::{
    DIRECTORY, GONE, OPAQUE_MARK, PATH_LIMIT, dress, gone, linked, made_directory, odd, parted, remove,
};
use crate::files::{beneath, digits};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, chmodat, chownat, fgetxattr, futimens, mknodat,
    openat, statat, symlinkat,
};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use tar::EntryType;

/// The most entries of all layers.
const ENTRIES_LIMIT: usize = 2_000_000;
/// What a file, a directory or a link takes of the kernel's memory, whatever is in it, and an attribute besides its value.
/// A file system in memory counts neither against its size.
const ENTRY_COST: u64 = 1 << 10;
const ATTRIBUTE_COST: u64 = 256;
/// The most bytes behind the end of a tar stream.
const REST_LIMIT: u64 = 64 << 20;
/// How far back zstd may look: 128 MiB.
const WINDOW_LOG: u32 = 27;
const BUFFER: usize = 128 << 10;

/// What is left of the limits.
#[derive(Debug)]
pub(super) struct Unpacking {
    entries: usize,
    bytes: u64,
    limit: u64,
}

/// The digits of the digest of some bytes, as images and layers are called.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes).as_slice())
}

fn hex(sum: &[u8]) -> String {
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes the digest of what is read.
struct Digesting<R> {
    input: R,
    sum: Sha256,
}

impl<R: Read> Read for Digesting<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(into)?;
        self.sum.update(into.get(..count).unwrap_or_default());
        Ok(count)
    }
}

/// The bytes of what may be packed.
fn unpacked<'a>(input: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut input = BufReader::with_capacity(BUFFER, input);
    let start = input.fill_buf()?;
    if start.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(flate2::bufread::MultiGzDecoder::new(input)));
    }
    if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
        decoder.window_log_max(WINDOW_LOG)?;
        return Ok(Box::new(decoder));
    }
    Ok(Box::new(input))
}

impl Unpacking {
    pub(super) fn new(limit: u64) -> Unpacking {
        Unpacking { entries: ENTRIES_LIMIT, bytes: limit, limit }
    }

    /// Takes this many bytes of the room.
    fn take(&mut self, bytes: u64) -> io::Result<()> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or(Errno::NOSPC)?;
        Ok(())
    }

    /// A layer of an image, whose bytes must have this digest. Whether it hides all layers below.
    pub(super) fn layer(&mut self, input: impl Read, into: &OwnedFd, digest: &str) -> Result<bool, String> {
        let text = |error: io::Error| error.to_string();
        let mut stream = Digesting { input: unpacked(input).map_err(text)?, sum: Sha256::new() };
        self.entries_of(&mut stream, into, true)?;
        // Padding behind the end is a part of what has the digest.
        io::copy(&mut (&mut stream).take(REST_LIMIT), &mut io::sink()).map_err(text)?;
        match digits(digest) == Some(hex(&stream.sum.finalize()).as_str()) {
            // The kernel does not look for this mark on a layer itself.
            true => Ok(fgetxattr(into, OPAQUE_MARK, &mut [0; 1]).is_ok()),
            false => Err(format!("its bytes have another digest than {digest}")),
        }
    }

    /// A tar file that is a tree; in which a mark is a file like any other.
    pub(super) fn tree(&mut self, input: impl Read, into: &OwnedFd) -> Result<(), String> {
        let mut stream = unpacked(input).map_err(|error| error.to_string())?;
        let before = self.entries;
        self.entries_of(&mut stream, into, false)?;
        let has = |name: &str| statat(into, name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        if has("oci-layout") || has("manifest.json") && !has("bin") {
            return Err(
                "it is an image in a file that is packed as a whole; unpack that first, with gunzip or \
                        zstd -d"
                    .to_owned(),
            );
        }
        if before == self.entries {
            return Err("there is nothing in it; is it a tar file?".to_owned());
        }
        Ok(())
    }

    fn entries_of(&mut self, stream: &mut dyn Read, into: &OwnedFd, is_layer: bool) -> Result<(), String> {
        let text = |error: io::Error| format!("it is damaged, or no tar file: {error}");
        let mut archive = tar::Archive::new(stream);
        let mut extended = Extended::default();
        for entry in archive.entries().map_err(text)?.raw(true) {
            let mut entry = entry.map_err(text)?;
            self.entries = self.entries.checked_sub(1).ok_or("there are too many files in it")?;
            if extended.read(&mut entry).map_err(text)? {
                continue;
            }
            let of_entry = std::mem::take(&mut extended);
            let path = of_entry.path.clone().unwrap_or_else(|| entry.path_bytes().into_owned());
            let shown = String::from_utf8_lossy(&path).escape_debug().to_string();
            self.entry(&mut entry, of_entry, &path, into, is_layer)
                .map_err(|error| self.told(&shown, &error))?;
        }
        Ok(())
    }

    fn told(&self, path: &str, error: &io::Error) -> String {
        let hint = match error.raw_os_error() {
            Some(28) => format!("; it needs more than {} MiB: give more with --room-mib", self.limit >> 20),
            _ => String::new(),
        };
        format!("{path}: {error}{hint}")
    }

    fn entry<R: Read>(
        &mut self,
        entry: &mut tar::Entry<'_, R>,
        extended: Extended,
        path: &[u8],
        into: &OwnedFd,
        is_layer: bool,
    ) -> io::Result<()> {
        if extended.size.is_some_and(|size| size != entry.size()) {
            return Err(odd("it is of 8 GiB or more, or its size is told in two ways"));
        }
        let owner = Owner::of(entry.header(), &extended)?;
        let kind = entry.header().entry_type();
        let Some((above, name)) = parted(path)? else {
            // The root itself can only be a directory.
            return if kind == EntryType::Directory { dress(into, &owner, &extended) } else { Ok(()) };
        };
        self.take(ENTRY_COST)?;
        let parent = self.directory(into, &above)?;
        if is_layer && name.as_bytes().starts_with(GONE) {
            return gone(&parent, &name);
        }
        let link = || -> io::Result<Vec<u8>> {
            let link = extended.link.clone().or_else(|| Some(entry.link_name_bytes()?.into_owned()));
            link.filter(|link| !link.is_empty() && link.len() < PATH_LIMIT && !link.contains(&0))
                .ok_or_else(|| odd("it leads nowhere"))
        };
        let attributes = extended.attributes.iter();
        self.take(attributes.map(|(_, value)| ATTRIBUTE_COST + value.len() as u64).sum())?;
        match kind {
            EntryType::Directory => {
                let made = match made_directory(&parent, &name) {
                    Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                        remove(&parent, &name)?;
                        made_directory(&parent, &name)?
                    }
                    made => made?,
                };
                return dress(&made, &owner, &extended);
            }
            EntryType::Regular | EntryType::Continuous => {
                remove(&parent, &name)?;
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mut file = File::from(openat(&parent, &name, flags, Mode::from_raw_mode(0o600))?);
                self.take(entry.size())?;
                let (wanted, time) = (entry.header().entry_size()?, entry.header().mtime()?);
                if io::copy(entry, &mut file)? != wanted {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let file = OwnedFd::from(file);
                dress(&file, &owner, &extended)?;
                let time = Timespec { tv_sec: i64::try_from(time).unwrap_or(0), tv_nsec: 0 };
                return Ok(futimens(&file, &Timestamps { last_access: time, last_modification: time })?);
            }
            EntryType::Symlink => {
                remove(&parent, &name)?;
                symlinkat(OsStr::from_bytes(&link()?), &parent, &name)?;
            }
            EntryType::Link => return linked(into, &link()?, (&above, &parent), &name),
            EntryType::Fifo => {
                remove(&parent, &name)?;
                mknodat(&parent, &name, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
                chmodat(&parent, &name, owner.mode, AtFlags::empty())?;
            }
            // A session could open none of the devices, and nobody should.
            EntryType::Char | EntryType::Block => return Ok(()),
            _ => return Err(odd("it is of an unknown kind, or sparse")),
        }
        Ok(chownat(&parent, &name, Some(owner.user), Some(owner.group), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// A directory below `into`, made where it is not there. Never through a link.
    fn directory(&mut self, into: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
        match beneath(into.as_fd(), path, DIRECTORY) {
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => {}
            found => return Ok(found?),
        }
        let mut at = beneath(into.as_fd(), ".".as_ref(), DIRECTORY)?;
        for part in path {
            at = match made_directory(&at, part) {
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                    return Err(odd("it is below something that is no directory"));
                }
                made => made?,
            };
            self.take(ENTRY_COST)?;
        }
        Ok(at)
    }
}
