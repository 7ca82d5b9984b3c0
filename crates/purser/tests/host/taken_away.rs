// SPDX-License-Identifier: Apache-2.0
//! What an agent stands on is taken away: its store directory, its pins, or the agent itself with the
//! kernel side left behind. Each time somebody is told what follows and what to do.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::agent::{Agent, OWN_CONTAINERS};
use crate::lab::{output, run};
use crate::record::text;

const SEEN_LIMIT: Duration = Duration::from_secs(10);
/// More than the agent serves at a time.
const IDLE_CLIENTS: usize = 600;

/// `purser stop --unload`: what it printed.
fn unload(agent: &Agent) -> Result<String> {
    run(agent.command("stop").arg("--unload"))
}

#[test]
fn without_its_store_directory_the_agent_ends_and_unloads() -> Result<()> {
    let mut agent = Agent::start(OWN_CONTAINERS)?;
    fs::remove_dir_all(agent.store())?;
    let code = agent.wait_ended()?;
    let said = agent.said()?;
    ensure!(code == Some(1), "exit code {code:?}\n{said}");
    let store = agent.store().display().to_string();
    ensure!(said.contains(&store) && said.contains("removed or renamed"), "{said}");
    ensure!(said.contains("kernel side is unloaded"), "{said}");
    let told = unload(&agent)?;
    ensure!(told.contains("nothing of the store"), "the agent left its pins: {told}");
    Ok(())
}

#[test]
fn what_a_killed_agent_left_is_unloaded_also_without_a_store() -> Result<()> {
    let mut agent = Agent::start(OWN_CONTAINERS)?;
    let in_use = output(agent.command("stop").arg("--unload").arg("--keep"))?;
    ensure!(in_use.status.code() == Some(2), "--unload and --keep together: {in_use:?}");
    agent.kill9()?;
    let plain = output(&mut agent.command("stop"))?;
    let said = String::from_utf8_lossy(&plain.stderr).into_owned();
    ensure!(plain.status.code() == Some(3) && said.contains("purser stop --unload --store"), "{said}");
    fs::remove_dir_all(agent.store())?;
    let told = unload(&agent)?;
    let pins = told.split_whitespace().last().map(PathBuf::from).context("no words")?;
    ensure!(told.contains("unloaded what one had left in /sys/fs/bpf/purser-"), "{told}");
    ensure!(!pins.exists(), "{} is still there", pins.display());
    ensure!(unload(&agent)?.contains("nothing of the store"), "unloaded twice");
    agent.is_unloaded();
    Ok(())
}

#[test]
fn removed_pins_are_told_within_seconds() -> Result<()> {
    let mut agent = Agent::start(OWN_CONTAINERS)?;
    let line = doctor_line(&agent, "agent")?.context("no line on the agent")?;
    let pins = text(&line, "/detail").rsplit(' ').next().map(PathBuf::from).context("no words")?;
    ensure!(pins.starts_with("/sys/fs/bpf"), "{line}");
    fs::remove_dir_all(&pins)?;
    let told = |documents: &[Value]| documents.iter().any(|one| text(one, "/event/action") == "pins_removed");
    agent.wait_for(&["--kind", "agent"], SEEN_LIMIT, told)?;
    ensure!(agent.said()?.contains("pins"), "{}", agent.said()?);
    let notice = doctor_line(&agent, "agent notice")?.context("doctor does not tell")?;
    ensure!(text(&notice, "/consequence").contains("as long as this agent runs"), "{notice}");
    agent.verify()?;
    agent.stop()
}

#[test]
fn idle_clients_of_the_socket_keep_nobody_out() -> Result<()> {
    let mut agent = Agent::start(OWN_CONTAINERS)?;
    let socket = agent.store().join("control.sock");
    let dial = |_| UnixStream::connect(&socket);
    let idle = (0..IDLE_CLIENTS).map(dial).collect::<std::io::Result<Vec<_>>>()?;
    let start = Instant::now();
    for _ in 0..5 {
        run(agent.command("stats").args(["-o", "json"]))?;
    }
    ensure!(start.elapsed() < SEEN_LIMIT, "five answers took {:?}", start.elapsed());
    drop(idle);
    sleep(Duration::from_millis(10));
    agent.stop()
}

fn doctor_line(agent: &Agent, name: &str) -> Result<Option<Value>> {
    // Its exit code tells of the host; here only the lines count.
    let printed = output(agent.command("doctor").args(["-o", "json"]))?.stdout;
    let lines: Vec<Value> =
        String::from_utf8(printed)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    Ok(lines.into_iter().find(|line| text(line, "/name") == name))
}
