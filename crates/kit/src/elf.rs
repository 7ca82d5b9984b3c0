// SPDX-License-Identifier: Apache-2.0
//! Programs and libraries made to run at a prefix: another loader, and one place to look for libraries.
//!
//! The two texts go to the end of the file. A segment that nothing needs at run time, of notes mostly, becomes the
//! segment that maps them, so that nothing in the file moves. The place for libraries is a `DT_RPATH`: other than
//! `DT_RUNPATH` it also holds for libraries of libraries, and it stands before the loader's own directories.
//! Layouts are those of the ELF specification, 64 bits, little-endian.

/// Why a file cannot be made to run elsewhere.
pub(crate) type Fault = &'static str;

const HEADER_LEN: usize = 64;
const SEGMENT_LEN: usize = 56;
const TAG_LEN: usize = 16;
/// Most segments that are looked at; real files have about 15.
const SEGMENTS_LIMIT: usize = 64;
/// Most tags of a dynamic section that are looked at; real files have about 40.
const TAGS_LIMIT: usize = 512;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const PT_NOTE: u32 = 4;
const PT_GNU_RELRO: u32 = 0x6474_e552;
const PT_GNU_PROPERTY: u32 = 0x6474_e553;
/// Which segments are given up, the first of them that can be: a program runs without each of them. The last one only
/// makes what was relocated read-only.
const SPARE: [u32; 3] = [PT_NOTE, PT_GNU_PROPERTY, PT_GNU_RELRO];
const READABLE: u32 = 4;

const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_STRSZ: u64 = 10;
const DT_SONAME: u64 = 14;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;
/// How many relocations are relative: a hint, without which they are counted.
const DT_RELACOUNT: u64 = 0x6fff_fff9;

/// What is said in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Elf {
    segments: Vec<Segment>,
    tags: Vec<Tag>,
    /// The loader it asks for.
    pub(crate) interpreter: Option<String>,
    /// The libraries it asks for.
    pub(crate) needed: Vec<String>,
    /// Where it wants them to be looked for first.
    pub(crate) search: Vec<String>,
    /// The name it goes by as a library.
    pub(crate) soname: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    /// Where in the file its header is.
    at: usize,
    kind: u32,
    offset: u64,
    address: u64,
    file_len: u64,
    memory_len: u64,
    align: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Tag {
    at: usize,
    tag: u64,
    value: u64,
}

/// Whether these bytes are a program or library of this processor's kind at all.
pub(crate) fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF\x02\x01")
}

impl Elf {
    pub(crate) fn read(bytes: &[u8]) -> Result<Elf, Fault> {
        let segments = segments(bytes).ok_or("its program headers are damaged")?;
        let mut elf = Elf {
            interpreter: None,
            tags: Vec::new(),
            needed: Vec::new(),
            search: Vec::new(),
            soname: None,
            segments,
        };
        if let Some(segment) = elf.find(PT_INTERP) {
            elf.interpreter = Some(text(bytes, segment.offset).ok_or("its loader's name is damaged")?);
        }
        let Some(dynamic) = elf.find(PT_DYNAMIC) else { return Ok(elf) };
        elf.tags = tags(bytes, dynamic).ok_or("its dynamic section is damaged")?;
        elf.names(bytes).ok_or("its dynamic strings are damaged")?;
        Ok(elf)
    }

    /// Whether a loader looks for libraries on its behalf.
    pub(crate) fn is_dynamic(&self) -> bool {
        self.interpreter.is_some() || !self.needed.is_empty()
    }

    fn find(&self, kind: u32) -> Option<&Segment> {
        self.segments.iter().find(|segment| segment.kind == kind)
    }

    fn value(&self, tag: u64) -> Option<u64> {
        self.tags.iter().find(|known| known.tag == tag).map(|known| known.value)
    }

    fn names(&mut self, bytes: &[u8]) -> Option<()> {
        let Some(strings) = self.value(DT_STRTAB) else { return Some(()) };
        for tag in &self.tags {
            let name = || text(bytes, self.in_file(strings.checked_add(tag.value)?)?);
            match tag.tag {
                DT_NEEDED => self.needed.push(name()?),
                DT_SONAME => self.soname = Some(name()?),
                DT_RPATH | DT_RUNPATH => self.search.extend(name()?.split(':').map(str::to_string)),
                _ => {}
            }
        }
        Some(())
    }

    /// The place in the file of an address.
    fn in_file(&self, address: u64) -> Option<u64> {
        self.segments.iter().filter(|segment| segment.kind == PT_LOAD).find_map(|segment| {
            let inside = address.checked_sub(segment.address)?;
            (inside < segment.file_len).then(|| segment.offset.checked_add(inside))?
        })
    }

    /// The file with another loader, if it asks for one, and `search` as its place for libraries.
    pub(crate) fn relocated(&self, bytes: &[u8], loader: &str, search: &str) -> Result<Vec<u8>, Fault> {
        let last_load = self.segments.iter().rposition(|segment| segment.kind == PT_LOAD);
        let last_load = last_load.ok_or("it has no segment to load")?;
        // Segments to load must ascend, and the new one has the highest address.
        let behind = self.segments.get(last_load..).unwrap_or_default();
        let last = |kind: &u32| behind.iter().rfind(|segment| segment.kind == *kind);
        let spare = SPARE.iter().find_map(last).ok_or("it has no segment to give up")?;
        let (address, align) = self.free_address().ok_or("its addresses are damaged")?;
        let strings = self.value(DT_STRTAB).ok_or("it has no dynamic strings")?;

        let mut out = bytes.to_vec();
        out.resize(bytes.len().next_multiple_of(TAG_LEN), 0);
        let offset = wide(out.len());
        let address = address + offset % align;
        let texts = format!("{loader}\0{search}\0");
        let texts_len = wide(texts.len());
        let search_at = address + wide(loader.len()) + 1;
        out.extend_from_slice(texts.as_bytes());

        let segment = |kind: u32, len: u64, align: u64| {
            let mut header = [kind.to_le_bytes(), READABLE.to_le_bytes()].concat();
            for word in [offset, address, address, len, len, align] {
                header.extend_from_slice(&word.to_le_bytes());
            }
            header
        };
        put(&mut out, spare.at, &segment(PT_LOAD, texts_len, align))?;
        if let Some(interpreter) = self.find(PT_INTERP) {
            put(&mut out, interpreter.at, &segment(PT_INTERP, wide(loader.len()) + 1, 1))?;
        }
        // The loader adds this to the strings' address, which is lower, and asks for nothing between.
        let within = search_at.checked_sub(strings).ok_or("its dynamic strings are damaged")?;
        self.put_search(&mut out, within)?;
        if let Some(size) = self.tags.iter().find(|tag| tag.tag == DT_STRSZ) {
            let reaches = address + texts_len - strings;
            put(&mut out, size.at, &[DT_STRSZ.to_le_bytes(), reaches.to_le_bytes()].concat())?;
        }
        Ok(out)
    }

    /// Behind everything that is mapped, and the largest alignment of it.
    fn free_address(&self) -> Option<(u64, u64)> {
        let (mut end, mut align) = (0_u64, 0x1000);
        for load in self.segments.iter().filter(|segment| segment.kind == PT_LOAD) {
            end = end.max(load.address.checked_add(load.memory_len)?);
            align = align.max(load.align);
        }
        // Far from where sums could overflow.
        let sane = end < 1 << 48 && align.is_power_of_two() && align <= 1 << 21;
        sane.then(|| (end.next_multiple_of(align), align))
    }

    /// One tag for the search, whatever there was: in the place of the first of them, of a spare one that linkers
    /// leave at the end, or of a hint.
    fn put_search(&self, out: &mut [u8], within: u64) -> Result<(), Fault> {
        let is_search = |tag: &&Tag| tag.tag == DT_RPATH || tag.tag == DT_RUNPATH;
        let spare = self.tags.windows(2).find_map(|pair| match pair {
            [first, second] if first.tag == DT_NULL && second.tag == DT_NULL => Some(first),
            _ => None,
        });
        let hint = self.tags.iter().find(|tag| tag.tag == DT_RELACOUNT);
        let place = self.tags.iter().find(is_search).or(spare).or(hint);
        let place = place.ok_or("its dynamic section has no room")?;
        put(out, place.at, &[DT_RPATH.to_le_bytes(), within.to_le_bytes()].concat())?;
        for other in self.tags.iter().filter(is_search).filter(|tag| tag.at != place.at) {
            put(out, other.at, &[DT_RPATH.to_le_bytes(), within.to_le_bytes()].concat())?;
        }
        Ok(())
    }
}

fn segments(bytes: &[u8]) -> Option<Vec<Segment>> {
    if !is_elf(bytes) || bytes.len() < HEADER_LEN {
        return None;
    }
    let first = usize::try_from(long(bytes, 32)?).ok()?;
    let (size, count) = (usize::from(short(bytes, 54)?), usize::from(short(bytes, 56)?));
    if count > SEGMENTS_LIMIT || (count > 0 && size != SEGMENT_LEN) {
        return None;
    }
    (0..count)
        .map(|index| {
            let at = first.checked_add(index * SEGMENT_LEN)?;
            Some(Segment {
                at,
                kind: word(bytes, at)?,
                offset: long(bytes, at + 8)?,
                address: long(bytes, at + 16)?,
                file_len: long(bytes, at + 32)?,
                memory_len: long(bytes, at + 40)?,
                align: long(bytes, at + 48)?,
            })
        })
        .collect()
}

/// All tags, those behind the end of the list too: they are spare.
fn tags(bytes: &[u8], dynamic: &Segment) -> Option<Vec<Tag>> {
    let first = usize::try_from(dynamic.offset).ok()?;
    let count = usize::try_from(dynamic.file_len).ok()? / TAG_LEN;
    let mut ended = false;
    let mut tags = Vec::new();
    for index in 0..count.min(TAGS_LIMIT) {
        let at = first.checked_add(index * TAG_LEN)?;
        let (tag, value) = (long(bytes, at)?, long(bytes, at + 8)?);
        if ended && tag != DT_NULL {
            break;
        }
        ended = tag == DT_NULL;
        tags.push(Tag { at, tag, value });
    }
    Some(tags)
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) -> Result<(), Fault> {
    let room = at.checked_add(bytes.len()).and_then(|end| out.get_mut(at..end));
    room.ok_or("its headers are damaged")?.copy_from_slice(bytes);
    Ok(())
}

fn text(bytes: &[u8], at: u64) -> Option<String> {
    let rest = bytes.get(usize::try_from(at).ok()?..)?;
    let end = rest.iter().take(4096).position(|byte| *byte == 0)?;
    Some(String::from_utf8_lossy(rest.get(..end)?).into_owned())
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

fn wide(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::Elf;
    use proptest::prelude::{any, proptest};

    #[test]
    fn a_program_is_relocated() {
        let bytes = std::fs::read("/bin/ls").unwrap();
        let before = Elf::read(&bytes).unwrap();
        assert!(before.needed.iter().any(|name| name == "libc.so.6"), "{before:?}");
        let moved = before.relocated(&bytes, "/dev/.purser/a/ld.so", "/dev/.purser/a/lib").unwrap();
        let after = Elf::read(&moved).unwrap();
        assert_eq!(after.interpreter.as_deref(), Some("/dev/.purser/a/ld.so"));
        assert_eq!(after.search, ["/dev/.purser/a/lib"]);
        assert_eq!(after.needed, before.needed);
    }

    #[test]
    fn a_relocated_program_runs() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = std::fs::read("/bin/ls").unwrap();
        let elf = Elf::read(&bytes).unwrap();
        let loader = elf.interpreter.clone().unwrap();
        let moved = elf.relocated(&bytes, &loader, "/nowhere").unwrap();
        let program = dir.path().join("ls");
        std::fs::write(&program, moved).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, mode).unwrap();
        let output = std::process::Command::new(&program).arg("-d").arg("/").output().unwrap();
        assert_eq!(output.stdout, b"/\n");
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 0_usize..2048, byte in any::<u8>(), len in 0_usize..200_000) {
            let mut bytes = std::fs::read("/bin/ls").unwrap();
            bytes.truncate(len);
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            if let Ok(elf) = Elf::read(&bytes) {
                elf.relocated(&bytes, "/x", "/y").map(drop).unwrap_or_default();
            }
        }
    }
}
