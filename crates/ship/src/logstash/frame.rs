// SPDX-License-Identifier: Apache-2.0
//! The frames of lumberjack v2: a window of documents out, acknowledgements back. A frame begins with
//! the version and one letter for its type; numbers have four bytes, the highest first.

use flate2::Compression;
use flate2::write::ZlibEncoder;
use std::io::{self, Write};

/// The version of the protocol.
const VERSION: u8 = b'2';
/// Bytes of an acknowledgement.
const ACK_BYTES: usize = 6;

/// A window of `documents`, numbered from 1, in one compressed frame unless `level` is 0.
pub(super) fn window<'a>(
    documents: impl ExactSizeIterator<Item = &'a [u8]>,
    level: u32,
) -> io::Result<Vec<u8>> {
    let mut out = vec![VERSION, b'W'];
    out.extend_from_slice(&number(documents.len())?);
    let mut frames = Vec::new();
    for (index, json) in documents.enumerate() {
        frames.extend_from_slice(&[VERSION, b'J']);
        frames.extend_from_slice(&number(index + 1)?);
        frames.extend_from_slice(&number(json.len())?);
        frames.extend_from_slice(json);
    }
    if level == 0 {
        out.append(&mut frames);
        return Ok(out);
    }
    let mut encoder = ZlibEncoder::new(Vec::with_capacity(frames.len() / 4), Compression::new(level));
    encoder.write_all(&frames)?;
    let pressed = encoder.finish()?;
    out.extend_from_slice(&[VERSION, b'C']);
    out.extend_from_slice(&number(pressed.len())?);
    out.extend_from_slice(&pressed);
    Ok(out)
}

fn number(value: usize) -> io::Result<[u8; 4]> {
    let value = u32::try_from(value).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    Ok(value.to_be_bytes())
}

/// Takes all whole acknowledgements from the start of `input`: `each` hears how many documents of
/// the window are safe. The error says what came instead of one.
pub(super) fn acknowledgements(
    input: &mut Vec<u8>,
    mut each: impl FnMut(u32) -> Result<(), String>,
) -> Result<(), String> {
    let mut rest = input.as_slice();
    loop {
        let head = rest.get(..2).unwrap_or(rest);
        if !b"2A".starts_with(head) {
            let shown = shown(rest);
            return Err(format!("it answered {shown:?}, which is no acknowledgement of lumberjack v2"));
        }
        let Some((&[_, _, a, b, c, d], after)) = rest.split_first_chunk::<ACK_BYTES>() else { break };
        each(u32::from_be_bytes([a, b, c, d]))?;
        rest = after;
    }
    let used = input.len() - rest.len();
    input.drain(..used);
    Ok(())
}

/// The first bytes of an answer, for people.
fn shown(input: &[u8]) -> String {
    let start = input.get(..input.len().min(40)).unwrap_or_default();
    start
        .iter()
        .map(|&byte| if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '.' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{acknowledgements, window};
    use std::io::Read;

    #[test]
    fn a_window_holds_its_documents_in_order() {
        let documents: [&[u8]; 2] = [b"{\"a\":1}", b"{}"];
        let plain = window(documents.into_iter(), 0).unwrap();
        assert_eq!(plain, b"2W\0\0\0\x022J\0\0\0\x01\0\0\0\x07{\"a\":1}2J\0\0\0\x02\0\0\0\x02{}");
        let pressed = window(documents.into_iter(), 3).unwrap();
        assert_eq!(pressed[..8], *b"2W\0\0\0\x022C");
        let length = u32::from_be_bytes(pressed[8..12].try_into().unwrap()) as usize;
        assert_eq!(pressed.len(), 12 + length);
        let mut inner = Vec::new();
        flate2::read::ZlibDecoder::new(&pressed[12..]).read_to_end(&mut inner).unwrap();
        assert_eq!(inner, plain[6..]);
    }

    #[test]
    fn acknowledgements_come_in_pieces_and_garbage_is_told() {
        let mut heard = Vec::new();
        let mut hear = |input: &mut Vec<u8>| {
            let result = acknowledgements(input, |count| {
                heard.push(count);
                Ok(())
            });
            result.map(|()| std::mem::take(&mut heard))
        };
        let mut input = Vec::new();
        for byte in b"2A\0\0\x01" {
            input.push(*byte);
            assert_eq!(hear(&mut input), Ok(vec![]));
        }
        input.extend_from_slice(b"\x022A\0\0\0\x002A");
        assert_eq!(hear(&mut input), Ok(vec![258, 0]));
        assert_eq!(input, b"2A");
        input.extend_from_slice(b"\0\0\0\0x");
        assert!(hear(&mut input).unwrap_err().contains("\"x\""));
        let mut http = b"HTTP/1.1 400 Bad Request\r\n".to_vec();
        assert!(hear(&mut http).unwrap_err().contains("HTTP/1.1 400"));
    }
}
