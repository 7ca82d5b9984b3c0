// SPDX-License-Identifier: Apache-2.0
//! A segment file: a header, blocks, and once it is full a footer with a copy of all headers and
//! filters (the index), so that a query reads footers and then only the blocks it needs.
//! `OpenSegment` writes one, `SegmentFile` reads one; readers trust nothing.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::slice;

use rustix::fs::{Advice, fadvise};

use crate::block::{HEADER_LEN, Header, HeaderFault, VERSION, hash, open_fixed, seal_fixed, unpack};
use crate::body::{Body, Lists};
use crate::builder::{Encoded, press_onto};
use crate::cursor::{Cursor, length, put_sized};
use crate::error::Error;
use crate::file;
use crate::filter::Filter;
use crate::frame::Frame;
use crate::identity::Identity;
use crate::limits::{MAX_INDEX_BYTES, SEAL_INDEX_BYTES};
use crate::merkle::{Hash, Tree};
use crate::unpacker::Unpacker;

/// Largest hole between two blocks that are fetched at once.
const READ_AHEAD_HOLE: u64 = 64 << 10;
/// Bytes fetched at once while going from header to header.
const FETCH_AHEAD: u64 = 4 << 20;
/// Bytes the kernel is asked to fetch at one call.
const MAX_FETCH: u64 = 1 << 20;

pub(crate) const SEGMENT_HEADER_LEN: usize = 96;
pub(crate) const TRAILER_LEN: usize = 264;
/// Bytes of the trailer that the signature covers.
const SIGNED_LEN: usize = 192;
const SEGMENT_MAGIC: [u8; 4] = *b"PSEG";
const TRAILER_MAGIC: [u8; 4] = *b"PEND";

/// The first bytes of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) store_id: [u8; 16],
    pub(crate) first_sequence: u64,
    /// Blocks of the store before this segment.
    pub(crate) first_block: u64,
    /// Hash of the block before.
    pub(crate) previous: Hash,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_LEN] {
        let mut out = Vec::with_capacity(SEGMENT_HEADER_LEN);
        out.extend_from_slice(&SEGMENT_MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.store_id);
        out.extend_from_slice(&self.first_sequence.to_le_bytes());
        out.extend_from_slice(&self.first_block.to_le_bytes());
        out.extend_from_slice(&self.previous);
        seal_fixed(out)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<SegmentHeader, HeaderFault> {
        let mut cursor = Cursor::new(open_fixed::<SEGMENT_HEADER_LEN>(bytes, SEGMENT_MAGIC)?);
        let mut fields = || {
            Some(SegmentHeader {
                store_id: cursor.array()?,
                first_sequence: cursor.u64()?,
                first_block: cursor.u64()?,
                previous: cursor.array()?,
            })
        };
        fields().ok_or(HeaderFault::Broken)
    }
}

/// The last bytes of a sealed segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub(crate) store_id: [u8; 16],
    pub(crate) first_sequence: u64,
    pub(crate) next_sequence: u64,
    pub(crate) first_block: u64,
    pub(crate) blocks: u64,
    pub(crate) time_min: u64,
    pub(crate) time_max: u64,
    pub(crate) kinds: u64,
    pub(crate) index_len: usize,
    pub(crate) index_raw_len: usize,
    /// Merkle root over the hashes of the blocks.
    pub(crate) root: Hash,
    pub(crate) last_hash: Hash,
    /// BLAKE3 of the index as it is stored.
    pub(crate) index_hash: Hash,
    /// Which key signed.
    pub(crate) epoch: u64,
    pub(crate) signature: [u8; 64],
}

impl Trailer {
    fn start(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(TRAILER_LEN);
        out.extend_from_slice(&TRAILER_MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.store_id);
        for number in [
            self.first_sequence,
            self.next_sequence,
            self.first_block,
            self.blocks,
            self.time_min,
            self.time_max,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.kinds.to_le_bytes());
        out.extend_from_slice(&length(self.index_len).to_le_bytes());
        out.extend_from_slice(&length(self.index_raw_len).to_le_bytes());
        out.extend_from_slice(&self.root);
        out.extend_from_slice(&self.last_hash);
        out.extend_from_slice(&self.index_hash);
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.resize(SIGNED_LEN, 0);
        out
    }

    fn encode(&self) -> [u8; TRAILER_LEN] {
        let mut out = self.start();
        out.extend_from_slice(&self.signature);
        seal_fixed(out)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Trailer, HeaderFault> {
        let fields = open_fixed::<TRAILER_LEN>(bytes, TRAILER_MAGIC)?;
        let trailer = Trailer::fields(fields).ok_or(HeaderFault::Broken)?;
        let sane = trailer.index_len <= MAX_INDEX_BYTES && trailer.index_raw_len <= MAX_INDEX_BYTES;
        if sane { Ok(trailer) } else { Err(HeaderFault::Broken) }
    }

    fn fields(fields: &[u8]) -> Option<Trailer> {
        let mut cursor = Cursor::new(fields);
        let mut tail = Cursor::new(fields.get(SIGNED_LEN - 8..)?);
        Some(Trailer {
            store_id: cursor.array()?,
            first_sequence: cursor.u64()?,
            next_sequence: cursor.u64()?,
            first_block: cursor.u64()?,
            blocks: cursor.u64()?,
            time_min: cursor.u64()?,
            time_max: cursor.u64()?,
            kinds: cursor.u64()?,
            index_len: usize::try_from(cursor.u32()?).ok()?,
            index_raw_len: usize::try_from(cursor.u32()?).ok()?,
            root: cursor.array()?,
            last_hash: cursor.array()?,
            index_hash: cursor.array()?,
            epoch: cursor.u64()?,
            signature: tail.array()?,
        })
    }

    /// Whether the file ends with exactly these fields, padding included.
    pub(crate) fn canonical(&self, file: &SegmentFile) -> Result<bool, Error> {
        let start = file.len()?.saturating_sub(TRAILER_LEN as u64);
        Ok(read_up_to(&file.file, &file.path, start, TRAILER_LEN)? == self.encode())
    }

    /// The bytes that are signed, behind the hash of the store's origin.
    pub(crate) fn message(&self, origin: &Hash) -> Vec<u8> {
        [b"purser segment 1".as_slice(), origin, &self.start()].concat()
    }
}

/// What the writer remembers of a sealed segment.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) trailer: Trailer,
}

/// The name of the segment whose first event has this sequence.
pub(crate) fn segment_path(dir: &Path, first_sequence: u64) -> PathBuf {
    dir.join(format!("{first_sequence:020}.seg"))
}

/// The first sequence by a file's name, when it is a segment's name.
pub(crate) fn sequence_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// All segments of a directory by first sequence, ascending.
pub(crate) fn list_segments(dir: &Path) -> Result<Vec<(u64, PathBuf)>, Error> {
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|source| Error::io("listing", dir, source))? {
        let entry = entry.map_err(|source| Error::io("listing", dir, source))?;
        if let Some(first) = entry.file_name().to_str().and_then(sequence_of) {
            segments.push((first, entry.path()));
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

/// One block in the index.
pub(crate) fn put_entry(index: &mut Vec<u8>, offset: u64, header: &[u8], filter: &[u8]) {
    index.extend_from_slice(&offset.to_le_bytes());
    index.extend_from_slice(header);
    put_sized(index, filter);
}

/// The segment that a writer adds blocks to.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(crate) header: SegmentHeader,
    pub(crate) len: u64,
    pub(crate) tree: Tree,
    pub(crate) blocks: u64,
    pub(crate) next_sequence: u64,
    pub(crate) last_hash: Hash,
    pub(crate) time_min: u64,
    pub(crate) time_max: u64,
    pub(crate) kinds: u64,
    pub(crate) index: Vec<u8>,
}

impl OpenSegment {
    /// Opens the file anew and writes the header; a left-over of that name holds no block.
    pub(crate) fn create(dir: &Path, header: SegmentHeader) -> Result<OpenSegment, Error> {
        let path = segment_path(dir, header.first_sequence);
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.map_err(|source| Error::io("creating", &path, source))?;
        if let Err(source) = file.write_all_at(&header.encode(), 0) {
            std::fs::remove_file(&path).map_err(|source| Error::io("removing", &path, source))?;
            return Err(Error::io("writing", &path, source));
        }
        Ok(OpenSegment::empty(path, file, header))
    }

    pub(crate) fn empty(path: PathBuf, file: File, header: SegmentHeader) -> OpenSegment {
        OpenSegment {
            path,
            file,
            len: SEGMENT_HEADER_LEN as u64,
            tree: Tree::default(),
            blocks: 0,
            next_sequence: header.first_sequence,
            last_hash: header.previous,
            header,
            time_min: u64::MAX,
            time_max: 0,
            kinds: 0,
            index: Vec::new(),
        }
    }

    /// Takes note of a block that lies at the end.
    pub(crate) fn note(&mut self, header: &Header, filter: &[u8]) {
        let encoded = header.encode();
        put_entry(&mut self.index, self.len, &encoded, filter);
        self.last_hash = hash(&encoded);
        self.tree.push(&self.last_hash);
        self.len += header.block_len() as u64;
        self.blocks += 1;
        self.next_sequence = header.next_sequence();
        self.time_min = self.time_min.min(header.time_min);
        self.time_max = self.time_max.max(header.time_max);
        self.kinds |= Filter::decode(filter).map_or(u64::MAX, |filter| filter.kinds);
    }

    /// Writes a block behind the last one. After an error the file is as before.
    pub(crate) fn append(&mut self, block: &Encoded) -> Result<(), Error> {
        self.write_at_end(&block.bytes)?;
        self.note(&block.header, &block.filter);
        Ok(())
    }

    fn write_at_end(&self, bytes: &[u8]) -> Result<(), Error> {
        if let Err(source) = self.file.write_all_at(bytes, self.len) {
            self.file.set_len(self.len).map_err(|source| Error::io("cutting", &self.path, source))?;
            return Err(Error::io("writing", &self.path, source));
        }
        Ok(())
    }

    pub(crate) fn is_full(&self, segment_bytes: u64) -> bool {
        self.blocks > 0 && (self.len >= segment_bytes || self.index.len() >= SEAL_INDEX_BYTES)
    }

    fn trailer(&self, identity: &Identity, stored: &[u8]) -> Trailer {
        let mut trailer = Trailer {
            store_id: self.header.store_id,
            first_sequence: self.header.first_sequence,
            next_sequence: self.next_sequence,
            first_block: self.header.first_block,
            blocks: self.blocks,
            time_min: self.time_min,
            time_max: self.time_max,
            kinds: self.kinds,
            index_len: stored.len(),
            index_raw_len: self.index.len(),
            root: self.tree.root(),
            last_hash: self.last_hash,
            index_hash: *blake3::hash(stored).as_bytes(),
            epoch: identity.epoch(),
            signature: [0; 64],
        };
        trailer.signature = identity.sign(&trailer.message(&identity.origin_hash()));
        trailer
    }

    /// Writes the footer. After an error the segment is still open and as before.
    pub(crate) fn seal(
        &self,
        identity: &Identity,
        press: &mut zstd::bulk::Compressor<'static>,
    ) -> Result<Sealed, Error> {
        let mut footer = Vec::with_capacity(self.index.len() / 2);
        press_onto(press, &self.index, &mut footer)
            .map_err(|source| Error::io("pressing the footer of", &self.path, source))?;
        let trailer = self.trailer(identity, &footer);
        footer.extend_from_slice(&trailer.encode());
        self.write_at_end(&footer)?;
        Ok(Sealed { path: self.path.clone(), bytes: self.len + footer.len() as u64, trailer })
    }
}

/// One block by the index.
#[derive(Debug, Clone)]
pub(crate) struct BlockRef {
    pub(crate) offset: u64,
    pub(crate) header: Header,
    /// Where the filter lies in the index's bytes.
    filter: Range<usize>,
}

/// Headers and filters of a segment's blocks.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) bytes: Vec<u8>,
    pub(crate) blocks: Vec<BlockRef>,
    /// Where the last whole block ends.
    pub(crate) end: u64,
}

impl Index {
    pub(crate) fn filter(&self, block: &BlockRef) -> Option<Filter<'_>> {
        Filter::decode(self.bytes.get(block.filter.clone())?)
    }

    fn decode(bytes: Vec<u8>) -> Option<Index> {
        let mut blocks = Vec::new();
        let mut end = SEGMENT_HEADER_LEN as u64;
        let mut cursor = Cursor::new(&bytes);
        while !cursor.rest().is_empty() {
            let offset = cursor.u64()?;
            let header = Header::decode(cursor.take(HEADER_LEN)?).ok()?;
            let filter = cursor.sized()?;
            let filter_end = bytes.len() - cursor.rest().len();
            end = offset.checked_add(header.block_len() as u64)?;
            blocks.push(BlockRef { offset, header, filter: filter_end - filter.len()..filter_end });
        }
        Some(Index { bytes, blocks, end })
    }
}

/// A segment being read.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(crate) header: SegmentHeader,
    pub(crate) trailer: Option<Trailer>,
}

impl SegmentFile {
    /// `None` when the file is gone or still too short for a header.
    pub(crate) fn open(path: &Path) -> Result<Option<SegmentFile>, Error> {
        let Some(file) = file::open_if_there(path)? else { return Ok(None) };
        let start = read_up_to(&file, path, 0, SEGMENT_HEADER_LEN)?;
        let header = match SegmentHeader::decode(&start) {
            Ok(header) => header,
            Err(HeaderFault::Short) => return Ok(None),
            Err(HeaderFault::Version(version)) => {
                return Err(Error::Version { path: path.to_path_buf(), version });
            }
            Err(HeaderFault::Broken) => return Err(Error::damaged(path, 0, "its header is broken")),
        };
        let mut segment = SegmentFile { path: path.to_path_buf(), file, header, trailer: None };
        segment.trailer = segment.read_trailer()?;
        Ok(Some(segment))
    }

    /// For `verify`: takes the place of a header that is broken; its first sequence is 0.
    pub(crate) fn open_without_header(path: &Path, store_id: [u8; 16]) -> Result<SegmentFile, Error> {
        let file = file::open(path)?;
        let header = SegmentHeader { store_id, first_sequence: 0, first_block: 0, previous: [0; 32] };
        let mut segment = SegmentFile { path: path.to_path_buf(), file, header, trailer: None };
        segment.trailer = segment.read_trailer()?;
        Ok(segment)
    }

    pub(crate) fn len(&self) -> Result<u64, Error> {
        self.file.metadata().map(|data| data.len()).map_err(|source| Error::io("reading", &self.path, source))
    }

    fn read_trailer(&self) -> Result<Option<Trailer>, Error> {
        let Some(start) = self.len()?.checked_sub(TRAILER_LEN as u64) else { return Ok(None) };
        let bytes = read_up_to(&self.file, &self.path, start, TRAILER_LEN)?;
        Ok(Trailer::decode(&bytes).ok())
    }

    /// The footer's copy of headers and filters, or `None` when it is not what the trailer says.
    pub(crate) fn read_footer(&self, trailer: &Trailer) -> Result<Option<Index>, Error> {
        let behind = (TRAILER_LEN + trailer.index_len) as u64;
        let Some(start) = self.len()?.checked_sub(behind) else { return Ok(None) };
        let stored = read_up_to(&self.file, &self.path, start, trailer.index_len)?;
        if *blake3::hash(&stored).as_bytes() != trailer.index_hash {
            return Ok(None);
        }
        let index = unpack(&stored, trailer.index_raw_len).and_then(Index::decode);
        Ok(index.filter(|index| index.end == start && index.blocks.len() as u64 == trailer.blocks))
    }

    /// The index by the footer, or by going from header to header when there is no good footer.
    pub(crate) fn index(&self, unpacker: &mut Unpacker) -> Result<Index, Error> {
        if let Some(trailer) = &self.trailer
            && let Some(index) = self.read_footer(trailer)?
        {
            return Ok(index);
        }
        let mut index = Index { end: SEGMENT_HEADER_LEN as u64, ..Index::default() };
        self.extend_index(&mut index, usize::MAX, unpacker)?;
        Ok(index)
    }

    /// Adds the blocks that lie behind the index's end, up to the first that is not whole, or `most`.
    pub(crate) fn extend_index(
        &self,
        index: &mut Index,
        most: usize,
        unpacker: &mut Unpacker,
    ) -> Result<(), Error> {
        let len = self.len()?;
        let mut stored = unpacker.take_stored();
        let mut fetched = index.end;
        for _ in 0..most {
            // On a cold disk a request for each header takes longer than few large ones for everything.
            if (fetched..len).contains(&index.end) {
                fetched = index.end.saturating_add(FETCH_AHEAD);
                self.fetch(index.end, FETCH_AHEAD);
            }
            let start = index.bytes.len();
            let head = self.read_head(index.end, len, unpacker, &mut stored, &mut index.bytes)?;
            let Some(header) = head else { break };
            let block = BlockRef { offset: index.end, filter: start..index.bytes.len(), header };
            index.end += block.header.block_len() as u64;
            index.blocks.push(block);
        }
        unpacker.keep_stored(stored);
        Ok(())
    }

    /// The header of the block at `offset`, when a whole block lies there; its raw filter goes behind what
    /// `filters` holds. A filter that cannot be read is left out, which prunes nothing: reading the block
    /// tells of it later.
    fn read_head(
        &self,
        offset: u64,
        len: u64,
        unpacker: &mut Unpacker,
        stored: &mut Vec<u8>,
        filters: &mut Vec<u8>,
    ) -> Result<Option<Header>, Error> {
        // One read covers header, position and filter of nearly every block.
        read_into(&self.file, &self.path, offset, 8 << 10, stored)?;
        let Ok(header) = Header::decode(stored) else { return Ok(None) };
        if offset.saturating_add(header.block_len() as u64) > len {
            return Ok(None);
        }
        let mut at = HEADER_LEN + header.position_len;
        if at + header.filter_len > stored.len() {
            read_into(&self.file, &self.path, offset + at as u64, header.filter_len, stored)?;
            at = 0;
        }
        if let Some(filter) = stored.get(at..at + header.filter_len)
            && crc32c::crc32c(filter) == header.filter_crc
        {
            // Broken, it adds nothing.
            unpacker.unpack(filter, header.filter_raw_len, filters).unwrap_or_default();
        }
        Ok(Some(header))
    }

    /// Reads, checks and takes apart what is wanted of one block: the frames that may hold events of a
    /// subject that `wants` says yes to. Hand the body to [`Unpacker::keep`] afterwards. Each frame is held
    /// against its own checksum; whether the block is the one that was signed is for `verify`.
    pub(crate) fn read_block(
        &self,
        index: &Index,
        block: &BlockRef,
        wants: impl FnMut(&[u8], &[u8]) -> bool,
        unpacker: &mut Unpacker,
    ) -> Result<Body, Error> {
        let damaged = |detail| Error::damaged(&self.path, block.offset, detail);
        let header = &block.header;
        let filter = index.filter(block).ok_or_else(|| damaged("the block's filter is broken"))?;
        let layout = filter.layout(header).ok_or_else(|| damaged("the block's list of frames is broken"))?;
        let mut stored = unpacker.take_stored();
        let mut elsewhere = Vec::new();
        if let Some(frame) = &layout.lists {
            self.read_frames(block, slice::from_ref(frame), &mut stored)?;
            unpack_onto(unpacker, frame, &stored, &mut elsewhere)
                .ok_or_else(|| damaged("the block's lists are not what was written"))?;
        }
        let lists = Lists::decode(&filter, &elsewhere, wants);
        let lists = lists.ok_or_else(|| damaged("the block's lists are broken"))?;
        let wanted: Vec<Frame> = layout.frames.into_iter().filter(|frame| lists.wants(frame)).collect();
        let raw_len = wanted.iter().map(|frame| frame.raw_len).sum();
        let mut body = Body::new(header, lists, unpacker.take_raw(raw_len));
        // One read for frames that lie one behind the other.
        for frames in wanted.chunk_by(|frame, next| frame.stored.end == next.stored.start) {
            self.read_frames(block, frames, &mut stored)?;
            let mut rest = stored.as_slice();
            for frame in frames {
                let (bytes, behind) = rest.split_at_checked(frame.stored.len()).unwrap_or_default();
                rest = behind;
                let from = body.raw_mut().len();
                unpack_onto(unpacker, frame, bytes, body.raw_mut())
                    .ok_or_else(|| damaged("the block is not what was written"))?;
                body.take(frame, from).ok_or_else(|| damaged("the block's body is broken"))?;
            }
        }
        unpacker.keep_stored(stored);
        Ok(body)
    }

    /// Has the kernel fetch blocks that lie close together, in any order, by few large requests. Reading the
    /// frames of one subject out of each makes a request for every block, and on a cold disk those
    /// take longer than the unpacking. Only advice: reading works without.
    pub(crate) fn read_ahead(&self, blocks: &[&BlockRef]) {
        let end = |block: &BlockRef| block.offset + block.header.block_len() as u64;
        let hole = |one: &BlockRef, other: &BlockRef| {
            one.offset.max(other.offset).saturating_sub(end(one).min(end(other)))
        };
        for near in blocks.chunk_by(|one, next| hole(one, next) <= READ_AHEAD_HOLE) {
            let (Some(first), Some(last)) = (near.first(), near.last()) else { continue };
            let start = first.offset.min(last.offset);
            self.fetch(start, end(first).max(end(last)) - start);
        }
    }

    /// The kernel takes only the first few MiB of what it is asked for at one call.
    fn fetch(&self, start: u64, len: u64) {
        for done in (0..len).step_by(MAX_FETCH as usize) {
            let len = NonZeroU64::new(MAX_FETCH.min(len - done));
            fadvise(&self.file, start.saturating_add(done), len, Advice::WillNeed).ok();
        }
    }

    /// Reads frames that lie one behind the other.
    fn read_frames(&self, block: &BlockRef, frames: &[Frame], stored: &mut Vec<u8>) -> Result<(), Error> {
        let (Some(first), Some(last)) = (frames.first(), frames.last()) else { return Ok(()) };
        let (start, end) = (first.stored.start, last.stored.end);
        let body_at = HEADER_LEN + block.header.position_len + block.header.filter_len;
        read_into(&self.file, &self.path, block.offset + (body_at + start) as u64, end - start, stored)
    }
}

/// Unpacks a frame that matches its checksum behind what `raw` holds.
fn unpack_onto(unpacker: &mut Unpacker, frame: &Frame, stored: &[u8], raw: &mut Vec<u8>) -> Option<()> {
    let right = stored.len() == frame.stored.len() && crc32c::crc32c(stored) == frame.crc;
    if right { unpacker.unpack(stored, frame.raw_len, raw) } else { None }
}

/// Up to `len` bytes from `offset`; fewer at the end of the file. The caller bounds `len`.
pub(crate) fn read_up_to(file: &File, path: &Path, offset: u64, len: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    read_into(file, path, offset, len, &mut bytes)?;
    Ok(bytes)
}

/// The same into a buffer, in place of what it held.
fn read_into(file: &File, path: &Path, offset: u64, len: usize, bytes: &mut Vec<u8>) -> Result<(), Error> {
    bytes.resize(len, 0);
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(source) if source.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(Error::io("reading", path, source)),
        }
    }
    bytes.truncate(filled);
    Ok(())
}
