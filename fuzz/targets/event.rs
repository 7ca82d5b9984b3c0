// SPDX-License-Identifier: Apache-2.0
//! The compact encoding of events, as a damaged store may hold it. What we encode ourselves
//! comes back the same, and every document is JSON, in each schema.
#![no_main]

use event::document::{Context, write, write_ocsf, write_otel};
use event::{Event, codec};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = codec::decode_container(data);
    let Ok(decoded) = codec::decode(data) else { return };
    let once = again(&decoded);
    assert_eq!(again(&once), once, "the second round differs from the first");
    for write in [write, write_otel, write_ocsf] {
        let mut document = Vec::new();
        write(&Context::default(), 1, &decoded, None, &mut document);
        let parsed: Result<serde_json::Value, _> = serde_json::from_slice(&document);
        assert!(parsed.is_ok_and(|value| value.is_object()), "not JSON: {document:?}");
    }
});

fn again(event: &Event) -> Event {
    let mut encoded = Vec::new();
    codec::encode(event, &mut encoded);
    codec::decode(&encoded).expect("what was encoded can be decoded")
}
