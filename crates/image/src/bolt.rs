// SPDX-License-Identifier: Apache-2.0
//! Reads bbolt's files, in which containerd keeps its tables: a B+tree of pages, buckets within buckets.
//!
//! The writer holds a lock that a reader would wait for, and it may write now. It never overwrites a page that the
//! last commit uses, so what was read is right when the last commit is still the same afterwards; [`consistent`]
//! reads again when it is not. Every number is checked against the file, and the pages read are counted.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
const BRANCH: u16 = 1;
const LEAF: u16 = 2;
const PAGE_HEADER: usize = 16;
const ELEMENT: usize = 16;
/// How deep a tree of pages is at most. Each level has at least two children, and usually hundreds.
const DEPTH_LIMIT: usize = 20;
/// The longest page with its overflow, of which one a level is held.
const PAGE_LIMIT: usize = 8 << 20;
/// The most bytes of pages read for one answer.
const READ_LIMIT: usize = 512 << 20;
/// The most bytes of one table that are held: its elements may all be the same bytes of a page.
const TABLE_LIMIT: usize = 64 << 20;
/// How often a file is read again because somebody wrote meanwhile.
const ATTEMPTS: usize = 5;

/// A file of bbolt.
#[derive(Debug)]
pub(crate) struct Bolt {
    file: File,
    page_size: usize,
    /// The root bucket's page, the pages there are, and the last commit.
    root: u64,
    pages: u64,
    commit: u64,
    read: Cell<usize>,
}

/// A table in it.
#[derive(Clone, Debug)]
pub(crate) enum Bucket {
    Page(u64),
    /// Small ones lie within their parent.
    Inline(Vec<u8>),
}

/// What is under a key.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Bytes(Vec<u8>),
    Bucket(Bucket),
}

/// Asks the file, and again when a commit came in between.
pub(crate) fn consistent<T>(
    open: impl Fn() -> io::Result<File>,
    ask: impl Fn(&Bolt) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let bolt = Bolt::of(open()?)?;
        let answer = ask(&bolt);
        if meta(&bolt.file).is_ok_and(|now| now.commit == bolt.commit) {
            return answer;
        }
        last = answer.err();
    }
    Err(last.unwrap_or_else(|| odd("it is written all the time")))
}

struct Meta {
    page_size: usize,
    root: u64,
    pages: u64,
    commit: u64,
}

/// The newer of the two heads that are whole.
fn meta(file: &File) -> io::Result<Meta> {
    let mut first = [0; 80];
    file.read_exact_at(&mut first, 0)?;
    let first = parse_meta(&first);
    let sizes = first.as_ref().map(|meta| meta.page_size);
    // When the first is torn, the size of pages is not known.
    let sizes = sizes.map_or_else(|| (9..17).map(|power| 1_usize << power).collect(), |size| vec![size]);
    let second = sizes.into_iter().find_map(|size| {
        let mut bytes = [0; 80];
        file.read_exact_at(&mut bytes, size as u64).ok()?;
        parse_meta(&bytes).filter(|meta| meta.page_size == size)
    });
    let newest = first.into_iter().chain(second).max_by_key(|meta| meta.commit);
    newest.ok_or_else(|| odd("it is no file of bbolt, or damaged"))
}

fn parse_meta(page: &[u8; 80]) -> Option<Meta> {
    let body = page.get(PAGE_HEADER..)?;
    let sum = body.get(..56)?.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let page_size = usize::try_from(u32_at(body, 8)?).ok()?;
    let is_right = u32_at(body, 0)? == MAGIC
        && u32_at(body, 4)? == VERSION
        && u64_at(body, 56)? == sum
        && page_size.is_power_of_two()
        && (512..=65536).contains(&page_size);
    is_right.then_some(Meta {
        page_size,
        root: u64_at(body, 16)?,
        pages: u64_at(body, 40)?,
        commit: u64_at(body, 48)?,
    })
}

impl Bolt {
    fn of(file: File) -> io::Result<Bolt> {
        let Meta { page_size, root, pages, commit } = meta(&file)?;
        Ok(Bolt { file, page_size, root, pages, commit, read: Cell::new(0) })
    }

    /// The bucket at the end of these names.
    pub(crate) fn bucket(&self, names: &[&str]) -> io::Result<Option<Bucket>> {
        let mut at = Bucket::Page(self.root);
        for name in names {
            at = match self.get(&at, name.as_bytes())? {
                Some(Value::Bucket(bucket)) => bucket,
                _ => return Ok(None),
            };
        }
        Ok(Some(at))
    }

    /// The bytes under a key, as text.
    pub(crate) fn text(&self, bucket: &Bucket, key: &str) -> io::Result<Option<String>> {
        Ok(self.bytes(bucket, key)?.and_then(|bytes| String::from_utf8(bytes).ok()))
    }

    /// The bytes under a key.
    pub(crate) fn bytes(&self, bucket: &Bucket, key: &str) -> io::Result<Option<Vec<u8>>> {
        match self.get(bucket, key.as_bytes())? {
            Some(Value::Bytes(bytes)) => Ok(Some(bytes)),
            _ => Ok(None),
        }
    }

    /// What is under a key. The keys of a page are sorted, and so are those of a branch.
    pub(crate) fn get(&self, bucket: &Bucket, key: &[u8]) -> io::Result<Option<Value>> {
        let mut page = match bucket {
            Bucket::Inline(page) => page.clone(),
            Bucket::Page(at) => self.page(*at)?,
        };
        for _ in 0..DEPTH_LIMIT {
            let elements = Elements::of(&page)?;
            if elements.is_leaf {
                return elements.leaves().find(|leaf| leaf.0 == key).map(value).transpose();
            }
            let below = elements.branches().take_while(|(first, _)| *first <= key).last();
            let Some((_, child)) = below else { return Ok(None) };
            page = self.page(child)?;
        }
        Err(odd("its tree has no end"))
    }

    /// All keys with what is under them, at most `limit`.
    pub(crate) fn all(&self, bucket: &Bucket, limit: usize) -> io::Result<Vec<(Vec<u8>, Value)>> {
        let mut table = Table { rows: Vec::new(), limit, room: TABLE_LIMIT };
        match bucket {
            Bucket::Inline(page) => self.walk(page, 0, &mut table)?,
            Bucket::Page(at) => self.walk(&self.page(*at)?, 0, &mut table)?,
        }
        Ok(table.rows)
    }

    /// Names of the buckets in a bucket.
    pub(crate) fn buckets(&self, bucket: &Bucket, limit: usize) -> io::Result<Vec<(String, Bucket)>> {
        let all = self.all(bucket, limit)?.into_iter();
        let named = all.filter_map(|(key, value)| match value {
            Value::Bucket(bucket) => Some((String::from_utf8(key).ok()?, bucket)),
            Value::Bytes(_) => None,
        });
        Ok(named.collect())
    }

    fn walk(&self, page: &[u8], depth: usize, table: &mut Table) -> io::Result<()> {
        if depth > DEPTH_LIMIT {
            return Err(odd("its tree has no end"));
        }
        let elements = Elements::of(page)?;
        if elements.is_leaf {
            for leaf in elements.leaves().take(table.left()) {
                let room = table.room.checked_sub(leaf.0.len().saturating_add(leaf.1.len()));
                table.room = room.ok_or_else(|| odd("a table in it is too long"))?;
                table.rows.push((leaf.0.to_vec(), value(leaf)?));
            }
            return Ok(());
        }
        for (_, child) in elements.branches() {
            if table.left() == 0 {
                return Ok(());
            }
            self.walk(&self.page(child)?, depth + 1, table)?;
        }
        Ok(())
    }

    fn page(&self, at: u64) -> io::Result<Vec<u8>> {
        if at < 2 || at >= self.pages {
            return Err(odd("a page is not in it"));
        }
        let offset = at.checked_mul(self.page_size as u64).ok_or_else(|| odd("a page is not in it"))?;
        let mut head = [0; PAGE_HEADER];
        self.file.read_exact_at(&mut head, offset)?;
        let more = u32_at(&head, 12).and_then(|more| usize::try_from(more).ok());
        let length = more.and_then(|more| more.checked_add(1)?.checked_mul(self.page_size));
        let length =
            length.filter(|length| *length <= PAGE_LIMIT).ok_or_else(|| odd("a page is too long"))?;
        let read = self.read.get().saturating_add(length);
        if u64_at(&head, 0) != Some(at) || read > READ_LIMIT {
            return Err(odd("a page is another one"));
        }
        self.read.set(read);
        // Never more memory than the file has bytes.
        if offset.saturating_add(length as u64) > self.file.metadata()?.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}

/// What is taken of a bucket.
struct Table {
    rows: Vec<(Vec<u8>, Value)>,
    limit: usize,
    /// The bytes that may still be taken.
    room: usize,
}

impl Table {
    fn left(&self) -> usize {
        self.limit.saturating_sub(self.rows.len())
    }
}

struct Elements<'a> {
    page: &'a [u8],
    count: usize,
    is_leaf: bool,
}

/// Key, value, and whether that is a bucket.
type Leaf<'a> = (&'a [u8], &'a [u8], bool);

impl<'a> Elements<'a> {
    fn of(page: &'a [u8]) -> io::Result<Elements<'a>> {
        let number = |at: usize| Some(u16::from_le_bytes(page.get(at..at + 2)?.try_into().ok()?));
        let (Some(flags), Some(count)) = (number(8), number(10)) else {
            return Err(odd("a page is cut off"));
        };
        let is_leaf = match flags {
            BRANCH => false,
            LEAF => true,
            _ => return Err(odd("a page is neither leaf nor branch")),
        };
        Ok(Elements { page, count: usize::from(count), is_leaf })
    }

    /// Elements that lead out of their page are none.
    fn leaves(&self) -> impl Iterator<Item = Leaf<'a>> {
        let page = self.page;
        (0..self.count).filter_map(move |index| {
            let at = PAGE_HEADER + index * ELEMENT;
            let number = |offset| usize::try_from(u32_at(page, at + offset)?).ok();
            let (flags, place, key, value) = (number(0)?, number(4)?, number(8)?, number(12)?);
            let from = at.checked_add(place)?;
            let middle = from.checked_add(key)?;
            let end = middle.checked_add(value)?;
            Some((page.get(from..middle)?, page.get(middle..end)?, flags & 1 == 1))
        })
    }

    fn branches(&self) -> impl Iterator<Item = (&'a [u8], u64)> {
        let page = self.page;
        (0..self.count).filter_map(move |index| {
            let at = PAGE_HEADER + index * ELEMENT;
            let number = |offset| usize::try_from(u32_at(page, at + offset)?).ok();
            let from = at.checked_add(number(0)?)?;
            Some((page.get(from..from.checked_add(number(4)?)?)?, u64_at(page, at + 8)?))
        })
    }
}

fn value((_, bytes, is_bucket): Leaf<'_>) -> io::Result<Value> {
    if !is_bucket {
        return Ok(Value::Bytes(bytes.to_vec()));
    }
    match u64_at(bytes, 0) {
        None => Err(odd("a bucket is cut off")),
        Some(0) => Ok(Value::Bucket(Bucket::Inline(bytes.get(16..).unwrap_or_default().to_vec()))),
        Some(page) => Ok(Value::Bucket(Bucket::Page(page))),
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

fn odd(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::{BRANCH, Bolt, LEAF, MAGIC, VERSION, Value, consistent};
    use proptest::prelude::{any, proptest};
    use std::fs::File;
    use std::io::{self, Seek, Write};

    const SIZE: usize = 512;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    fn meta(commit: u64, root: u64) -> Vec<u8> {
        meta_of(commit, root, 6)
    }

    fn meta_of(commit: u64, root: u64, pages: u64) -> Vec<u8> {
        let mut body = Vec::new();
        for number in [MAGIC, VERSION, SIZE as u32, 0] {
            body.extend(number.to_le_bytes());
        }
        for number in [root, 0, 2, pages, commit] {
            body.extend(number.to_le_bytes());
        }
        let sum = body.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        body.extend(sum.to_le_bytes());
        page(commit, 4, 0, &body)
    }

    fn page(id: u64, flags: u16, count: u16, body: &[u8]) -> Vec<u8> {
        let mut page = id.to_le_bytes().to_vec();
        page.extend(flags.to_le_bytes());
        page.extend(count.to_le_bytes());
        page.extend([0; 4]);
        page.extend(body);
        page.resize(page.len().max(SIZE), 0);
        page
    }

    /// Elements of a leaf, and then their bytes.
    fn leaf(rows: &[(&str, &[u8], u32)]) -> Vec<u8> {
        let (mut heads, mut data) = (Vec::new(), Vec::new());
        for (index, (key, value, flags)) in rows.iter().enumerate() {
            let place = (rows.len() - index) * 16 + data.len();
            for number in [*flags, place as u32, key.len() as u32, value.len() as u32] {
                heads.extend(number.to_le_bytes());
            }
            data.extend(key.bytes().chain(value.iter().copied()));
        }
        heads.into_iter().chain(data).collect()
    }

    /// A root with one bucket: a branch over two leaves, of which the second has a bucket within itself.
    fn sample() -> Vec<u8> {
        let bucket = |root: u64| [root.to_le_bytes(), [0; 8]].concat();
        let mut inline = bucket(0);
        inline.extend(page(0, LEAF, 1, &leaf(&[("k", b"v", 0)])).into_iter().take(16 + 16 + 2));
        let mut branch = Vec::new();
        for (index, (key, child)) in [("a", 4_u64), ("m", 5)].iter().enumerate() {
            branch.extend((((2 - index) * 16 + index) as u32).to_le_bytes());
            branch.extend((key.len() as u32).to_le_bytes());
            branch.extend(child.to_le_bytes());
        }
        branch.extend(b"am");
        [
            meta(6, 2),
            meta(7, 2),
            page(2, LEAF, 1, &leaf(&[("v1", &bucket(3), 1)])),
            page(3, BRANCH, 2, &branch),
            page(4, LEAF, 2, &leaf(&[("a", b"1", 0), ("b", b"2", 0)])),
            page(5, LEAF, 2, &leaf(&[("m", b"3", 0), ("n", &inline, 1)])),
        ]
        .concat()
    }

    fn ask(bytes: &[u8]) -> io::Result<Vec<String>> {
        let kept = file(bytes);
        consistent(
            || kept.try_clone(),
            |bolt| {
                let Some(top) = bolt.bucket(&["v1"])? else { return Ok(Vec::new()) };
                let mut found = Vec::new();
                for key in ["a", "b", "m", "z"] {
                    found.push(bolt.text(&top, key)?.unwrap_or_default());
                }
                found.push(bolt.all(&top, 100)?.len().to_string());
                if let Some(Value::Bucket(inner)) = bolt.get(&top, b"n")? {
                    found.push(bolt.text(&inner, "k")?.unwrap_or_default());
                }
                Ok(found)
            },
        )
    }

    #[test]
    fn keys_and_buckets() {
        assert_eq!(ask(&sample()).unwrap(), ["1", "2", "3", "", "4", "v"]);
        let bolt = Bolt::of(file(&sample())).unwrap();
        assert!(bolt.bucket(&["v2"]).unwrap().is_none());
        assert!(bolt.bucket(&["v1", "a"]).unwrap().is_none());
        assert_eq!(bolt.buckets(&bolt.bucket(&["v1"]).unwrap().unwrap(), 9).unwrap().len(), 1);
    }

    #[test]
    fn a_torn_head_leaves_the_other() {
        for head in 0..2 {
            let mut bytes = sample();
            bytes[head * SIZE + 40] ^= 1;
            assert_eq!(ask(&bytes).unwrap().len(), 6, "{head}");
        }
        let mut bytes = sample();
        bytes[40] ^= 1;
        bytes[SIZE + 40] ^= 1;
        assert!(ask(&bytes).is_err());
        assert!(ask(b"").is_err() && ask(&[0; 4096]).is_err());
    }

    #[test]
    fn a_tree_without_an_end() {
        let mut bytes = sample();
        // The branch's first child becomes the branch itself.
        bytes[3 * SIZE + 16 + 8] = 3;
        assert!(ask(&bytes).is_err());
    }

    /// All elements of a long page are the same bytes of it.
    #[test]
    fn elements_that_lie_over_each_other() {
        let mut bytes = sample();
        let long = 4 << 20;
        let mut body = Vec::new();
        for index in 0..100_u32 {
            for number in [0, 1600 - index * 16, 1, long - 2000] {
                body.extend(number.to_le_bytes());
            }
        }
        body.resize(long as usize - 16, 0);
        let mut page = page(6, LEAF, 100, &body);
        page[12..16].copy_from_slice(&(long / SIZE as u32 - 1).to_le_bytes());
        bytes.extend(page);
        // The bucket's page is that one, and the file says that it has so many.
        let root = bytes.windows(2).position(|two| two == b"v1").unwrap() + 2;
        bytes[root] = 6;
        let heads =
            [meta_of(6, 2, 6 + u64::from(long) / 512), meta_of(7, 2, 6 + u64::from(long) / 512)].concat();
        bytes[..heads.len()].copy_from_slice(&heads);
        let bolt = Bolt::of(file(&bytes)).unwrap();
        let top = bolt.bucket(&["v1"]).unwrap().unwrap();
        assert_eq!(bolt.all(&top, 3).unwrap().len(), 3);
        assert!(bolt.all(&top, 1000).unwrap_err().to_string().contains("too long"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(changes in proptest::collection::vec((0_usize..6 * SIZE, any::<u8>()), 0..12), cut in 0_usize..6 * SIZE) {
            let mut bytes = sample();
            for (at, byte) in changes {
                bytes[at] = byte;
            }
            ask(&bytes).map(drop).unwrap_or_default();
            bytes.truncate(cut);
            ask(&bytes).map(drop).unwrap_or_default();
        }
    }
}
