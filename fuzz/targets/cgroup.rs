// SPDX-License-Identifier: Apache-2.0
//! The texts the kernel shows about cgroups and mounts, whose names any user may choose.
#![no_main]

use container::{Cgroup, identify, parse_mountinfo, parse_proc_cgroup};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = parse_mountinfo(data);
    check(data);
    if let Some(path) = parse_proc_cgroup(data) {
        check(path);
    }
});

fn check(path: &[u8]) {
    for namespaces in 0..4 {
        let cgroup = Cgroup { path, pid_ns_differs_from_host: namespaces & 1 != 0 };
        if let Some(found) = identify(&cgroup) {
            assert!(!found.id.is_empty(), "a container without an id");
            assert!(found.id.len() <= 4 * path.len().max(64), "an id longer than its path");
        }
    }
}
