// SPDX-License-Identifier: Apache-2.0
//! Core files. Whatever they say, what is taken from them is bounded, and each object can be compared.
#![no_main]

use cores::{Core, Match, compare};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let bytes = data.to_vec();
    // As an object, too: the files it is compared with are as foreign.
    cores::identify(&bytes).unwrap();
    match Core::read(&bytes, bytes.len() as u64) {
        Ok(core) => {
            assert!(core.objects.len() <= bytes.len() && core.threads <= bytes.len());
            assert!(core.program.is_none_or(|program| program < core.objects.len()));
            assert!(core.cut.is_none_or(|cut| cut.has <= cut.wants));
            let compared = compare(&core, &mut |_| Ok(None));
            assert!(compared.0.iter().all(|one| *one == Match::Missing) && !compared.is_whole());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
