// SPDX-License-Identifier: Apache-2.0
//! A sink's durable place in the store: two slots that are written in turn, so that a torn write
//! leaves the other one, and a lock, so that two lines cannot move it.

use crate::error::Error;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const MAGIC: [u8; 4] = *b"PCUR";
const VERSION: u32 = 1;
/// Each slot has a sector of its own: a torn write cannot reach into the other.
const SLOT_BYTES: usize = 512;
const HEAD_BYTES: usize = 64;
/// Longest mark.
pub const MAX_MARK_BYTES: usize = SLOT_BYTES - HEAD_BYTES - 4;

/// Where a line goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Sequence of the next event to send; 0 before the first use.
    pub next: u64,
    /// How often somebody moved the cursor by hand.
    pub rewinds: u64,
    /// What the sink keeps with it.
    pub mark: Vec<u8>,
}

/// The open and locked cursor.
#[derive(Debug)]
pub struct Cursor {
    file: File,
    path: PathBuf,
    store_id: [u8; 16],
    place: Place,
    /// Counts writes; the slot with the greater number is the newer one.
    write: u64,
    synced: bool,
}

impl Cursor {
    /// Opens the cursor of store `store_id` at `path`, or makes one that has not been used yet.
    ///
    /// # Errors
    /// When another line has it, it belongs to another store, or neither slot is whole.
    pub fn open(path: &Path, store_id: [u8; 16]) -> Result<Cursor, Error> {
        let fail = |errno: rustix::io::Errno| Error::io("opening the cursor", path, errno);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = File::from(open(path, flags, Mode::RUSR | Mode::WUSR).map_err(fail)?);
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(Error::Locked { path: path.to_path_buf() }),
            other => other.map_err(fail)?,
        }
        let mut cursor = Cursor {
            file,
            path: path.to_path_buf(),
            store_id,
            place: Place::default(),
            write: 0,
            synced: true,
        };
        cursor.load()?;
        Ok(cursor)
    }

    fn load(&mut self) -> Result<(), Error> {
        let mut bytes = Vec::new();
        let mut file = &self.file;
        io::Read::read_to_end(&mut io::Read::take(&mut file, 2 * SLOT_BYTES as u64), &mut bytes)
            .map_err(|source| Error::io("reading the cursor", &self.path, source))?;
        if bytes.is_empty() {
            return Ok(());
        }
        let newest = bytes.chunks(SLOT_BYTES).filter_map(decode).max_by_key(|slot| slot.write);
        let Some(slot) = newest else {
            // The first write of all may have been torn; then nothing was ever acknowledged.
            if bytes.len() < SLOT_BYTES {
                return Ok(());
            }
            return Err(Error::Damaged { path: self.path.clone() });
        };
        if slot.store_id != self.store_id {
            let (found, expected) = (hex(&slot.store_id), hex(&self.store_id));
            return Err(Error::OtherStore { path: self.path.clone(), found, expected });
        }
        (self.place, self.write) = (slot.place, slot.write);
        Ok(())
    }

    /// Where to go on.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Moves it. After a `kill -9` it is there; [`Cursor::sync`] also survives a loss of power.
    ///
    /// # Errors
    /// When it cannot be written; it stays where it was then.
    pub fn advance(&mut self, place: Place) -> Result<(), Error> {
        let write = self.write + 1;
        let slot = encode(&self.store_id, write, &place);
        // The first write of all goes to the front, so that a file shorter than a slot was never used.
        let offset = (self.write % 2) * SLOT_BYTES as u64;
        self.file
            .write_all_at(&slot, offset)
            .map_err(|source| Error::io("writing the cursor", &self.path, source))?;
        (self.place, self.write, self.synced) = (place, write, false);
        Ok(())
    }

    /// Makes the last move survive a loss of power.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn sync(&mut self) -> Result<(), Error> {
        if self.synced {
            return Ok(());
        }
        self.file.sync_data().map_err(|source| Error::io("syncing the cursor", &self.path, source))?;
        self.synced = true;
        Ok(())
    }
}

struct Slot {
    write: u64,
    store_id: [u8; 16],
    place: Place,
}

fn encode(store_id: &[u8; 16], write: u64, place: &Place) -> Vec<u8> {
    let mark = place.mark.get(..place.mark.len().min(MAX_MARK_BYTES)).unwrap_or_default();
    let mut slot = Vec::with_capacity(SLOT_BYTES);
    slot.extend_from_slice(&MAGIC);
    slot.extend_from_slice(&VERSION.to_le_bytes());
    slot.extend_from_slice(&write.to_le_bytes());
    slot.extend_from_slice(store_id);
    slot.extend_from_slice(&place.next.to_le_bytes());
    slot.extend_from_slice(&place.rewinds.to_le_bytes());
    slot.extend_from_slice(&(mark.len() as u64).to_le_bytes());
    slot.resize(HEAD_BYTES, 0);
    slot.extend_from_slice(mark);
    slot.resize(SLOT_BYTES - 4, 0);
    slot.extend_from_slice(&crc32c::crc32c(&slot).to_le_bytes());
    slot
}

/// `None` for anything this version did not write whole.
fn decode(slot: &[u8]) -> Option<Slot> {
    let (body, crc) = slot.split_last_chunk::<4>()?;
    if body.len() + 4 != SLOT_BYTES || crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (magic, rest) = body.split_first_chunk::<4>()?;
    let (version, rest) = rest.split_first_chunk::<4>()?;
    if *magic != MAGIC || u32::from_le_bytes(*version) != VERSION {
        return None;
    }
    let (write, rest) = rest.split_first_chunk::<8>()?;
    let (store_id, rest) = rest.split_first_chunk::<16>()?;
    let (next, rest) = rest.split_first_chunk::<8>()?;
    let (rewinds, rest) = rest.split_first_chunk::<8>()?;
    let (mark_len, _) = rest.split_first_chunk::<8>()?;
    let mark_len = usize::try_from(u64::from_le_bytes(*mark_len)).ok()?;
    let mark = body.get(HEAD_BYTES..HEAD_BYTES.checked_add(mark_len)?)?.to_vec();
    let place = Place { next: u64::from_le_bytes(*next), rewinds: u64::from_le_bytes(*rewinds), mark };
    Some(Slot { write: u64::from_le_bytes(*write), store_id: *store_id, place })
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::{Cursor, MAX_MARK_BYTES, Place, SLOT_BYTES};
    use crate::error::Error;

    fn place(next: u64) -> Place {
        Place { next, rewinds: 2, mark: format!("mark {next}").into_bytes() }
    }

    #[test]
    fn comes_back_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cursor");
        for next in 1..6 {
            let mut cursor = Cursor::open(&path, [1; 16]).unwrap();
            assert_eq!(*cursor.place(), if next == 1 { Place::default() } else { place(next - 1) });
            cursor.advance(place(next)).unwrap();
        }
        let long = Place { mark: vec![7; MAX_MARK_BYTES], ..place(9) };
        Cursor::open(&path, [1; 16]).unwrap().advance(long.clone()).unwrap();
        assert_eq!(*Cursor::open(&path, [1; 16]).unwrap().place(), long);
    }

    #[test]
    fn a_torn_write_leaves_the_place_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cursor");
        let mut cursor = Cursor::open(&path, [1; 16]).unwrap();
        cursor.advance(place(10)).unwrap();
        cursor.advance(place(20)).unwrap();
        let before = std::fs::read(&path).unwrap();
        cursor.advance(place(30)).unwrap();
        drop(cursor);
        let after = std::fs::read(&path).unwrap();
        for torn in 0..SLOT_BYTES {
            // The third write goes to the first slot again.
            let mut bytes = before.clone();
            bytes[..torn].copy_from_slice(&after[..torn]);
            std::fs::write(&path, &bytes).unwrap();
            let next = Cursor::open(&path, [1; 16]).unwrap().place().next;
            assert!(next == 20 || bytes == after, "{torn}: {next}");
        }
    }

    #[test]
    fn refuses_two_lines_another_store_and_garbage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cursor");
        let mut cursor = Cursor::open(&path, [1; 16]).unwrap();
        cursor.advance(place(1)).unwrap();
        assert!(matches!(Cursor::open(&path, [1; 16]), Err(Error::Locked { .. })));
        drop(cursor);
        let other = Cursor::open(&path, [2; 16]).unwrap_err().to_string();
        assert!(other.contains("counts the events of store 0101"), "{other}");
        std::fs::write(&path, vec![0; 2 * SLOT_BYTES]).unwrap();
        assert!(matches!(Cursor::open(&path, [1; 16]), Err(Error::Damaged { .. })));
        // A first write that never was whole: nothing had been sent.
        std::fs::write(&path, vec![0; SLOT_BYTES - 1]).unwrap();
        assert_eq!(*Cursor::open(&path, [1; 16]).unwrap().place(), Place::default());
    }
}
