// SPDX-License-Identifier: Apache-2.0
//! The configuration is read again and again under load, and each time sinks are changed, added and taken
//! away: every execution is recorded once, and every event reaches the sink that stays once.
//! PURSER_RELOADS sets how often (100).

use std::fs::File;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::agent::{Agent, purser};
use crate::kafka::sinks::{caught_up, lacks, sequences, stored, wait_for_sinks};
use crate::kill9::setting;
use crate::lab::{Lab, run, unique};
use crate::load::{Faults, Load};

const RELOADS: u32 = 100;
const RATE: u32 = 300;
const SENT_LIMIT: Duration = Duration::from_secs(120);

#[test]
fn reloads_under_load_lose_and_repeat_nothing() -> Result<()> {
    let lab = Lab::enter()?;
    let out = tempfile::tempdir()?;
    let path = |name: &str| out.path().join(name).display().to_string();
    let config = |reload: u32| {
        let disk = format!(
            "[scope]\ninclude = [\"container\"]\nnames = [\"purser-test-reloads-*\"{}]\n\
             [sink.disk]\ntype = \"file\"\npath = \"{}\"\nrotate_bytes = \"none\"\nbatch_events = {}\n",
            if reload.is_multiple_of(2) { "" } else { ", \"purser-test-never\"" },
            path("disk"),
            100 + reload % 7,
        );
        match reload % 3 {
            0 => disk,
            _ => format!("{disk}[sink.other]\ntype = \"file\"\npath = \"{}\"\n", path("other")),
        }
    };
    let mut agent = Agent::start(&config(0))?;
    let tag = unique("reloads");
    let load = Load::start(&lab, &format!("purser-test-{tag}"), RATE, &tag, None)?;
    let reloads = setting("PURSER_RELOADS", RELOADS)?;
    for reload in 1..=reloads {
        agent.write_config(&config(reload))?;
        run(purser().args(["reload", "--store"]).arg(agent.store()))?;
    }
    let tally = load.end()?;
    wait_for_sinks(&agent, SENT_LIMIT, |sinks| caught_up(sinks, "disk"))?;
    agent.stop()?;
    let faults = tally.faults(&agent.log(&["--kind", "exec"])?);
    ensure!(faults == Faults::default(), "{} executions: {faults:?}", tally.done);
    let stored = stored(&agent)?;
    println!("{reloads} reloads, {} executions, {} events", tally.done, stored.len());
    ensure!(tally.done > u64::from(reloads), "the load hardly ran: {}", tally.done);
    lacks("disk", &stored, sequences(File::open(out.path().join("disk"))?)?.into_iter())?;
    let told = agent.log(&["--kind", "gap"])?;
    ensure!(told.is_empty(), "{told:?}");
    agent.verify().map(drop)
}
