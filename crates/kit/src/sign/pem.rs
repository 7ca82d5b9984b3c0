// SPDX-License-Identifier: Apache-2.0
//! PEM (RFC 7468): bytes in base64 between two lines that say what they are.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const LINE: usize = 64;

pub(super) fn encode(bytes: &[u8], label: &str) -> String {
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let at = |place: usize| u32::from(three.get(place).copied().unwrap_or_default());
        let group = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let index = usize::try_from(group >> (18 - 6 * place) & 63).unwrap_or_default();
            let sign = ALPHABET.get(index).filter(|_| place <= three.len() as u32).copied().unwrap_or(b'=');
            text.push(char::from(sign));
        }
    }
    let lines: Vec<&str> =
        (0..text.len()).step_by(LINE).filter_map(|at| text.get(at..text.len().min(at + LINE))).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// The bytes of the first thing with this label.
pub(super) fn decode(text: &str, label: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let (mut bytes, mut group, mut bits) = (Vec::new(), 0_u32, 0);
    for byte in body.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=') {
        let sign = ALPHABET.iter().position(|known| *known == byte)?;
        group = group << 6 | u32::try_from(sign).ok()?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(group >> bits & 0xff).ok()?);
            group &= (1 << bits) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};
    use proptest::prelude::{any, prop_assert_eq, proptest};

    #[test]
    fn as_others_write_it() {
        assert_eq!(encode(b"Many", "X"), "-----BEGIN X-----\nTWFueQ==\n-----END X-----\n");
        assert_eq!(
            decode("x\n-----BEGIN X-----\r\nTWFu\r\neQ==\r\n-----END X-----\n", "X").unwrap(),
            b"Many"
        );
        for wrong in ["", "-----BEGIN X-----\nTWFu", "-----BEGIN X-----\n!\n-----END X-----"] {
            assert_eq!(decode(wrong, "X"), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn bytes_come_back(bytes in any::<Vec<u8>>(), text in any::<String>()) {
            prop_assert_eq!(decode(&encode(&bytes, "A B"), "A B").unwrap(), bytes);
            decode(&text, "A");
        }
    }
}
