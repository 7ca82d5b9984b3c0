// SPDX-License-Identifier: Apache-2.0
//! Notes in ELF files: what the kernel says of a process that it dumps, and who built a program.

use crate::elf::{Bytes, exact, word};
use std::io;

/// The most notes that are looked at: a thread has about six.
const NOTES_LIMIT: usize = 1 << 20;
/// The longest name of a note's owner; real ones have eight bytes at most.
const OWNER_LIMIT: u32 = 64;
const HEAD_LEN: usize = 12;

/// A note without its content.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub(crate) owner: Vec<u8>,
    pub(crate) kind: u32,
    at: u64,
    pub(crate) len: u32,
}

impl Note {
    /// Its content when that has at most `limit` bytes and all are there.
    pub(crate) fn content(&self, bytes: &dyn Bytes, limit: u32) -> io::Result<Option<Vec<u8>>> {
        match usize::try_from(self.len) {
            Ok(len) if self.len <= limit => exact(bytes, self.at, len),
            _ => Ok(None),
        }
    }

    /// The first bytes of its content.
    pub(crate) fn start(&self, bytes: &dyn Bytes, most: usize) -> io::Result<Vec<u8>> {
        let len = usize::try_from(self.len).unwrap_or(usize::MAX).min(most);
        Ok(exact(bytes, self.at, len)?.unwrap_or_default())
    }
}

/// Hands over each note of the `len` bytes at `at`, until one is wanted that is not there; whether all were.
pub(crate) fn each(
    bytes: &dyn Bytes,
    (mut at, len, align): (u64, u64, u64),
    mut take: impl FnMut(&Note) -> io::Result<bool>,
) -> io::Result<bool> {
    // Notes of properties are in steps of eight bytes; all others in steps of four, whatever their segment says.
    let step = if align == 8 { 8 } else { 4 };
    let Some(end) = at.checked_add(len) else { return Ok(false) };
    for _ in 0..NOTES_LIMIT {
        if at >= end {
            return Ok(true);
        }
        let Some(head) = exact(bytes, at, HEAD_LEN)? else { return Ok(false) };
        let (Some(owner_len), Some(content_len), Some(kind)) =
            (word(&head, 0), word(&head, 4), word(&head, 8))
        else {
            return Ok(false);
        };
        if owner_len > OWNER_LIMIT {
            return Ok(false);
        }
        let owner_at = at.saturating_add(HEAD_LEN as u64);
        let Some(mut owner) = exact(bytes, owner_at, usize::try_from(owner_len).unwrap_or_default())? else {
            return Ok(false);
        };
        while owner.last() == Some(&0) {
            owner.pop();
        }
        let content_at = at.saturating_add((HEAD_LEN as u64 + u64::from(owner_len)).next_multiple_of(step));
        let note = Note { owner, kind, at: content_at, len: content_len };
        if !take(&note)? {
            return Ok(true);
        }
        at = content_at.saturating_add(u64::from(content_len).next_multiple_of(step));
    }
    Ok(false)
}
