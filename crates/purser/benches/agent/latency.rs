// SPDX-License-Identifier: Apache-2.0
//! The time from an exec to its line of `purser log --follow`, by the wall clock both share.

use crate::agent::Agent;
use crate::lab::Lab;
use crate::load::{Load, Plan};
use crate::table::{Table, Target};
use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

const SAMPLES: usize = 200;
const RATE: u64 = 20;
/// Until the reader has found the end of the store.
const SETTLE: Duration = Duration::from_secs(2);

pub(crate) fn measure(lab: &Lab, table: &mut Table) -> Result<()> {
    let agent = Agent::start(lab)?;
    let mut follow = agent.log();
    follow.args(["--follow", "-o", "json", "--kind", "exec"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut reader = Reader { child: follow.spawn().context("starting purser log")? };
    sleep(SETTLE);
    let load = Load::start(lab, &Plan { rate: RATE, usual: true, ..Plan::new("latency") })?;
    let mut millis = reader.delays()?;
    drop(reader);
    load.end()?;
    agent.stop()?;
    millis.sort_by(f64::total_cmp);
    let at = |part: f64| millis.get((millis.len() as f64 * part) as usize).copied().unwrap_or(f64::NAN);
    let note = format!("p90 {:.1}, p99 {:.1}; {SAMPLES} execs, {RATE}/s", at(0.9), at(0.99));
    table.add("exec to line of log --follow, p50", at(0.5), "ms", Target::AtMost(15.0), note);
    Ok(())
}

/// `purser log --follow`, ended when this is dropped.
#[derive(Debug)]
struct Reader {
    child: Child,
}

impl Reader {
    fn delays(&mut self) -> Result<Vec<f64>> {
        let mut delays = Vec::new();
        let mut lines = BufReader::new(self.child.stdout.take().context("stdout of purser log")?).lines();
        while delays.len() < SAMPLES {
            let line = lines.next().context("purser log --follow ended")??;
            let now = Timestamp::now();
            let document: Value = serde_json::from_str(&line)?;
            if document.pointer("/process/args/0").and_then(Value::as_str) != Some("latency") {
                continue;
            }
            let at = document.get("@timestamp").and_then(Value::as_str).context("no @timestamp")?;
            let at: Timestamp = at.parse().with_context(|| format!("reading the time {at}"))?;
            delays.push(now.duration_since(at).as_secs_f64() * 1e3);
        }
        ensure!(delays.iter().all(|delay| *delay > -5.0), "lines that came before their exec");
        Ok(delays)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            println!("ending purser log: {error}");
        }
    }
}
