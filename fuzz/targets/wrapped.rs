// SPDX-License-Identifier: Apache-2.0
//! Lines of the files in which runtimes keep what containers print.
#![no_main]

use libfuzzer_sys::fuzz_target;
use source::Format;

fuzz_target!(|input: &[u8]| {
    for format in [Format::Docker, Format::Cri] {
        if let Ok(found) = format.unwrap(input) {
            // What is not UTF-8 takes three bytes for one.
            assert!(found.text.len() <= input.len() * 3);
        }
    }
});
