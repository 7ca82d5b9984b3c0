// SPDX-License-Identifier: Apache-2.0
//! What a process has used, as the kernel counts it.

use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// The unit of `/proc/PID/stat`, the same on every architecture we run on.
const TICKS_PER_SEC: f64 = 100.0;

/// CPU time of a process and all its threads, user and system, in seconds.
pub(crate) fn cpu_secs(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    // The name may hold anything; user and system time are the 12th and 13th field behind it.
    let fields = stat.rsplit_once(')').context("a line without a name")?.1;
    let ticks: Vec<u64> =
        fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<u64>() as f64 / TICKS_PER_SEC)
}

/// Resident memory in MB.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) all: f64,
    pub(crate) file: f64,
    pub(crate) anonymous: f64,
}

/// The memory a process holds now.
pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        kib.map(|kib| kib * 1024.0 / 1e6).with_context(|| format!("no {name} in {path}"))
    };
    Ok(Memory { all: of("VmRSS")?, file: of("RssFile")? + of("RssShmem")?, anonymous: of("RssAnon")? })
}

/// The process with this name, such as a thread of the kernel.
pub(crate) fn pid_of(name: &str) -> Result<Option<u32>> {
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let named = fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim_end() == name);
        if let Some(pid) = path.file_name().and_then(|pid| pid.to_str()?.parse().ok()).filter(|_| named) {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

/// Bytes of the files in a directory.
pub(crate) fn bytes_in(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let metadata = entry?.metadata()?;
        bytes += if metadata.is_file() { metadata.len() } else { 0 };
    }
    Ok(bytes)
}
