// SPDX-License-Identifier: Apache-2.0
//! What `purser sink ls` says, and whether what arrived is what is stored.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::agent::{Agent, purser};
use crate::lab::run;

/// Every sink of the agent.
pub(crate) fn list(agent: &Agent) -> Result<Vec<Value>> {
    let printed = run(purser().args(["sink", "ls", "-o", "json", "--store"]).arg(agent.store()))?;
    Ok(printed.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// The sink `name`, or null.
pub(crate) fn sink<'a>(sinks: &'a [Value], name: &str) -> &'a Value {
    sinks.iter().find(|sink| sink["name"] == name).unwrap_or(&Value::Null)
}

pub(crate) fn caught_up(sinks: &[Value], name: &str) -> bool {
    sink(sinks, name)["lag_events"] == 0 && sink(sinks, name)["acked"].as_u64() > Some(0)
}

pub(crate) fn wait_for_sinks(
    agent: &Agent,
    limit: Duration,
    enough: impl Fn(&[Value]) -> bool,
) -> Result<Vec<Value>> {
    let start = Instant::now();
    loop {
        let sinks = list(agent)?;
        if enough(&sinks) {
            return Ok(sinks);
        }
        if start.elapsed() > limit {
            let shown: Vec<String> = sinks.iter().map(ToString::to_string).collect();
            bail!("not so after {limit:?}:\n{}\n{}", shown.join("\n"), agent.said()?);
        }
        sleep(Duration::from_millis(100));
    }
}

/// The sequence of every event in the store of an agent that has ended.
pub(crate) fn stored(agent: &Agent) -> Result<Vec<u64>> {
    let mut sequences = Vec::new();
    each_stored(agent, |document| {
        sequences.push(sequence_of(document)?);
        Ok(())
    })?;
    Ok(sequences)
}

/// Hands every document of the store to `take`, one at a time.
pub(crate) fn each_stored(agent: &Agent, mut take: impl FnMut(&Value) -> Result<()>) -> Result<()> {
    let mut command = agent.command("export");
    let mut child = command.args(["--format", "jsonl"]).stdout(Stdio::piped()).spawn()?;
    for line in BufReader::new(child.stdout.take().context("stdout of purser export")?).lines() {
        take(&serde_json::from_str(&line?)?)?;
    }
    ensure!(child.wait()?.success(), "purser export failed");
    Ok(())
}

/// The sequence of each document, one a line.
pub(crate) fn sequences(lines: impl Read) -> Result<Vec<u64>> {
    BufReader::new(lines).lines().map(|line| sequence(line?.as_bytes())).collect()
}

pub(crate) fn sequence(document: &[u8]) -> Result<u64> {
    sequence_of(&serde_json::from_slice(document)?)
}

pub(crate) fn sequence_of(document: &Value) -> Result<u64> {
    document["event"]["sequence"].as_u64().context("a document without a sequence")
}

/// Fails unless `arrived` has each of `stored` exactly once, and nothing else.
#[expect(clippy::print_stdout, reason = "the figure of a long run")]
pub(crate) fn lacks(what: &str, stored: &[u64], arrived: impl Iterator<Item = u64>) -> Result<()> {
    let mut counts: BTreeMap<u64, i64> = BTreeMap::new();
    arrived.for_each(|sequence| *counts.entry(sequence).or_default() += 1);
    let lost: Vec<u64> = stored.iter().copied().filter(|sequence| !counts.contains_key(sequence)).collect();
    let twice: Vec<u64> =
        counts.iter().filter(|(_, count)| **count > 1).map(|(sequence, _)| *sequence).collect();
    let known: std::collections::BTreeSet<u64> = stored.iter().copied().collect();
    let strange: Vec<&u64> = counts.keys().filter(|sequence| !known.contains(sequence)).collect();
    let told = format!(
        "{what}: of {} events {} lost {:?}, {} twice {:?}, {} never stored {:?}",
        stored.len(),
        lost.len(),
        lost.first(),
        twice.len(),
        twice.first(),
        strange.len(),
        strange.first()
    );
    println!("{told}");
    ensure!(lost.is_empty() && twice.is_empty() && strange.is_empty(), "{told}");
    Ok(())
}

#[test]
fn what_is_lost_or_twice_is_found() {
    assert!(lacks("t", &[1, 2], [2, 1].into_iter()).is_ok());
    for wrong in [vec![1], vec![1, 2, 2], vec![1, 2, 3]] {
        assert!(lacks("t", &[1, 2], wrong.into_iter()).is_err());
    }
}
