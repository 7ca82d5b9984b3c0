// SPDX-License-Identifier: Apache-2.0
//! Answers of HTTP/1.1: whatever the pieces in which they come, the same is read of them.
#![no_main]

use http::{Heads, HttpError};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&size, data)) = data.split_first() else { return };
    let size = usize::from(size).max(1);
    assert_eq!(read(data, size), read(data, data.len().max(1)), "pieces of {size} bytes make a difference");
});

/// Status, body, whether it is whole, and how many bytes are behind it.
fn read(data: &[u8], size: usize) -> Result<Option<(u16, Vec<u8>, bool, usize)>, HttpError> {
    let (mut heads, mut begun) = (Heads::default(), None);
    let (mut out, mut behind) = (Vec::new(), 0);
    for mut piece in data.chunks(size) {
        if begun.is_none() {
            let (head, used) = heads.take(piece)?;
            piece = &piece[used..];
            begun = head.map(|head| head.body("GET").map(|body| (head.status, body))).transpose()?;
        }
        let Some((_, body)) = &mut begun else {
            assert!(piece.is_empty(), "bytes of a head that nobody takes");
            continue;
        };
        while !piece.is_empty() && !body.is_whole() {
            let (data, used) = body.take(piece)?;
            assert!(used > 0 && data.len() <= used, "bytes from nowhere");
            out.extend_from_slice(data);
            piece = &piece[used..];
        }
        behind += piece.len();
    }
    Ok(begun.map(|(status, body)| (status, out, body.is_whole(), behind)))
}
