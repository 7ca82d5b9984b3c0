// SPDX-License-Identifier: Apache-2.0
//! A kit's directory to a layer, and back. Everything is done through descriptors below the one that is given; the
//! kernel refuses every path that would leave it or go through a link.

use crate::layer::{ENTRIES_LIMIT, Kind, Reader, Writer};
use crate::manifest::MANIFEST_LIMIT;
use crate::path;
use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat2, readlinkat, symlinkat};
use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;

/// Deepest directory.
const DEPTH_LIMIT: usize = 64;

/// Writes the layer of a kit's directory.
pub(super) fn write<W: Write>(root: &OwnedFd, out: W) -> io::Result<W> {
    let mut found = BTreeMap::new();
    walk(root.as_fd(), "", 0, &mut found)?;
    let mut writer = Writer::new(out);
    for (at, kind) in found {
        match kind {
            Kind::File { .. } => {
                let file = open(root.as_fd(), &at, OFlags::RDONLY | OFlags::NOFOLLOW)?;
                writer.entry(&at, &kind, &mut File::from(file))?;
            }
            _ => writer.entry(&at, &kind, &mut io::empty())?,
        }
    }
    writer.finish()
}

fn walk(above: BorrowedFd<'_>, at: &str, depth: usize, found: &mut BTreeMap<String, Kind>) -> io::Result<()> {
    if depth > DEPTH_LIMIT || found.len() > usize::try_from(ENTRIES_LIMIT).unwrap_or(usize::MAX) {
        return Err(io::Error::other(format!("{at}: deeper or more than any kit")));
    }
    for entry in Dir::read_from(above)? {
        let entry = entry?;
        let name =
            entry.file_name().to_str().map_err(|_| io::Error::other(format!("a strange name in {at}")))?;
        if name == "." || name == ".." {
            continue;
        }
        let path = if at.is_empty() { name.to_string() } else { format!("{at}/{name}") };
        let strange = |what: &str| io::Error::other(format!("{path}: {what}"));
        let stat = rustix::fs::statat(above, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
        let mode = stat.st_mode & 0o7777;
        let kind = match (FileType::from_raw_mode(stat.st_mode), mode) {
            (FileType::Directory, 0o755) => {
                let below = open(above, name, OFlags::RDONLY | OFlags::DIRECTORY)?;
                walk(below.as_fd(), &path, depth + 1, found)?;
                Kind::Directory
            }
            (FileType::RegularFile, 0o755 | 0o644) => Kind::File {
                executable: mode == 0o755,
                size: u64::try_from(stat.st_size).unwrap_or_default(),
            },
            (FileType::Symlink, _) => {
                let target = readlinkat(above, name, Vec::new())?;
                Kind::Link { target: target.into_string().map_err(|_| strange("leads to a strange name"))? }
            }
            (FileType::Directory | FileType::RegularFile, mode) => {
                return Err(strange(&format!("has the mode {mode:o}")));
            }
            _ => return Err(strange("is no file, directory or link")),
        };
        found.insert(path, kind);
    }
    Ok(())
}

/// Writes the files of a layer below `root`. Returns what is left of the input, and the text of `kit.toml`.
pub(super) fn read<R: Read>(root: &OwnedFd, input: R) -> io::Result<(R, String)> {
    let mut reader = Reader::new(input);
    let mut manifest = String::new();
    let mut place = Place { root: root.as_fd(), above: None };
    while let Some((at, kind)) = reader.entry()? {
        match (&kind, at.as_str()) {
            (Kind::File { executable: false, size }, "kit.toml") if *size <= MANIFEST_LIMIT => {
                reader.data().read_to_string(&mut manifest)?;
                place.file(&at, false, &mut manifest.as_bytes())?;
            }
            (Kind::Directory, "root") => place.directory(&at)?,
            (_, at) if !at.starts_with("root/") => {
                return Err(io::Error::other(format!("{at:?} belongs to no kit")));
            }
            (Kind::Directory, at) => place.directory(at)?,
            (Kind::File { executable, .. }, at) => place.file(at, *executable, &mut reader.data())?,
            (Kind::Link { target }, at) => place.link(at, target)?,
        }
    }
    if manifest.is_empty() {
        return Err(io::Error::other("there is no kit.toml in it"));
    }
    Ok((reader.into_inner(), manifest))
}

/// Where things are put, with the directory that was used last.
struct Place<'a> {
    root: BorrowedFd<'a>,
    above: Option<(String, OwnedFd)>,
}

impl Place<'_> {
    /// The directory a thing belongs into, and its name there.
    fn within<'p>(&mut self, at: &'p str) -> io::Result<(BorrowedFd<'_>, &'p str)> {
        let Some((above, name)) = at.rsplit_once('/') else { return Ok((self.root, at)) };
        if self.above.as_ref().is_none_or(|(known, _)| known != above) {
            let directory = open(self.root, above, OFlags::RDONLY | OFlags::DIRECTORY)?;
            self.above = Some((above.to_string(), directory));
        }
        match &self.above {
            Some((_, directory)) => Ok((directory.as_fd(), name)),
            None => Ok((self.root, at)),
        }
    }

    fn directory(&mut self, at: &str) -> io::Result<()> {
        let (above, name) = self.within(at)?;
        mkdirat(above, name, Mode::from_raw_mode(0o755))?;
        // Whatever the umask left out.
        let made = open(above, name, OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(rustix::fs::fchmod(made, Mode::from_raw_mode(0o755))?)
    }

    fn file(&mut self, at: &str, executable: bool, data: &mut dyn Read) -> io::Result<()> {
        let mode = if executable { 0o755 } else { 0o644 };
        let (above, name) = self.within(at)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mut file = File::from(rustix::fs::openat(above, name, flags, Mode::from_raw_mode(mode))?);
        if fstat(&file)?.st_mode & 0o7777 != mode {
            file.set_permissions(Permissions::from_mode(mode))?;
        }
        io::copy(data, &mut file)?;
        Ok(())
    }

    /// A link must stay below the kit's root, as if that were the root of all.
    fn link(&mut self, at: &str, target: &str) -> io::Result<()> {
        let inside = at.strip_prefix("root/").unwrap_or_default();
        if path::follow(inside, target).is_none() {
            return Err(io::Error::other(format!("the link {at:?} leads out of the kit, to {target:?}")));
        }
        let (above, name) = self.within(at)?;
        Ok(symlinkat(target, above, name)?)
    }
}

fn open(root: BorrowedFd<'_>, at: &str, flags: OFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let flags = flags | OFlags::CLOEXEC;
    openat2(root, at, flags, Mode::empty(), resolve).map_err(|error| {
        io::Error::new(io::Error::from(error).kind(), format!("{at:?}: {}", io::Error::from(error)))
    })
}
