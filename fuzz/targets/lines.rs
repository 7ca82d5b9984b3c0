// SPDX-License-Identifier: Apache-2.0
//! Bytes of a log file to lines: every byte is counted once, whatever the pieces it comes in.
#![no_main]

use libfuzzer_sys::fuzz_target;
use source::{Encoding, LineDecoder, RawLine};

fn lines(encoding: Encoding, limit: usize, bytes: &[u8], piece: usize) -> (Vec<RawLine>, u64) {
    let mut decoder = LineDecoder::new(encoding, limit);
    let mut lines = Vec::new();
    for piece in bytes.chunks(piece) {
        decoder.push(piece, &mut |line| lines.push(line));
    }
    lines.extend(decoder.finish());
    (lines, decoder.pending_bytes())
}

fuzz_target!(|input: &[u8]| {
    let [which, piece, limit, bytes @ ..] = input else { return };
    let encodings = [Encoding::Utf8, Encoding::Utf16Le, Encoding::Utf16Be, Encoding::Latin1];
    let encoding = encodings[usize::from(*which) % encodings.len()];
    let limit = usize::from(*limit) + 1;
    let (found, pending) = lines(encoding, limit, bytes, usize::from(*piece) + 1);
    assert_eq!(found.iter().map(|line| line.bytes).sum::<u64>(), bytes.len() as u64);
    assert_eq!(pending, 0);
    assert!(found.iter().all(|line| line.text.len() <= limit * 3));
    assert_eq!(found, lines(encoding, limit, bytes, usize::MAX).0);
});
