// SPDX-License-Identifier: Apache-2.0
//! What stands beside a block so that a query can leave the block, or most of it, unread: the kinds,
//! the distinct subjects, users and executables, the list of frames and a bitmap of trigrams.
//! A filter may say "perhaps" of a block that holds nothing, never "no" of one that does.

use crate::block::Header;
use crate::cursor::{Cursor, put_sized};
use crate::frame::Layout;

const SUBJECTS_ELSEWHERE: u8 = 1;
const USERS_ELSEWHERE: u8 = 2;
const EXECUTABLES_ELSEWHERE: u8 = 4;

/// Trigrams are hashed to this many bits while a block is open.
const WIDEST_LOG2: u8 = 17;
const NARROWEST_LOG2: u8 = 8;
const WIDEST_BITS: usize = 1 << WIDEST_LOG2;

/// One bit a trigram (one hash): with few bits set, the several trigrams of a needle prune as
/// well as the several hashes of a Bloom filter, and setting a bit twice costs nothing. When the
/// block closes, the bitmap is folded in half as long as at most a quarter of it is set.
#[derive(Debug)]
pub(crate) struct Trigrams {
    words: Vec<u64>,
}

impl Trigrams {
    pub(crate) fn new() -> Trigrams {
        Trigrams { words: vec![0; WIDEST_BITS / 64] }
    }

    pub(crate) fn clear(&mut self) {
        self.words.fill(0);
    }

    pub(crate) fn insert(&mut self, text: &[u8]) {
        for_each_trigram(text, |bit| {
            if let Some(word) = self.words.get_mut(bit / 64) {
                *word |= 1 << (bit % 64);
            }
        });
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let mut words = self.words.clone();
        let mut log2 = WIDEST_LOG2;
        while log2 > NARROWEST_LOG2 {
            let (low, high) = words.split_at(words.len() / 2);
            let folded: Vec<u64> = low.iter().zip(high).map(|(low, high)| low | high).collect();
            let set: usize = folded.iter().map(|word| word.count_ones() as usize).sum();
            if set * 4 > folded.len() * 64 {
                break;
            }
            words = folded;
            log2 -= 1;
        }
        out.push(log2);
        words.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
    }
}

fn for_each_trigram(text: &[u8], mut each: impl FnMut(usize)) {
    let [first, second, rest @ ..] = text else { return };
    let mut trigram = u32::from(*first) << 8 | u32::from(*second);
    for byte in rest {
        trigram = (trigram << 8 | u32::from(*byte)) & 0x00ff_ffff;
        let hash = trigram.wrapping_mul(0x9E37_79B1) >> (32 - u32::from(WIDEST_LOG2));
        each(hash as usize);
    }
}

/// The trigrams of a needle, hashed once for all blocks of a query.
pub(crate) fn needle_bits(needle: &[u8]) -> Vec<usize> {
    let mut bits = Vec::new();
    for_each_trigram(needle, |bit| bits.push(bit));
    bits.sort_unstable();
    bits.dedup();
    bits
}

/// What the writer of a block hands over for its filter; `None` = too many, they stand in the body.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) kinds: u64,
    pub(crate) subjects: Option<&'a [u8]>,
    pub(crate) users: Option<&'a [u8]>,
    pub(crate) executables: Option<&'a [u8]>,
    /// The list of the body's frames.
    pub(crate) frames: &'a [u8],
    pub(crate) trigrams: &'a Trigrams,
}

impl Parts<'_> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let flag = |list: Option<&[u8]>, flag: u8| if list.is_none() { flag } else { 0 };
        out.extend_from_slice(&self.kinds.to_le_bytes());
        out.push(
            flag(self.subjects, SUBJECTS_ELSEWHERE)
                | flag(self.users, USERS_ELSEWHERE)
                | flag(self.executables, EXECUTABLES_ELSEWHERE),
        );
        for list in [self.subjects, self.users, self.executables].into_iter().flatten() {
            put_sized(out, list);
        }
        put_sized(out, self.frames);
        self.trigrams.encode(out);
    }
}

/// A filter as it was read: each list still encoded, `None` when it stands in the body.
#[derive(Debug)]
pub(crate) struct Filter<'a> {
    pub(crate) kinds: u64,
    pub(crate) subjects: Option<&'a [u8]>,
    pub(crate) users: Option<&'a [u8]>,
    pub(crate) executables: Option<&'a [u8]>,
    frames: &'a [u8],
    log2: u8,
    bitmap: &'a [u8],
}

impl<'a> Filter<'a> {
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Filter<'a>> {
        let mut cursor = Cursor::new(bytes);
        let kinds = cursor.u64()?;
        let flags = cursor.u8()?;
        let mut list = |flag: u8| -> Option<Option<&'a [u8]>> {
            if flags & flag == 0 { cursor.sized().map(Some) } else { Some(None) }
        };
        let subjects = list(SUBJECTS_ELSEWHERE)?;
        let users = list(USERS_ELSEWHERE)?;
        let executables = list(EXECUTABLES_ELSEWHERE)?;
        let frames = cursor.sized()?;
        let log2 = cursor.u8()?;
        let bitmap = cursor.rest();
        let known = (NARROWEST_LOG2..=WIDEST_LOG2).contains(&log2);
        (known && bitmap.len() == 1usize << (log2 - 3)).then_some(Filter {
            kinds,
            subjects,
            users,
            executables,
            frames,
            log2,
            bitmap,
        })
    }

    /// How the body is cut, or `None` when the list of frames does not fit the header.
    pub(crate) fn layout(&self, header: &Header) -> Option<Layout> {
        let has_lists = self.subjects.is_none() || self.users.is_none() || self.executables.is_none();
        Layout::decode(header, self.frames, has_lists)
    }

    /// Whether a text with these hashed trigrams may stand in the block.
    pub(crate) fn may_contain(&self, bits: &[usize]) -> bool {
        let mask = (1usize << self.log2) - 1;
        bits.iter().all(|bit| {
            let bit = bit & mask;
            self.bitmap.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
        })
    }
}

/// Subjects with their attachments, in the order of their indexes.
pub(crate) fn subjects(list: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut cursor = Cursor::new(list);
    std::iter::from_fn(move || Some((cursor.sized()?, cursor.sized()?)))
}

/// Users, in the order of their indexes.
pub(crate) fn users(list: &[u8]) -> impl Iterator<Item = u32> {
    let mut cursor = Cursor::new(list);
    std::iter::from_fn(move || cursor.u32())
}

/// Executables, in the order of their indexes.
pub(crate) fn executables(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut cursor = Cursor::new(list);
    std::iter::from_fn(move || cursor.sized())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_inserted_and_little_else() {
        let mut trigrams = Trigrams::new();
        for number in 0..1024 {
            trigrams.insert(format!("--config=/etc/service/{number}.conf --verbose").as_bytes());
        }
        let mut out = Vec::new();
        let (subjects, executables) = (Some(&b""[..]), Some(&b""[..]));
        Parts { kinds: 5, subjects, users: None, executables, frames: b"f", trigrams: &trigrams }
            .encode(&mut out);
        let filter = Filter::decode(&out).unwrap();
        assert_eq!((filter.kinds, filter.users), (5, None));
        assert!(filter.may_contain(&needle_bits(b"/etc/service/777.conf")));
        assert!(filter.may_contain(&needle_bits(b"--")), "too short to prune");
        let wrong = (0..1000).filter(|n| filter.may_contain(&needle_bits(format!("zq{n}xk").as_bytes())));
        assert!(wrong.count() < 20);
        for len in 0..out.len() {
            assert!(Filter::decode(&out[..len]).is_none());
        }
    }
}
