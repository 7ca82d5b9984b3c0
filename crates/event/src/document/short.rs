// SPDX-License-Identifier: Apache-2.0
//! Short texts that are put together for each document (numbers, ids, times), without a heap.

use serde::{Serialize, Serializer};

/// The longest is an entity id with 42 bytes.
const LIMIT: usize = 48;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// ASCII of at most [`LIMIT`] bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Short {
    bytes: [u8; LIMIT],
    len: usize,
}

impl Default for Short {
    fn default() -> Short {
        Short::new()
    }
}

/// A document has a dozen of these: each piece is made in place and copied in one go.
impl Short {
    pub(super) fn new() -> Short {
        Short { bytes: [0; LIMIT], len: 0 }
    }

    pub(super) fn number(number: u64) -> Short {
        Short::new().decimal(number, 1)
    }

    /// What does not fit any more is left out; nothing that is written here is that long.
    fn text(mut self, text: &[u8]) -> Short {
        if let Some(place) = self.bytes.get_mut(self.len..).and_then(|free| free.get_mut(..text.len())) {
            place.copy_from_slice(text);
            self.len += text.len();
        }
        self
    }

    pub(super) fn byte(self, byte: u8) -> Short {
        self.text(&[byte])
    }

    /// At least `digits` digits, with zeros in front.
    pub(super) fn decimal(self, number: u64, digits: usize) -> Short {
        let mut text = [b'0'; 20];
        let (mut rest, mut first) = (number, text.len());
        for place in text.iter_mut().rev() {
            *place = b'0' + (rest % 10) as u8;
            rest /= 10;
            first -= 1;
            if rest == 0 {
                break;
            }
        }
        let first = first.min(text.len().saturating_sub(digits));
        self.text(text.get(first..).unwrap_or_default())
    }

    /// At least `digits` hexadecimal digits.
    pub(super) fn hex(self, number: u64, digits: usize) -> Short {
        let mut text = [b'0'; 16];
        let mut rest = number;
        for place in text.iter_mut().rev() {
            *place = HEX[(rest & 15) as usize];
            rest >>= 4;
        }
        let zeros = (number.leading_zeros() / 4) as usize;
        let first = zeros.min(text.len().saturating_sub(digits));
        self.text(text.get(first..).unwrap_or_default())
    }

    /// Two digits a byte.
    pub(super) fn hex_bytes(self, bytes: &[u8]) -> Short {
        let mut text = [0; LIMIT];
        for (place, byte) in text.chunks_exact_mut(2).zip(bytes) {
            place.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        self.text(text.get(..2 * bytes.len()).unwrap_or(&text))
    }

    pub(super) fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..self.len).unwrap_or_default();
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
