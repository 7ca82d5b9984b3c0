// SPDX-License-Identifier: Apache-2.0
//! How far each file was read.
//!
//! The truth is in the events: each line says where it began and how long it was, and is committed
//! together with that. What is kept here is only a summary of them up to one event of the store, so
//! that a start need not read them all. It is written beside the store and replaced as a whole; one
//! that is missing, torn, or newer than the store is left aside for the one before it.

use crate::error::Error;
use event::{FileKey, Line};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Most files whose positions are kept; of more, those that were not read for longest are forgotten.
pub const POSITIONS_LIMIT: usize = 65_536;
/// Bytes at the start of a file that make its fingerprint.
pub const FINGERPRINT_BYTES: u64 = 1024;
/// Longest summary that is read.
const FILE_LIMIT: u64 = 1 << 30;

/// How far one file was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The container's id, empty on the host.
    pub container: String,
    /// Where the file was last seen.
    pub path: Vec<u8>,
    /// Hash of its first bytes: the first [`FINGERPRINT_BYTES`], or those before `next`.
    pub fingerprint: u64,
    /// Where the next line begins.
    pub next: u64,
    /// Larger is later; decides who is forgotten.
    pub(crate) age: u64,
}

/// All files of one source, by device and inode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    files: HashMap<(u64, u64), Position>,
    clock: u64,
    /// The first event of the store that they know nothing of.
    pub sequence: u64,
    /// False for a source that never ran.
    pub known: bool,
}

#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    sequence: u64,
    files: usize,
    hash: String,
}

impl Positions {
    /// How many files.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// None yet.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The file's.
    pub fn get(&self, device: u64, inode: u64) -> Option<&Position> {
        self.files.get(&(device, inode))
    }

    /// Every file.
    pub fn iter(&self) -> impl Iterator<Item = (&(u64, u64), &Position)> {
        self.files.iter()
    }

    /// Takes the position that a committed event stands for.
    pub fn learn(&mut self, container: &str, line: &Line) {
        self.known = true;
        let FileKey { device, inode, fingerprint } = line.file;
        let position = Position {
            container: container.to_string(),
            path: line.path.clone(),
            fingerprint,
            next: line.offset.saturating_add(line.bytes),
            age: 0,
        };
        self.set(device, inode, position);
    }

    pub(crate) fn set(&mut self, device: u64, inode: u64, mut position: Position) {
        self.clock += 1;
        position.age = self.clock;
        self.files.insert((device, inode), position);
        if self.files.len() > POSITIONS_LIMIT {
            let mut ages: Vec<u64> = self.files.values().map(|position| position.age).collect();
            let (_, &mut middle, _) = ages.select_nth_unstable(POSITIONS_LIMIT / 8);
            self.files.retain(|_, position| position.age > middle);
        }
    }

    pub(crate) fn forget(&mut self, device: u64, inode: u64) {
        self.files.remove(&(device, inode));
    }

    /// Reads the newest summary in `dir` that the store, which goes up to `end`, has the events of.
    pub fn load(dir: &Path, end: u64) -> Positions {
        let files = [current(dir), earlier(dir)];
        let found = files.iter().filter_map(|path| read(path).ok());
        found
            .filter(|positions| positions.sequence <= end)
            .max_by_key(|positions| positions.sequence)
            .unwrap_or_default()
    }

    /// Replaces the summary in `dir`; the one before it stays.
    ///
    /// # Errors
    /// `Positions` when a file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), Error> {
        let path = current(dir);
        self.write(dir, &path).map_err(|source| Error::Positions { doing: "writing", path, source })
    }

    fn write(&self, dir: &Path, path: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)?;
        let mut body = Vec::new();
        for entry in &self.files {
            serde_json::to_writer(&mut body, &entry)?;
            body.push(b'\n');
        }
        let head = Head {
            version: 1,
            sequence: self.sequence,
            files: self.files.len(),
            hash: blake3::hash(&body).to_hex().to_string(),
        };
        let fresh = dir.join("positions.new");
        let mut file = File::create(&fresh)?;
        serde_json::to_writer(&mut file, &head)?;
        file.write_all(b"\n")?;
        file.write_all(&body)?;
        file.sync_data()?;
        if path.exists() {
            fs::rename(path, earlier(dir))?;
        }
        fs::rename(&fresh, path)?;
        File::open(dir)?.sync_all()
    }
}

fn current(dir: &Path) -> PathBuf {
    dir.join("positions")
}

fn earlier(dir: &Path) -> PathBuf {
    dir.join("positions.old")
}

fn read(path: &Path) -> io::Result<Positions> {
    let bad = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_string());
    if fs::metadata(path)?.len() > FILE_LIMIT {
        return Err(bad("too long"));
    }
    let bytes = fs::read(path)?;
    let end = memchr::memchr(b'\n', &bytes).ok_or_else(|| bad("no head"))?;
    let (head, body) = bytes.split_at(end + 1);
    let head: Head = serde_json::from_slice(head)?;
    if head.version != 1 || head.hash != blake3::hash(body).to_hex().as_str() {
        return Err(bad("torn, or of another version"));
    }
    let mut positions = Positions { sequence: head.sequence, known: true, ..Positions::default() };
    for line in body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).take(POSITIONS_LIMIT) {
        let (key, position): ((u64, u64), Position) = serde_json::from_slice(line)?;
        positions.clock = positions.clock.max(position.age);
        positions.files.insert(key, position);
    }
    Ok(positions)
}

/// The hash that [`FileKey::fingerprint`] holds.
pub(crate) fn fingerprint(head: &[u8]) -> u64 {
    if head.is_empty() {
        return 0;
    }
    let hash = blake3::hash(head);
    let (first, _) = hash.as_bytes().split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
    u64::from_le_bytes(*first)
}

#[cfg(test)]
mod tests {
    use super::{POSITIONS_LIMIT, Position, Positions};
    use event::{FileKey, Line};

    fn line(inode: u64, offset: u64) -> Line {
        Line { file: FileKey { device: 1, inode, fingerprint: 9 }, offset, bytes: 10, ..Line::default() }
    }

    #[test]
    fn comes_back_and_falls_back() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Positions::load(dir.path(), 100), Positions::default());
        let mut positions = Positions::default();
        positions.learn("c", &line(7, 0));
        positions.sequence = 5;
        positions.save(dir.path()).unwrap();
        assert_eq!(Positions::load(dir.path(), 5), positions);
        let first = positions.clone();
        positions.learn("c", &line(7, 10));
        positions.learn("", &line(8, 0));
        positions.sequence = 9;
        positions.save(dir.path()).unwrap();
        assert_eq!(Positions::load(dir.path(), 9).get(1, 7).map(|position| position.next), Some(20));
        // A store that lost its last events, as after a loss of power.
        assert_eq!(Positions::load(dir.path(), 8), first);
        let path = dir.path().join("positions");
        let bytes = std::fs::read(&path).unwrap();
        for length in 0..bytes.len() {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert_eq!(Positions::load(dir.path(), 9), first, "{length}");
        }
    }

    #[test]
    fn stays_bounded() {
        let mut positions = Positions::default();
        for inode in 0..POSITIONS_LIMIT as u64 + 10 {
            positions.set(1, inode, Position::default());
        }
        assert!(positions.len() <= POSITIONS_LIMIT);
        assert!(positions.get(1, 0).is_none() && positions.get(1, POSITIONS_LIMIT as u64 + 9).is_some());
    }
}
