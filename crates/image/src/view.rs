// SPDX-License-Identifier: Apache-2.0
//! Single files of a tree, found in its layers as overlayfs finds them and without a mount: what a layer above has
//! removed is not there, symbolic links lead within the tree, and nothing leads out of it.

use crate::files::{Place, beneath};
use crate::{ImageError, Tree};
use rustix::fs::{FileType, OFlags, fstat, getxattr, major, minor, readlinkat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// How many symbolic links are followed, as the kernel has it.
const LINKS_LIMIT: usize = 40;
/// The longest path, and how deep one may be.
const PATH_LIMIT: usize = 4096;
/// What a layer's attributes are called by root's overlayfs, by users', and by fuse-overlayfs.
const ATTRIBUTES: [&str; 3] = ["trusted.overlay.", "user.overlay.", "user.fuseoverlayfs."];

/// The directories of a tree, held.
#[derive(Debug)]
pub struct View {
    name: String,
    /// The highest first.
    layers: Vec<OwnedFd>,
}

/// A file of a tree.
#[derive(Debug)]
pub struct Opened {
    /// It, open for reading.
    pub file: File,
    /// Where in the tree it is when all links are followed.
    pub path: PathBuf,
}

/// Where something is in one layer.
#[derive(Clone, Debug)]
struct At {
    layer: usize,
    path: PathBuf,
}

/// What a name in a directory is.
enum Entry {
    Directory(Vec<At>),
    Link(PathBuf),
    Other(At),
}

impl View {
    pub(crate) fn of(tree: &Tree) -> Result<View, ImageError> {
        let missing = |path: &Path| ImageError::Missing { name: tree.name.clone(), path: path.to_path_buf() };
        let place = Place::open(&tree.store).ok_or_else(|| missing(&tree.store))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = |path: &PathBuf| {
            let below = path.strip_prefix(&tree.store).map_err(|_| missing(path))?;
            beneath(place.fd(), below, flags).map_err(|errno| match errno {
                Errno::NOENT | Errno::NOTDIR | Errno::LOOP => missing(path),
                _ => ImageError::Read { path: path.clone(), source: errno.into() },
            })
        };
        let layers = tree.from_top().map(open).collect::<Result<_, _>>()?;
        Ok(View { name: tree.name.clone(), layers })
    }

    /// The directories, the highest first.
    #[must_use]
    pub fn layers(&self) -> &[OwnedFd] {
        &self.layers
    }

    /// The same, to keep.
    #[must_use]
    pub fn into_layers(self) -> Vec<OwnedFd> {
        self.layers
    }

    /// The regular file at this path, which is taken from the tree's root; `None` when there is none.
    ///
    /// # Errors
    /// What the kernel says when it is there and cannot be opened.
    pub fn open(&self, path: &Path) -> Result<Option<Opened>, ImageError> {
        self.look(path).map_err(|source| ImageError::Read { path: Path::new(&self.name).join(path), source })
    }

    fn look(&self, path: &Path) -> io::Result<Option<Opened>> {
        let all = (0..self.layers.len()).map(|layer| At { layer, path: PathBuf::from(".") });
        // The directories on the way, and their names.
        let mut way: Vec<(OsString, Vec<At>)> = vec![(OsString::new(), all.collect())];
        let mut left = parts(path).ok_or(Errno::NAMETOOLONG)?;
        let mut links = 0;
        while let Some(part) = left.pop_front() {
            if part == ".." {
                way.truncate(way.len().saturating_sub(1).max(1));
                continue;
            }
            let Some((_, directory)) = way.last() else { return Ok(None) };
            match self.entry(directory, &part)? {
                None => return Ok(None),
                Some(Entry::Directory(layers)) => way.push((part, layers)),
                Some(Entry::Link(target)) => {
                    links += 1;
                    if links > LINKS_LIMIT {
                        return Err(Errno::LOOP.into());
                    }
                    if target.is_absolute() {
                        way.truncate(1);
                    }
                    let target = parts(&target).ok_or(Errno::NAMETOOLONG)?;
                    left = target.into_iter().chain(left).collect();
                    if left.len() > PATH_LIMIT {
                        return Err(Errno::NAMETOOLONG.into());
                    }
                }
                Some(Entry::Other(at)) if left.is_empty() => {
                    let path = way
                        .iter()
                        .map(|(name, _)| name)
                        .chain([&part])
                        .fold(PathBuf::from("/"), |path, name| path.join(name));
                    return Ok(self.regular(&at)?.map(|file| Opened { file, path }));
                }
                Some(Entry::Other(_)) => return Ok(None),
            }
        }
        Ok(None)
    }

    fn regular(&self, at: &At) -> io::Result<Option<File>> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match self.at(at, flags) {
            Ok(fd) => File::from(fd),
            // A device nobody has a driver for, or a socket.
            Err(Errno::NXIO | Errno::NODEV) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        Ok(file.metadata()?.is_file().then_some(file))
    }

    fn at(&self, at: &At, flags: OFlags) -> Result<OwnedFd, Errno> {
        let layer = self.layers.get(at.layer).ok_or(Errno::NOENT)?;
        beneath(layer.as_fd(), &at.path, flags)
    }

    /// A name in a directory: the highest layer that has it tells; directories go on below until one is opaque.
    fn entry(&self, directory: &[At], name: &OsStr) -> io::Result<Option<Entry>> {
        let mut found: Vec<At> = Vec::new();
        let mut moved: Option<PathBuf> = None;
        for above in directory {
            let path = match &moved {
                None => above.path.join(name),
                Some(moved) if moved.is_absolute() => moved.strip_prefix("/").unwrap_or(moved).to_path_buf(),
                Some(moved) => above.path.join(moved),
            };
            let at = At { layer: above.layer, path };
            let fd = match self.at(&at, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC) {
                Ok(fd) => fd,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if self.is_marked_gone(above, name) => break,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let stat = fstat(&fd)?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            let is_gone = kind == FileType::CharacterDevice
                && (major(stat.st_rdev), minor(stat.st_rdev)) == (0, 0)
                || kind == FileType::RegularFile && stat.st_size == 0 && has(fd.as_fd(), "whiteout");
            if is_gone || kind != FileType::Directory && !found.is_empty() {
                break;
            }
            match kind {
                FileType::Directory => {
                    let is_opaque = attribute(fd.as_fd(), "opaque").is_some_and(|value| value == b"y")
                        || self.is_marked_gone(&at, OsStr::new(".wh..opq"));
                    moved = redirect(fd.as_fd()).or(moved);
                    found.push(at);
                    if is_opaque {
                        break;
                    }
                }
                FileType::Symlink => {
                    let target = readlinkat(&fd, c"", Vec::new())?;
                    return Ok(Some(Entry::Link(OsString::from_vec(target.into_bytes()).into())));
                }
                // Only its attributes were changed here; its bytes are in a layer below.
                FileType::RegularFile if has(fd.as_fd(), "metacopy") => {
                    moved = redirect(fd.as_fd()).or(moved)
                }
                _ => return Ok(Some(Entry::Other(at))),
            }
        }
        Ok((!found.is_empty()).then_some(Entry::Directory(found)))
    }

    /// As fuse-overlayfs marks what is gone where it may make no device nodes, and as archives do.
    fn is_marked_gone(&self, directory: &At, name: &OsStr) -> bool {
        let mark = [b".wh.".as_slice(), name.as_bytes()].concat();
        let at = At { layer: directory.layer, path: directory.path.join(OsStr::from_bytes(&mark)) };
        self.at(&at, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC).is_ok()
    }
}

/// The parts of a path; `None` when it is too long.
fn parts(path: &Path) -> Option<VecDeque<OsString>> {
    let bytes = path.as_os_str().as_bytes();
    let parts = bytes.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    let is_right = bytes.len() <= PATH_LIMIT && !bytes.contains(&0);
    is_right.then(|| parts.map(|part| OsStr::from_bytes(part).to_owned()).collect())
}

/// An attribute of overlayfs on what a descriptor without any right stands for.
fn attribute(fd: BorrowedFd<'_>, name: &str) -> Option<Vec<u8>> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    ATTRIBUTES.iter().find_map(|prefix| {
        let mut value = vec![0; PATH_LIMIT];
        let length = getxattr(&path, format!("{prefix}{name}"), &mut value).ok()?;
        value.truncate(length);
        Some(value)
    })
}

fn has(fd: BorrowedFd<'_>, name: &str) -> bool {
    attribute(fd, name).is_some()
}

/// How the layers below call it: a path from the root, or another name in the same directory.
fn redirect(fd: BorrowedFd<'_>) -> Option<PathBuf> {
    let value = PathBuf::from(OsString::from_vec(attribute(fd, "redirect")?));
    let leads_out = value.components().any(|part| part == std::path::Component::ParentDir);
    (!leads_out && !value.as_os_str().is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::stores::Engine;
    use crate::{Tree, View};
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn view(dir: &Path) -> View {
        let tree = Tree {
            name: "t".into(),
            id: "t".into(),
            image: String::new(),
            engine: Engine::Docker,
            store: dir.to_path_buf(),
            layers: vec![dir.join("low"), dir.join("mid")],
            upper: Some(dir.join("top")),
            config: Config::default(),
            volumes: Vec::new(),
        };
        tree.view().unwrap()
    }

    fn write(path: std::path::PathBuf, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(view: &View, path: &str) -> Option<(String, String)> {
        let mut opened = view.open(Path::new(path)).unwrap()?;
        let mut text = String::new();
        opened.file.read_to_string(&mut text).unwrap();
        Some((text, opened.path.to_str().unwrap().to_owned()))
    }

    #[test]
    fn layers_lie_over_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let at = |below: &str| dir.path().join(below);
        write(at("low/etc/a"), "low a");
        write(at("low/etc/b"), "low b");
        write(at("low/etc/gone"), "low gone");
        write(at("low/opt/x/old"), "old");
        write(at("low/lib/so.1"), "so");
        write(at("mid/etc/b"), "mid b");
        write(at("mid/etc/.wh.gone"), "");
        write(at("mid/opt/x/.wh..wh..opq"), "");
        write(at("mid/opt/x/new"), "new");
        write(at("top/opt/own"), "own");
        write(at("top/file"), "f");
        symlink("/lib", at("low/usr")).unwrap();
        symlink("../../../etc/b", at("low/lib/link")).unwrap();
        symlink("/../../../../etc/passwd", at("low/lib/out")).unwrap();
        symlink("loop", at("low/loop")).unwrap();
        let view = view(dir.path());
        for (path, text, real) in [
            ("/etc/a", "low a", "/etc/a"),
            ("etc/./b", "mid b", "/etc/b"),
            ("/opt/x/new", "new", "/opt/x/new"),
            ("/opt/own", "own", "/opt/own"),
            ("/usr/so.1", "so", "/lib/so.1"),
            ("/usr/link", "mid b", "/etc/b"),
            ("/../etc/../../file", "f", "/file"),
        ] {
            assert_eq!(read(&view, path), Some((text.to_owned(), real.to_owned())), "{path}");
        }
        for gone in
            ["/etc/gone", "/opt/x/old", "/lib/out", "/etc", "/", "", "/file/x", "/none/x", "/etc/a/.."]
        {
            assert_eq!(read(&view, gone), None, "{gone}");
        }
        assert!(view.open(Path::new("/loop")).is_err());
        assert!(view.open(Path::new(&"a/".repeat(5000))).is_err());
    }

    #[test]
    fn a_layer_that_is_a_link_is_none() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["low", "mid"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        symlink("/etc", dir.path().join("top")).unwrap();
        let mut tree = Tree {
            name: "t".into(),
            id: "t".into(),
            image: String::new(),
            engine: Engine::Docker,
            store: dir.path().to_path_buf(),
            layers: vec![dir.path().join("low")],
            upper: Some(dir.path().join("top")),
            config: Config::default(),
            volumes: Vec::new(),
        };
        assert!(tree.view().unwrap_err().to_string().contains("is missing"));
        tree.upper = Some("/etc".into());
        assert!(tree.view().is_err());
        tree.upper = None;
        assert!(tree.view().is_ok());
    }
}
