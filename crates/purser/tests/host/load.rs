// SPDX-License-Identifier: Apache-2.0
//! Numbered executions in a container that runs until it is told to end, and the check that a log
//! holds each number exactly once.

use std::collections::HashMap;
use std::io::Read;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::lab::{Lab, run};
use crate::record::{is, strings, text};

/// More than any test gets through.
const ENDLESS: &str = "100000000";

/// A running load generator. Its container is removed when this is dropped.
pub(crate) struct Load {
    child: Child,
    name: String,
    tag: String,
}

/// How far the load came.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) tag: String,
    pub(crate) done: u64,
    /// What each worker did: worker `k` of `n` executes the numbers `k`, `k + n`, `k + 2n`, …
    workers: Vec<u64>,
}

/// What is wrong in a log; nothing, when all is empty.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Faults {
    pub(crate) lost: Vec<u64>,
    pub(crate) twice: Vec<u64>,
    pub(crate) never_done: Vec<u64>,
}

impl Load {
    /// Executes `TAG N` about `rate` times a second in the container `name`, as `uid` if given, until `end`.
    pub(crate) fn start(lab: &Lab, name: &str, rate: u32, tag: &str, uid: Option<u32>) -> Result<Load> {
        let (rate, uid) = (rate.to_string(), uid.map(|uid| uid.to_string()));
        let mut words = vec!["/bin/load", "exec", ENDLESS, &rate, tag];
        words.extend(uid.as_deref());
        words.extend(["-p", "2"]);
        let mut command = lab.docker(name, &[], &words);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        Ok(Load { child, name: name.to_string(), tag: tag.to_string() })
    }

    /// Tells the load to end and waits for its count.
    pub(crate) fn end(mut self) -> Result<Tally> {
        run(Command::new("docker").args(["kill", "-s", "TERM", &self.name]))?;
        let mut printed = String::new();
        self.child.stdout.take().context("stdout of the load")?.read_to_string(&mut printed)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the load ended with {status}: {printed}");
        Tally::parse(&self.tag, &printed)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Best effort on the way out of a failed test; the failure itself is what is reported.
            drop(run(Command::new("docker").args(["rm", "-f", &self.name])));
            drop(self.child.wait());
        }
    }
}

impl Tally {
    /// Reads the line which the load generator prints.
    pub(crate) fn parse(tag: &str, printed: &str) -> Result<Tally> {
        let line: Value =
            serde_json::from_str(printed).with_context(|| format!("the load printed {printed}"))?;
        let count = |name: &str| line.get(name).and_then(Value::as_u64).with_context(|| format!("no {name}"));
        ensure!(count("failed")? == 0, "executions failed: {printed}");
        let workers = line.get("workers").and_then(Value::as_array).context("no workers")?;
        let workers: Vec<u64> = workers.iter().filter_map(Value::as_u64).collect();
        ensure!(workers.iter().sum::<u64>() == count("done")?, "the workers do not add up: {printed}");
        Ok(Tally { tag: tag.to_string(), done: count("done")?, workers })
    }

    fn was_done(&self, number: u64) -> bool {
        let worker = number % self.workers.len() as u64;
        let place = number / self.workers.len() as u64;
        self.workers.get(worker as usize).is_some_and(|done| place < *done)
    }

    /// Every number that was executed.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> {
        let step = self.workers.len() as u64;
        self.workers
            .iter()
            .zip(0..)
            .flat_map(move |(done, worker)| (0..*done).map(move |n| worker + n * step))
    }

    /// Compares the `exec` documents of this load with what was done.
    pub(crate) fn faults(&self, documents: &[Value]) -> Faults {
        let seen = counts(&self.tag, documents);
        let mut faults = Faults {
            lost: self.numbers().filter(|number| !seen.contains_key(number)).collect(),
            twice: seen.iter().filter(|(_, times)| **times > 1).map(|(number, _)| *number).collect(),
            never_done: seen.keys().copied().filter(|number| !self.was_done(*number)).collect(),
        };
        faults.twice.sort_unstable();
        faults.never_done.sort_unstable();
        faults
    }
}

/// How often each number of `tag` stands in the log as an `exec`.
pub(crate) fn counts(tag: &str, documents: &[Value]) -> HashMap<u64, u32> {
    let mut seen = HashMap::new();
    for document in documents.iter().filter(|document| is(document, "exec")) {
        if let [first, number] = strings(document, "/process/args").as_slice()
            && *first == tag
            && let Ok(number) = number.parse()
        {
            *seen.entry(number).or_default() += 1;
        }
    }
    seen
}

/// Entity ids of this tag's programs which have no exit, or more than one.
pub(crate) fn wrong_exits(tag: &str, documents: &[Value]) -> usize {
    let mut exits: HashMap<&str, u32> = HashMap::new();
    for document in documents.iter().filter(|document| is(document, "exit")) {
        *exits.entry(text(document, "/process/entity_id")).or_default() += 1;
    }
    let executed = documents.iter().filter(|document| is(document, "exec"));
    let ours = executed.filter(|document| strings(document, "/process/args").first() == Some(&tag));
    ours.filter(|document| exits.get(text(document, "/process/entity_id")) != Some(&1)).count()
}

#[test]
fn faults_are_found() {
    let tally = Tally::parse("t", r#"{"done":3,"failed":0,"workers":[2,1]}"#).unwrap();
    let exec =
        |number: &str| serde_json::json!({"event": {"action": "exec"}, "process": {"args": ["t", number]}});
    assert_eq!(tally.faults(&["0", "1", "2"].map(exec)), Faults::default());
    let faults = tally.faults(&["0", "2", "2", "3"].map(exec));
    assert_eq!(faults, Faults { lost: vec![1], twice: vec![2], never_done: vec![3] });
    assert!(Tally::parse("t", r#"{"done":3,"failed":1,"workers":[2,1]}"#).is_err());
}
