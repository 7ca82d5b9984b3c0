// SPDX-License-Identifier: Apache-2.0
//! An image of ours as the tar file that a daemon loads: the form that `docker save` has always written, which every
//! version reads. Layers have nothing in them that depends on when or where they were made.

use crate::DockerError;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

/// The most entries of a layer.
const ENTRIES_LIMIT: usize = 400_000;
/// Deepest directory.
const DEPTH_LIMIT: usize = 64;
/// The day of all files and images.
const DAY: &str = "1970-01-01T00:00:00Z";

/// An image.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// `NAME:TAG`.
    pub name: String,
    /// What it holds, the lowest first.
    pub layers: Vec<Layer>,
    /// What can be asked about it.
    pub labels: BTreeMap<String, String>,
    /// The processor, as Go calls it.
    pub architecture: String,
}

/// Files of an image, in the order in which they are written.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    entries: Vec<(String, Content)>,
}

#[derive(Clone, Debug)]
enum Content {
    Directory,
    File { from: PathBuf, mode: u32 },
    Link { to: PathBuf },
}

impl Layer {
    /// A directory that is not there yet.
    pub fn directory(&mut self, at: &str) {
        self.entries.push((at.to_owned(), Content::Directory));
    }

    /// A file, with what `from` holds when the image is written.
    pub fn file(&mut self, at: &str, from: &Path, is_executable: bool) {
        let mode = if is_executable { 0o755 } else { 0o644 };
        self.entries.push((at.to_owned(), Content::File { from: from.to_owned(), mode }));
    }

    /// A symbolic link.
    pub fn link(&mut self, at: &str, to: &Path) {
        self.entries.push((at.to_owned(), Content::Link { to: to.to_owned() }));
    }

    /// A directory with all that is in it: directories, regular files and links.
    ///
    /// # Errors
    /// When something cannot be read, or is of another kind.
    pub fn tree(&mut self, at: &str, from: &Path) -> Result<(), DockerError> {
        self.walk(at, from, 0)
            .map_err(|source| DockerError::Local { doing: format!("packing {}", from.display()), source })
    }

    /// The SHA-256 digest of the layer, as `sha256:HEX`.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn digest(&self) -> Result<String, DockerError> {
        let failed = |source| DockerError::Local { doing: "reading what is to be packed".into(), source };
        Ok(format!("sha256:{}", self.measured().map_err(failed)?.0))
    }

    /// Its digest in hexadecimal digits, and its size.
    fn measured(&self) -> io::Result<(String, u64)> {
        let mut digest = Digesting { hash: Sha256::new(), size: 0 };
        self.write(&mut digest)?;
        Ok((digest.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect(), digest.size))
    }

    fn walk(&mut self, at: &str, from: &Path, depth: usize) -> io::Result<()> {
        if depth > DEPTH_LIMIT || self.entries.len() > ENTRIES_LIMIT {
            return Err(io::Error::other("there are too many files, or directories in directories"));
        }
        self.directory(at);
        let mut names =
            fs::read_dir(from)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
        // Any order does, as long as it is always the same.
        names.sort();
        for name in names {
            let path = from.join(&name);
            let name = name.to_str().ok_or_else(|| io::Error::other("a name that is no text"))?;
            let at = format!("{at}/{name}");
            let metadata = fs::symlink_metadata(&path)?;
            match metadata.file_type() {
                kind if kind.is_dir() => self.walk(&at, &path, depth + 1)?,
                kind if kind.is_file() => self.file(&at, &path, metadata.permissions().mode() & 0o100 != 0),
                kind if kind.is_symlink() => self.link(&at, &fs::read_link(&path)?),
                _ => {
                    return Err(io::Error::other(format!(
                        "{} is neither file, directory nor link",
                        path.display()
                    )));
                }
            }
        }
        Ok(())
    }

    fn write(&self, out: impl Write) -> io::Result<()> {
        let mut tar = Builder::new(out);
        for (at, content) in &self.entries {
            let mut header = Header::new_gnu();
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            header.set_size(0);
            match content {
                Content::Directory => {
                    header.set_entry_type(EntryType::Directory);
                    header.set_mode(0o755);
                    tar.append_data(&mut header, format!("{at}/"), io::empty())?;
                }
                Content::File { from, mode } => {
                    let file = File::open(from)?;
                    let size = file.metadata()?.len();
                    header.set_entry_type(EntryType::Regular);
                    header.set_mode(*mode);
                    header.set_size(size);
                    tar.append_data(&mut header, at, file.take(size))?;
                }
                Content::Link { to } => {
                    header.set_entry_type(EntryType::Symlink);
                    header.set_mode(0o777);
                    tar.append_link(&mut header, at, to)?;
                }
            }
        }
        tar.into_inner()?.flush()
    }
}

impl Image {
    /// Writes the archive. `progress` is told how many bytes of how many are done.
    pub(crate) fn write(&self, out: impl Write, progress: &mut dyn FnMut(u64, u64)) -> io::Result<()> {
        let layers = self.layers.iter().map(Layer::measured).collect::<io::Result<Vec<_>>>()?;
        let whole = layers.iter().map(|(_, size)| size).sum();
        let config = self.config(&layers).to_string();
        let id: String = Sha256::digest(config.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        let path = |id: &str| format!("{id}/layer.tar");
        let paths: Vec<String> = layers.iter().map(|(id, _)| path(id)).collect();
        let manifest = json!([{ "Config": format!("{id}.json"), "RepoTags": [self.name], "Layers": paths }]);
        let mut tar = Builder::new(out);
        let header = |size: u64| {
            let mut header = Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(size);
            header
        };
        for (name, text) in
            [("manifest.json".to_owned(), manifest.to_string()), (format!("{id}.json"), config)]
        {
            tar.append_data(&mut header(text.len() as u64), name, text.as_bytes())?;
        }
        let mut done = 0;
        for (layer, (id, size)) in self.layers.iter().zip(&layers) {
            let mut head = header(*size);
            head.set_path(path(id))?;
            head.set_cksum();
            // Not through the builder, which wants something to read from.
            let out = tar.get_mut();
            out.write_all(head.as_bytes())?;
            let mut counted = Counted { out, count: 0, done: &mut done, whole, progress };
            layer.write(&mut counted)?;
            if counted.count != *size {
                return Err(io::Error::other("a file of the image changed while it was packed"));
            }
            let padding = size.next_multiple_of(512) - size;
            tar.get_mut()
                .write_all([0; 512].get(..usize::try_from(padding).unwrap_or(0)).unwrap_or_default())?;
        }
        tar.into_inner()?.flush()
    }

    fn config(&self, layers: &[(String, u64)]) -> serde_json::Value {
        let ids: Vec<String> = layers.iter().map(|(id, _)| format!("sha256:{id}")).collect();
        let history: Vec<_> =
            layers.iter().map(|_| json!({ "created": DAY, "created_by": "purser" })).collect();
        json!({
            "architecture": self.architecture,
            "os": "linux",
            "created": DAY,
            "config": { "Labels": self.labels },
            "rootfs": { "type": "layers", "diff_ids": ids },
            "history": history,
        })
    }
}

struct Digesting {
    hash: Sha256,
    size: u64,
}

impl Write for Digesting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Counted<'a, W> {
    out: &'a mut W,
    count: u64,
    done: &'a mut u64,
    whole: u64,
    progress: &'a mut dyn FnMut(u64, u64),
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.count += written as u64;
        *self.done += written as u64;
        (self.progress)(*self.done, self.whole);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::{Image, Layer};
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    fn image(dir: &std::path::Path) -> Image {
        let long = "long/".repeat(40);
        fs::create_dir_all(dir.join(&long)).unwrap();
        fs::write(dir.join(&long).join("f"), "x".repeat(700)).unwrap();
        symlink("long", dir.join("link")).unwrap();
        let mut layer = Layer::default();
        layer.tree("kits/base", dir).unwrap();
        let labels = [("a".to_owned(), "b".to_owned())].into();
        Image { name: "x:1".into(), layers: vec![layer], labels, architecture: "amd64".into() }
    }

    #[test]
    fn an_image_is_the_same_each_time_and_its_digests_are_right() {
        let dir = tempfile::tempdir().unwrap();
        let image = image(dir.path());
        let (mut one, mut other) = (Vec::new(), Vec::new());
        let mut told = (0, 0);
        image.write(&mut one, &mut |done, whole| told = (done, whole)).unwrap();
        image.write(&mut other, &mut |_, _| {}).unwrap();
        assert!(one == other && told.0 == told.1 && told.0 > 0);
        let mut files = std::collections::BTreeMap::new();
        for entry in tar::Archive::new(&*one).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            files.insert(entry.path().unwrap().display().to_string(), bytes);
        }
        let manifest: serde_json::Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
        let layer = manifest[0]["Layers"][0].as_str().unwrap();
        let config: serde_json::Value =
            serde_json::from_slice(&files[manifest[0]["Config"].as_str().unwrap()]).unwrap();
        let id = layer.strip_suffix("/layer.tar").unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{id}"));
        assert_eq!(config["config"]["Labels"]["a"], "b");
        let hash = <super::Sha256 as super::Digest>::digest(&files[layer]);
        assert_eq!(hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), id);
        let inner: Vec<String> = tar::Archive::new(&*files[layer])
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert!(inner.contains(&format!("kits/base/{}f", "long/".repeat(40))), "{inner:?}");
    }

    #[test]
    fn what_is_no_file_is_not_packed() {
        let dir = tempfile::tempdir().unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("s")).unwrap();
        assert!(Layer::default().tree("x", dir.path()).is_err());
    }
}
