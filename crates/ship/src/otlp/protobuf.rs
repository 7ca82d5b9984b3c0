// SPDX-License-Identifier: Apache-2.0
//! Protobuf's encoding, as much of it as logs need: <https://protobuf.dev/programming-guides/encoding/>.

/// Wire types.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// Writes the fields of one message.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn with_capacity(capacity: usize) -> Writer {
        Writer { bytes: Vec::with_capacity(capacity) }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    fn raw_varint(&mut self, value: u64) {
        let mut value = value;
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    fn key(&mut self, field: u64, wire: u64) {
        self.raw_varint(field << 3 | wire);
    }

    pub(super) fn varint(&mut self, field: u64, value: u64) {
        self.key(field, VARINT);
        self.raw_varint(value);
    }

    pub(super) fn fixed64(&mut self, field: u64, value: u64) {
        self.key(field, FIXED64);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn text(&mut self, field: u64, text: &str) {
        self.key(field, BYTES);
        self.raw_varint(text.len() as u64);
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// A message within this one. Its length comes first and is known last.
    pub(super) fn message(&mut self, field: u64, fill: impl FnOnce(&mut Writer)) {
        self.key(field, BYTES);
        let start = self.bytes.len();
        fill(self);
        let mut length = Writer::default();
        length.raw_varint((self.bytes.len() - start) as u64);
        self.bytes.splice(start..start, length.bytes);
    }
}

/// A field as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Reads the fields of one message, in the order in which they stand.
#[derive(Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    /// The next field; an error when the rest is no message.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, String> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let cut = || "its answer is cut short or no protobuf".to_string();
        let key = self.raw_varint().ok_or_else(cut)?;
        let value = match key & 7 {
            VARINT => Value::Number(self.raw_varint().ok_or_else(cut)?),
            FIXED64 => Value::Bytes(self.take(8).ok_or_else(cut)?),
            FIXED32 => Value::Bytes(self.take(4).ok_or_else(cut)?),
            BYTES => {
                let length = self.raw_varint().and_then(|length| usize::try_from(length).ok());
                Value::Bytes(length.and_then(|length| self.take(length)).ok_or_else(cut)?)
            }
            other => return Err(format!("its answer is no protobuf: it has a field of type {other}")),
        };
        match key >> 3 {
            0 => Err("its answer is no protobuf: it has a field 0".to_string()),
            field => Ok(Some((field, value))),
        }
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn raw_varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for place in 0..10 {
            let byte = *self.take(1)?.first()?;
            value |= u64::from(byte & 0x7f).checked_shl(7 * place)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{Reader, Value, Writer};

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::default();
        writer.varint(1, 0);
        writer.varint(2, u64::MAX);
        writer.text(3, &"x".repeat(300));
        writer.fixed64(4, 7);
        writer.message(5, |inner| {
            inner.text(1, "a");
            inner.message(2, |_| ());
        });
        let bytes = writer.finish();
        let mut reader = Reader::new(&bytes);
        let mut next = || reader.next().unwrap();
        assert_eq!(next(), Some((1, Value::Number(0))));
        assert_eq!(next(), Some((2, Value::Number(u64::MAX))));
        let Some((3, Value::Bytes(text))) = next() else { panic!("a text") };
        assert_eq!(text.len(), 300);
        assert_eq!(next(), Some((4, Value::Bytes(&7u64.to_le_bytes()))));
        assert_eq!(next(), Some((5, Value::Bytes(b"\x0a\x01a\x12\x00"))));
        assert_eq!(next(), None);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for wrong in [
            &b"\x08"[..],
            b"\x0a\x05abc",
            b"\x00\x01",
            b"\x0b",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x09\x01",
        ] {
            assert!(Reader::new(wrong).next().is_err(), "{wrong:?}");
        }
    }
}
