// SPDX-License-Identifier: Apache-2.0
//! Names of systemd units and other names of outsiders as text. Never yields a path separator, a
//! NUL or a dot name out of an escape, because the result may become part of a path.

use std::fmt::Write;

/// Undoes the `\xNN` escapes of systemd. An escape that would give a slash, a NUL or a dot
/// name leaves the whole name as it stands; `None` when that is no name either.
pub(crate) fn unescape(name: &[u8]) -> Option<String> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, tail)) = rest.split_first() {
        match escape(rest) {
            Some(value) => {
                out.push(value);
                rest = rest.get(4..).unwrap_or_default();
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    id(&out).or_else(|| id(name))
}

/// A name as an id; `None` when it could lead elsewhere as a part of a path.
pub(crate) fn id(name: &[u8]) -> Option<String> {
    is_one_name(name).then(|| text(name))
}

fn escape(at: &[u8]) -> Option<u8> {
    let digits = at.strip_prefix(b"\\x")?.get(..2)?;
    let digits = std::str::from_utf8(digits).ok()?;
    if digits.starts_with('+') {
        return None;
    }
    u8::from_str_radix(digits, 16).ok()
}

/// Whether this can be one name in a directory, and nothing that leads elsewhere.
pub(crate) fn is_one_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && name != b"."
        && name != b".."
        && !name.iter().any(|&byte| byte == b'/' || byte == 0)
}

/// Bytes as text: UTF-8 as it is, every other byte as `\xNN`.
pub(crate) fn text(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            write!(out, "\\x{byte:02x}").unwrap_or_default();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{text, unescape};

    #[test]
    fn escapes_are_undone() {
        assert_eq!(unescape(br"web\x2d1").unwrap(), "web-1");
        assert_eq!(unescape(br"a\x2").unwrap(), r"a\x2");
        assert_eq!(unescape(br"a\x+1").unwrap(), r"a\x+1");
        assert_eq!(unescape(b""), None);
    }

    #[test]
    fn no_escape_makes_a_path() {
        assert_eq!(unescape(br"..\x2fetc").unwrap(), r"..\x2fetc");
        assert_eq!(unescape(br"\x2e\x2e").unwrap(), r"\x2e\x2e");
        assert_eq!(unescape(br"a\x00").unwrap(), r"a\x00");
        assert_eq!((unescape(b"."), unescape(b"..")), (None, None));
    }

    #[test]
    fn other_bytes_stay_readable() {
        assert_eq!(text(b"a\xff\xfeb"), r"a\xff\xfeb");
    }
}
