// SPDX-License-Identifier: Apache-2.0
//! Unpacks tar streams that may be hostile into a directory: nothing is made, linked or changed outside of it, no
//! symbolic link is followed, no device is made, and all lengths and numbers have limits.
//!
//! A layer's marks for what is gone become those of overlayfs.

use crate::files::{beneath, digits};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chownat, fchmod, fchown,
    fsetxattr, futimens, linkat, mkdirat, mknodat, openat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use tar::EntryType;

/// The most entries of all layers.
const ENTRIES_LIMIT: usize = 2_000_000;
/// The longest path and text of a link; the longest extended header.
const PATH_LIMIT: usize = 4096;
const HEADER_LIMIT: u64 = 1 << 20;
/// The most bytes behind the end of a tar stream.
const REST_LIMIT: u64 = 64 << 20;
/// How far back zstd may look: 128 MiB.
const WINDOW_LOG: u32 = 27;
const BUFFER: usize = 128 << 10;
const GONE: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What is left of the limits.
#[derive(Debug)]
pub(super) struct Unpacking {
    entries: usize,
    bytes: u64,
    limit: u64,
}

/// What extended headers say about the entry behind them.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    user: Option<u32>,
    group: Option<u32>,
    size: Option<u64>,
}

pub(super) fn hex_of(bytes: &[u8]) -> String {
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

    /// A layer of an image, whose bytes must have this digest.
    pub(super) fn layer(&mut self, input: impl Read, into: &OwnedFd, digest: &str) -> Result<(), String> {
        let text = |error: io::Error| error.to_string();
        let mut stream = Digesting { input: unpacked(input).map_err(text)?, sum: Sha256::new() };
        self.entries_of(&mut stream, into, true)?;
        // Padding behind the end is a part of what has the digest.
        io::copy(&mut (&mut stream).take(REST_LIMIT), &mut io::sink()).map_err(text)?;
        match digits(digest) == Some(hex(&stream.sum.finalize()).as_str()) {
            true => Ok(()),
            false => Err(format!("its bytes have another digest than {digest}")),
        }
    }

    /// A tar file that is a tree; in which a mark is a file like any other.
    pub(super) fn tree(&mut self, input: impl Read, into: &OwnedFd) -> Result<(), String> {
        let mut stream = unpacked(input).map_err(|error| error.to_string())?;
        let before = self.entries;
        self.entries_of(&mut stream, into, false)?;
        let has = |name: &str| rustix::fs::statat(into, name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
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
        let header = entry.header().clone();
        let Some((above, name)) = parted(path)? else { return Ok(()) };
        if extended.size.is_some_and(|size| size != entry.size()) {
            return Err(odd("its size is told in two ways"));
        }
        let parent = directory(into, &above)?;
        if is_layer && name.as_bytes().starts_with(GONE) {
            return gone(&parent, &name);
        }
        let number = |told: Option<u32>, header: io::Result<u64>| -> io::Result<u32> {
            told.map_or_else(|| u32::try_from(header?).map_err(|_| odd("its owner is no number")), Ok)
        };
        let user = Uid::from_raw(number(extended.user, header.uid())?);
        let group = Gid::from_raw(number(extended.group, header.gid())?);
        let mode = Mode::from_raw_mode(header.mode()? & 0o7777);
        let link = || -> io::Result<Vec<u8>> {
            let link = extended.link.clone().or_else(|| Some(entry.link_name_bytes()?.into_owned()));
            link.filter(|link| !link.is_empty() && link.len() < PATH_LIMIT && !link.contains(&0))
                .ok_or_else(|| odd("it leads nowhere"))
        };
        match header.entry_type() {
            EntryType::Directory => {
                let made = made_directory(&parent, &name)?;
                fchown(&made, Some(user), Some(group))?;
                return Ok(fchmod(&made, mode)?);
            }
            EntryType::Regular | EntryType::Continuous => {
                remove(&parent, &name)?;
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mut file = File::from(openat(&parent, &name, flags, Mode::from_raw_mode(0o600))?);
                self.bytes = self.bytes.checked_sub(entry.size()).ok_or(Errno::NOSPC)?;
                if io::copy(entry, &mut file)? != header.entry_size()? {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                fchown(&file, Some(user), Some(group))?;
                fchmod(&file, mode)?;
                let time = Timespec { tv_sec: i64::try_from(header.mtime()?).unwrap_or(0), tv_nsec: 0 };
                return Ok(futimens(&file, &Timestamps { last_access: time, last_modification: time })?);
            }
            EntryType::Symlink => {
                remove(&parent, &name)?;
                symlinkat(OsStr::from_bytes(&link()?), &parent, &name)?;
            }
            EntryType::Link => {
                let Some((above, target)) = parted(&link()?)? else { return Err(odd("it leads nowhere")) };
                let there =
                    beneath(into.as_fd(), &above, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC)?;
                if (&above, &target) == (&parted(path)?.unwrap_or_default().0, &name) {
                    return Ok(());
                }
                remove(&parent, &name)?;
                return Ok(linkat(&there, &target, &parent, &name, AtFlags::empty())?);
            }
            EntryType::Fifo => {
                remove(&parent, &name)?;
                mknodat(&parent, &name, FileType::Fifo, mode, 0)?;
            }
            // A session could open none of the devices, and nobody should.
            EntryType::Char | EntryType::Block => return Ok(()),
            _ => return Err(odd("it is of an unknown kind, or sparse")),
        }
        Ok(chownat(&parent, &name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

impl Extended {
    /// Whether this entry only told about the next one.
    fn read<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> io::Result<bool> {
        let kind = entry.header().entry_type();
        if !matches!(
            kind,
            EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader | EntryType::XGlobalHeader
        ) {
            return Ok(false);
        }
        if entry.size() > HEADER_LIMIT {
            return Err(odd("an extended header is too long"));
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        match kind {
            EntryType::GNULongName | EntryType::GNULongLink => {
                while bytes.last() == Some(&0) {
                    bytes.pop();
                }
                *(if kind == EntryType::GNULongName { &mut self.path } else { &mut self.link }) = Some(bytes);
            }
            EntryType::XHeader => self.records(&bytes)?,
            _ => {}
        }
        Ok(true)
    }

    /// `LENGTH KEY=VALUE`, each with a newline.
    fn records(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let wrong = || odd("an extended header is damaged");
        let number = |value: &[u8]| std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
        while !bytes.is_empty() {
            let space = bytes.iter().position(|byte| *byte == b' ').ok_or_else(wrong)?;
            let length = number(bytes.get(..space).unwrap_or_default()).ok_or_else(wrong)?;
            let length =
                usize::try_from(length).ok().filter(|length| *length > space + 1).ok_or_else(wrong)?;
            let record = bytes.get(space + 1..length).ok_or_else(wrong)?;
            bytes = bytes.get(length..).unwrap_or_default();
            let record = record.strip_suffix(b"\n").ok_or_else(wrong)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(wrong)?;
            let (key, value) =
                (record.get(..equals).unwrap_or_default(), record.get(equals + 1..).unwrap_or_default());
            let id = || number(value).and_then(|id| u32::try_from(id).ok()).ok_or_else(wrong);
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"uid" => self.user = Some(id()?),
                b"gid" => self.group = Some(id()?),
                b"size" => self.size = Some(number(value).ok_or_else(wrong)?),
                _ if key.starts_with(b"GNU.sparse.") => return Err(odd("a sparse file")),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The directory above and the name; nothing for the root itself.
fn parted(path: &[u8]) -> io::Result<Option<(PathBuf, OsString)>> {
    if path.len() > PATH_LIMIT || path.contains(&0) {
        return Err(odd("its path is none"));
    }
    let mut parts: Vec<&[u8]> =
        path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    if parts.iter().any(|part| *part == b"..") {
        return Err(odd("it leads out"));
    }
    let Some(name) = parts.pop() else { return Ok(None) };
    let above: PathBuf = parts.iter().map(|part| OsStr::from_bytes(part)).collect();
    let above = if above.as_os_str().is_empty() { PathBuf::from(".") } else { above };
    Ok(Some((above, OsString::from_vec(name.to_vec()))))
}

/// A directory below `into`, made where it is not there. Never through a link.
fn directory(into: &OwnedFd, path: &PathBuf) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match beneath(into.as_fd(), path, flags) {
        Err(Errno::NOENT) => {}
        Err(Errno::LOOP | Errno::NOTDIR) => return Err(odd("it is below something that is no directory")),
        found => return Ok(found?),
    }
    let mut at = beneath(into.as_fd(), ".".as_ref(), flags)?;
    for part in path {
        at = made_directory(&at, part)?;
    }
    Ok(at)
}

fn made_directory(parent: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    openat(parent, name, flags, Mode::empty()).map_err(|error| match error {
        Errno::LOOP | Errno::NOTDIR => odd("it is below something that is no directory"),
        error => error.into(),
    })
}

/// What comes later in an archive replaces what came before.
fn remove(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A mark for something that layers below have.
fn gone(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let bytes = name.as_bytes();
    if bytes == OPAQUE {
        return Ok(fsetxattr(parent, "trusted.overlay.opaque", b"y", XattrFlags::empty())?);
    }
    let name = OsStr::from_bytes(bytes.get(GONE.len()..).unwrap_or_default());
    if name.as_bytes().starts_with(GONE) || ["", ".", ".."].iter().any(|odd| name == *odd) {
        return Ok(());
    }
    remove(parent, name)?;
    Ok(mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), 0)?)
}

fn odd(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
