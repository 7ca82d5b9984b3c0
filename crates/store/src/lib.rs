// SPDX-License-Identifier: Apache-2.0
//! A tamper-evident, append-only store of events on local files: queue, archive and proof in one.
//! It knows bytes and keys, never what an event means. One process writes; any number read.
//!
//! # Files of a store
//! | name | what |
//! |---|---|
//! | `lock` | held by the writer |
//! | `origin` | store id and first public key |
//! | `key` | secret of the current epoch |
//! | `checkpoints` | signed statements, only ever longer |
//! | `NNNNNNNNNNNNNNNNNNNN.seg` | blocks of events, by the first sequence; sealed with a footer when full |
//! | `journal` | what was committed and is not in a block yet |
//! | `quarantine/` | broken pieces that recovery put aside |
//! | `sinks/` | places of those who read along; no part of the record |
//!
//! # Three promises
//! * After `commit`, events and read position survive a `kill -9` together; a repeated start takes neither
//!   twice. Events are written to the journal and again, pressed, in a block; the journal is emptied only
//!   behind the block, and recovery skips by sequence what a block already holds.
//! * A query reads footers, then only blocks whose filters say "perhaps", and of these only the frames
//!   that may hold events of a subject asked for.
//! * Each block carries the hash of the one before. A checkpoint signs the end of that chain with a key that
//!   is replaced by its own hash afterwards, so that a later thief of the key cannot rewrite the past, and
//!   an older copy of the store does not fit the key.

mod attachments;
mod block;
mod body;
mod builder;
mod checkpoint;
mod cursor;
mod error;
mod file;
mod filter;
mod follower;
mod frame;
mod helper;
mod identity;
mod journal;
mod ledger;
mod limits;
#[cfg(any(test, feature = "mend"))]
mod mend;
mod merkle;
mod options;
mod query;
mod reader;
mod recovery;
mod segment;
mod unpacker;
mod verify;
mod writer;

pub use block::{Scan, scan};
pub use builder::Keys;
pub use error::Error;
pub use follower::Follower;
pub use limits::{
    MAX_ATTACHMENT_BYTES, MAX_BLOCK_EVENTS, MAX_EVENT_BYTES, MAX_EXECUTABLE_BYTES, MAX_POSITION_BYTES,
    MAX_SUBJECT_BYTES, SESSIONS_NAME, SINKS_NAME, SOURCES_NAME,
};
#[cfg(any(test, feature = "mend"))]
pub use mend::mend;
pub use options::{DiskFull, Dropped, Options, Statistics};
pub use query::{Entry, Query, SubjectTest};
pub use reader::{Entries, Reader, Totals};
pub use recovery::Recovery;
pub use verify::{Finding, FindingKind, Report, verify};
pub use writer::Writer;
