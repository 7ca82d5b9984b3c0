// SPDX-License-Identifier: Apache-2.0
//! The agent dies by SIGKILL again and again while a container executes numbered programs. What the
//! kernel keeps must reach the next agent: no number lost, none twice.
//! PURSER_KILLS sets how often (50).

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::agent::{Agent, OWN_CONTAINERS};
use crate::lab::{Lab, unique};
use crate::load::{Faults, Load, counts, wrong_exits};
use crate::restart::execute;

const KILLS: u32 = 50;
const RATE: u32 = 500;
const SEEN_LIMIT: Duration = Duration::from_secs(60);

#[test]
fn kills_lose_nothing_and_double_nothing() -> Result<()> {
    let lab = Lab::enter()?;
    let kills = setting("PURSER_KILLS", KILLS)?;
    let mut agent = Agent::start(OWN_CONTAINERS)?;
    let tag = unique("kill9");
    let load = Load::start(&lab, &format!("purser-test-{tag}"), RATE, &tag, None)?;
    agent.wait_for(&["--kind", "exec"], SEEN_LIMIT, |documents| !counts(&tag, documents).is_empty())?;
    for kill in 0..kills {
        // Another point of the agent's life each time: while it starts to read, writes, seals.
        sleep(Duration::from_millis(u64::from(kill * 37 % 400)));
        agent.kill9()?;
        if kill % 5 == 0 {
            agent.kill9_while_it_starts(Duration::from_millis(u64::from(kill * 29 % 250)))?;
        }
        sleep(Duration::from_millis(u64::from(kill * 53 % 300)));
        agent.start_again()?;
    }
    let tally = load.end()?;
    let all_there = |documents: &[_]| counts(&tag, documents).len() as u64 >= tally.done;
    let documents = agent.wait_for(&[], SEEN_LIMIT, all_there).or_else(|_| agent.log(&[]))?;
    let faults = tally.faults(&documents);
    println!(
        "{kills} kills, {} numbered executions: {} lost, {} twice",
        tally.done,
        faults.lost.len(),
        faults.twice.len()
    );
    ensure!(tally.done > u64::from(kills), "the load hardly ran: {tally:?}");
    ensure!(faults == Faults::default(), "{faults:?}");
    let settled = |documents: &[_]| wrong_exits(&tag, documents) == 0;
    agent.wait_for(&[], SEEN_LIMIT, settled)?;
    agent.verify()?;
    agent.stop()
}

/// Killed at any point of its first start, it leaves nothing that keeps the next one from recording.
#[test]
fn kills_during_the_first_start() -> Result<()> {
    let lab = Lab::enter()?;
    for after in (0..200).step_by(20) {
        let mut agent = Agent::prepare(OWN_CONTAINERS)?;
        agent.kill9_while_it_starts(Duration::from_millis(after))?;
        agent.start_again()?;
        let tally = execute(&lab, &unique(&format!("first-{after}")), 20)?;
        let all_there = |documents: &[_]| counts(&tally.tag, documents).len() as u64 >= tally.done;
        let documents = agent.wait_for(&[], SEEN_LIMIT, all_there)?;
        ensure!(tally.faults(&documents) == Faults::default(), "{after} ms: {:?}", tally.faults(&documents));
        agent.verify()?;
        agent.stop()?;
    }
    Ok(())
}

/// A whole number from the environment, or what is usual.
pub(crate) fn setting(name: &str, usual: u32) -> Result<u32> {
    match std::env::var(name) {
        Ok(value) => Ok(value.parse()?),
        Err(_) => Ok(usual),
    }
}
