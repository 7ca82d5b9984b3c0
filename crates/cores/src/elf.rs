// SPDX-License-Identifier: Apache-2.0
//! The outer form of ELF files: header and segments, of both classes, little-endian.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Segments that are read at a time.
const CHUNK: u64 = 1024;
/// The number of segments stands in the first section then.
const MANY_SEGMENTS: u16 = 0xffff;

pub(crate) const PT_LOAD: u32 = 1;
pub(crate) const PT_NOTE: u32 = 4;
/// Of a segment: it is code.
pub(crate) const EXECUTABLE: u32 = 1;
pub(crate) const ET_CORE: u16 = 4;

/// Bytes that can be read at any place.
pub trait Bytes {
    /// Reads what is at `at`, perhaps less than asked for; nothing at the end.
    ///
    /// # Errors
    /// When the kernel says so.
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize>;
}

impl Bytes for File {
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        // A place that the kernel cannot have in a file is behind its end.
        if i64::try_from(at).is_err() { Ok(0) } else { FileExt::read_at(self, into, at) }
    }
}

impl Bytes for Vec<u8> {
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(at).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let len = rest.len().min(into.len());
        if let (Some(from), Some(to)) = (rest.get(..len), into.get_mut(..len)) {
            to.copy_from_slice(from);
        }
        Ok(len)
    }
}

/// The `len` bytes at `at`; `None` when they are not all there. The caller bounds `len`.
pub(crate) fn exact(bytes: &dyn Bytes, at: u64, len: usize) -> io::Result<Option<Vec<u8>>> {
    let found = up_to(bytes, at, len)?;
    Ok((found.len() == len).then_some(found))
}

/// The bytes at `at`, at most `len`.
pub(crate) fn up_to(bytes: &dyn Bytes, at: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; len];
    let mut done = 0;
    while let Some(room) = buffer.get_mut(done..).filter(|room| !room.is_empty()) {
        let Some(place) = at.checked_add(done as u64) else { break };
        match bytes.read_at(place, room) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(done);
    Ok(buffer)
}

/// How wide addresses are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Class {
    Narrow,
    #[default]
    Wide,
}

impl Class {
    /// Bytes of an address.
    pub(crate) fn word(self) -> usize {
        match self {
            Class::Narrow => 4,
            Class::Wide => 8,
        }
    }

    /// The address at `at` of `bytes`.
    pub(crate) fn address(self, bytes: &[u8], at: usize) -> Option<u64> {
        match self {
            Class::Narrow => word(bytes, at).map(u64::from),
            Class::Wide => long(bytes, at),
        }
    }

    fn header_len(self) -> usize {
        if self == Class::Wide { 64 } else { 52 }
    }

    fn segment_len(self) -> usize {
        if self == Class::Wide { 56 } else { 32 }
    }
}

/// What a file says of itself first.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) class: Class,
    pub(crate) kind: u16,
    pub(crate) machine: u16,
    segments_at: u64,
    segments: u64,
}

/// Why there is no header to go on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoHeader {
    /// No ELF file at all, or one with a header that makes no sense.
    NotElf,
    /// One of a machine with the other byte order.
    OtherOrder { kind: u16, machine: u16 },
}

impl Header {
    pub(crate) fn read(bytes: &dyn Bytes) -> io::Result<Result<Header, NoHeader>> {
        let head = up_to(bytes, 0, Class::Wide.header_len())?;
        Ok(match Header::parse(&head) {
            Ok(mut header) if header.segments == u64::from(MANY_SEGMENTS) => {
                header.segments = header.many(bytes, &head)?.unwrap_or_default();
                Ok(header)
            }
            other => other,
        })
    }

    fn parse(head: &[u8]) -> Result<Header, NoHeader> {
        let (class, order) = match head {
            [0x7f, b'E', b'L', b'F', 1, order, ..] => (Class::Narrow, *order),
            [0x7f, b'E', b'L', b'F', 2, order, ..] => (Class::Wide, *order),
            _ => return Err(NoHeader::NotElf),
        };
        let two = |at| array::<2>(head, at).ok_or(NoHeader::NotElf);
        if order == 2 {
            let (kind, machine) = (u16::from_be_bytes(two(16)?), u16::from_be_bytes(two(18)?));
            return Err(NoHeader::OtherOrder { kind, machine });
        }
        if order != 1 || head.len() < class.header_len() {
            return Err(NoHeader::NotElf);
        }
        let short = |at| two(at).map(u16::from_le_bytes);
        let (segments_at, size, count) = match class {
            Class::Narrow => (class.address(head, 28), short(42)?, short(44)?),
            Class::Wide => (class.address(head, 32), short(54)?, short(56)?),
        };
        if count > 0 && usize::from(size) != class.segment_len() {
            return Err(NoHeader::NotElf);
        }
        Ok(Header {
            class,
            kind: short(16)?,
            machine: short(18)?,
            segments_at: segments_at.ok_or(NoHeader::NotElf)?,
            segments: u64::from(count),
        })
    }

    /// The number of segments that did not fit into the header.
    fn many(&self, bytes: &dyn Bytes, head: &[u8]) -> io::Result<Option<u64>> {
        let (at, info) = match self.class {
            Class::Narrow => (self.class.address(head, 32), 28),
            Class::Wide => (self.class.address(head, 40), 44),
        };
        let Some(section) = at.filter(|at| *at > 0) else { return Ok(None) };
        let Some(section) = exact(bytes, section, info + 4)? else { return Ok(None) };
        Ok(word(&section, info).map(u64::from))
    }

    /// Hands each segment over, at most `limit` of them; whether all were there.
    pub(crate) fn segments(
        &self,
        bytes: &dyn Bytes,
        limit: u64,
        mut each: impl FnMut(Segment),
    ) -> io::Result<bool> {
        let size = self.class.segment_len();
        let count = self.segments.min(limit);
        let mut done = 0;
        while done < count {
            let now = (count - done).min(CHUNK);
            let Some(at) = self.segments_at.checked_add(done * size as u64) else { return Ok(false) };
            let found = up_to(bytes, at, usize::try_from(now).unwrap_or_default() * size)?;
            for segment in found.chunks_exact(size) {
                match Segment::parse(self.class, segment) {
                    Some(segment) => each(segment),
                    None => return Ok(false),
                }
            }
            if (found.len() as u64) < now * size as u64 {
                return Ok(false);
            }
            done += now;
        }
        Ok(self.segments <= limit)
    }
}

/// A part of a file and the part of memory that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) kind: u32,
    pub(crate) flags: u32,
    pub(crate) offset: u64,
    pub(crate) address: u64,
    pub(crate) file_len: u64,
    pub(crate) memory_len: u64,
    pub(crate) align: u64,
}

impl Segment {
    fn parse(class: Class, bytes: &[u8]) -> Option<Segment> {
        let word = |at| word(bytes, at);
        let at = |at| class.address(bytes, at);
        Some(match class {
            Class::Narrow => Segment {
                kind: word(0)?,
                offset: at(4)?,
                address: at(8)?,
                file_len: at(16)?,
                memory_len: at(20)?,
                flags: word(24)?,
                align: at(28)?,
            },
            Class::Wide => Segment {
                kind: word(0)?,
                flags: word(4)?,
                offset: at(8)?,
                address: at(16)?,
                file_len: at(32)?,
                memory_len: at(40)?,
                align: at(48)?,
            },
        })
    }
}

pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

pub(crate) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

pub(crate) fn long(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

/// The name of a kind of processor, by its number in ELF files.
pub fn machine_name(machine: u16) -> String {
    let known = match machine {
        3 => "i386",
        8 => "mips",
        20 => "ppc",
        21 => "ppc64",
        22 => "s390x",
        40 => "arm",
        62 => "x86_64",
        183 => "aarch64",
        243 => "riscv",
        258 => "loongarch",
        _ => return format!("processor {machine}"),
    };
    known.to_owned()
}
