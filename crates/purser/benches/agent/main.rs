// SPDX-License-Identifier: Apache-2.0
//! What recording costs: BPF run time, the agent's CPU time and memory beside auditd's and
//! execsnoop's, the rate at which nothing is lost, the time to `purser log --follow`, the bytes in
//! the store. Every figure is CPU time, BPF run time or a count; only the latency is a clock's.
//!
//! Needs root. Executes programs in cgroups of its own, and touches nothing it did not make but
//! two settings of the kernel, which it puts back: `kernel.bpf_stats_enabled`, and the state of
//! the audit system while auditd is measured.
//!
//!   cargo bench -p purser --bench agent -- [--seconds N]      N seconds flat out, 60 if not told

#![allow(clippy::print_stdout, reason = "the figures are what this program is for")]

mod agent;
mod cost;
mod flood;
mod lab;
mod latency;
mod load;
mod rivals;
mod steady;
mod table;
mod usage;

use anyhow::{Context, Result, bail, ensure};
use lab::Lab;
use table::Table;

const SECONDS: u64 = 60;

fn main() -> Result<()> {
    let seconds = seconds()?;
    ensure!(rustix::process::geteuid().is_root(), "recording needs root: run it with sudo");
    let lab = Lab::make()?;
    let mut table = Table::default();
    cost::measure(&lab, &mut table)?;
    latency::measure(&lab, &mut table)?;
    let flood = flood::measure(&lab, seconds, &mut table);
    // Last: once auditing has been on, the kernel prepares every later process for it.
    let steady = flood.and_then(|()| steady::measure(&lab, &mut table));
    println!("{table}");
    steady
}

/// Cargo adds `--bench`; everything else must be known.
fn seconds() -> Result<u64> {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let mut seconds = SECONDS;
    while let Some(arg) = args.next() {
        if arg != "--seconds" {
            bail!("unknown argument {arg:?}; there is --seconds N");
        }
        let value = args.next().context("--seconds needs a number")?;
        seconds = value.parse().with_context(|| format!("--seconds {value}: not a number"))?;
    }
    Ok(seconds)
}
