// SPDX-License-Identifier: Apache-2.0
//! Short texts that are put together for each document (numbers, ids, times), without a heap.

use serde::{Serialize, Serializer};

/// The longest is an entity id with 42 bytes.
const LIMIT: usize = 48;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// ASCII of at most [`LIMIT`] bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Short {
    bytes: Bytes,
    len: u8,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Bytes([u8; LIMIT]);

impl Default for Bytes {
    fn default() -> Bytes {
        Bytes([0; LIMIT])
    }
}

impl Short {
    pub(super) fn new() -> Short {
        Short::default()
    }

    pub(super) fn number(number: u64) -> Short {
        Short::new().decimal(number, 1)
    }

    /// What does not fit any more is left out; nothing that is written here is that long.
    pub(super) fn byte(mut self, byte: u8) -> Short {
        if let Some(place) = self.bytes.0.get_mut(usize::from(self.len)) {
            *place = byte;
            self.len += 1;
        }
        self
    }

    /// At least `digits` digits, with zeros in front.
    pub(super) fn decimal(self, number: u64, digits: u32) -> Short {
        let count = number.checked_ilog10().map_or(1, |log| log + 1).max(digits);
        (0..count).rev().fold(self, |short, place| {
            let digit = 10u64.checked_pow(place).map_or(0, |power| number / power % 10);
            short.byte(b'0' + digit as u8)
        })
    }

    /// At least `digits` hexadecimal digits.
    pub(super) fn hex(self, number: u64, digits: u32) -> Short {
        let count = number.checked_ilog2().map_or(1, |log| log / 4 + 1).max(digits);
        (0..count).rev().fold(self, |short, place| short.byte(HEX[(number >> (4 * place) & 15) as usize]))
    }

    /// Two digits a byte.
    pub(super) fn hex_bytes(self, bytes: &[u8]) -> Short {
        bytes.iter().fold(self, |short, byte| {
            short.byte(HEX[usize::from(byte >> 4)]).byte(HEX[usize::from(byte & 15)])
        })
    }

    pub(super) fn as_str(&self) -> &str {
        let bytes = self.bytes.0.get(..usize::from(self.len)).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl Serialize for Short {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Short;

    #[test]
    fn writes_what_the_standard_library_would() {
        for number in [0, 7, 10, 999, 1 << 40, u64::MAX] {
            assert_eq!(Short::number(number).as_str(), number.to_string());
            assert_eq!(Short::new().decimal(number, 9).as_str(), format!("{number:09}"));
            assert_eq!(Short::new().hex(number, 1).as_str(), format!("{number:x}"));
            assert_eq!(Short::new().hex(number, 16).as_str(), format!("{number:016x}"));
        }
        assert_eq!(Short::new().hex_bytes(&[0, 0x9f, 255]).byte(b'-').as_str(), "009fff-");
        assert_eq!(Short::new().hex_bytes(&[7; 40]).as_str().len(), 48);
    }
}
