// SPDX-License-Identifier: Apache-2.0
//! The configuration file. What is refused must be refused with a message that names the file.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(error) = purser::config::parse(text, "fuzzed.toml") {
        assert!(error.to_string().contains("fuzzed.toml"), "an error without its file: {error}");
    }
});
