// SPDX-License-Identifier: Apache-2.0
//! What the kernel told the program when it started it.

use crate::elf::Class;

const AT_NULL: u64 = 0;
const AT_ENTRY: u64 = 9;
const AT_EXECFN: u64 = 31;

/// The entries that say which object is the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Auxv {
    /// Where the program begins.
    pub(crate) entry: Option<u64>,
    /// Where the name is by which it was started.
    pub(crate) name: Option<u64>,
}

impl Auxv {
    pub(crate) fn parse(class: Class, bytes: &[u8]) -> Auxv {
        let mut auxv = Auxv::default();
        for pair in bytes.chunks_exact(2 * class.word()) {
            let value = class.address(pair, class.word());
            match class.address(pair, 0) {
                Some(AT_NULL) | None => break,
                Some(AT_ENTRY) => auxv.entry = value,
                Some(AT_EXECFN) => auxv.name = value,
                Some(_) => {}
            }
        }
        auxv
    }
}
