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

/// Takes one acknowledgement from the start of `input`: how many documents of the window are safe.
/// `None` when it is not whole yet; the error says what came instead.
pub(super) fn acknowledgement(input: &mut Vec<u8>) -> Result<Option<u32>, String> {
    let head = input.get(..2.min(input.len())).unwrap_or_default();
    if !b"2A".starts_with(head) {
        return Err(format!("it answered {:?}, which is no acknowledgement of lumberjack v2", shown(input)));
    }
    let Some(&[_, _, a, b, c, d]) = input.first_chunk::<ACK_BYTES>() else { return Ok(None) };
    input.drain(..ACK_BYTES);
    Ok(Some(u32::from_be_bytes([a, b, c, d])))
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
    use super::{acknowledgement, window};
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
        let mut input = Vec::new();
        for byte in b"2A\0\0\x01" {
            input.push(*byte);
            assert_eq!(acknowledgement(&mut input), Ok(None));
        }
        input.extend_from_slice(b"\x022A\0\0\0\0x");
        assert_eq!(acknowledgement(&mut input), Ok(Some(258)));
        assert_eq!(acknowledgement(&mut input), Ok(Some(0)));
        assert!(acknowledgement(&mut input).unwrap_err().contains("\"x\""));
        let mut http = b"HTTP/1.1 400 Bad Request\r\n".to_vec();
        assert!(acknowledgement(&mut http).unwrap_err().contains("HTTP/1.1 400"));
    }
}
