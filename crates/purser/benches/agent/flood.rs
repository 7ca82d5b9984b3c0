// SPDX-License-Identifier: Apache-2.0
//! Flat out: as many executions as the machine manages, each of which must be in the record or in
//! a gap that the record tells.

use crate::agent::Agent;
use crate::lab::Lab;
use crate::load::{Load, Plan};
use crate::table::{Table, Target};
use crate::usage::{Memory, cpu_secs, memory};
use anyhow::{Result, ensure};
use std::thread::sleep;
use std::time::{Duration, Instant};

const SAMPLE: Duration = Duration::from_millis(500);

pub(crate) fn measure(lab: &Lab, seconds: u64, table: &mut Table) -> Result<()> {
    let agent = Agent::start(lab)?;
    let before = cpu_secs(agent.pid()?)?;
    let workers = u32::try_from(std::thread::available_parallelism()?.get()).unwrap_or(u32::MAX).min(64);
    let load = Load::start(lab, &Plan { workers, usual: true, ..Plan::new("flood") })?;
    let (start, mut most) = (Instant::now(), Memory::default());
    while start.elapsed() < Duration::from_secs(seconds) {
        sleep(SAMPLE);
        let now = memory(agent.pid()?)?;
        if now.all > most.all {
            most = now;
        }
    }
    let tally = load.end()?;
    let cpu = cpu_secs(agent.pid()?)? - before;
    let record = agent.stop()?;
    let found = record.find("flood", &tally)?;

    let note = format!("{} executions in {:.0} s, {workers} workers", tally.done, tally.elapsed_secs);
    table.add("flat out, rate", tally.done as f64 / tally.elapsed_secs, "exec/s", Target::None, note);
    let note =
        format!("{} recorded once, {} told as gaps, {} twice", found.recorded, found.told, found.wrong);
    let untold = found.lost.saturating_sub(found.told);
    table.add("flat out, lost without a told gap", untold as f64, "execs", Target::AtMost(0.0), note);
    let note = format!("{:.1} us per exec and exit", cpu * 1e6 / tally.done as f64);
    table.add("flat out, CPU of the agent", cpu / tally.elapsed_secs * 100.0, "% core", Target::None, note);
    let note = format!("{:.1} of files and rings, {:.1} anonymous", most.file, most.anonymous);
    table.add("flat out, resident memory", most.all, "MB", Target::AtMost(64.0), note);
    ensure!(untold == 0 && found.wrong == 0, "the record does not hold what was executed: {found:?}");
    Ok(())
}
