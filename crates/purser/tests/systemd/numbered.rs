// SPDX-License-Identifier: Apache-2.0
//! Numbered executions in a unit of the machine, and the check that the record has each exactly once.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::machine::Machine;

const SEEN_LIMIT: Duration = Duration::from_secs(60);
const RATE: u32 = 300;

/// A load that runs until it is ended.
pub(crate) struct Numbered {
    tag: &'static str,
}

impl Numbered {
    /// Executes `TAG N` in the unit TAG.service, whose cgroup the agent's configuration has to name.
    pub(crate) fn start(machine: &Machine, tag: &'static str) -> Result<Numbered> {
        machine.inside(&format!(
            "systemd-run -q --unit={tag} --property=KillMode=mixed --property=StandardOutput=file:/run/{tag}.tally \
             /mnt/brought/load exec 100000000 {RATE} {tag}"
        ))?;
        Ok(Numbered { tag })
    }

    /// Ends it; how many were executed.
    pub(crate) fn end(self, machine: &Machine) -> Result<u64> {
        machine.inside(&format!("systemctl stop {}", self.tag))?;
        let tally: Value = serde_json::from_str(&machine.inside(&format!("cat /run/{}.tally", self.tag))?)?;
        ensure!(tally["failed"] == 0, "{tally}");
        tally["done"].as_u64().context("no count")
    }
}

/// How often each number of `tag` is in the record.
pub(crate) fn recorded(machine: &Machine, tag: &str) -> Result<BTreeMap<u64, u32>> {
    let mut times = BTreeMap::new();
    for line in machine.inside("purser log --kind exec -o json")?.lines() {
        let document: Value = serde_json::from_str(line)?;
        let args = &document["process"]["args"];
        if args[0] == tag {
            let number = args[1].as_str().and_then(|number| number.parse().ok()).context("no number")?;
            *times.entry(number).or_default() += 1;
        }
    }
    Ok(times)
}

/// Fails unless the record has the numbers below `done` once each, and no other.
pub(crate) fn check(machine: &Machine, tag: &str, done: u64) -> Result<()> {
    let start = Instant::now();
    let mut times = recorded(machine, tag)?;
    while (times.len() as u64) < done && start.elapsed() < SEEN_LIMIT {
        sleep(Duration::from_millis(200));
        times = recorded(machine, tag)?;
    }
    let lost: Vec<u64> = (0..done).filter(|number| !times.contains_key(number)).collect();
    let twice: Vec<u64> = times.iter().filter(|(_, times)| **times > 1).map(|(number, _)| *number).collect();
    println!("{done} numbered executions: {} lost, {} twice", lost.len(), twice.len());
    let gaps = || machine.inside("purser log --kind gap,agent").unwrap_or_default();
    ensure!(lost.is_empty() && twice.is_empty(), "lost {lost:?}, twice {twice:?}\n{}", gaps());
    ensure!(times.len() as u64 == done, "{} numbers in the record of {done}", times.len());
    Ok(())
}
