// SPDX-License-Identifier: Apache-2.0
//! The compact encoding of events, as a damaged store may hold it. What we encode ourselves
//! comes back the same, and every document is JSON.
#![no_main]

use event::document::{Context, render};
use event::{Event, codec};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = codec::decode_container(data);
    let Ok(decoded) = codec::decode(data) else { return };
    let once = again(&decoded);
    assert_eq!(again(&once), once, "the second round differs from the first");
    let document = render(&Context::default(), 1, &decoded, None);
    let parsed: Result<serde_json::Value, _> = serde_json::from_str(&document);
    assert!(parsed.is_ok_and(|value| value.is_object()), "not JSON: {document}");
});

fn again(event: &Event) -> Event {
    let mut encoded = Vec::new();
    codec::encode(event, &mut encoded);
    codec::decode(&encoded).expect("what was encoded can be decoded")
}
