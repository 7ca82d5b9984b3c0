// SPDX-License-Identifier: Apache-2.0
//! How a writer behaves, and what it can tell of itself. Reads no configuration itself.

use std::time::Duration;

/// What to do when the disk is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DiskFull {
    /// Fail with `Error::Full` and keep what was appended, to be committed later.
    #[default]
    Block,
    /// Remove the oldest sealed segment and go on; `Statistics::dropped` tells of it.
    DropOldest,
    /// Give up a file kept for this moment, once, and then behave as `Block`.
    Reserve,
}

/// Settings of a writer. Times are by the clock the caller passes to `tick`.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes at which a segment is sealed.
    pub segment_bytes: u64,
    /// Events at which a block is closed, at the next commit. A single commit of more than
    /// twice as many is split into several blocks.
    pub block_events: u32,
    /// Raw bytes at which a block is closed.
    pub block_bytes: usize,
    /// Age at which a block is closed.
    pub block_age: Duration,
    /// Time between signed checkpoints while events come.
    pub checkpoint_every: Duration,
    /// Time between signed checkpoints when nothing was written since the last one. The file of
    /// checkpoints grows for ever, by 368 bytes each.
    pub idle_checkpoint_every: Duration,
    /// Time between fdatasync calls, made on another thread.
    pub sync_every: Duration,
    /// Age at which a sealed segment is removed, by its newest event.
    pub retain_age: Option<Duration>,
    /// Bytes of all segments above which the oldest sealed one is removed.
    pub retain_bytes: Option<u64>,
    /// What to do when the disk is full.
    pub disk_full: DiskFull,
    /// Bytes kept for `DiskFull::Reserve`.
    pub reserve_bytes: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment_bytes: 64 << 20,
            block_events: 1024,
            block_bytes: 256 << 10,
            block_age: Duration::from_secs(5),
            checkpoint_every: Duration::from_secs(60),
            idle_checkpoint_every: Duration::from_secs(3600),
            sync_every: Duration::from_secs(1),
            retain_age: None,
            retain_bytes: None,
            disk_full: DiskFull::Block,
            reserve_bytes: 16 << 20,
        }
    }
}

/// Events removed because the disk was full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    /// How many.
    pub events: u64,
    /// The first of them.
    pub first_sequence: u64,
    /// The last of them.
    pub last_sequence: u64,
}

/// What a writer knows of its store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Committed events that are still in the store.
    pub events: u64,
    /// Segment files.
    pub segments: u64,
    /// Bytes of segments and journal.
    pub bytes: u64,
    /// Sequence of the oldest event that is left; 0 in an empty store.
    pub first_sequence: u64,
    /// Time of the oldest event in a closed block, in ns since 1970.
    pub oldest_ns: Option<u64>,
    /// Signed checkpoints so far.
    pub checkpoints: u64,
    /// Segments removed by retention since the store was opened.
    pub retired_segments: u64,
    /// What a full disk cost since the store was opened.
    pub dropped: Option<Dropped>,
    /// Attachments that were too long to keep.
    pub refused_attachments: u64,
}
