// SPDX-License-Identifier: Apache-2.0
//! One tagged field: writing and reading, nothing about what the tags mean.

use super::CodecError;

/// A field's value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// A number.
    Number(u64),
    /// A string of bytes.
    Bytes(&'a [u8]),
}

/// Appends fields to a buffer.
pub(super) trait Put {
    /// A number; left out when 0.
    fn number(&mut self, tag: u32, number: u64);
    /// Bytes, kept even when empty: for lists.
    fn item(&mut self, tag: u32, bytes: &[u8]);
    /// Bytes; left out when empty.
    fn bytes(&mut self, tag: u32, bytes: &[u8]);
    /// Text; left out when empty.
    fn text(&mut self, tag: u32, text: &str) {
        self.bytes(tag, text.as_bytes());
    }
}

impl Put for Vec<u8> {
    fn number(&mut self, tag: u32, number: u64) {
        if number != 0 {
            varint(self, u64::from(tag) << 1);
            varint(self, number);
        }
    }

    fn item(&mut self, tag: u32, bytes: &[u8]) {
        varint(self, u64::from(tag) << 1 | 1);
        varint(self, bytes.len() as u64);
        self.extend_from_slice(bytes);
    }

    fn bytes(&mut self, tag: u32, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.item(tag, bytes);
        }
    }
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Reads fields off a buffer.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Fields<'a> {
        Fields { rest: bytes }
    }

    /// The next field, `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, CodecError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let tag = u32::try_from(key >> 1).map_err(|_| CodecError::Number)?;
        if key & 1 == 0 {
            return Ok(Some((tag, Value::Number(self.varint()?))));
        }
        let length = usize::try_from(self.varint()?).map_err(|_| CodecError::Cut)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(CodecError::Cut)?;
        self.rest = rest;
        Ok(Some((tag, Value::Bytes(bytes))))
    }

    fn varint(&mut self) -> Result<u64, CodecError> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or(CodecError::Cut)?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(CodecError::Number);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(CodecError::Number)
    }
}

#[cfg(test)]
mod tests {
    use super::{CodecError, Fields, Put, Value};

    #[test]
    fn reads_back_what_it_wrote() {
        let mut out = Vec::new();
        out.number(1, u64::MAX);
        out.number(2, 0);
        out.item(3, b"");
        out.bytes(4, b"");
        out.text(300, "x");
        let mut fields = Fields::new(&out);
        assert_eq!(fields.next(), Ok(Some((1, Value::Number(u64::MAX)))));
        assert_eq!(fields.next(), Ok(Some((3, Value::Bytes(b"")))));
        assert_eq!(fields.next(), Ok(Some((300, Value::Bytes(b"x")))));
        assert_eq!(fields.next(), Ok(None));
    }

    #[test]
    fn refuses_cut_and_overlong_fields() {
        assert_eq!(Fields::new(&[2]).next(), Err(CodecError::Cut));
        assert_eq!(Fields::new(&[3, 5, 1]).next(), Err(CodecError::Cut));
        assert_eq!(
            Fields::new(&[2, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2]).next(),
            Err(CodecError::Number)
        );
    }
}
