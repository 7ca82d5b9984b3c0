// SPDX-License-Identifier: Apache-2.0
//! The most the format allows of anything. Lengths read from files are held against
//! these before memory is taken for them.

/// Longest event in bytes; an execve with the largest argument list stays far below.
pub const MAX_EVENT_BYTES: usize = 16 << 20;
/// Longest subject (a container id) in bytes.
pub const MAX_SUBJECT_BYTES: usize = 1024;
/// Longest executable path in bytes.
pub const MAX_EXECUTABLE_BYTES: usize = 16 << 10;
/// Longest attachment of one subject in bytes; longer ones are counted and not kept.
pub const MAX_ATTACHMENT_BYTES: usize = 32 << 10;
/// Longest read position in bytes.
pub const MAX_POSITION_BYTES: usize = 4096;
/// Most events of a block.
pub const MAX_BLOCK_EVENTS: u32 = 16_384;

/// Most raw bytes of a block, reached only by few and huge events.
pub(crate) const MAX_RAW_BYTES: usize = 64 << 20;
/// Most stored bytes of a block's body (zstd grows what it cannot press by little).
pub(crate) const MAX_BODY_BYTES: usize = MAX_RAW_BYTES + (1 << 20);
/// Most raw or stored bytes of a block's filter section.
pub(crate) const MAX_FILTER_BYTES: usize = 256 << 10;
/// Most bytes of subjects and attachments in a filter; more of them go into the body.
pub(crate) const MAX_FILTER_SUBJECTS: usize = 96 << 10;
/// Most bytes of executable paths in a filter.
pub(crate) const MAX_FILTER_EXECUTABLES: usize = 16 << 10;
/// Most users in a filter.
pub(crate) const MAX_FILTER_USERS: usize = 512;
/// Raw footer bytes at which a segment is sealed before it has its size.
pub(crate) const SEAL_INDEX_BYTES: usize = 8 << 20;
/// Most raw or stored bytes of a footer.
pub(crate) const MAX_INDEX_BYTES: usize = 16 << 20;
/// Most bytes that may wait for a commit.
pub(crate) const MAX_PENDING_BYTES: usize = 12 << 20;
/// Most event bytes of blocks in the making; with the waiting ones again in the frame, that is what
/// a writer may hold in memory while the disk is full.
pub(crate) const MAX_HELD_BYTES: usize = 20 << 20;
/// Most bytes of a journal frame.
pub(crate) const MAX_FRAME_BYTES: usize = 80 << 20;
/// Journal bytes at which frames that only moved the position are dropped.
pub(crate) const COMPACT_JOURNAL_BYTES: u64 = 4 << 20;
/// Most attachments a writer remembers, and their bytes.
pub(crate) const MAX_ATTACHMENTS: usize = 16_384;
pub(crate) const MAX_ATTACHMENTS_BYTES: usize = 8 << 20;

/// The directory in a store where those who read along keep their places. It is no part of the record.
pub const SINKS_NAME: &str = "sinks";
/// Where the agent notes which debugging sessions have not ended.
pub const SESSIONS_NAME: &str = "sessions";
/// Where sources keep summaries of their positions, one directory each.
pub const SOURCES_NAME: &str = "sources";
