// SPDX-License-Identifier: Apache-2.0
//! What one reader of blocks needs again and again: a zstd context, the stored bytes and the
//! unpacked bytes. Making them anew costs as much as unpacking a small block. It checks nothing
//! but lengths, and keeps no block.

use std::fmt;
use std::io::Cursor;

use crate::body::Body;

/// Most bytes kept from one block for the next; larger blocks are rare.
const KEPT_BYTES: usize = 1 << 20;

/// Buffers and context of one thread that reads blocks.
#[derive(Default)]
pub(crate) struct Unpacker {
    context: Option<zstd::bulk::Decompressor<'static>>,
    stored: Vec<u8>,
    raw: Vec<u8>,
}

impl fmt::Debug for Unpacker {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Unpacker").field("kept", &self.raw.capacity()).finish_non_exhaustive()
    }
}

impl Unpacker {
    /// The buffer for a block's stored bytes; give it back by [`Unpacker::keep_stored`].
    pub(crate) fn take_stored(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.stored)
    }

    pub(crate) fn keep_stored(&mut self, stored: Vec<u8>) {
        self.stored = kept(stored);
    }

    /// Empty memory for `len` unpacked bytes; give it back by [`Unpacker::keep`].
    pub(crate) fn take_raw(&mut self, len: usize) -> Vec<u8> {
        let mut raw = std::mem::take(&mut self.raw);
        raw.clear();
        raw.reserve_exact(len);
        raw
    }

    /// Unpacks one zstd frame to exactly `raw_len` bytes behind those that `raw` holds, which stay alone when
    /// the frame is broken. The caller has held the length against a limit.
    pub(crate) fn unpack(&mut self, stored: &[u8], raw_len: usize, raw: &mut Vec<u8>) -> Option<()> {
        if self.context.is_none() {
            self.context = Some(zstd::bulk::Decompressor::new().ok()?);
        }
        let start = raw.len();
        raw.reserve(raw_len);
        let mut behind = Cursor::new(&mut *raw);
        behind.set_position(start as u64);
        let len = self.context.as_mut()?.decompress_to_buffer(stored, &mut behind).ok();
        let whole = len == Some(raw_len) && raw.len() == start + raw_len;
        if !whole {
            raw.truncate(start);
        }
        whole.then_some(())
    }

    /// Takes the memory of a block that is done with.
    pub(crate) fn keep(&mut self, body: Body) {
        self.raw = kept(body.into_raw());
    }
}

fn kept(mut buffer: Vec<u8>) -> Vec<u8> {
    buffer.clear();
    buffer.shrink_to(KEPT_BYTES);
    buffer
}
