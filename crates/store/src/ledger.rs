// SPDX-License-Identifier: Apache-2.0
//! The writer's end of the checkpoint file: makes the next signed record, evolves the key and
//! sees to it that records reach the disk one after the other.

use std::path::PathBuf;

use crate::checkpoint::{Checkpoint, Delivery, Floor, RECORD_LEN, Reason};
use crate::error::Error;
use crate::helper::{Helper, Job, Outcome};
use crate::identity::Identity;
use crate::merkle::Hash;

/// What a checkpoint says, apart from what the ledger knows itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) reason: Reason,
    pub(crate) time_ns: u64,
    pub(crate) boot_id: [u8; 16],
    pub(crate) blocks: u64,
    pub(crate) next_sequence: u64,
    pub(crate) last_hash: Hash,
    pub(crate) segment: u64,
    pub(crate) segment_root: Hash,
    pub(crate) dropped: u64,
    pub(crate) witness: Hash,
    pub(crate) lost: (u64, u64),
}

/// Key, floor and end of the checkpoint file.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) dir: PathBuf,
    pub(crate) identity: Identity,
    /// Bytes of the checkpoint file.
    pub(crate) len: u64,
    pub(crate) previous: Hash,
    pub(crate) floor: Floor,
    pub(crate) undelivered: Option<Delivery>,
    /// What this writer signed last.
    pub(crate) signed: Option<Statement>,
    /// Set when the last sync of segment and journal went through.
    pub(crate) synced: bool,
}

impl Ledger {
    /// Takes note of a finished job; an error of a sync is told at once, a checkpoint is kept for another try.
    pub(crate) fn take(&mut self, outcome: Option<Outcome>) -> Result<(), Error> {
        let Some(Outcome { job, result }) = outcome else { return Ok(()) };
        match job {
            Job::Sync(_) => self.synced = result.is_ok(),
            Job::Checkpoint(delivery) if result.is_err() => self.undelivered = Some(*delivery),
            Job::Checkpoint(_) => {}
        }
        result
    }

    /// Brings what is under way or failed before onto the disk.
    pub(crate) fn settle(&mut self, helper: &mut Helper) -> Result<(), Error> {
        let outcome = helper.outcome(true);
        // A failed delivery is tried again right here, so its first error says nothing new.
        let sync_failed = matches!(&outcome, Some(Outcome { job: Job::Sync(_), .. }));
        let taken = self.take(outcome);
        if sync_failed {
            taken?;
        }
        if let Some(delivery) = &self.undelivered {
            delivery.perform(&self.dir)?;
            self.undelivered = None;
        }
        Ok(())
    }

    /// Whether the chain is where the last signature has it.
    pub(crate) fn covers(&self, statement: &Statement) -> bool {
        let place = |statement: &Statement| {
            let Statement { blocks, next_sequence, last_hash, segment, segment_root, boot_id, .. } =
                *statement;
            (blocks, next_sequence, last_hash, segment, segment_root, boot_id)
        };
        self.signed.as_ref().is_some_and(|signed| place(signed) == place(statement))
    }

    /// Signs a statement. With a helper that is idle it is written there, else here and now.
    pub(crate) fn sign(
        &mut self,
        statement: &Statement,
        helper: &mut Helper,
        wait: bool,
    ) -> Result<(), Error> {
        self.settle(helper)?;
        let next_key = self.identity.key.next();
        let mut checkpoint = Checkpoint {
            reason: statement.reason,
            epoch: self.identity.epoch(),
            time_ns: statement.time_ns,
            boot_id: statement.boot_id,
            blocks: statement.blocks,
            next_sequence: statement.next_sequence,
            last_hash: statement.last_hash,
            segment: statement.segment,
            segment_root: statement.segment_root,
            floor: self.floor,
            dropped: statement.dropped,
            witness: statement.witness,
            lost: statement.lost,
            previous: self.previous,
            next_public: next_key.public(),
            signature: [0; 64],
        };
        checkpoint.signature = self.identity.sign(&checkpoint.message(&self.identity.origin_hash()));
        let record = checkpoint.encode();
        let delivery = Delivery { offset: self.len, record, next_key: next_key.clone() };
        self.previous = *blake3::hash(&record).as_bytes();
        self.len += RECORD_LEN as u64;
        self.identity.key = next_key;
        self.signed = Some(*statement);
        if !wait {
            helper.submit(Job::Checkpoint(Box::new(delivery)));
            return Ok(());
        }
        let result = delivery.perform(&self.dir);
        if result.is_err() {
            self.undelivered = Some(delivery);
        }
        result
    }
}
