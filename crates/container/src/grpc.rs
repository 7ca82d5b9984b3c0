// SPDX-License-Identifier: Apache-2.0
//! Just enough gRPC to ask containerd for one container: one call per connection, no header of the
//! answer is decoded (an answer without a message means "not known"). Only ever reads.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::LookupError;
use crate::socket::Wire;

/// The longest message accepted; it also is the window the other side gets.
const MESSAGE_LIMIT: usize = 4 * 1024 * 1024;
/// The longest frame allowed as long as we do not allow longer ones.
const FRAME_LIMIT: usize = 16 * 1024;
/// The most frames of one answer.
const FRAMES_LIMIT: usize = 4096;
/// The most labels decoded; [`Info`](crate::Info) keeps fewer.
const LABELS_LIMIT: usize = 1024;
const GET: &str = "/containerd.services.containers.v1.Containers/Get";

/// What containerd keeps of a container.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) image: String,
    pub(crate) labels: BTreeMap<String, String>,
}

/// The container `id` of a namespace; `None` when containerd does not know it.
pub(crate) fn container(
    socket: &Path,
    namespace: &str,
    id: &str,
    timeout: Duration,
) -> Result<Option<Container>, LookupError> {
    let mut request = Vec::new();
    put_bytes(&mut request, 1, id.as_bytes());
    let mut wire = Wire::connect(socket, timeout)?;
    wire.send(&opening(namespace, &request))?;
    let answer = receive(&mut wire)?;
    let Some(message) = message(&answer).map_err(|what| wire.garbage(what))? else { return Ok(None) };
    let found = response(message).ok_or_else(|| wire.garbage("no container in the message"))?;
    Ok(Some(found).filter(|found| found.id == id))
}

/// Preface, settings, a wide window, headers and the one message, all in one write.
fn opening(namespace: &str, request: &[u8]) -> Vec<u8> {
    let window = u32::try_from(MESSAGE_LIMIT).unwrap_or(u32::MAX).to_be_bytes();
    let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // Setting 4: the initial window of a stream; then the same for the connection.
    put_frame(&mut out, 4, 0, 0, &[&[0, 4], window.as_slice()].concat());
    put_frame(&mut out, 8, 0, 0, &window);
    // Entries 3 and 6 of the static table: POST and http.
    let mut headers = vec![0x83, 0x86];
    for (name, value) in [
        (":path", GET),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("containerd-namespace", namespace),
    ] {
        // A literal with its name, neither indexed nor compressed.
        headers.push(0);
        put_text(&mut headers, name);
        put_text(&mut headers, value);
    }
    put_frame(&mut out, 1, 4, 1, &headers);
    let length = u32::try_from(request.len()).unwrap_or(u32::MAX).to_be_bytes();
    put_frame(&mut out, 0, 1, 1, &[&[0], length.as_slice(), request].concat());
    out
}

fn put_frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    out.extend_from_slice(length.get(1..).unwrap_or_default());
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// A string of HPACK: its length with a prefix of 7 bits, then its bytes.
fn put_text(out: &mut Vec<u8>, text: &str) {
    let mut length = text.len();
    if length < 127 {
        out.push(length.to_le_bytes()[0]);
    } else {
        out.push(127);
        length -= 127;
        put_varint(out, length as u64);
    }
    out.extend_from_slice(text.as_bytes());
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 128 {
        out.push(value.to_le_bytes()[0] | 128);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// The data of stream 1, up to its end.
fn receive(wire: &mut Wire) -> Result<Vec<u8>, LookupError> {
    let mut data = Vec::new();
    for _ in 0..FRAMES_LIMIT {
        let (kind, flags, payload) = frame(wire)?;
        match kind {
            0 => {
                data.extend_from_slice(unpadded(flags, &payload).ok_or_else(|| wire.garbage("bad padding"))?)
            }
            4 if flags & 1 == 0 => acknowledge(wire, 4, &[])?,
            6 if flags & 1 == 0 => acknowledge(wire, 6, &payload)?,
            3 | 7 => return Err(wire.garbage("the call was broken off")),
            _ => {}
        }
        if data.len() > MESSAGE_LIMIT {
            return Err(wire.too_long(MESSAGE_LIMIT));
        }
        if matches!(kind, 0 | 1) && flags & 1 != 0 {
            return Ok(data);
        }
    }
    Err(wire.garbage("too many frames"))
}

fn frame(wire: &mut Wire) -> Result<(u8, u8, Vec<u8>), LookupError> {
    wire.need(9)?;
    let &[a, b, c, kind, flags, ..] = wire.held() else { return Err(wire.garbage("no frame")) };
    let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
    if length > FRAME_LIMIT {
        return Err(wire.garbage("a frame longer than allowed"));
    }
    wire.need(9 + length)?;
    let payload = wire.held().get(9..9 + length).unwrap_or_default().to_vec();
    wire.consume(9 + length);
    Ok((kind, flags, payload))
}

fn acknowledge(wire: &mut Wire, kind: u8, payload: &[u8]) -> Result<(), LookupError> {
    let mut out = Vec::new();
    put_frame(&mut out, kind, 1, 0, payload);
    wire.send(&out)
}

fn unpadded(flags: u8, payload: &[u8]) -> Option<&[u8]> {
    if flags & 8 == 0 {
        return Some(payload);
    }
    let (&padding, rest) = payload.split_first()?;
    rest.get(..rest.len().checked_sub(usize::from(padding))?)
}

/// The message behind gRPC's prefix of five bytes; `None` when none came.
fn message(data: &[u8]) -> Result<Option<&[u8]>, &'static str> {
    let Some((&compressed, rest)) = data.split_first() else { return Ok(None) };
    let (length, rest) = rest.split_first_chunk().ok_or("half a message prefix")?;
    if compressed != 0 {
        return Err("a compressed message");
    }
    rest.get(..u32::from_be_bytes(*length) as usize).map(Some).ok_or("half a message")
}

/// `GetContainerResponse`: field 1 is the container, with id, labels and image as 1, 2 and 3.
fn response(message: &[u8]) -> Option<Container> {
    let mut found = Container::default();
    for (field, bytes) in fields(find(message, 1)?)? {
        match field {
            1 => found.id = String::from_utf8_lossy(bytes).into_owned(),
            2 if found.labels.len() < LABELS_LIMIT => {
                let text =
                    |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
                found.labels.insert(text(find(bytes, 1)), text(find(bytes, 2)));
            }
            3 => found.image = String::from_utf8_lossy(bytes).into_owned(),
            _ => {}
        }
    }
    Some(found)
}

fn find(message: &[u8], wanted: u64) -> Option<&[u8]> {
    fields(message)?.into_iter().find(|(field, _)| *field == wanted).map(|(_, bytes)| bytes)
}

/// The fields of a message that have a length; numbers are passed over. `None` when it is no message.
fn fields(mut rest: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let mut out = Vec::new();
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        match key & 7 {
            0 => drop(varint(&mut rest)?),
            1 => rest = rest.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                let (bytes, after) = rest.split_at_checked(length)?;
                out.push((key >> 3, bytes));
                rest = after;
            }
            5 => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(out)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 127) << shift;
        if byte < 128 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{fields, message, opening, put_bytes, response, unpadded, varint};

    #[test]
    fn a_container_message() {
        let (mut label, mut container, mut answer) = (Vec::new(), Vec::new(), Vec::new());
        put_bytes(&mut label, 1, b"team");
        put_bytes(&mut label, 2, b"x");
        put_bytes(&mut container, 1, b"web1");
        put_bytes(&mut container, 2, &label);
        put_bytes(&mut container, 3, b"bb:1");
        put_bytes(&mut container, 5, &[b'z'; 300]);
        container.extend_from_slice(&[6 << 3, 0x96, 1]);
        put_bytes(&mut answer, 1, &container);
        let found = response(&answer).unwrap();
        assert_eq!((found.id.as_str(), found.image.as_str()), ("web1", "bb:1"));
        assert_eq!(found.labels["team"], "x");
        for end in 0..answer.len() {
            assert!(response(&answer[..end]).is_none(), "cut at {end}");
        }
    }

    #[test]
    fn message_prefixes() {
        assert_eq!(message(b"").unwrap(), None);
        assert_eq!(message(b"\0\0\0\0\x01ab").unwrap().unwrap(), b"a");
        assert!(message(b"\0\0\0").is_err() && message(b"\x01\0\0\0\0").is_err());
        assert!(message(b"\0\xff\xff\xff\xff").is_err());
    }

    #[test]
    fn hostile_numbers() {
        assert_eq!(varint(&mut [0xff; 11].as_slice()), None);
        assert_eq!(fields(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), None);
        assert_eq!(fields(&[7]), None);
        assert_eq!(unpadded(8, &[5, 1]), None);
        assert_eq!(unpadded(8, &[]), None);
        assert_eq!(unpadded(8, &[1, 2, 3]), Some([2].as_slice()));
    }

    #[test]
    fn a_long_namespace_still_fits_the_headers() {
        let bytes = opening(&"n".repeat(300), b"");
        // 127 with the rest, 173, as two bytes of seven bits.
        assert!(bytes.windows(4).any(|part| part == [127, 0xad, 1, b'n']));
    }

    #[test]
    fn any_bytes() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..50_000 {
            let mut bytes = Vec::new();
            for _ in 0..5 {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                // Small numbers look like keys and lengths, so that some of it parses.
                bytes.extend(seed.to_le_bytes().map(|byte| if byte & 1 == 0 { byte } else { byte & 15 }));
            }
            bytes.truncate((seed % 41) as usize);
            let most = fields(&bytes).map_or(0, |fields| fields.iter().map(|(_, part)| part.len()).sum());
            assert!(most <= bytes.len());
            response(&bytes);
            assert!(message(&bytes).is_ok() || !bytes.is_empty());
            unpadded(bytes.len().to_le_bytes()[0], &bytes);
        }
    }
}
