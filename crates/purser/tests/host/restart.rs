// SPDX-License-Identifier: Apache-2.0
//! What happens while the agent is down after a crash is in the record of the next one. A clean stop
//! is the other promise: it takes everything out of the kernel and says so.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::agent::{Agent, OWN_CONTAINERS, purser};
use crate::lab::{Lab, run, unique};
use crate::load::{Faults, Load, Tally, counts};
use crate::record::is;

const BPFFS: &str = "/sys/fs/bpf";
pub(crate) const SEEN_LIMIT: Duration = Duration::from_secs(30);

/// Runs a load of `count` numbers to its end in a container of its own.
pub(crate) fn execute(lab: &Lab, tag: &str, count: u32) -> Result<Tally> {
    let words = ["/bin/load", "exec", &count.to_string(), "0", tag];
    Tally::parse(tag, &run(&mut lab.docker(&format!("purser-test-{tag}"), &[], &words))?)
}

#[test]
fn a_crash_keeps_recording() -> Result<()> {
    let lab = Lab::enter()?;
    let mut agent = Agent::start(OWN_CONTAINERS)?;
    let mut tallies = vec![execute(&lab, &unique("up"), 100)?];
    agent.kill9()?;
    tallies.push(execute(&lab, &unique("down"), 500)?);
    agent.start_again()?;
    tallies.push(execute(&lab, &unique("again"), 100)?);
    let last = &tallies[2];
    let enough = |documents: &[_]| counts(&last.tag, documents).len() as u64 >= last.done;
    let documents = agent.wait_for(&[], SEEN_LIMIT, enough)?;
    for tally in &tallies {
        let faults = tally.faults(&documents);
        ensure!(faults == Faults::default(), "{}: {faults:?}", tally.tag);
    }
    let starts = documents.iter().filter(|document| is(document, "agent_start")).count();
    ensure!(starts == 2, "{starts} agent_start instead of 2");
    agent.verify()?;
    agent.stop()
}

#[test]
fn a_stop_that_keeps_goes_on_recording() -> Result<()> {
    let lab = Lab::enter()?;
    let mut agent = Agent::start(OWN_CONTAINERS)?;
    agent.stop_and_keep()?;
    let meanwhile = execute(&lab, &unique("kept"), 300)?;
    agent.start_again()?;
    let enough = |documents: &[_]| counts(&meanwhile.tag, documents).len() as u64 >= meanwhile.done;
    let documents = agent.wait_for(&[], SEEN_LIMIT, enough)?;
    ensure!(meanwhile.faults(&documents) == Faults::default(), "{:?}", meanwhile.faults(&documents));
    agent.verify()?;
    agent.stop()
}

/// What an agent decided lives on in the kernel when it is killed: rules added at run time, and which
/// cgroups are out of scope. The next agent must not inherit what nobody can see.
#[test]
fn decisions_of_a_killed_agent_are_not_inherited() -> Result<()> {
    let lab = Lab::enter()?;
    let mut agent = Agent::start("[scope]\ninclude = [\"container\"]\nnames = [\"another-*\"]\n")?;
    let tag = unique("inherited");
    let load = Load::start(&lab, &format!("purser-test-{tag}"), 50, &tag, Some(3003))?;
    sleep(Duration::from_millis(500)); // some programs run while they are out of scope
    ensure!(counts(&tag, &agent.log(&["--kind", "exec"])?).is_empty(), "recorded, though out of scope");
    let rule = ["rule", "add", "--name", "quiet", "--uid", "3003", "--action", "ignore", "--store"];
    run(purser().args(rule).arg(agent.store()))?;
    agent.kill9()?;
    agent.write_config(OWN_CONTAINERS)?;
    agent.start_again()?;
    agent.wait_for(&["--kind", "exec"], SEEN_LIMIT, |documents| !counts(&tag, documents).is_empty())?;
    load.end()?;
    agent.verify()?;
    agent.stop()
}

#[test]
fn a_clean_stop_unloads_and_says_so() -> Result<()> {
    let lab = Lab::enter()?;
    let before = pins(Path::new(BPFFS))?;
    let mut agent = Agent::start(OWN_CONTAINERS)?;
    let during: BTreeSet<PathBuf> = pins(Path::new(BPFFS))?.difference(&before).cloned().collect();
    ensure!(!during.is_empty(), "a running agent pins nothing below {BPFFS}");
    let recorded = execute(&lab, &unique("recorded"), 10)?;
    agent.wait_for(&[], SEEN_LIMIT, |documents| counts(&recorded.tag, documents).len() == 10)?;
    agent.stop()?;
    let said = agent.said()?;
    ensure!(said.contains("nothing is recorded"), "a clean stop must say what it means:\n{said}");
    let left: Vec<PathBuf> = pins(Path::new(BPFFS))?.intersection(&during).cloned().collect();
    ensure!(left.is_empty(), "left in the kernel: {left:?}");

    let unseen = execute(&lab, &unique("unseen"), 10)?;
    agent.start_again()?;
    let seen = execute(&lab, &unique("seen"), 10)?;
    let documents = agent.wait_for(&[], SEEN_LIMIT, |documents| counts(&seen.tag, documents).len() == 10)?;
    ensure!(counts(&unseen.tag, &documents).is_empty(), "recorded after a clean stop");
    ensure!(documents.iter().any(|document| is(document, "agent_stop")), "no agent_stop in the record");
    ensure!(recorded.faults(&documents) == Faults::default(), "the first run's record changed");
    agent.verify()?;
    agent.stop()
}

/// Everything below a directory; nothing, when it is not there.
fn pins(dir: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    if !dir.exists() {
        return Ok(found);
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(pins(&entry.path())?);
        }
        found.insert(entry.path());
    }
    Ok(found)
}
