// SPDX-License-Identifier: Apache-2.0
//! Reading documents: fields by path, arguments as the bytes they were. Judges nothing.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The text at a JSON pointer such as `/process/executable`; empty when it is not there.
pub(crate) fn text<'a>(document: &'a Value, pointer: &str) -> &'a str {
    document.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The number at a JSON pointer.
pub(crate) fn number(document: &Value, pointer: &str) -> Option<u64> {
    document.pointer(pointer).and_then(Value::as_u64)
}

pub(crate) fn is(document: &Value, action: &str) -> bool {
    text(document, "/event/action") == action
}

/// The strings of the array at a JSON pointer.
pub(crate) fn strings<'a>(document: &'a Value, pointer: &str) -> Vec<&'a str> {
    let array = document.pointer(pointer).and_then(Value::as_array);
    array.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The arguments byte for byte: `args_raw` where some were not UTF-8, else `args`.
pub(crate) fn args(document: &Value) -> Result<Vec<Vec<u8>>> {
    if document.pointer("/process/args_raw").is_some() {
        return strings(document, "/process/args_raw").into_iter().map(base64).collect();
    }
    Ok(strings(document, "/process/args").into_iter().map(|arg| arg.as_bytes().to_vec()).collect())
}

/// Every document of one process (exec, exit, ...) by its entity id.
pub(crate) fn by_entity(documents: &[Value]) -> HashMap<&str, Vec<&Value>> {
    let mut map: HashMap<&str, Vec<&Value>> = HashMap::new();
    for document in documents {
        map.entry(text(document, "/process/entity_id")).or_default().push(document);
    }
    map
}

/// The 64-bit FNV-1a hash of the arguments, each followed by a NUL.
pub(crate) fn fnv1a(args: &[Vec<u8>]) -> u64 {
    let bytes = args.iter().flat_map(|arg| arg.iter().copied().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Standard base64 with padding (RFC 4648, section 4).
pub(crate) fn base64(text: &str) -> Result<Vec<u8>> {
    let digits: Vec<u32> = text.trim_end_matches('=').bytes().map(digit).collect::<Result<_>>()?;
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for four in digits.chunks(4) {
        let bits =
            four.iter().enumerate().fold(0u32, |bits, (place, digit)| bits | digit << (18 - 6 * place));
        let [_, three @ ..] = bits.to_be_bytes();
        bytes.extend_from_slice(three.get(..four.len() - 1).context("base64 of a strange length")?);
    }
    Ok(bytes)
}

fn digit(byte: u8) -> Result<u32> {
    Ok(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => bail!("no base64 digit: {byte:#x}"),
    }))
}

#[test]
fn base64_gives_the_bytes_back() {
    assert_eq!(base64("").unwrap(), b"");
    assert_eq!(base64("/w==").unwrap(), [0xff]);
    assert_eq!(base64("aGk=").unwrap(), b"hi");
    assert_eq!(base64("AQID").unwrap(), [1, 2, 3]);
    assert!(base64("a\n").is_err());
}

#[test]
fn fnv1a_is_the_published_one() {
    assert_eq!(fnv1a(&[]), 0xcbf2_9ce4_8422_2325);
    assert_eq!(fnv1a(&[vec![]]), 0xaf63_bd4c_8601_b7df);
}
