// SPDX-License-Identifier: Apache-2.0
//! What receivers of events answer: HTTP, the fate of each document of a `_bulk` request, and how
//! many log records of OTLP were refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ship::answers::{bulk, http, logs};

fuzz_target!(|data: &[u8]| {
    let Some((&first, data)) = data.split_first() else { return };
    let (closed, count) = (first & 1 != 0, usize::from(first >> 1));
    read_bulk(data, count);
    if let Ok(Some((count, reason))) = logs(data) {
        assert!(count > 0 && !reason.is_empty(), "a refusal of nothing, or without a word");
        assert!(reason.chars().count() <= 500, "a reason beyond its limit");
    }
    let Ok(Some((status, body))) = http(data, closed) else { return };
    assert!(status == 101 || (200..1000).contains(&status), "an answer with the status {status}");
    assert!(body.len() <= data.len(), "a body from nowhere");
    read_bulk(&body, count);
    // An answer that is whole stays the same, whatever follows it on the connection.
    if let Ok(Some((before, whole))) = http(data, false) {
        let more = [data, b"x"].concat();
        assert_eq!(http(&more, false), Ok(Some((before, whole))), "one more byte makes another answer");
    }
});

fn read_bulk(body: &[u8], count: usize) {
    if let Ok(reasons) = bulk(body, count) {
        assert_eq!(reasons.len(), count, "an answer for other documents");
        assert!(reasons.iter().all(|reason| reason.chars().count() <= 500), "a reason beyond its limit");
    }
}
