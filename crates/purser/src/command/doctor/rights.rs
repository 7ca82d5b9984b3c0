// SPDX-License-Identifier: Apache-2.0
//! What this process may do: user, capabilities, limits.

use super::{Line, State};
use rustix::process::{Resource, getrlimit};

/// Capabilities by number (linux/capability.h), whether nothing works without, and what for.
const NEEDED: [(u32, &str, bool, &str); 6] = [
    (39, "CAP_BPF", true, "no program can be loaded"),
    (38, "CAP_PERFMON", true, "no tracepoint can be attached"),
    (21, "CAP_SYS_ADMIN", false, "runtimes' state and pins may be out of reach"),
    (19, "CAP_SYS_PTRACE", false, "processes of other users cannot be looked at"),
    (2, "CAP_DAC_READ_SEARCH", false, "runtimes' state directories cannot be read"),
    (1, "CAP_DAC_OVERRIDE", false, "runtimes' sockets cannot be opened"),
];
/// Only raises limits, which newer kernels do not need: its absence is told and no fault.
const SYS_RESOURCE: u32 = 24;
/// Open files for the store, the rings and 10,000 containers' look-ups.
const FILES_NEEDED: u64 = 1_024;

pub(super) fn check() -> Vec<Line> {
    let mut lines = vec![user(rustix::process::geteuid().as_raw())];
    match std::fs::read_to_string("/proc/self/status") {
        Ok(status) => lines.push(capabilities(effective(&status))),
        Err(error) => lines.push(Line::bad(
            "capabilities",
            State::Missing,
            format!("/proc/self/status: {error}"),
            "nothing can be found out about this process",
            "mount /proc",
        )),
    }
    lines.push(memory_lock());
    lines.push(files());
    lines
}

fn user(euid: u32) -> Line {
    if euid == 0 {
        return Line::ok("root", "uid 0");
    }
    let detail = format!("uid {euid}");
    Line::bad(
        "root",
        State::Missing,
        detail,
        "the kernel lets only root watch all containers",
        "run it as root",
    )
}

fn effective(status: &str) -> Option<u64> {
    let digits = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(digits.trim(), 16).ok()
}

fn capabilities(held: Option<u64>) -> Line {
    let held = held.unwrap_or(0);
    // CAP_SYS_ADMIN includes what CAP_BPF and CAP_PERFMON were split off from.
    let has = |number: u32| held >> number & 1 == 1 || (matches!(number, 38 | 39) && held >> 21 & 1 == 1);
    let lacking: Vec<_> = NEEDED.iter().filter(|(number, ..)| !has(*number)).collect();
    if lacking.is_empty() {
        let detail = if has(SYS_RESOURCE) { "" } else { "; not CAP_SYS_RESOURCE, which only raises limits" };
        return Line::ok("capabilities", format!("all that are needed{detail}"));
    }
    let names: Vec<&str> = lacking.iter().map(|(_, name, ..)| *name).collect();
    let effects: Vec<&str> = lacking.iter().map(|(_, _, _, effect)| *effect).collect();
    let state = if lacking.iter().any(|(_, _, vital, _)| *vital) { State::Missing } else { State::Degraded };
    let detail = format!("without {}", names.join(", "));
    Line::bad("capabilities", state, detail, &effects.join(", "), "run it as root outside of containers")
}

fn memory_lock() -> Line {
    let limit = getrlimit(Resource::Memlock).current;
    match limit {
        None => Line::ok("locked memory", "unlimited"),
        // Maps count against the cgroup since Linux 5.11, which is older than what is needed.
        Some(bytes) => {
            Line::ok("locked memory", format!("{} KiB; not needed since Linux 5.11", bytes / 1_024))
        }
    }
}

fn files() -> Line {
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < FILES_NEEDED => Line::bad(
            "open files",
            State::Degraded,
            format!("{limit} allowed"),
            "many containers at once may stay without names",
            "raise it: ulimit -n 65536, or LimitNOFILE= in the unit",
        ),
        Some(limit) => Line::ok("open files", format!("{limit} allowed")),
        None => Line::ok("open files", "unlimited"),
    }
}

#[cfg(test)]
mod tests {
    use super::{capabilities, effective, user};
    use crate::command::doctor::State;

    #[test]
    fn capabilities_are_read_and_judged() {
        assert_eq!(effective("Name:\tx\nCapEff:\t000001ffffffffff\n"), Some(0x1ff_ffff_ffff));
        assert_eq!(effective("nothing"), None);
        assert_eq!(capabilities(Some(0x1ff_ffff_ffff)).state, State::Ok);
        let without_resource = capabilities(Some(0x1ff_ffff_ffff & !(1 << 24)));
        assert_eq!(without_resource.state, State::Ok);
        assert!(without_resource.detail.contains("CAP_SYS_RESOURCE"));
        let without_override = capabilities(Some(0x1ff_ffff_ffff & !(1 << 1)));
        assert_eq!(without_override.state, State::Degraded);
        assert_eq!(without_override.detail, "without CAP_DAC_OVERRIDE");
        assert_eq!(capabilities(Some(0)).state, State::Missing);
        assert_eq!(capabilities(None).state, State::Missing);
        assert_eq!((user(0).state, user(1000).state), (State::Ok, State::Missing));
    }
}
