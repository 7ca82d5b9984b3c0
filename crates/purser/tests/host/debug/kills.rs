// SPDX-License-Identifier: Apache-2.0
//! Client, keeper and agent die by SIGKILL at any point of a session's life. Nothing is left, the target runs
//! on, also when the session held it with a debugger, and each session that began has one end in the record.
//! PURSER_DEBUG_KILLS sets how often (200).

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::audit::{agent, of_sessions, session};
use super::{Container, debug, marks, nothing_is_left, printed, status, wait_until};
use crate::agent::Agent;
use crate::kill9::setting;
use crate::lab::{Lab, signal};

const KILLS: u32 = 200;
/// After so many kills it is the agent's turn, which is away while the session dies.
const AGENTS_TURN: u32 = 40;
/// The longest wait before a kill: a session has begun and forked by then.
const LATEST_US: u64 = 80_000;

/// Shells in the background, so that there is something to be left.
const SCRIPT: &str = "while :; do (sleep 1000 &) ; sleep 0.002; done";

#[derive(Clone, Copy, Debug)]
enum Victim {
    Client,
    Keeper,
    Both,
}

#[test]
fn kills_leave_nothing() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("kills", &[])?;
    let (processes, before) = (target.processes()?, marks());
    let mut agent = agent(&target, "")?;
    let kills = setting("PURSER_DEBUG_KILLS", KILLS)?;
    let mut late = 0;
    for kill in 0..kills {
        let victim = [Victim::Client, Victim::Keeper, Victim::Both][kill as usize % 3];
        let mut session = session(&agent, &target, &[], &["sh", "-c", SCRIPT])?
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        // Another point each time, from before the keeper starts to long after the program does.
        let point = Duration::from_micros(u64::from(kill) * 7919 % LATEST_US);
        let start = Instant::now();
        sleep(point);
        late += u32::from(target.processes()?.len() > processes.len());
        let with_agent = kill % AGENTS_TURN == AGENTS_TURN - 1;
        if with_agent {
            agent.kill9()?;
        }
        strike(&mut session, victim)?;
        if with_agent {
            agent.start_again()?;
        }
        let told = |error: anyhow::Error| error.context(format!("kill {kill}, {victim:?}, after {point:?}"));
        target.is_as_before(&processes).map_err(told)?;
        if matches!(victim, Victim::Both) {
            // Nobody is left to remove what is empty; the next client does.
            printed(&target.name, &[], &["true"])?;
        }
        nothing_is_left(&before).map_err(told)?;
        ensure!(start.elapsed() < Duration::from_secs(10), "it took {:?}", start.elapsed());
    }
    println!("{kills} kills, {late} of them when the session was in the target");
    each_has_one_end(&agent)?;
    agent.stop()?;
    ensure!(kills < 10 || late > kills / 4, "only {late} of {kills} kills came late enough");
    ensure!(target.changes()?.is_empty(), "{}", target.changes()?);
    Ok(())
}

/// Whoever could tell it is dead, so the agent tells the end itself; and nobody tells it twice.
fn each_has_one_end(agent: &Agent) -> Result<()> {
    let count = |documents: &[Value]| {
        let mut found: BTreeMap<String, (u32, u32)> = BTreeMap::new();
        for document in documents {
            let id = document["purser"]["session"]["id"].as_str().unwrap_or_default().to_owned();
            let (starts, ends) = found.entry(id).or_default();
            *starts += u32::from(document["event"]["action"] == "session_start");
            *ends += u32::from(document["event"]["action"] == "session_end");
        }
        found
    };
    let all_ended = |all: &[Value]| count(all).values().all(|(_, ends)| *ends > 0);
    let told = of_sessions(agent, all_ended).or_else(|_| agent.log(&["--kind", "session"]))?;
    // Whatever may come too late or twice has time for it.
    sleep(Duration::from_secs(3));
    let found = count(&agent.log(&["--kind", "session"])?);
    let wrong: Vec<_> = found.iter().filter(|(_, count)| **count != (1, 1)).collect();
    let of_wrong =
        |document: &&Value| wrong.iter().any(|(id, _)| document["purser"]["session"]["id"] == id.as_str());
    let of_wrong: Vec<&Value> = told.iter().filter(of_wrong).collect();
    ensure!(wrong.is_empty(), "starts and ends of sessions: {wrong:?} {of_wrong:?}");
    let killed = |end: &&Value| end["purser"]["session"]["detail"] == "its keeper was killed";
    let killed: Vec<&Value> = told.iter().filter(killed).collect();
    ensure!(killed.iter().all(|end| end["purser"]["session"]["exit_code"] == 137), "{killed:?}");
    ensure!(found.len() < 10 || !killed.is_empty(), "no end was told by the agent or a client");
    Ok(())
}

fn strike(session: &mut Child, victim: Victim) -> Result<()> {
    let keeper = child_of(session.id());
    match victim {
        Victim::Client => session.kill()?,
        Victim::Keeper => drop(keeper.map(|keeper| signal(keeper, "KILL"))),
        Victim::Both => {
            session.kill()?;
            drop(keeper.map(|keeper| signal(keeper, "KILL")));
        }
    }
    if keeper.is_none() {
        // Too early for a keeper.
        session.kill()?;
    }
    session.wait().map(drop).context("waiting for the client")
}

fn child_of(pid: u32) -> Option<u32> {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .ok()?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

/// A debugger that dies between stopping a process and hearing of it leaves it stopped; a session does not.
#[test]
fn no_target_stays_stopped() -> Result<()> {
    let _lab = Lab::enter()?;
    let target =
        Container::start("traced", &[], crate::lab::IMAGE, &["sh", "-c", "sleep 100000 & wait; sleep 1"])?;
    let processes = target.processes()?;
    for victim in [Victim::Client, Victim::Keeper] {
        let mut session = debug(&target.name, &["--cap-add", "SYS_PTRACE"], &["attach", "1"])?
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        wait_until("the target is stopped by the debugger", || {
            Ok(status(target.pid, "State").is_some_and(|state| state.starts_with(['t', 'T'])))
        })?;
        strike(&mut session, victim)?;
        wait_until("the target runs again", || {
            Ok(status(target.pid, "State").is_some_and(|state| state.starts_with('S')))
        })
        .with_context(|| format!("{victim:?} killed"))?;
        target.is_as_before(&processes)?;
    }
    Ok(())
}

/// Somebody in the target kills the warden: the client is told, and what the session ran is gone.
#[test]
fn a_killed_warden_is_told() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("warden", &[])?;
    let before = marks();
    let session =
        debug(&target.name, &[], &["sleep", "1000"])?.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut warden = None;
    wait_until("the program runs", || {
        // The client's child is the keeper, whose child made everything ready for the warden.
        warden = child_of(session.id()).and_then(child_of).and_then(child_of);
        Ok(warden.and_then(child_of).is_some_and(|program| {
            fs::read_to_string(format!("/proc/{program}/comm")).is_ok_and(|name| name == "sleep\n")
        }))
    })?;
    let program = warden.and_then(child_of).context("no program")?;
    signal(warden.context("no warden")?, "KILL")?;
    let output = session.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.code() == Some(137) && said.contains("the session was killed"),
        "{} {said}",
        output.status
    );
    // A first process that reaps nobody keeps it as a zombie; it does not run.
    let state = status(i32::try_from(program)?, "State");
    ensure!(state.as_ref().is_none_or(|state| state.starts_with('Z')), "the program is in state {state:?}");
    nothing_is_left(&before)
}

#[test]
fn an_ended_target_is_told() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("ended", &[])?;
    let before = marks();
    let session =
        debug(&target.name, &[], &["sleep", "1000"])?.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    wait_until("the session is in the target", || Ok(target.processes()?.len() >= 3))?;
    signal(u32::try_from(target.pid)?, "KILL")?;
    let output = session.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.code() == Some(137) && said.contains("the target ended"),
        "{} {said}",
        output.status
    );
    nothing_is_left(&before)
}

#[test]
fn a_signal_is_the_programs() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("signal", &[])?;
    let script = "trap 'exit 33' TERM; while :; do sleep 0.01; done";
    let session = debug(&target.name, &[], &["sh", "-c", script])?.stdin(Stdio::null()).spawn()?;
    wait_until("the session is in the target", || Ok(target.processes()?.len() >= 4))?;
    signal(session.id(), "TERM")?;
    let output = session.wait_with_output()?;
    ensure!(output.status.code() == Some(33), "{}", output.status);
    Ok(())
}

/// Whoever has another `/run`, and perhaps other processes, sees the cgroups of sessions and not their sockets.
#[test]
fn sessions_of_others_are_left_alone() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("others", &[])?;
    let script = "echo in; read line; exit 44";
    let mut session = debug(&target.name, &[], &["sh", "-c", script])?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    std::io::Read::read_exact(session.stdout.as_mut().context("no pipe")?, &mut [0; 3])?;
    for more in [&["-m"][..], &["-m", "-p", "-f", "--mount-proc"]] {
        let script = "mount -t tmpfs run /run && exec \"$@\"";
        let mut other = std::process::Command::new("unshare");
        other.args(more).args(["sh", "-c", script, "sh"]).arg(env!("CARGO_BIN_EXE_purser"));
        crate::lab::run(other.args(["debug", "sessions"]))?;
    }
    drop(session.stdin.take());
    let status = session.wait()?;
    ensure!(status.code() == Some(44), "{status}");
    Ok(())
}
