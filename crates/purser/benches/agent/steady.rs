// SPDX-License-Identifier: Apache-2.0
//! CPU time at a rate that a busy host of containers reaches, and what the store takes of it; then
//! the distribution's execsnoop and auditd under the same load, one at a time.

use crate::agent::Agent;
use crate::lab::Lab;
use crate::load::{Load, Plan, Tally};
use crate::rivals::{Auditd, Execsnoop};
use crate::table::{Table, Target};
use crate::usage::cpu_secs;
use anyhow::Result;

const RATE: u64 = 1_600;
const SECONDS: u64 = 20;
/// Debian's `irc`, as which nothing runs: auditd is told to look at this user only. It has a name, because
/// auditd looks up the names of users, and reads the whole list each time for one that has none.
const UID: u32 = 39;

pub(crate) fn measure(lab: &Lab, table: &mut Table) -> Result<()> {
    let agent = Agent::start(lab)?;
    let (ours, tally) = percent(lab, &[Some(agent.pid()?)])?;
    let record = agent.stop()?;
    let found = record.find("steady", &tally)?;
    let rate = tally.done as f64 / tally.elapsed_secs;
    let note = format!("{rate:.0} exec/s, {} of {} recorded, with their exits", found.recorded, tally.done);
    table.add("1,600 exec/s, CPU of the agent", ours[0], "% core", Target::AtMost(2.0), note);
    let (bytes, events) = record.size()?;
    let each = bytes as f64 / tally.done as f64;
    let note = format!("{bytes} bytes, {events} events: {each:.1} per exec and its exit");
    table.add("store, per event", bytes as f64 / events as f64, "bytes", Target::AtMost(60.0), note);
    execsnoop(lab, table)?;
    auditd(lab, table)
}

fn execsnoop(lab: &Lab, table: &mut Table) -> Result<()> {
    let execsnoop = match Execsnoop::start(lab)? {
        Ok(execsnoop) => execsnoop,
        Err(why) => {
            table.skip("execsnoop", &why);
            return Ok(());
        }
    };
    let (used, tally) = percent(lab, &[Some(execsnoop.pid())])?;
    let rate = tally.done as f64 / tally.elapsed_secs;
    let note = format!("{rate:.0} exec/s, {} of {} printed, execs only", execsnoop.stop()?, tally.done);
    table.add("1,600 exec/s, CPU of execsnoop", used[0], "% core", Target::None, note);
    Ok(())
}

fn auditd(lab: &Lab, table: &mut Table) -> Result<()> {
    let auditd = match Auditd::start(UID)? {
        Ok(auditd) => auditd,
        Err(why) => {
            table.skip("auditd", &why);
            return Ok(());
        }
    };
    let (used, tally) = percent(lab, &[Some(auditd.pid()), auditd.kernel_pid()])?;
    let rate = tally.done as f64 / tally.elapsed_secs;
    let (all, count) = (tally.done, auditd.stop()?);
    let note =
        format!("{rate:.0} exec/s, {count} of {all} recorded, execs only; {:.2} more in kauditd", used[1]);
    table.add("1,600 exec/s, CPU of auditd", used[0], "% core", Target::None, note);
    Ok(())
}

/// Runs the load and tells what part of one core each process used meanwhile.
fn percent(lab: &Lab, pids: &[Option<u32>]) -> Result<(Vec<f64>, Tally)> {
    let cpu = || pids.iter().map(|pid| pid.map_or(Ok(0.0), cpu_secs)).collect::<Result<Vec<f64>>>();
    let plan = Plan { rate: RATE, count: Some(RATE * SECONDS), workers: 2, ..Plan::new("steady") };
    let before = cpu()?;
    let tally = Load::start(lab, &Plan { uid: Some(UID), usual: true, ..plan })?.wait()?;
    let used = cpu()?.into_iter().zip(before).map(|(after, before)| after - before);
    Ok((used.map(|secs| secs / tally.elapsed_secs * 100.0).collect(), tally))
}
