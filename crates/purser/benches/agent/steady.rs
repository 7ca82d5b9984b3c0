// SPDX-License-Identifier: Apache-2.0
//! CPU time at a rate that a busy host of containers reaches, beside the distribution's auditd and
//! execsnoop under the same load at the same time; and what the store takes of it.

use crate::agent::Agent;
use crate::lab::Lab;
use crate::load::{Load, Plan};
use crate::rivals::{Auditd, Execsnoop};
use crate::table::{Table, Target};
use crate::usage::cpu_secs;
use anyhow::Result;

const RATE: u64 = 1_600;
const SECONDS: u64 = 20;
/// Nobody's: auditd is told to look at this user only.
const UID: u32 = 54_321;

pub(crate) fn measure(lab: &Lab, table: &mut Table) -> Result<()> {
    let agent = Agent::start(lab)?;
    let auditd = Auditd::start(UID)?.map_err(|why| table.skip("auditd", &why)).ok();
    let execsnoop = Execsnoop::start(lab)?.map_err(|why| table.skip("execsnoop", &why)).ok();
    let pids: Vec<Option<u32>> = vec![
        Some(agent.pid()?),
        auditd.as_ref().map(Auditd::pid),
        auditd.as_ref().and_then(Auditd::kernel_pid),
        execsnoop.as_ref().map(Execsnoop::pid),
    ];
    let cpu = || pids.iter().map(|pid| pid.map_or(Ok(0.0), cpu_secs)).collect::<Result<Vec<f64>>>();
    let plan =
        Plan { rate: RATE, count: Some(RATE * SECONDS), workers: 2, uid: Some(UID), ..Plan::new("steady") };
    let before = cpu()?;
    let tally = Load::start(lab, &Plan { usual: true, ..plan })?.wait()?;
    let percent: Vec<f64> = cpu()?
        .iter()
        .zip(before)
        .map(|(after, before)| (after - before) / tally.elapsed_secs * 100.0)
        .collect();
    let [ours, daemon, thread, snoop] = percent[..] else { return Ok(()) };

    let record = agent.stop()?;
    let found = record.find("steady", &tally)?;
    let rate = tally.done as f64 / tally.elapsed_secs;
    let note = format!("{rate:.0} exec/s, {} of {} recorded", found.recorded, tally.done);
    table.add("1,600 exec/s, CPU of the agent", ours, "% core", Target::AtMost(2.0), note);
    if let Some(auditd) = auditd {
        let note =
            format!("and {thread:.2} in kauditd; {} of {} recorded, execs only", auditd.stop()?, tally.done);
        table.add("1,600 exec/s, CPU of auditd", daemon, "% core", Target::None, note);
    }
    if let Some(execsnoop) = execsnoop {
        let note = format!("{} of {} printed, execs only", execsnoop.stop()?, tally.done);
        table.add("1,600 exec/s, CPU of execsnoop", snoop, "% core", Target::None, note);
    }
    let (bytes, events) = record.size()?;
    let note = format!(
        "{bytes} bytes, {events} events: {:.1} per exec and its exit",
        bytes as f64 / tally.done as f64
    );
    table.add("store, per event", bytes as f64 / events as f64, "bytes", Target::AtMost(60.0), note);
    Ok(())
}
