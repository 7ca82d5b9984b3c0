// SPDX-License-Identifier: Apache-2.0
//! The directories of an image's layers, laid over each other in memory as a container would see them.
//!
//! They come from whoever made the image: nothing is followed, nothing is opened that is no file or directory, and
//! all is bounded. What is removed by a layer is marked as overlayfs, fuse-overlayfs or archives do it.

use crate::error::KitError;
use crate::path;
use crate::tree::{Node, Tree};
use rustix::fs::{AtFlags, Stat};
use rustix::fs::{
    Dir, FileType, Mode, OFlags, ResolveFlags, fgetxattr, major, minor, openat2, readlinkat, statat,
};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Most bytes of all files of an image.
const TOTAL_LIMIT: u64 = 4 << 30;
/// Most things in all layers, and the deepest directory.
const ENTRIES_LIMIT: u32 = 1_000_000;
const DEPTH_LIMIT: usize = 64;
/// What archives write before the name of what is gone, and behind that for a directory of which nothing below is left.
const GONE: &str = ".wh.";
const OPAQUE: &str = ".wh..opq";
/// What a layer's attributes are called by root's overlayfs, by users', and by fuse-overlayfs.
const ATTRIBUTES: [&str; 3] = ["trusted.overlay.", "user.overlay.", "user.fuseoverlayfs."];
/// What belongs to a container while it runs.
const NOT_TAKEN: [&str; 5] = ["dev", "proc", "run", "sys", "tmp"];

/// The tree of these layers, the lowest first; `title` is what messages call it.
///
/// # Errors
/// When a directory cannot be read, or there is more than any kit has.
pub fn layers(directories: &[BorrowedFd<'_>], title: &str) -> Result<Tree, KitError> {
    let mut reading = Reading { tree: Tree::default(), entries: 0, left: TOTAL_LIMIT };
    let wrong = |error: io::Error| KitError::Image { image: title.to_string(), why: error.to_string() };
    for directory in directories {
        // What is given may be good for nothing but this.
        let directory = open(*directory, ".", OFlags::RDONLY | OFlags::DIRECTORY).map_err(wrong)?;
        reading.directory(directory.as_fd(), "", 0).map_err(wrong)?;
    }
    Ok(reading.tree)
}

struct Reading {
    tree: Tree,
    entries: u32,
    left: u64,
}

impl Reading {
    fn directory(&mut self, above: BorrowedFd<'_>, at: &str, depth: usize) -> io::Result<()> {
        if depth > DEPTH_LIMIT {
            return Err(io::Error::other(format!("{at} is deeper than any kit")));
        }
        // What is gone goes before what is new: a name may be both.
        let mut names = Vec::new();
        for entry in Dir::read_from(above)? {
            let entry = entry?;
            self.entries += 1;
            if self.entries > ENTRIES_LIMIT {
                return Err(io::Error::other(format!("more than {ENTRIES_LIMIT} files")));
            }
            // A name that is no text belongs to no program that is looked for.
            let Ok(name) = entry.file_name().to_str() else { continue };
            match name.strip_prefix(GONE) {
                _ if name == "." || name == ".." => {}
                Some(OPAQUE) => self.tree.clear(at),
                Some(gone) => self.tree.remove(&within(at, gone)),
                None => names.push(name.to_string()),
            }
        }
        for name in names {
            let path = within(at, &name);
            if path::is_inside(&path) && !(depth == 0 && NOT_TAKEN.contains(&name.as_str())) {
                let said = |error: io::Error| io::Error::new(error.kind(), format!("{path}: {error}"));
                self.thing(above, &name, &path, depth).map_err(said)?;
            }
        }
        Ok(())
    }

    fn thing(&mut self, above: BorrowedFd<'_>, name: &str, at: &str, depth: usize) -> io::Result<()> {
        let stat = statat(above, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::CharacterDevice if (major(stat.st_rdev), minor(stat.st_rdev)) == (0, 0) => {
                self.tree.remove(at);
            }
            FileType::Directory => {
                let directory = open(above, name, OFlags::RDONLY | OFlags::DIRECTORY)?;
                if attribute(directory.as_fd(), "opaque").is_some_and(|value| value == b"y") {
                    self.tree.remove(at);
                }
                if !matches!(self.tree.get(at), None | Some(Node::Directory)) {
                    self.tree.remove(at);
                }
                self.tree.put(at, Node::Directory);
                self.directory(directory.as_fd(), at, depth + 1)?;
            }
            FileType::Symlink => {
                let target = readlinkat(above, name, Vec::new())?;
                if let Ok(target) = target.into_string() {
                    self.tree.remove(at);
                    self.tree.put(at, Node::Link { target });
                }
            }
            FileType::RegularFile => self.file(above, name, at, &stat)?,
            _ => self.tree.remove(at),
        }
        Ok(())
    }

    fn file(&mut self, above: BorrowedFd<'_>, name: &str, at: &str, stat: &Stat) -> io::Result<()> {
        let file = open(above, name, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        if attribute(file.as_fd(), "whiteout").is_some() {
            self.tree.remove(at);
            return Ok(());
        }
        // Only its attributes were changed here; its bytes are in a layer below.
        if attribute(file.as_fd(), "metacopy").is_some() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        File::from(file).take(self.left + 1).read_to_end(&mut bytes)?;
        let left = self.left.checked_sub(bytes.len() as u64);
        self.left = left.ok_or_else(|| io::Error::other("the image is larger than any kit"))?;
        self.tree.remove(at);
        self.tree.put(at, Node::File { executable: stat.st_mode & 0o111 != 0, bytes });
        Ok(())
    }
}

fn within(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_string() } else { format!("{at}/{name}") }
}

fn open(above: BorrowedFd<'_>, name: &str, flags: OFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    Ok(openat2(above, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty(), resolve)?)
}

/// An attribute of overlayfs. Those of root's can be read by root only.
fn attribute(fd: BorrowedFd<'_>, name: &str) -> Option<Vec<u8>> {
    ATTRIBUTES.iter().find_map(|prefix| {
        let mut value = [0; 8];
        let length = match fgetxattr(fd, format!("{prefix}{name}"), &mut value) {
            Ok(length) => length,
            // It is there, and longer than what is looked for.
            Err(rustix::io::Errno::RANGE) => 0,
            Err(_) => return None,
        };
        Some(value.get(..length)?.to_vec())
    })
}

#[cfg(test)]
mod tests {
    use super::layers;
    use crate::tree::{Node, Tree};
    use std::fs::{self, File};
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn read(dir: &Path, names: &[&str]) -> Tree {
        let held: Vec<File> = names.iter().map(|name| File::open(dir.join(name)).unwrap()).collect();
        layers(&held.iter().map(AsFd::as_fd).collect::<Vec<_>>(), "test").unwrap()
    }

    fn write(path: std::path::PathBuf, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn layers_lie_over_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let at = |below: &str| dir.path().join(below);
        write(at("low/etc/a"), "low a");
        write(at("low/etc/gone"), "gone");
        write(at("low/opt/x/old"), "old");
        write(at("low/opt/y/old"), "old");
        write(at("low/was/a/directory"), "x");
        write(at("low/was2"), "x");
        write(at("low/dev/null"), "x");
        write(at("top/etc/a"), "top a");
        write(at("top/etc/.wh.gone"), "");
        write(at("top/etc/.wh.never"), "");
        write(at("top/opt/x/.wh..wh..opq"), "");
        write(at("top/opt/x/new"), "new");
        write(at("top/opt/.wh.y"), "");
        write(at("top/was2/file"), "f");
        symlink("/etc", at("top/was")).unwrap();
        symlink("/etc/passwd", at("top/out")).unwrap();
        let tree = read(dir.path(), &["low", "top"]);
        let text = |at: &str| match tree.get(at) {
            Some(Node::File { bytes, .. }) => String::from_utf8(bytes.clone()).unwrap(),
            Some(Node::Link { target }) => format!("-> {target}"),
            Some(Node::Directory) => "directory".to_string(),
            None => "nothing".to_string(),
        };
        for (path, what) in [
            ("etc/a", "top a"),
            ("etc/gone", "nothing"),
            ("etc/.wh.gone", "nothing"),
            ("opt/x/old", "nothing"),
            ("opt/x/new", "new"),
            ("opt/y/old", "nothing"),
            ("was", "-> /etc"),
            ("was/a", "nothing"),
            ("was/a/directory", "nothing"),
            ("was2/file", "f"),
            ("out", "-> /etc/passwd"),
            ("dev", "nothing"),
        ] {
            assert_eq!(text(path), what, "{path}");
        }
        assert_eq!(read(dir.path(), &["low", "top"]), tree);
    }
}
