// SPDX-License-Identifier: Apache-2.0
//! Records from the kernel's rings, of any bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Err(error) = probe::decode(data) {
        assert!(!error.to_string().is_empty());
    }
    if let Err(error) = probe::decode_bulk(data) {
        assert!(!error.to_string().is_empty());
    }
});
