// SPDX-License-Identifier: Apache-2.0
//! The checkpoints as proof: each is signed by the key that the one before announced, and the key
//! on disk is the one that the last announced. It says nothing of blocks; `chain` does.

use std::collections::HashMap;
use std::path::Path;

use crate::checkpoint::{self, Checkpoint, Floor, RECORD_LEN, Reason};
use crate::error::Error;
use crate::file;
use crate::identity::{KEY_LEN, KEY_NAME, KEY_NEW_NAME, Key, Origin, verifies};
use crate::merkle::Hash;
use crate::recovery::read_small;
use crate::segment::read_up_to;

use super::{FindingKind, Report};

/// Where the next public key stands in a record.
const NEXT_PUBLIC_AT: usize = 264;
/// Epochs ahead of the key on disk in which a footer may have been signed before a crash.
const KEY_AHEAD: u64 = 4;
/// Records read at once.
const BATCH: usize = 1024;

/// A signed state of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) blocks: u64,
    pub(super) next_sequence: u64,
    pub(super) last_hash: Hash,
    pub(super) segment: u64,
    pub(super) segment_root: Hash,
}

/// What the checkpoints prove.
#[derive(Debug)]
pub(super) struct Proof {
    /// States in order, each only once.
    pub(super) marks: Vec<Mark>,
    /// Public key of each epoch.
    pub(super) publics: HashMap<u64, [u8; 32]>,
    pub(super) floor: Floor,
    /// The last record is that of a close, and no writer has the store.
    pub(super) closed: bool,
    /// What a close said of the journal.
    pub(super) witness: Hash,
}

/// What the next record must be.
struct Expected {
    epoch: u64,
    public: [u8; 32],
    /// `None` behind a record that is broken, which was told already.
    previous: Option<Hash>,
    next_sequence: u64,
    last: Option<Checkpoint>,
}

impl Proof {
    pub(super) fn read(dir: &Path, origin: &Origin, report: &mut Report) -> Result<Proof, Error> {
        let mut proof = Proof {
            marks: Vec::new(),
            publics: HashMap::from([(0, origin.public_key)]),
            floor: Floor { sequence: origin.first_sequence, block: origin.first_block, hash: origin.hash() },
            closed: false,
            witness: [0; 32],
        };
        let mut expected = Expected {
            epoch: 0,
            public: origin.public_key,
            previous: Some([0; 32]),
            next_sequence: origin.first_sequence,
            last: None,
        };
        let rest = proof.read_records(dir, &origin.hash(), &mut expected, report)?;
        if let Some(last) = &expected.last {
            proof.floor = last.floor;
            report.signed_ns = Some(last.time_ns);
            proof.witness = last.witness;
            proof.closed = last.reason == Reason::Close && !report.live;
        }
        if rest > 0 && proof.closed {
            report.add(
                FindingKind::Unexpected,
                checkpoint::NAME,
                (0, 0),
                "bytes stand behind the last record",
            );
        } else if !report.live {
            report.torn_bytes += rest;
        }
        if !report.live {
            proof.check_key(dir, &expected, report)?;
        }
        Ok(proof)
    }

    /// Goes through the file and gives the bytes behind the last whole record.
    fn read_records(
        &mut self,
        dir: &Path,
        origin: &Hash,
        expected: &mut Expected,
        report: &mut Report,
    ) -> Result<u64, Error> {
        let path = dir.join(checkpoint::NAME);
        let Some(file) = file::open_if_there(&path)? else { return Ok(0) };
        let mut offset = 0;
        loop {
            let bytes = read_up_to(&file, &path, offset, BATCH * RECORD_LEN)?;
            let records = bytes.chunks_exact(RECORD_LEN);
            let rest = records.remainder().len() as u64;
            let is_last = bytes.len() < BATCH * RECORD_LEN;
            for record in records {
                self.take(record, origin, expected, report);
                report.checkpoints += 1;
            }
            offset += bytes.len() as u64;
            if is_last {
                return Ok(rest);
            }
        }
    }

    fn take(&mut self, record: &[u8], origin: &Hash, expected: &mut Expected, report: &mut Report) {
        let from = expected.next_sequence;
        let Ok(found) = Checkpoint::decode(record) else {
            report.add(
                FindingKind::Edited,
                checkpoint::NAME,
                (from, from + 1),
                format!("checkpoint {} is not what was signed", expected.epoch),
            );
            // Whether the announced key is whole shows by the next signature.
            let announced = record.get(NEXT_PUBLIC_AT..).and_then(|rest| rest.first_chunk::<32>());
            expected.public = announced.copied().unwrap_or_default();
            expected.epoch += 1;
            expected.previous = None;
            return;
        };
        let range = (from, found.next_sequence.max(from + 1));
        let signed = verifies(&expected.public, &found.message(origin), &found.signature);
        if found.epoch > expected.epoch {
            let detail = format!("checkpoints {} to {} are missing", expected.epoch, found.epoch - 1);
            report.add(FindingKind::Missing, checkpoint::NAME, range, detail);
        } else if found.epoch < expected.epoch {
            let detail =
                format!("checkpoint {} stands behind {}", found.epoch, expected.epoch.saturating_sub(1));
            report.add(FindingKind::Reordered, checkpoint::NAME, range, detail);
        } else if !signed {
            let detail = format!("checkpoint {} is not signed by the key announced before it", found.epoch);
            report.add(FindingKind::Edited, checkpoint::NAME, range, detail);
        } else if expected.previous.is_some_and(|previous| previous != found.previous) {
            let detail = format!("checkpoint {} does not follow the one before it", found.epoch);
            report.add(FindingKind::Edited, checkpoint::NAME, range, detail);
        }
        expected.epoch = found.epoch.saturating_add(1);
        expected.public = found.next_public;
        expected.previous = Some(*blake3::hash(record).as_bytes());
        expected.next_sequence = found.next_sequence;
        self.publics.insert(expected.epoch, found.next_public);
        let mark = Mark {
            blocks: found.blocks,
            next_sequence: found.next_sequence,
            last_hash: found.last_hash,
            segment: found.segment,
            segment_root: found.segment_root,
        };
        if self.marks.last() != Some(&mark) {
            self.marks.push(mark);
        }
        expected.last = Some(found);
    }

    /// The key on disk must be the one of the epoch after the last checkpoint. A later one tells that
    /// checkpoints are gone; an earlier one is what a crash leaves.
    fn check_key(&mut self, dir: &Path, expected: &Expected, report: &mut Report) -> Result<(), Error> {
        let read = |name: &str| -> Result<Option<Option<Key>>, Error> {
            let bytes = read_small(&dir.join(name), KEY_LEN)?;
            Ok(bytes.map(|bytes| Key::decode(&bytes).ok()))
        };
        let (current, coming) = (read(KEY_NAME)?, read(KEY_NEW_NAME)?);
        let from = (expected.next_sequence, expected.next_sequence + 1);
        let coming = coming.flatten();
        let key = match (current, &coming) {
            (Some(Some(key)), _) => key,
            // Between overwriting the old key and renaming the new one.
            (Some(None), Some(coming)) => coming.clone(),
            (Some(None), None) => {
                report.add(FindingKind::Edited, KEY_NAME, from, "it is not what the writer left");
                return Ok(());
            }
            (None, _) => {
                report.add(FindingKind::Missing, KEY_NAME, from, "it is gone");
                return Ok(());
            }
        };
        let finishes = coming.as_ref().is_some_and(|coming| coming.epoch == expected.epoch);
        if key.epoch > expected.epoch {
            let detail = format!("checkpoints {} to {} are missing", expected.epoch, key.epoch - 1);
            report.add(FindingKind::Missing, checkpoint::NAME, from, detail);
            return Ok(());
        }
        if key.epoch < expected.epoch && (expected.epoch - key.epoch > KEY_AHEAD || self.closed && !finishes)
        {
            report.add(FindingKind::Edited, KEY_NAME, from, "it is of an earlier time than the checkpoints");
            return Ok(());
        }
        if key.epoch == expected.epoch && self.closed && dir.join(KEY_NEW_NAME).exists() {
            report.add(FindingKind::Unexpected, KEY_NEW_NAME, from, "no writer leaves it behind");
        }
        let mut key = key;
        while key.epoch < expected.epoch {
            key = key.next();
        }
        if key.public() != expected.public {
            report.add(
                FindingKind::Edited,
                KEY_NAME,
                from,
                "it is not the key that the last checkpoint announced",
            );
            return Ok(());
        }
        for _ in 0..KEY_AHEAD {
            key = key.next();
            self.publics.insert(key.epoch, key.public());
        }
        Ok(())
    }
}
