// SPDX-License-Identifier: Apache-2.0
//! The one form in which a kit is digested and travels: a tar stream (POSIX ustar) in which nothing is left to
//! choice. Entries ascend by their paths, belong to nobody, are of the year 1970, and have one of two modes.
//!
//! The reader makes the header that it would have written and wants the very bytes. So there is nothing in a layer
//! that this room did not mean, and a kit has one digest, whoever made it.

use crate::path::{self, PATH_LIMIT, TARGET_LIMIT};
use crate::tree::{Node, Tree};
use std::io::{self, Read, Write};

const BLOCK: usize = 512;
/// Largest file in a kit.
const FILE_LIMIT: u64 = 1 << 30;
/// Most entries of a kit.
pub(crate) const ENTRIES_LIMIT: u32 = 200_000;

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File { executable: bool, size: u64 },
    Link { target: String },
}

/// Writes a layer. Paths must ascend.
#[derive(Debug)]
pub(crate) struct Writer<W: Write> {
    out: W,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(out: W) -> Writer<W> {
        Writer { out }
    }

    /// An entry whose data, if it is a file, has the size that its kind says.
    pub(crate) fn entry(&mut self, at: &str, kind: &Kind, data: &mut dyn Read) -> io::Result<()> {
        let header =
            header(at, kind).ok_or_else(|| invalid(format!("{at}: its path or target is too long")))?;
        self.out.write_all(&header)?;
        let Kind::File { size, .. } = kind else { return Ok(()) };
        let copied = io::copy(&mut data.take(*size), &mut self.out)?;
        if copied != *size {
            return Err(invalid(format!("{at}: it became shorter while it was read")));
        }
        let zeros = [0; BLOCK];
        self.out.write_all(zeros.get(..padding(*size)).unwrap_or_default())
    }

    /// Begins a file of that many bytes, which the caller writes; [`Writer::end_file`] ends it.
    pub(crate) fn file(&mut self, at: &str, size: u64) -> io::Result<&mut W> {
        let header = header(at, &Kind::File { executable: false, size });
        self.out.write_all(&header.ok_or_else(|| invalid(format!("{at}: its path is too long")))?)?;
        Ok(&mut self.out)
    }

    pub(crate) fn end_file(&mut self, size: u64) -> io::Result<()> {
        self.out.write_all([0; BLOCK].get(..padding(size)).unwrap_or_default())
    }

    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; BLOCK * 2])?;
        Ok(self.out)
    }
}

/// Reads a layer.
pub(crate) struct Reader<R: Read> {
    input: R,
    last: String,
    entries: u32,
    /// Bytes of the present file that were not asked for yet, and those that fill its last block.
    left: u64,
    padding: usize,
}

impl<R: Read> Reader<R> {
    pub(crate) fn new(input: R) -> Reader<R> {
        Reader { input, last: String::new(), entries: 0, left: 0, padding: 0 }
    }

    /// The next entry; nothing after the last.
    pub(crate) fn entry(&mut self) -> io::Result<Option<(String, Kind)>> {
        let mut rest = self.left;
        while rest > 0 {
            rest -= self.skip(rest)?;
        }
        self.fill()?;
        let mut block = [0; BLOCK];
        self.input.read_exact(&mut block)?;
        if block == [0; BLOCK] {
            self.end()?;
            return Ok(None);
        }
        let (at, kind) = parse(&block)
            .ok_or_else(|| invalid("an entry that is damaged, or not as kits have their files"))?;
        if header(&at, &kind) != Some(block) {
            return Err(invalid(format!("{at:?} is not as kits have their files")));
        }
        if !path::is_inside(&at) || at <= self.last {
            return Err(invalid(format!("{at:?} leads out of the kit, or comes twice")));
        }
        self.entries += 1;
        if self.entries > ENTRIES_LIMIT {
            return Err(invalid(format!("more than {ENTRIES_LIMIT} files")));
        }
        if let Kind::File { size, .. } = kind {
            if size > FILE_LIMIT {
                return Err(invalid(format!("{at:?} is larger than any file of a kit")));
            }
            (self.left, self.padding) = (size, padding(size));
        }
        self.last.clone_from(&at);
        Ok(Some((at, kind)))
    }

    /// The data of the present file.
    pub(crate) fn data(&mut self) -> impl Read {
        Data { reader: self }
    }

    /// What is left of the input: nothing, if it was a layer to its end.
    pub(crate) fn into_inner(self) -> R {
        self.input
    }

    fn skip(&mut self, most: u64) -> io::Result<u64> {
        let skipped = io::copy(&mut (&mut self.input).take(most), &mut io::sink())?;
        self.left = self.left.saturating_sub(skipped);
        if skipped == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(skipped) }
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut zeros = [0; BLOCK];
        let padding = zeros.get_mut(..self.padding).unwrap_or_default();
        self.input.read_exact(padding)?;
        self.padding = 0;
        if zeros == [0; BLOCK] { Ok(()) } else { Err(invalid("something behind a file's end")) }
    }

    fn end(&mut self) -> io::Result<()> {
        let mut block = [0; BLOCK];
        self.input.read_exact(&mut block)?;
        let more = self.input.read(&mut [0])?;
        if block == [0; BLOCK] && more == 0 { Ok(()) } else { Err(invalid("something behind the end")) }
    }
}

struct Data<'a, R: Read> {
    reader: &'a mut Reader<R>,
}

impl<R: Read> Read for Data<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.reader.left).unwrap_or(usize::MAX).min(into.len());
        let count = self.reader.input.read(into.get_mut(..most).unwrap_or_default())?;
        if count == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.reader.left -= u64::try_from(count).unwrap_or_default();
        Ok(count)
    }
}

/// Writes a kit: its manifest's text and its tree.
pub(crate) fn write<W: Write>(manifest: &str, tree: &Tree, out: W) -> io::Result<W> {
    let mut writer = Writer::new(out);
    let size = |bytes: &[u8]| u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let kind = Kind::File { executable: false, size: size(manifest.as_bytes()) };
    writer.entry("kit.toml", &kind, &mut manifest.as_bytes())?;
    writer.entry("root", &Kind::Directory, &mut io::empty())?;
    for (at, node) in tree.iter() {
        let at = format!("root/{at}");
        match node {
            Node::Directory => writer.entry(&at, &Kind::Directory, &mut io::empty())?,
            Node::Link { target } => {
                writer.entry(&at, &Kind::Link { target: target.clone() }, &mut io::empty())?;
            }
            Node::File { executable, bytes } => {
                let kind = Kind::File { executable: *executable, size: size(bytes) };
                writer.entry(&at, &kind, &mut bytes.as_slice())?;
            }
        }
    }
    writer.finish()
}

fn padding(size: u64) -> usize {
    usize::try_from(size.next_multiple_of(512) - size).unwrap_or_default()
}

fn invalid(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

fn header(at: &str, kind: &Kind) -> Option<[u8; BLOCK]> {
    let mut block = [0; BLOCK];
    let path = if *kind == Kind::Directory { format!("{at}/") } else { at.to_string() };
    let (above, name) = split(&path)?;
    let (mode, size, flag, target) = match kind {
        Kind::Directory => (0o755, 0, b'5', ""),
        Kind::File { executable: true, size } => (0o755, *size, b'0', ""),
        Kind::File { executable: false, size } => (0o644, *size, b'0', ""),
        Kind::Link { target } => (0o777, 0, b'2', target.as_str()),
    };
    if at.len() > PATH_LIMIT || target.len() > TARGET_LIMIT || (flag == b'2') == target.is_empty() {
        return None;
    }
    field(&mut block, 0, name.as_bytes());
    field(&mut block, 100, format!("{mode:07o}").as_bytes());
    field(&mut block, 108, b"0000000");
    field(&mut block, 116, b"0000000");
    field(&mut block, 124, format!("{size:011o}").as_bytes());
    field(&mut block, 136, b"00000000000");
    field(&mut block, 148, b"        ");
    field(&mut block, 156, &[flag]);
    field(&mut block, 157, target.as_bytes());
    field(&mut block, 257, b"ustar\x0000");
    field(&mut block, 345, above.as_bytes());
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    field(&mut block, 148, format!("{sum:06o}\0 ").as_bytes());
    Some(block)
}

fn field(block: &mut [u8; BLOCK], at: usize, bytes: &[u8]) {
    if let Some(room) = block.get_mut(at..at + bytes.len()) {
        room.copy_from_slice(bytes);
    }
}

/// A path as ustar has it: up to 100 bytes, and up to 155 of what is above.
fn split(path: &str) -> Option<(&str, &str)> {
    if path.len() <= 100 {
        return Some(("", path));
    }
    // A directory's own slash at the end parts nothing.
    let slashes = path.match_indices('/').map(|(slash, _)| slash).filter(|slash| slash + 1 < path.len());
    let slash = slashes.into_iter().find(|slash| path.len() - slash - 1 <= 100)?;
    let (above, name) = (path.get(..slash)?, path.get(slash + 1..)?);
    (above.len() <= 155).then_some((above, name))
}

fn parse(block: &[u8; BLOCK]) -> Option<(String, Kind)> {
    let text = |from: usize, len: usize| {
        let field = block.get(from..from + len)?;
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(len);
        std::str::from_utf8(field.get(..end)?).ok()
    };
    let (above, name) = (text(345, 155)?, text(0, 100)?);
    let path = if above.is_empty() { name.to_string() } else { format!("{above}/{name}") };
    let number = |from: usize, len: usize| u64::from_str_radix(text(from, len)?, 8).ok();
    let kind = match block.get(156)? {
        b'5' => Kind::Directory,
        b'2' => Kind::Link { target: text(157, 100)?.to_string() },
        b'0' => Kind::File { executable: number(100, 8)? & 0o100 != 0, size: number(124, 12)? },
        _ => return None,
    };
    let at = if kind == Kind::Directory { path.strip_suffix('/')?.to_string() } else { path };
    Some((at, kind))
}

#[cfg(test)]
mod tests {
    use super::{Kind, Reader, Writer, split, write};
    use crate::tree::{Node, Tree};
    use proptest::prelude::{any, prop_assert_eq, proptest};
    use std::io::{self, Read};

    fn read(bytes: &[u8]) -> io::Result<Vec<(String, Kind, Vec<u8>)>> {
        let mut reader = Reader::new(bytes);
        let mut all = Vec::new();
        while let Some((at, kind)) = reader.entry()? {
            let mut data = Vec::new();
            reader.data().read_to_end(&mut data)?;
            all.push((at, kind, data));
        }
        Ok(all)
    }

    fn sample() -> Vec<u8> {
        let mut tree = Tree::default();
        tree.put("bin/x", Node::Link { target: "../usr/bin/x".to_string() });
        tree.put("usr/bin/x", Node::File { executable: true, bytes: vec![7; 700] });
        tree.put(&format!("{}f", "long/".repeat(40)), Node::File { executable: false, bytes: vec![] });
        write("name = 1", &tree, Vec::new()).unwrap()
    }

    #[test]
    fn a_layer_comes_back_and_tar_reads_it() {
        let bytes = sample();
        let ours = read(&bytes).unwrap();
        let mut archive = tar::Archive::new(&*bytes);
        let theirs: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().to_string_lossy().trim_end_matches('/').to_string())
            .collect();
        assert_eq!(ours.iter().map(|(at, ..)| at.clone()).collect::<Vec<_>>(), theirs);
        assert!(ours.contains(&(
            "root/usr/bin/x".into(),
            Kind::File { executable: true, size: 700 },
            vec![7; 700]
        )));
    }

    #[test]
    fn every_cut_and_every_changed_byte_of_a_header_is_found() {
        let bytes = sample();
        for cut in (0..bytes.len()).step_by(97) {
            assert!(read(&bytes[..cut]).is_err(), "{cut}");
        }
        for at in 0..512 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(read(&damaged).is_err(), "{at}");
        }
        let longer = [bytes, vec![0]].concat();
        assert!(read(&longer).is_err());
    }

    #[test]
    fn order_and_paths_are_held_to() {
        for (first, second) in [("b", "a"), ("a", "a"), ("a", "../b"), ("a", "/b")] {
            let mut writer = Writer::new(Vec::new());
            for at in [first, second] {
                let kind = Kind::File { executable: false, size: 0 };
                writer.entry(at, &kind, &mut io::empty()).unwrap();
            }
            assert!(read(&writer.finish().unwrap()).is_err(), "{first} {second}");
        }
    }

    #[test]
    fn long_paths_are_split() {
        let long = format!("{}/{}", "a".repeat(120), "b".repeat(90));
        assert_eq!(split(&long).map(|(above, name)| (above.len(), name.len())), Some((120, 90)));
        assert_eq!(split(&"a".repeat(101)), None);
        assert_eq!(split(&format!("{}/", "a".repeat(100))), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..2048), at in 0_usize..2048) {
            read(&bytes).map(drop).unwrap_or_default();
            let mut right = sample();
            if let (Some(place), Some(byte)) = (right.get_mut(at), bytes.pop()) {
                *place = byte;
            }
            read(&right).map(drop).unwrap_or_default();
        }

        #[test]
        fn any_tree_comes_back(parts in proptest::collection::btree_map("[a-z]{1,9}(/[a-z]{1,9}){0,3}", any::<Vec<u8>>(), 0..8)) {
            let mut tree = Tree::default();
            for (at, bytes) in &parts {
                if tree.get(at).is_none() && !at.match_indices('/').any(|(slash, _)| matches!(tree.get(&at[..slash]), Some(Node::File { .. }))) {
                    tree.put(at, Node::File { executable: bytes.len() % 2 == 0, bytes: bytes.clone() });
                }
            }
            let written = write("x", &tree, Vec::new()).unwrap();
            let files = read(&written).unwrap().into_iter().filter(|(_, kind, _)| matches!(kind, Kind::File { .. })).count();
            let had = tree.iter().filter(|(_, node)| matches!(node, Node::File { .. })).count();
            prop_assert_eq!(files, had + 1);
        }
    }
}
