// SPDX-License-Identifier: Apache-2.0
//! The agent that is measured, with a store and a configuration of its own, and what it recorded.

use crate::lab::Lab;
use crate::load::Tally;
use crate::usage::bytes_in;
use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const START_LIMIT: Duration = Duration::from_secs(60);
/// What the agent says once records flow.
const READY: &str = "recording";

/// A running agent; unloaded when this is dropped.
#[derive(Debug)]
pub(crate) struct Agent {
    dir: TempDir,
    child: Option<Child>,
}

/// What a stopped agent left.
#[derive(Debug)]
pub(crate) struct Record {
    dir: TempDir,
}

/// A load's numbers in the record.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    /// Numbers that stand there once.
    pub(crate) recorded: u64,
    /// Numbers that were executed and are not there.
    pub(crate) lost: u64,
    /// Numbers that are there more than once, or were never executed.
    pub(crate) wrong: u64,
    /// Losses that the record itself tells.
    pub(crate) told: u64,
}

impl Agent {
    /// Starts an agent on an empty store and waits until it records the lab's load.
    pub(crate) fn start(lab: &Lab) -> Result<Agent> {
        Agent::start_with(lab, "", |_| Ok(()))
    }

    /// The same with more configuration, and on a store that `prepare` has made.
    pub(crate) fn start_with(
        lab: &Lab,
        more: &str,
        prepare: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Agent> {
        let dir = TempDir::with_prefix_in("agent-", env!("CARGO_TARGET_TMPDIR"))?;
        prepare(&dir.path().join("store"))?;
        let config = dir.path().join("purser.toml");
        fs::write(&config, lab.config() + more)?;
        let said = fs::File::create(dir.path().join("said"))?;
        let mut command = purser("run", &dir);
        command.arg("--config").arg(config).stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        let child = command.spawn().context("starting the agent")?;
        let mut agent = Agent { dir, child: Some(child) };
        agent.wait_ready()?;
        Ok(agent)
    }

    pub(crate) fn pid(&self) -> Result<u32> {
        self.child.as_ref().map(Child::id).context("the agent does not run")
    }

    /// `purser log`, ready for more arguments.
    pub(crate) fn log(&self) -> Command {
        purser("log", &self.dir)
    }

    /// `purser sink ls -o json`.
    pub(crate) fn list_sinks(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_purser"));
        command.args(["sink", "ls", "-o", "json", "--store"]).arg(self.dir.path().join("store"));
        command
    }

    /// A clean stop.
    pub(crate) fn stop(mut self) -> Result<Record> {
        self.end()?;
        let empty = TempDir::with_prefix("purser-bench-")?;
        Ok(Record { dir: std::mem::replace(&mut self.dir, empty) })
    }

    fn end(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        kill_process(Pid::from_child(&child), Signal::TERM)?;
        let status = child.wait()?;
        ensure!(status.success(), "the agent stopped with {status}: {}", self.said()?);
        Ok(())
    }

    fn said(&self) -> Result<String> {
        Ok(fs::read_to_string(self.dir.path().join("said"))?)
    }

    fn wait_ready(&mut self) -> Result<()> {
        let start = Instant::now();
        while !self.said()?.contains(READY) {
            let child = self.child.as_mut().context("the agent does not run")?;
            if let Some(status) = child.try_wait()? {
                self.child = None;
                bail!("the agent ended with {status}: {}", self.said()?);
            }
            ensure!(start.elapsed() < START_LIMIT, "the agent was not ready in time: {}", self.said()?);
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            println!("ending the agent: {error:#}");
        }
    }
}

impl Record {
    /// Looks up every number of a load, and the gaps.
    pub(crate) fn find(&self, tag: &str, tally: &Tally) -> Result<Found> {
        let mut seen: HashMap<u64, u64> = HashMap::new();
        let mut found = Found::default();
        self.each("exec", |document| {
            let args = document.pointer("/process/args").and_then(Value::as_array);
            let Some([first, number]) = args.map(Vec::as_slice) else { return };
            if let Some(number) = number.as_str().filter(|_| first == tag).and_then(|text| text.parse().ok())
            {
                *seen.entry(number).or_default() += 1;
            }
        })?;
        self.each("gap", |document| {
            found.told += document.pointer("/purser/gap/count").and_then(Value::as_u64).unwrap_or(0);
        })?;
        for number in tally.numbers() {
            match seen.remove(&number) {
                Some(1) => found.recorded += 1,
                Some(_) => found.wrong += 1,
                None => found.lost += 1,
            }
        }
        found.wrong += seen.len() as u64;
        Ok(found)
    }

    /// Bytes of the store, and the events in it.
    pub(crate) fn size(&self) -> Result<(u64, u64)> {
        let mut events = 0;
        self.each("exec,exit,gap,agent,exec_failed,process_running", |_| events += 1)?;
        Ok((bytes_in(&self.dir.path().join("store"))?, events))
    }

    fn each(&self, kinds: &str, mut take: impl FnMut(&Value)) -> Result<()> {
        let mut command = purser("log", &self.dir);
        command.args(["-o", "json", "--kind", kinds]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().context("starting purser log")?;
        for line in BufReader::new(child.stdout.take().context("stdout of purser log")?).lines() {
            take(&serde_json::from_str(&line?)?);
        }
        let status = child.wait()?;
        ensure!(status.success(), "purser log ended with {status}");
        Ok(())
    }
}

fn purser(word: &str, dir: &TempDir) -> Command {
    let store: PathBuf = dir.path().join("store");
    let mut command = Command::new(env!("CARGO_BIN_EXE_purser"));
    command.arg(word).arg("--store").arg(store);
    command
}
