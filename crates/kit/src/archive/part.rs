// SPDX-License-Identifier: Apache-2.0
//! A part of a file that is read by several at once, each from a place of its own.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// From here on so many bytes.
#[derive(Clone, Debug)]
pub(super) struct Part {
    file: Arc<File>,
    from: u64,
    len: u64,
    at: u64,
}

impl Part {
    pub(super) fn new(file: &Arc<File>, (from, len): (u64, u64)) -> Part {
        Part { file: Arc::clone(file), from, len, at: 0 }
    }

    /// How many bytes it has.
    pub(super) fn len(&self) -> u64 {
        self.len
    }
}

impl Read for Part {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.len.saturating_sub(self.at);
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(into.len());
        let count = self.file.read_at(into.get_mut(..most).unwrap_or_default(), self.from + self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Part {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
        };
        self.at = to.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
