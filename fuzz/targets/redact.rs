// SPDX-License-Identifier: Apache-2.0
//! Redaction of command lines and environments, which anyone in a container writes. Arguments stay
//! as many, and none is touched without being counted.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use redact::{Redactor, Rules};

static REDACTOR: LazyLock<Redactor> =
    LazyLock::new(|| Redactor::new(&Rules::default()).expect("the built-in rules compile"));

// Arguments are separated by NUL, as in /proc/PID/cmdline.
fuzz_target!(|data: &[u8]| {
    let original: Vec<Vec<u8>> = data.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    let mut args = original.clone();
    let count = REDACTOR.args(b"/usr/bin/fuzzed", &mut args);
    assert_eq!(args.len(), original.len());
    assert_eq!(count == 0, args == original, "{count} markers: {args:?}");
    let (name, value) = data.split_at(data.iter().position(|byte| *byte == b'=').unwrap_or(0));
    let mut redacted = value.to_vec();
    let count = REDACTOR.env(name, &mut redacted);
    assert_eq!(count == 0, redacted == value, "{count} markers: {redacted:?}");
});
