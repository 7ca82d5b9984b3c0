// SPDX-License-Identifier: Apache-2.0
//! CPU time and memory of this process and of others.

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::process::Child;

/// The unit of `/proc/PID/stat`, the same on every architecture we run on.
const TICKS_PER_SEC: f64 = 100.0;

/// CPU time of all threads of this process.
pub(crate) fn cpu_secs() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// CPU time of another process, user and system; it may have ended, but nobody waited for it yet.
pub(crate) fn cpu_secs_of(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name may hold anything; user and system time are the 12th and 13th field behind it.
    let fields = stat.rsplit_once(')').unwrap().1;
    let ticks = fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap());
    ticks.sum::<u64>() as f64 / TICKS_PER_SEC
}

/// Waits for the end of `child`; its CPU time.
pub(crate) fn cpu_secs_till_end(child: &mut Child) -> f64 {
    waitid(WaitId::Pid(Pid::from_child(child)), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
    let cpu = cpu_secs_of(child.id());
    assert!(child.wait().unwrap().success());
    cpu
}

/// Resident memory of a process in MB: all of it, and what no file backs.
pub(crate) fn resident_mb(pid: u32) -> (f64, f64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1024.0 / 1e6
    };
    (of("VmRSS:"), of("RssAnon:"))
}

/// How busy the machine is, which belongs to every figure.
pub(crate) fn load_average() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    load.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}
