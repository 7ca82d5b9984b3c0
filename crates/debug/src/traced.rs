// SPDX-License-Identifier: Apache-2.0
//! Processes that a debugger leaves stopped: one that dies between stopping a process and hearing of it
//! leaves the stop behind. Read from whichever /proc the caller sees, and as far as that shows them.

use crate::target::field;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;

/// A process, and the one of these that traces it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traced {
    pub(crate) pid: Pid,
    pub(crate) tracer: Pid,
}

/// The processes that these trace.
pub(crate) fn by(tracers: &[Pid]) -> Vec<Traced> {
    if tracers.is_empty() {
        return Vec::new();
    }
    let traced = |pid: Pid| {
        let tracer = status(pid).and_then(|text| field(&text, "TracerPid")?.parse().ok());
        let tracer = tracer.and_then(Pid::from_raw).filter(|tracer| tracers.contains(tracer))?;
        Some(Traced { pid, tracer })
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    pids.filter_map(traced).collect()
}

/// Lets those run again whose tracer has just been killed. All of them and without a look: the stop that
/// the tracer left may still be on its way, and this takes it back, too.
pub(crate) fn let_go(traced: &[Traced]) {
    for one in traced {
        // It may have ended.
        kill_process(one.pid, Signal::CONT).unwrap_or_default();
    }
}

fn status(pid: Pid) -> Option<String> {
    fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()
}
