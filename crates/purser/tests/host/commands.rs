// SPDX-License-Identifier: Apache-2.0
//! Commands that need the kernel, as a shell sees them: their exit codes, and that nothing of what they
//! were to print is missing at their end.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::agent::{OWN_CONTAINERS, purser};
use crate::lab::{Lab, output, run, signal, temporary, unique, wait_limited};
use crate::record::text;

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn trace_gives_the_exit_codes_of_a_shell() -> Result<()> {
    let dir = TempDir::with_prefix_in("trace-", temporary())?;
    let plain = dir.path().join("plain");
    fs::write(&plain, "no program")?;
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o644))?;
    let plain = plain.display().to_string();
    for (command, code, word) in [
        (&["sh", "-c", "exit 7"][..], 7, ""),
        (&["/no/such/program"], 127, "starting /no/such/program: No such file"),
        (&[plain.as_str()], 126, "Permission denied"),
    ] {
        let output = output(purser().args(["trace", "--"]).args(command))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(code), "{command:?}: {}\n{said}", output.status);
        ensure!(said.contains(word) && !said.contains("as root"), "{command:?}: {said}");
    }
    Ok(())
}

/// The runtime's helper starts on the host and ends in the container: its end alone is a riddle.
#[test]
fn trace_shows_no_end_without_its_start() -> Result<()> {
    let lab = Lab::enter()?;
    let docker = lab.docker(&unique("purser-test-trace"), &[], &["sh", "-c", "ls /etc; true"]);
    let mut trace = purser();
    trace.args(["trace", "-o", "json", "--"]).arg(docker.get_program()).args(docker.get_args());
    let output = output(&mut trace)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{}\n{said}", output.status);
    let documents: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let ids = |action: &str| -> Vec<&str> {
        let of = documents.iter().filter(|one| text(one, "/event/action") == action);
        of.map(|one| text(one, "/process/entity_id")).collect()
    };
    let (started, ended) = (ids("exec"), ids("exit"));
    ensure!(documents.iter().any(|one| one.to_string().contains("/etc")), "no ls in {said}");
    ensure!(!ended.is_empty() && ended.iter().all(|one| started.contains(one)), "{said}");
    Ok(())
}

#[test]
fn run_with_follow_prints_everything_it_recorded() -> Result<()> {
    let lab = Lab::enter()?;
    let dir = TempDir::with_prefix_in("follow-", temporary())?;
    let (config, store) = (dir.path().join("purser.toml"), dir.path().join("store"));
    fs::write(&config, OWN_CONTAINERS)?;
    let printed = dir.path().join("printed");
    let said = dir.path().join("said");
    let mut command = purser();
    command.args(["run", "--follow", "-o", "json", "--config"]).arg(&config).arg("--store").arg(&store);
    command.stdin(Stdio::null()).stdout(fs::File::create(&printed)?).stderr(fs::File::create(&said)?);
    let mut agent = command.spawn()?;
    let start = Instant::now();
    while !fs::read_to_string(&said)?.contains("recording") {
        ensure!(start.elapsed() < LIMIT, "the agent does not record");
        std::thread::sleep(Duration::from_millis(20));
    }
    let loop_of_200 = "i=0; while [ $i -lt 200 ]; do /bin/true $i; i=$((i+1)); done";
    let done = run(&mut lab.docker(&unique("purser-test-follow"), &[], &["sh", "-c", loop_of_200]));
    // At once: what was recorded in the last moments is what used to be missing.
    signal(agent.id(), "TERM")?;
    let status = wait_limited(&mut agent, LIMIT)?.context("the agent does not stop")?;
    done?;
    ensure!(status.success(), "{status}\n{}", fs::read_to_string(&said)?);
    let stored =
        run(Command::new(env!("CARGO_BIN_EXE_purser")).args(["log", "-o", "json", "--store"]).arg(&store))?;
    // Following begins behind what the agent does at its start.
    let first = |line: &&str| line.contains("agent_start") || line.contains("process_running");
    let stored: Vec<&str> = stored.lines().skip_while(first).collect();
    let printed = fs::read_to_string(&printed)?;
    let printed: Vec<&str> = printed.lines().collect();
    ensure!(stored.len() > 400, "{} events", stored.len());
    ensure!(printed.len() == stored.len(), "{} printed of {}", printed.len(), stored.len());
    // Names of containers may come after the line was printed; the rest is the same.
    ensure!(printed.last().is_some_and(|line| line.contains("agent_stop")), "the last line is another");
    Ok(())
}
