// SPDX-License-Identifier: Apache-2.0
//! The note that says which files were mapped, and where.

use crate::elf::Class;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The most mappings that are looked at.
const MAPPINGS_LIMIT: u64 = 1 << 20;
/// What the kernel says behind the name of a file that is gone.
const DELETED: &[u8] = b" (deleted)";

/// A range of memory with the content of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Where in the file, in bytes.
    pub(crate) offset: u64,
    pub(crate) path: PathBuf,
    /// Whether the file had been removed.
    pub(crate) deleted: bool,
}

/// Both halves: numbers first, then as many names. What makes no sense ends the list.
pub(crate) fn parse(class: Class, bytes: &[u8]) -> Vec<Mapping> {
    let word = class.word();
    let at = |index: usize| class.address(bytes, index.checked_mul(word)?);
    let (Some(count), Some(page)) = (at(0), at(1)) else { return Vec::new() };
    let count = usize::try_from(count.min(MAPPINGS_LIMIT)).unwrap_or_default();
    let names = count.checked_mul(3).and_then(|words| (words + 2).checked_mul(word));
    let Some(names) = names.and_then(|at| bytes.get(at..)) else { return Vec::new() };
    let mut mappings = Vec::new();
    for (index, name) in names.split(|byte| *byte == 0).take(count).enumerate() {
        let field = |field: usize| at(2 + index * 3 + field);
        let (Some(start), Some(end), Some(pages)) = (field(0), field(1), field(2)) else { break };
        let Some(offset) = pages.checked_mul(page).filter(|_| start < end) else { continue };
        let deleted = name.ends_with(DELETED);
        let name = name.strip_suffix(DELETED).unwrap_or(name);
        let path = PathBuf::from(OsString::from_vec(name.to_vec()));
        mappings.push(Mapping { start, end, offset, path, deleted });
    }
    mappings
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::elf::Class;

    #[test]
    fn numbers_then_names() {
        let numbers: Vec<u8> = [2_u64, 4096, 0x1000, 0x2000, 0, 0x5000, 0x8000, 3]
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect();
        let all = parse(Class::Wide, &[&numbers, &b"/bin/a\0/lib/b (deleted)\0"[..]].concat());
        assert_eq!((all[0].start, all[0].offset, all[0].deleted), (0x1000, 0, false));
        assert_eq!((all[1].path.to_str(), all[1].offset, all[1].deleted), (Some("/lib/b"), 0x3000, true));
        assert_eq!(parse(Class::Wide, &numbers[..40]), []);
        assert_eq!(parse(Class::Narrow, &u32::MAX.to_le_bytes().repeat(9)), []);
    }
}
