// SPDX-License-Identifier: Apache-2.0
//! Shipping by the whole agent: from an exec to Kafka's acknowledgement at a high rate, and what
//! sinks cost whose receivers are stuck, with a large backlog in the store.

use crate::agent::Agent;
use crate::broker::Broker;
use crate::lab::Lab;
use crate::load::{Load, Plan};
use crate::sample;
use crate::table::{Table, Target};
use crate::usage::{cpu_secs, memory};
use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::net::TcpListener;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Executions a second, each with its exit.
const RATE: u64 = 5_000;
const SECONDS: u64 = 30;
const WARM_SECONDS: u64 = 5;
/// Until the sink's histogram has forgotten what was before.
const FORGET: Duration = Duration::from_secs(125);
/// Events that wait.
const BACKLOG: u64 = 1_000_000;
/// Until each sink waits for its receiver.
const SETTLE: Duration = Duration::from_secs(20);
const WINDOW: Duration = Duration::from_secs(30);
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn measure(lab: &Lab, table: &mut Table) -> Result<()> {
    latency(lab, table)?;
    stuck(lab, table)
}

fn latency(lab: &Lab, table: &mut Table) -> Result<()> {
    let broker = Broker::start("512m");
    broker.create("latency", 3);
    let agent = Agent::start_with(lab, &kafka("kafka", &broker, "latency", ""), |_| Ok(()))?;
    let plan = Plan { rate: RATE, count: Some(RATE * SECONDS), workers: 2, ..Plan::new("latency") };
    // A broker that has just been started takes a second for its first records.
    let warm = Plan { count: Some(RATE * WARM_SECONDS), ..plan.clone() };
    Load::start(lab, &warm)?.wait()?;
    // The sink's own histogram covers the last minute or two, and the load is shorter.
    sleep(FORGET);
    let tally = Load::start(lab, &plan)?.wait()?;
    sleep(Duration::from_secs(1));
    let sinks = sinks(&agent)?;
    let of = |name: &str| {
        sinks.first().and_then(|sink| sink[name].as_u64()).with_context(|| format!("{name} of {sinks:?}"))
    };
    let (p50, p99) = (of("latency_p50_us")? as f64 / 1e3, of("latency_p99_us")? as f64 / 1e3);
    let note = format!(
        "{:.0} events/s, {} acknowledged, {} wait",
        2.0 * tally.done as f64 / tally.elapsed_secs,
        of("acked")?,
        of("lag_events")?
    );
    agent.stop()?;
    table.add("exec to Kafka's acknowledgement, p50", p50, "ms", Target::AtMost(15.0), note);
    table.add("exec to Kafka's acknowledgement, p99", p99, "ms", Target::AtMost(50.0), String::new());
    Ok(())
}

fn stuck(lab: &Lab, table: &mut Table) -> Result<()> {
    let broker = Broker::start("512m");
    broker.create("stuck", 3);
    // The kernel accepts for it, and nobody ever reads.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let at = silent.local_addr()?;
    let config = [
        kafka("kafka", &broker, "stuck", ""),
        kafka("exact", &broker, "stuck", "exactly_once = true\n"),
        format!(
            "[sink.search]\ntype = \"elasticsearch\"\nurls = [\"http://{at}\"]\ndata_stream = \"logs-a-b\"\n"
        ),
        format!("[sink.syslog]\ntype = \"syslog\"\naddress = \"{at}\"\ntransport = \"tcp\"\n"),
        format!("[sink.logstash]\ntype = \"logstash\"\nhosts = [\"{at}\"]\ntransport = \"tcp\"\n"),
    ];
    let agent = Agent::start_with(lab, &config.concat(), |store| {
        sample::fill(store, BACKLOG);
        Ok(())
    })?;
    // Stuck in the middle of a batch, which is when most is held.
    let start = Instant::now();
    while !sinks(&agent)?
        .iter()
        .filter(|sink| sink["type"] == "kafka")
        .all(|sink| sink["acked"].as_u64() > Some(0))
    {
        ensure!(start.elapsed() < LIMIT, "nothing was acknowledged: {:?}", sinks(&agent)?);
    }
    let java = Pid::from_raw(i32::try_from(broker.pid())?).context("the broker's pid")?;
    kill_process(java, Signal::STOP)?;
    sleep(SETTLE);
    let (before, start) = (cpu_secs(agent.pid()?)?, Instant::now());
    let mut most = memory(agent.pid()?)?;
    while start.elapsed() < WINDOW {
        sleep(Duration::from_secs(1));
        let now = memory(agent.pid()?)?;
        if now.all > most.all {
            most = now;
        }
    }
    let cpu = (cpu_secs(agent.pid()?)? - before) / start.elapsed().as_secs_f64() * 100.0;
    let sinks = sinks(&agent)?;
    let waiting: Vec<String> = sinks
        .iter()
        .map(|sink| format!("{} {}", sink["name"].as_str().unwrap_or_default(), sink["lag_events"]))
        .collect();
    agent.stop()?;
    let note = format!(
        "{:.1} of files and rings, {:.1} anonymous; waiting: {}",
        most.file,
        most.anonymous,
        waiting.join(", ")
    );
    table.add("all sinks stuck, resident memory", most.all, "MB", Target::AtMost(64.0), note);
    let each = cpu / sinks.len() as f64;
    table.add(
        "a stuck sink, CPU",
        each,
        "% core",
        Target::AtMost(1.0),
        format!("{cpu:.2} of the whole agent, which is idle"),
    );
    Ok(())
}

fn kafka(name: &str, broker: &Broker, topic: &str, more: &str) -> String {
    let at = broker.address();
    format!("[sink.{name}]\ntype = \"kafka\"\nbrokers = [\"{at}\"]\ntopic = \"{topic}\"\n{more}")
}

fn sinks(agent: &Agent) -> Result<Vec<Value>> {
    let output = agent.list_sinks().stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "purser sink ls: {}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(printed.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}
