// SPDX-License-Identifier: Apache-2.0
//! What recording costs: BPF run time, the agent's CPU time and memory beside auditd's and
//! execsnoop's, the rate at which nothing is lost, the time to `purser log --follow`, the bytes in
//! the store. Every figure is CPU time, BPF run time or a count; only the latency is a clock's.
//!
//! Needs root. Executes programs in cgroups of its own, and touches nothing it did not make but
//! two settings of the kernel, which it puts back: `kernel.bpf_stats_enabled`, and the state of
//! the audit system while auditd is measured.
//!
//!   cargo bench -p purser --bench agent -- [--seconds N] [--only PART]
//!
//! N seconds flat out, 60 if not told. PART is cost, latency, flood, ship or steady.

#![allow(clippy::print_stdout, reason = "the figures are what this program is for")]

mod agent;
#[path = "../../../ship/benches/ship/broker.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "shared with the benchmark of ship, which uses all of it")]
mod broker;
mod cost;
mod flood;
mod lab;
mod latency;
mod load;
mod rivals;
#[path = "../../../ship/benches/ship/sample.rs"]
#[allow(clippy::unwrap_used, reason = "as above")]
mod sample;
mod ship;
mod steady;
mod table;
mod usage;

use anyhow::{Context, Result, bail, ensure};
use lab::Lab;
use names as _;
use table::Table;

const SECONDS: u64 = 60;
const PARTS: [&str; 5] = ["cost", "latency", "flood", "ship", "steady"];

fn main() -> Result<()> {
    let wanted = Wanted::from_args()?;
    ensure!(rustix::process::geteuid().is_root(), "recording needs root: run it with sudo");
    let lab = Lab::make()?;
    let mut table = Table::default();
    if wanted.has("cost") {
        cost::measure(&lab, &mut table)?;
    }
    if wanted.has("latency") {
        latency::measure(&lab, &mut table)?;
    }
    let mut end = Ok(());
    if wanted.has("flood") {
        end = flood::measure(&lab, wanted.seconds, &mut table);
    }
    if wanted.has("ship") && end.is_ok() {
        end = ship::measure(&lab, &mut table);
    }
    // Last: once auditing has been on, the kernel prepares every later process for it.
    if wanted.has("steady") && end.is_ok() {
        end = steady::measure(&lab, &mut table);
    }
    println!("{table}");
    end
}

/// What the command line asks for.
struct Wanted {
    seconds: u64,
    only: Option<String>,
}

impl Wanted {
    /// Cargo adds `--bench`; everything else must be known.
    fn from_args() -> Result<Wanted> {
        let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
        let mut wanted = Wanted { seconds: SECONDS, only: None };
        while let Some(arg) = args.next() {
            let value = args.next().with_context(|| format!("{arg} needs a value"))?;
            match arg.as_str() {
                "--seconds" => {
                    wanted.seconds =
                        value.parse().with_context(|| format!("--seconds {value}: not a number"))?;
                }
                "--only" if PARTS.contains(&value.as_str()) => wanted.only = Some(value),
                "--only" => bail!("--only {value}: the parts are {}", PARTS.join(", ")),
                _ => bail!("unknown argument {arg:?}; there are --seconds N and --only PART"),
            }
        }
        Ok(wanted)
    }

    fn has(&self, part: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == part)
    }
}
