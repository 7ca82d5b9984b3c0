// SPDX-License-Identifier: Apache-2.0
//! What a registry says, files of logins, and references.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| registry::said(data));
