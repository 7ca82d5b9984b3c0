// SPDX-License-Identifier: Apache-2.0
//! Signed statements of how far the store had come: number of blocks, next sequence, hash of the
//! last block, Merkle root of the segment in progress, what retention removed, and the public key
//! of the next epoch. The file `checkpoints` only grows.
//!
//! Order on disk: the record, then the next key under the name `key.new`, then the rename. Every
//! instant between leaves either no record, or a record whose key can be derived again from `key`.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::FallocateFlags;

use crate::block::{HeaderFault, VERSION, open_fixed, seal_fixed};
use crate::cursor::Cursor;
use crate::error::Error;
use crate::identity::{KEY_NAME, KEY_NEW_NAME, Key};
use crate::merkle::Hash;

pub(crate) const NAME: &str = "checkpoints";
pub(crate) const RECORD_LEN: usize = 368;
const SIGNED_LEN: usize = 296;
const MAGIC: [u8; 4] = *b"PCKP";
/// Room kept behind the end of the file, so that a full disk does not stop checkpoints.
const ROOM_BYTES: u64 = 64 << 10;

/// Why a checkpoint was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// A writer opened the store and took up what was there.
    Open = 1,
    /// Time passed.
    Time = 2,
    /// A segment is about to be removed.
    Drop = 3,
    /// A writer closed the store.
    Close = 4,
}

/// How far the store had come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) reason: Reason,
    /// Number of this checkpoint, which is also the epoch of the key that signed it.
    pub(crate) epoch: u64,
    pub(crate) time_ns: u64,
    pub(crate) boot_id: [u8; 16],
    /// Blocks ever written.
    pub(crate) blocks: u64,
    pub(crate) next_sequence: u64,
    pub(crate) last_hash: Hash,
    /// First sequence of the segment in progress, and the root over its blocks so far.
    pub(crate) segment: u64,
    pub(crate) segment_root: Hash,
    pub(crate) floor: Floor,
    /// First sequence of the segment that is removed now; zero otherwise.
    pub(crate) dropped: u64,
    /// With `Drop` the root of that segment; with `Close` the BLAKE3 of the journal, when one was left.
    pub(crate) witness: Hash,
    /// Events that recovery found lost before this checkpoint: first and one past the last.
    pub(crate) lost: (u64, u64),
    /// BLAKE3 of the record before.
    pub(crate) previous: Hash,
    pub(crate) next_public: [u8; 32],
    pub(crate) signature: [u8; 64],
}

/// Everything below was removed by retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Floor {
    pub(crate) sequence: u64,
    pub(crate) block: u64,
    /// Hash of the last block below.
    pub(crate) hash: Hash,
}

impl Checkpoint {
    fn start(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(RECORD_LEN);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(self.reason as u16).to_le_bytes());
        let mut number = |number: u64| out.extend_from_slice(&number.to_le_bytes());
        number(self.epoch);
        number(self.time_ns);
        number(self.blocks);
        number(self.next_sequence);
        number(self.segment);
        number(self.floor.sequence);
        number(self.floor.block);
        number(self.dropped);
        number(self.lost.0);
        number(self.lost.1);
        out.extend_from_slice(&self.boot_id);
        for hash in [
            self.last_hash,
            self.segment_root,
            self.floor.hash,
            self.witness,
            self.previous,
            self.next_public,
        ] {
            out.extend_from_slice(&hash);
        }
        out.resize(SIGNED_LEN, 0);
        out
    }

    pub(crate) fn encode(&self) -> [u8; RECORD_LEN] {
        let mut out = self.start();
        out.extend_from_slice(&self.signature);
        seal_fixed(out)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Checkpoint, HeaderFault> {
        open_fixed::<RECORD_LEN>(bytes, MAGIC)?;
        let checkpoint = Checkpoint::fields(bytes).ok_or(HeaderFault::Broken)?;
        if checkpoint.encode().as_slice() == bytes.get(..RECORD_LEN).unwrap_or_default() {
            Ok(checkpoint)
        } else {
            Err(HeaderFault::Broken)
        }
    }

    fn fields(bytes: &[u8]) -> Option<Checkpoint> {
        let mut cursor = Cursor::new(bytes);
        cursor.take(6)?;
        let reason = match cursor.u16()? {
            1 => Reason::Open,
            2 => Reason::Time,
            3 => Reason::Drop,
            4 => Reason::Close,
            _ => return None,
        };
        let epoch = cursor.u64()?;
        let time_ns = cursor.u64()?;
        let blocks = cursor.u64()?;
        let next_sequence = cursor.u64()?;
        let segment = cursor.u64()?;
        let (floor_sequence, floor_block) = (cursor.u64()?, cursor.u64()?);
        let dropped = cursor.u64()?;
        let lost = (cursor.u64()?, cursor.u64()?);
        let boot_id = cursor.array()?;
        let last_hash = cursor.array()?;
        let segment_root = cursor.array()?;
        let floor = Floor { sequence: floor_sequence, block: floor_block, hash: cursor.array()? };
        Some(Checkpoint {
            reason,
            epoch,
            time_ns,
            boot_id,
            blocks,
            next_sequence,
            last_hash,
            segment,
            segment_root,
            floor,
            dropped,
            witness: cursor.array()?,
            lost,
            previous: cursor.array()?,
            next_public: cursor.array()?,
            signature: Cursor::new(bytes.get(SIGNED_LEN..)?).array()?,
        })
    }

    /// The bytes that are signed, behind the hash of the store's origin.
    pub(crate) fn message(&self, origin: &Hash) -> Vec<u8> {
        [b"purser checkpoint 1".as_slice(), origin, &self.start()].concat()
    }
}

/// A checkpoint on its way to the disk. It may be written from another thread, and again after an error.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) offset: u64,
    pub(crate) record: [u8; RECORD_LEN],
    pub(crate) next_key: Key,
}

impl Delivery {
    /// Writes record and key, each durable before the next step.
    pub(crate) fn perform(&self, dir: &Path) -> Result<(), Error> {
        let path = dir.join(NAME);
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(|source| Error::io("opening", &path, source))?;
        if let Err(source) = file.write_all_at(&self.record, self.offset) {
            file.set_len(self.offset).map_err(|source| Error::io("cutting", &path, source))?;
            return Err(Error::io("writing", &path, source));
        }
        file.sync_data().map_err(|source| Error::io("syncing", &path, source))?;
        keep_room(&file, self.offset + RECORD_LEN as u64);
        write_key(dir, &self.next_key)
    }
}

/// Room is a precaution: a file system without it only means that a full disk is felt earlier.
fn keep_room(file: &File, end: u64) {
    // Asked for anew only now and then, each time for the stretch ahead.
    if end % (ROOM_BYTES / 2) < RECORD_LEN as u64 || end == RECORD_LEN as u64 {
        rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, end, ROOM_BYTES).ok();
    }
}

/// Replaces the key file. The old seed is overwritten before its name goes away.
pub(crate) fn write_key(dir: &Path, key: &Key) -> Result<(), Error> {
    let (path, new) = (dir.join(KEY_NAME), dir.join(KEY_NEW_NAME));
    match write_private(&new, &key.encode()) {
        Err(Error::Full { .. }) if path.exists() => {
            // No block for a second file: the key fits where the old one is, and 64 bytes are written at once.
            crate::journal::remove_if_there(&new)?;
            return overwrite(&path, &key.encode());
        }
        other => other?,
    }
    if path.exists() {
        overwrite(&path, &[0; crate::identity::KEY_LEN])?;
    }
    std::fs::rename(&new, &path).map_err(|source| Error::io("renaming", &new, source))?;
    sync_directory(dir)
}

fn overwrite(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let file = OpenOptions::new().write(true).open(path);
    let file = file.map_err(|source| Error::io("opening", path, source))?;
    file.write_all_at(bytes, 0).map_err(|source| Error::io("writing", path, source))?;
    file.sync_data().map_err(|source| Error::io("syncing", path, source))
}

/// Writes a small file only its owner may read.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let file = file.map_err(|source| Error::io("creating", path, source))?;
    file.write_all_at(bytes, 0).map_err(|source| Error::io("writing", path, source))?;
    file.sync_data().map_err(|source| Error::io("syncing", path, source))
}

/// Makes names durable.
pub(crate) fn sync_directory(dir: &Path) -> Result<(), Error> {
    let file = File::open(dir).map_err(|source| Error::io("opening", dir, source))?;
    file.sync_all().map_err(|source| Error::io("syncing", dir, source))
}
