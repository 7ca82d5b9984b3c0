// SPDX-License-Identifier: Apache-2.0
//! Numbered executions in the lab's cgroups, and the count of what was done.

use crate::lab::Lab;
use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// More than any run gets through.
const ENDLESS: u64 = 1_000_000_000;
/// Enters every cgroup given before `--`, then becomes what comes after it.
const ENTER: &str =
    r#"while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs" || exit 9; shift; done; shift; exec "$@""#;

/// What is executed, and how.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) tag: &'static str,
    /// `None`: until it is told to end.
    pub(crate) count: Option<u64>,
    /// Per second; 0 is flat out.
    pub(crate) rate: u64,
    pub(crate) workers: u32,
    pub(crate) uid: Option<u32>,
    /// From a place of usual depth, with a usual environment.
    pub(crate) usual: bool,
}

impl Plan {
    pub(crate) fn new(tag: &'static str) -> Plan {
        Plan { tag, count: None, rate: 0, workers: 1, uid: None, usual: false }
    }
}

/// A running load; ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Load {
    child: Child,
}

/// What a load says of itself at its end.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    pub(crate) done: u64,
    pub(crate) elapsed_secs: f64,
    /// What each worker did: worker `k` of `n` executes the numbers `k`, `k + n`, `k + 2n`, …
    workers: Vec<u64>,
}

impl Load {
    pub(crate) fn start(lab: &Lab, plan: &Plan) -> Result<Load> {
        let dir = if plan.usual { lab.deep() } else { lab.short() };
        let mut command = Command::new("sh");
        command.args(["-c", ENTER, "sh"]).args(lab.cgroups()).arg("--").arg(dir.join("load"));
        command.args(["-p", &plan.workers.to_string()]);
        if plan.usual {
            command.arg("-e").current_dir(&dir);
        }
        command.arg("exec").arg(plan.count.unwrap_or(ENDLESS).to_string());
        command.args([&plan.rate.to_string(), plan.tag]);
        command.args(plan.uid.map(|uid| uid.to_string()));
        command.env_clear().envs(environment());
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("starting the load")?;
        Ok(Load { child })
    }

    /// Waits for the end of a load that has one.
    pub(crate) fn wait(mut self) -> Result<Tally> {
        let mut printed = String::new();
        self.child.stdout.take().context("stdout of the load")?.read_to_string(&mut printed)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the load ended with {status}: {printed}");
        Tally::parse(&printed)
    }

    /// Tells it to end and waits for its count.
    pub(crate) fn end(self) -> Result<Tally> {
        self.tell_to_end()?;
        self.wait()
    }

    fn tell_to_end(&self) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).context("ending the load")
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let ended = self.tell_to_end().and_then(|()| Ok(self.child.wait()?));
            ended.map_or_else(|error| println!("{error:#}"), drop);
        }
    }
}

impl Tally {
    fn parse(printed: &str) -> Result<Tally> {
        let line: Value =
            serde_json::from_str(printed).with_context(|| format!("the load printed {printed:?}"))?;
        let number =
            |name: &str| line.get(name).and_then(Value::as_u64).with_context(|| format!("no {name}"));
        ensure!(number("failed")? == 0, "executions failed: {printed}");
        let workers = line.get("workers").and_then(Value::as_array).context("no workers")?;
        Ok(Tally {
            done: number("done")?,
            elapsed_secs: number("elapsed_us")? as f64 / 1e6,
            workers: workers.iter().filter_map(Value::as_u64).collect(),
        })
    }

    /// Every number that was executed.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> {
        let step = self.workers.len() as u64;
        self.workers
            .iter()
            .zip(0..)
            .flat_map(move |(done, worker)| (0..*done).map(move |n| worker + n * step))
    }
}

/// About what a service in a container is given; one variable of it is among those recorded.
fn environment() -> Vec<(String, PathBuf)> {
    let usual = [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOME", "/home/app"),
        ("LANG", "C.UTF-8"),
        ("LD_LIBRARY_PATH", "/opt/app/lib"),
        ("NODE_ENV", "production"),
    ];
    let services = (0..25).map(|n| (format!("APP_{n}_SERVICE_HOST"), PathBuf::from(format!("10.96.0.{n}"))));
    usual.map(|(name, value)| (name.to_string(), value.into())).into_iter().chain(services).collect()
}
