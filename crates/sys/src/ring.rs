// SPDX-License-Identifier: Apache-2.0
//! A reader of `BPF_MAP_TYPE_RINGBUF` that decides itself when records are done with.
//!
//! libbpf's reader gives a record's room back to the kernel as soon as the callback returns.
//! Ours reads ahead and gives room back in one step, once what was read is safe in the store:
//! an agent that is killed in between finds the records still there.
//!
//! The layout is the kernel's (kernel/bpf/ringbuf.c, since 5.8): a page the reader writes
//! (its position), a page the kernel writes (its position), then the data. Positions only
//! grow. A record is a header of 8 bytes (length with two flag bits, page offset) and data,
//! rounded up to 8 bytes.
#![allow(unsafe_code, reason = "the kernel's memory is reached through mappings")]

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::ffi::c_void;
use std::os::fd::AsFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

const HEADER: u64 = 8;
const BUSY: u32 = 1 << 31;
const DISCARDED: u32 = 1 << 30;
const LENGTH: u32 = DISCARDED - 1;

/// Why a ring cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The kernel refused the mapping.
    #[error("mapping a ring buffer of {size} bytes")]
    Map {
        /// Size of the ring's data.
        size: usize,
        /// The kernel's reason.
        source: rustix::io::Errno,
    },
    /// The size is not a power of two of at least a page.
    #[error("a ring buffer of {0} bytes: the size must be a power of two and whole pages")]
    Size(usize),
    /// A header that the kernel does not write.
    #[error("a record of {length} bytes at position {position} does not fit the ring")]
    Header {
        /// Where it stands.
        position: u64,
        /// What it claims.
        length: u64,
    },
}

/// What stands at a position of the ring.
#[derive(Debug, PartialEq, Eq)]
pub enum Slot {
    /// Nothing yet.
    Empty,
    /// A record, copied into the caller's buffer; the next one stands at this position.
    Record(u64),
    /// A record the kernel took back; the next one stands at this position.
    Discarded(u64),
}

/// One ring, mapped.
#[derive(Debug)]
pub struct Ring {
    consumer: Mapping,
    producer: Mapping,
    page: usize,
    size: u64,
}

impl Ring {
    /// Maps the ring behind `map`, whose data are `size` bytes.
    pub fn map(map: impl AsFd, size: usize) -> Result<Ring, RingError> {
        let page = rustix::param::page_size();
        if !size.is_power_of_two() || size < page {
            return Err(RingError::Size(size));
        }
        let map_error = |source| RingError::Map { size, source };
        let consumer = Mapping::new(&map, page, ProtFlags::READ | ProtFlags::WRITE, 0).map_err(map_error)?;
        // The kernel offers the data twice in a row, so that a record never wraps. Mapping
        // them once and copying a wrapped record in two pieces halves the resident size.
        let producer = Mapping::new(&map, page + size, ProtFlags::READ, page as u64).map_err(map_error)?;
        Ok(Ring { consumer, producer, page, size: size as u64 })
    }

    /// Bytes of data the ring can hold.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Up to where the kernel has written.
    pub fn producer_position(&self) -> u64 {
        position(&self.producer).load(Ordering::Acquire)
    }

    /// Up to where room was given back.
    pub fn consumer_position(&self) -> u64 {
        position(&self.consumer).load(Ordering::Acquire)
    }

    /// Gives room back up to `done`, a position that [`Ring::read`] returned. True when the
    /// kernel has written more in the meantime: such records wake nobody, so look again.
    pub fn release(&self, done: u64) -> bool {
        position(&self.consumer).store(done, Ordering::SeqCst);
        // The kernel decides whether to wake by our position, we decide whether to sleep by
        // its position: neither may be moved before the other.
        fence(Ordering::SeqCst);
        self.producer_position() != done
    }

    /// Copies the record at `at` into `buffer`, whose old contents are dropped. `at` must be
    /// the consumer's position or one that this function returned since.
    pub fn read(&self, at: u64, buffer: &mut Vec<u8>) -> Result<Slot, RingError> {
        buffer.clear();
        let written = self.producer_position();
        if written.wrapping_sub(at) < HEADER || written.wrapping_sub(at) > self.size {
            return Ok(Slot::Empty);
        }
        let header = self.header(at);
        if header & BUSY != 0 {
            return Ok(Slot::Empty);
        }
        let length = u64::from(header & LENGTH);
        let next = at.wrapping_add((HEADER + length).next_multiple_of(8));
        if written.wrapping_sub(next) > self.size {
            return Err(RingError::Header { position: at, length });
        }
        if header & DISCARDED != 0 {
            return Ok(Slot::Discarded(next));
        }
        self.copy(at.wrapping_add(HEADER), length as usize, buffer);
        Ok(Slot::Record(next))
    }

    /// Headers are aligned to 8 bytes, so one never wraps.
    fn header(&self, at: u64) -> u32 {
        let place = self.page + (at & (self.size - 1) & !7) as usize;
        // SAFETY: `place` is aligned to 8 and at most `page + size - 8`, inside the mapping,
        // which lives as long as `self`; the kernel only ever stores whole words there.
        let word = unsafe { AtomicU32::from_ptr(self.producer.at(place).cast()) };
        word.load(Ordering::Acquire)
    }

    fn copy(&self, at: u64, length: usize, buffer: &mut Vec<u8>) {
        let size = self.size as usize;
        let start = (at & (self.size - 1)) as usize;
        let first = length.min(size - start);
        self.append(start, first, buffer);
        self.append(0, (length - first).min(start), buffer);
    }

    /// Appends `length` bytes that stand `start` bytes into the data.
    fn append(&self, start: usize, length: usize, buffer: &mut Vec<u8>) {
        let old = buffer.len();
        buffer.resize(old + length, 0);
        let from = self.producer.at(self.page + start);
        // SAFETY: `start + length` is at most the size of the data, all of it mapped; the
        // buffer has just grown by `length`; and the kernel does not write between the
        // consumer's and its own position, so nothing changes during the copy.
        unsafe { ptr::copy_nonoverlapping(from, buffer.as_mut_ptr().add(old), length) };
    }
}

fn position(mapping: &Mapping) -> &AtomicU64 {
    // SAFETY: the first word of either page is a position: aligned, mapped as long as the
    // mapping lives, and only ever accessed as a whole word by both sides.
    unsafe { AtomicU64::from_ptr(mapping.at(0).cast()) }
}

/// A mapping that ends with its owner.
#[derive(Debug)]
struct Mapping {
    start: NonNull<c_void>,
    length: usize,
}

// SAFETY: the memory is shared with the kernel anyway, and is only accessed through atomics
// and copies of bytes that nobody writes.
unsafe impl Send for Mapping {}

impl Mapping {
    fn new(map: impl AsFd, length: usize, access: ProtFlags, offset: u64) -> rustix::io::Result<Mapping> {
        // SAFETY: no address is asked for, so no existing mapping is replaced.
        let start = unsafe { mmap(ptr::null_mut(), length, access, MapFlags::SHARED, map, offset) }?;
        let start = NonNull::new(start).ok_or(rustix::io::Errno::INVAL)?;
        Ok(Mapping { start, length })
    }

    /// The address `offset` bytes in, never past the end.
    fn at(&self, offset: usize) -> *mut u8 {
        let offset = offset.min(self.length);
        // SAFETY: `offset` is at most the mapping's length.
        unsafe { self.start.as_ptr().cast::<u8>().add(offset) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is exactly what `mmap` gave, and no reference into it outlives us.
        if let Err(error) = unsafe { munmap(self.start.as_ptr(), self.length) } {
            debug_assert!(false, "unmapping what was mapped: {error}");
        }
    }
}
