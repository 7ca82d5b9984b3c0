// SPDX-License-Identifier: Apache-2.0
//! Sessions on other kernels, in virtual machines with cgroup v2 alone and no runtime. The guest runs
//! `tests/vm/debug.sh`, which tells what it found out; all judging is done here.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use super::kits;
use crate::lab::Lab;
use crate::vm;

const MARK: &str = "purser-vm: ";
/// What must be told, word by word.
const TOLD: [(&str, &str); 19] = [
    ("code", "41"),
    ("root", "the-same"),
    ("leaf", "gone"),
    ("new-root", "42"),
    ("user", "65532 65533"),
    ("signal", "137"),
    ("pipe", "the-same"),
    // The kernel ends whoever is out of memory, and a shell that cannot fork ends itself.
    ("memory", "137"),
    ("processes", "2"),
    ("client-cgroup", "gone"),
    ("keeper-cgroup", "gone"),
    ("attached", "yes"),
    ("target-runs", "yes"),
    ("last-leaf", "gone"),
    ("processes-of-target", "the-same"),
    // The target's limits, which no session met.
    ("refused-forks", "max 0"),
    ("out-of-memory", "0"),
    ("overlay", "gone"),
    ("without-code", "125"),
];
/// Warden, shell, and what it started in the background.
const MEMBERS: u32 = 5;

#[test]
fn sessions_on_debians_own_kernel() -> Result<()> {
    judge("6.1")
}

#[test]
fn sessions_on_debians_newer_kernel() -> Result<()> {
    judge("6.12")
}

fn judge(series: &str) -> Result<()> {
    let _lab = Lab::enter()?;
    let attach = kits()?.join("base/root/bin/attach");
    let printed = vm::printed(series, "debug.sh", &[(attach, "/kits/base/root/bin/attach".to_owned())])?;
    let lines = printed.lines().filter_map(|line| line.strip_prefix(MARK)?.split_once(' '));
    let told: BTreeMap<&str, &str> = lines.map(|(name, result)| (name, result.trim())).collect();
    let tell = |name: &str| *told.get(name).unwrap_or(&"not told");
    let mut wrong: Vec<&str> =
        TOLD.iter().filter(|(name, wanted)| tell(name) != *wanted).map(|told| told.0).collect();
    if !tell("cgroup").starts_with("0::/purser-debug/") {
        wrong.push("cgroup");
    }
    if !tell("without-said").contains("modprobe overlay") {
        wrong.push("without-said");
    }
    for victim in ["client-killed", "keeper-killed"] {
        let (members, left) = tell(victim).split_once(" left ").unwrap_or_default();
        if members.parse::<u32>().unwrap_or_default() < MEMBERS || left != "none" {
            wrong.push(victim);
        }
    }
    ensure!(wrong.is_empty(), "Linux {series}: {wrong:?} in what the guest told:\n{printed:.8000}");
    Ok(())
}
