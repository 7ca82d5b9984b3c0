// SPDX-License-Identifier: Apache-2.0
//! BPF run time of the agent's programs per executed program: its fork, its exec and its exit; and
//! of execsnoop's, which looks at the exec alone.
//!
//! The kernel's own statistics, which are on only meanwhile. They include what interrupts a
//! program, so the middle of several rounds is told, and the best one beside it.

use crate::agent::Agent;
use crate::lab::Lab;
use crate::load::{Load, Plan};
use crate::rivals::Execsnoop;
use crate::table::{Table, Target};
use crate::usage::memory;
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";
const ROUNDS: usize = 9;
const COUNT: u64 = 2_000;
const IDLE: Duration = Duration::from_secs(3);

pub(crate) fn measure(lab: &Lab, table: &mut Table) -> Result<()> {
    let agent = Agent::start(lab)?;
    sleep(IDLE);
    let idle = memory(agent.pid()?)?;
    let note = format!("{:.1} of files and rings, {:.1} anonymous", idle.file, idle.anonymous);
    table.add("resident memory, idle", idle.all, "MB", Target::AtMost(40.0), note);
    let _statistics = Statistics::on()?;
    let target = Target::AtMost(3.0);
    let plain = Plan { count: Some(COUNT), ..Plan::new("plain") };
    let usual = Plan { usual: true, ..Plan { tag: "usual", ..plain.clone() } };
    let pid = agent.pid()?;
    add(table, "BPF per exec+fork+exit, short path, no env", target, &rounds(lab, pid, &plain)?);
    add(table, "BPF per exec+fork+exit, 9 names deep, 30 variables", target, &rounds(lab, pid, &usual)?);
    agent.stop()?;
    match Execsnoop::start(lab)? {
        Ok(execsnoop) => {
            let all = rounds(lab, execsnoop.pid(), &plain)?;
            add(table, "BPF of execsnoop per exec, short path, no env", Target::None, &all);
            execsnoop.stop().map(drop)
        }
        Err(why) => {
            table.skip("BPF of execsnoop", &why);
            Ok(())
        }
    }
}

/// The kernel counts the run time of programs while this lives.
#[derive(Debug)]
struct Statistics {
    before: String,
}

impl Statistics {
    fn on() -> Result<Statistics> {
        let before = fs::read_to_string(SWITCH).with_context(|| format!("reading {SWITCH}"))?;
        fs::write(SWITCH, "1").with_context(|| format!("writing {SWITCH}"))?;
        Ok(Statistics { before })
    }
}

impl Drop for Statistics {
    fn drop(&mut self) {
        if let Err(error) = fs::write(SWITCH, self.before.trim()) {
            println!("{SWITCH} is not {} again: {error}", self.before.trim());
        }
    }
}

/// Nanoseconds by program, per execution.
type Cost = BTreeMap<String, f64>;

fn add(table: &mut Table, what: &str, target: Target, rounds: &[Cost]) {
    let sum = |cost: &Cost| cost.values().sum::<f64>();
    let mut sorted: Vec<&Cost> = rounds.iter().collect();
    sorted.sort_by(|a, b| sum(a).total_cmp(&sum(b)));
    let (Some(best), Some(middle)) = (sorted.first(), sorted.get(sorted.len() / 2)) else { return };
    let parts: Vec<String> =
        middle.iter().filter(|(_, ns)| **ns >= 1.0).map(|(name, ns)| format!("{name} {ns:.0} ns")).collect();
    let note = format!("best {:.2}; {}", sum(best) / 1000.0, parts.join(", "));
    table.add(what, sum(middle) / 1000.0, "us", target, note);
}

fn rounds(lab: &Lab, pid: u32, plan: &Plan) -> Result<Vec<Cost>> {
    let names = names()?;
    let mut rounds = Vec::new();
    // The first round pays for what is done once per cgroup.
    Load::start(lab, plan)?.wait()?;
    for _ in 0..ROUNDS {
        let before = run_times(pid)?;
        let done = Load::start(lab, plan)?.wait()?.done;
        let mut cost = Cost::new();
        for (id, after) in run_times(pid)? {
            let spent = after.saturating_sub(before.get(&id).copied().unwrap_or(0));
            let name = names.get(&id).cloned().unwrap_or_else(|| format!("program {id}"));
            *cost.entry(name).or_default() += spent as f64 / done as f64;
        }
        rounds.push(cost);
    }
    Ok(rounds)
}

/// Run time in nanoseconds of every program that a process holds, by the program's id.
fn run_times(pid: u32) -> Result<BTreeMap<u64, u64>> {
    let mut times = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // A descriptor may be closed meanwhile.
        let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
        let of = |name: &str| -> Option<u64> {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
        };
        // Links tell the program's id too, but no times.
        if let (Some(id), Some(ns)) = (of("prog_id"), of("run_time_ns")) {
            times.insert(id, ns);
        }
    }
    Ok(times)
}

/// Names of programs by id, as far as bpftool is there to tell them.
fn names() -> Result<BTreeMap<u64, String>> {
    let Ok(output) = Command::new("bpftool").args(["-j", "prog", "show"]).output() else {
        return Ok(BTreeMap::new());
    };
    let programs: Vec<Value> = serde_json::from_slice(&output.stdout).context("reading bpftool's answer")?;
    let named =
        |program: &Value| Some((program.get("id")?.as_u64()?, program.get("name")?.as_str()?.to_string()));
    Ok(programs.iter().filter_map(named).collect())
}
