// SPDX-License-Identifier: Apache-2.0
//! Faults at each write, sync, rename and send: strace ends the agent at the nth call of a kind, or
//! makes every few of them fail, while numbered programs run and numbered lines are written. No
//! number may be lost or come twice, neither in the store nor in Kafka nor in a file.
//! PURSER_FAULTS (3) sets how many calls of each kind are the last ones.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::agent::Agent;
use crate::kafka::broker::Broker;
use crate::kafka::sinks::{caught_up, each_stored, lacks, sequence_of, sequences, wait_for_sinks};
use crate::kafka::{Isolation, read};
use crate::kill9::setting;
use crate::lab::{Lab, unique};
use crate::load::{Faults, Load};
use crate::trial::scratch;

const LIMIT: Duration = Duration::from_secs(120);
/// How long an agent lives whose calls fail, or that does not reach its last call.
const LIFE: Duration = Duration::from_secs(2);
/// What changes files or leaves the host. A call's number counts within a thread.
const LAST: [&str; 9] =
    ["pwrite64", "write", "writev", "fdatasync", "fsync", "rename", "renameat", "sendmsg", "sendto"];
/// Some in a row, and again and again.
const FAILING: [&str; 7] = [
    "pwrite64:error=ENOSPC:when=5+11",
    "write:error=ENOSPC:when=7+13",
    "fdatasync:error=EIO:when=2+3",
    "fsync:error=EIO:when=2+3",
    "rename,renameat:error=EIO:when=2+3",
    "sendmsg:error=ECONNRESET:when=9+17",
    "pwrite64,write,fdatasync,fsync:delay_enter=20000:when=3+5",
];

/// Writes numbered lines until it is told to end, and says how many.
fn writer(path: PathBuf, stop: Arc<AtomicBool>) -> JoinHandle<Result<u64>> {
    spawn(move || {
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            writeln!(file, "line {number}")?;
            number += 1;
            sleep(Duration::from_millis(5));
        }
        Ok(number)
    })
}

fn config(broker: &Broker, out: &Path, log: &Path) -> String {
    format!(
        "[scope]\ninclude = [\"container\"]\nnames = [\"purser-test-faults-*\"]\n[capture]\nring_mib = 32\n\
         [source.app]\ntype = \"file\"\npaths = [\"{}\"]\n\
         [sink.once]\ntype = \"kafka\"\nbrokers = [\"{}\"]\ntopic = \"once\"\nexactly_once = true\n\
         [sink.disk]\ntype = \"file\"\npath = \"{}\"\nrotate_bytes = \"none\"\n",
        log.display(),
        broker.plain(),
        out.display()
    )
}

#[test]
fn no_call_that_fails_or_is_the_last_costs_or_doubles_an_event() -> Result<()> {
    let lab = Lab::enter()?;
    let broker = Broker::start()?;
    broker.create("once", 3)?;
    let (dir, out) = scratch()?;
    let log = dir.path().join("app.log");
    let mut agent = Agent::prepare(&config(&broker, &out, &log))?;
    let (stop, tag) = (Arc::new(AtomicBool::new(false)), unique("faults"));
    let writer = writer(log, Arc::clone(&stop));
    agent.start_again()?;
    let load = Load::start(&lab, &format!("purser-test-{tag}"), 100, &tag, None)?;
    let each = u64::from(setting("PURSER_FAULTS", 3)?);
    let mut reached = 0;
    for call in LAST {
        for place in 0..each {
            agent.kill9()?;
            // The first ones, then ever later ones.
            let number = 1 + place * (place + 3) / 2;
            agent.start_with_faults(&[format!("{call}:signal=KILL:when={number}")])?;
            if agent.has_ended(LIFE)? {
                reached += 1;
                agent.start_again()?;
            }
        }
    }
    for fault in FAILING {
        agent.kill9()?;
        agent.start_with_faults(&[fault.to_string()])?;
        // It may say what it cannot do, and end.
        if agent.has_ended(LIFE)? {
            agent.start_again()?;
        }
    }
    agent.kill9()?;
    agent.start_again()?;
    stop.store(true, Ordering::Relaxed);
    let lines = writer.join().expect("the writer does not panic")?;
    let tally = load.end()?;
    ensure!(reached >= each * 3, "only {reached} agents reached their last call");
    settle(&agent, lines)?;
    agent.stop()?;
    agent.verify()?;

    let mut stored = Vec::new();
    let (mut found, mut documents) = (BTreeMap::new(), Vec::new());
    each_stored(&agent, |document| {
        stored.push(sequence_of(document)?);
        if let Some(line) = document["message"].as_str().filter(|_| document["event"]["action"] == "line") {
            *found.entry(line.to_string()).or_insert(0u32) += 1;
        }
        if document["event"]["action"] == "exec" {
            documents.push(document.clone());
        }
        Ok(())
    })?;
    let lost = (0..lines).filter(|number| !found.contains_key(&format!("line {number}"))).count();
    let twice = found.values().filter(|times| **times > 1).count();
    println!(
        "{reached} agents ended by a call, {} others with failing ones; {} executions, {lines} lines: {lost} lost, {twice} twice",
        FAILING.len(),
        tally.done
    );
    ensure!((lost, twice) == (0, 0), "of {lines} lines {lost} lost, {twice} twice");
    ensure!(tally.faults(&documents) == Faults::default(), "{:?}", tally.faults(&documents));
    let records = read(&broker.plain(), "once", Isolation::Committed)?;
    lacks("Kafka, read_committed", &stored, records.iter().map(|record| record.sequence))?;
    lacks("the file", &stored, sequences(std::fs::File::open(&out)?)?.into_iter())
}

/// Waits until every line is stored and everything stored is sent.
fn settle(agent: &Agent, lines: u64) -> Result<()> {
    agent.wait_for(&["--kind", "line"], LIMIT, |documents: &[Value]| documents.len() as u64 >= lines)?;
    let both = |sinks: &[Value]| caught_up(sinks, "once") && caught_up(sinks, "disk");
    wait_for_sinks(agent, LIMIT, both).map(drop)
}
