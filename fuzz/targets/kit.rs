// SPDX-License-Identifier: Apache-2.0
//! `kit.toml` and recipes. What is taken must keep to the kit's prefix; what is refused must name the file.
#![no_main]

use kit::{Manifest, Recipe};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Manifest::parse(text, "kit.toml") {
        Ok(manifest) => {
            for at in manifest.commands.values().chain(&manifest.path) {
                assert!(!at.starts_with('/') && at.split('/').all(|part| part != ".."), "{at} leads out");
            }
            assert!(manifest.environment.keys().all(|name| !name.starts_with("LD_")));
        }
        Err(error) => assert!(error.to_string().starts_with("kit.toml: ")),
    }
    if let Err(error) = Recipe::parse(text, "mine.toml") {
        assert!(error.to_string().starts_with("mine.toml: "));
    }
});
