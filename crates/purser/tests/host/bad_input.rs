// SPDX-License-Identifier: Apache-2.0
//! Wrong users, configurations, disks and arguments: each gets an answer that says what is wrong and
//! where, within a bounded time, and never a panic.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::agent::{Agent, OWN_CONTAINERS, purser};
use crate::disk::{Disk, fill};
use crate::lab::{Lab, run, temporary, unique, wait_limited};
use crate::load::{Faults, counts};
use crate::record::{is, strings};
use crate::restart::execute;

const ANSWER_LIMIT: Duration = Duration::from_secs(30);
const SEEN_LIMIT: Duration = Duration::from_secs(30);
const USAGE: i32 = 2;

/// How a command ended, and all it printed.
struct Answer {
    code: Option<i32>,
    said: String,
}

impl Answer {
    /// The command must refuse, in a message that has every one of `words`.
    fn refuses_with(&self, words: &[&str]) -> Result<()> {
        ensure!(self.code.is_some_and(|code| code != 0), "ended with {:?}: {}", self.code, self.said);
        for word in words {
            ensure!(self.said.contains(word), "no {word:?} in: {}", self.said);
        }
        Ok(())
    }
}

/// Runs to the end; a command that neither works nor gives up fails the test.
fn answer(command: &mut Command) -> Result<Answer> {
    let dir = TempDir::with_prefix_in("answer-", temporary())?;
    let path = dir.path().join("said");
    let said = fs::File::create(&path)?;
    let mut child = command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said).spawn()?;
    let status = wait_limited(&mut child, ANSWER_LIMIT)?;
    if status.is_none() {
        child.kill()?;
        child.wait()?;
    }
    let said = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
    let status = status.with_context(|| format!("{command:?} still ran after {ANSWER_LIMIT:?}: {said}"))?;
    ensure!(!said.contains("panicked"), "{command:?}: {said}");
    Ok(Answer { code: status.code(), said })
}

/// `purser run` with this configuration file and an empty store.
fn run_with_config(dir: &TempDir, config: &str) -> Result<Answer> {
    let path = dir.path().join("purser.toml");
    fs::write(&path, config)?;
    let store = dir.path().join("store");
    answer(purser().arg("run").arg("--config").arg(&path).arg("--store").arg(store))
}

fn scratch() -> Result<TempDir> {
    Ok(TempDir::with_prefix_in("bad-input-", temporary())?)
}

#[test]
fn not_root() -> Result<()> {
    let _lab = Lab::enter()?;
    // The build directory may be closed to others, so nobody gets a copy.
    let dir = TempDir::with_prefix("purser-test-")?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
    let copy = dir.path().join("purser");
    fs::copy(env!("CARGO_BIN_EXE_purser"), &copy)?;
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&copy);
    answer(command.args(["run", "--store", "/tmp/purser-test-never"]))?.refuses_with(&["root"])
}

#[test]
fn second_agent_on_one_store() -> Result<()> {
    let _lab = Lab::enter()?;
    let mut agent = Agent::start(OWN_CONTAINERS)?;
    let second = answer(agent.command("run").arg("--config").arg(agent.config()))?;
    second.refuses_with(&[&agent.store().display().to_string()])?;
    // The first one must not have noticed.
    agent.log(&[])?;
    agent.verify()?;
    agent.stop()
}

#[test]
fn corrupt_config_names_its_line() -> Result<()> {
    let _lab = Lab::enter()?;
    let dir = scratch()?;
    run_with_config(&dir, "[scope]\ninclude = [\"container\"]\nnames = [\"open\n")?
        .refuses_with(&["purser.toml:3:"])?;
    run_with_config(&dir, "[scope]\n\ninclude = 7\n")?.refuses_with(&[
        "purser.toml:3:",
        "scope.include",
        "expected a list",
    ])
}

#[test]
fn unknown_key_names_the_nearest() -> Result<()> {
    let _lab = Lab::enter()?;
    let dir = scratch()?;
    run_with_config(&dir, "[scope]\nincldue = [\"container\"]\n")?.refuses_with(&[
        "purser.toml:2:",
        "\"incldue\"",
        "\"include\"",
    ])
}

#[test]
fn world_writable_config() -> Result<()> {
    let _lab = Lab::enter()?;
    let dir = scratch()?;
    let path = dir.path().join("purser.toml");
    fs::write(&path, OWN_CONTAINERS)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
    run_with_config(&dir, OWN_CONTAINERS)?.refuses_with(&["purser.toml", "lets others write", "chmod"])
}

#[test]
fn read_only_store() -> Result<()> {
    let _lab = Lab::enter()?;
    let dir = scratch()?;
    let store = dir.path().join("store");
    let _disk = Disk::mount(&store, "ro,size=1m")?;
    run_with_config(&dir, OWN_CONTAINERS)?.refuses_with(&[&store.display().to_string()])
}

/// A full disk is no reason to stop recording for ever: the agent either refuses to start and names the
/// store, or runs on and says what it cannot keep.
#[test]
fn full_store() -> Result<()> {
    let _lab = Lab::enter()?;
    let dir = scratch()?;
    let store = dir.path().join("store");
    let _disk = Disk::mount(&store, "size=64k")?;
    fill(&store.join("filler"))?;
    let config = dir.path().join("purser.toml");
    fs::write(&config, OWN_CONTAINERS)?;
    let path = dir.path().join("said");
    let said = fs::File::create(&path)?;
    let mut command = purser();
    command.arg("run").arg("--config").arg(&config).arg("--store").arg(&store);
    let mut child = command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said).spawn()?;
    let ended = wait_limited(&mut child, Duration::from_secs(10))?;
    if ended.is_none() {
        crate::lab::signal(child.id(), "TERM")?;
        if wait_limited(&mut child, ANSWER_LIMIT)?.is_none() {
            child.kill()?;
            child.wait()?;
        }
    }
    let said = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
    ensure!(!said.contains("panicked"), "{said}");
    ensure!(ended.is_none_or(|status| !status.success()), "a success on a full disk: {said}");
    let full = ["space", "full"].iter().any(|word| said.contains(word));
    ensure!(full, "nothing about the full disk in: {said}");
    Ok(())
}

/// A disk that fills up under the agent: it says so, the records wait in the kernel, and all of them are
/// in the store once there is room again.
#[test]
fn a_disk_that_fills_up_loses_nothing() -> Result<()> {
    let lab = Lab::enter()?;
    let dir = scratch()?;
    let store = dir.path().join("store");
    let _disk = Disk::mount(&store, "size=24m,mode=700")?;
    let mut agent = Agent::start_on(&store, &format!("{OWN_CONTAINERS}[store]\ndisk_full = \"block\"\n"))?;
    let filler = store.join("filler");
    fill(&filler)?;
    let tag = unique("full");
    let tally = execute(&lab, &tag, 3000)?;
    let start = Instant::now();
    while !agent.said()?.contains("no space left") {
        ensure!(start.elapsed() < SEEN_LIMIT, "nothing about the full disk in: {}", agent.said()?);
        sleep(Duration::from_millis(50));
    }
    fs::remove_file(&filler)?;
    let all_there = |documents: &[_]| counts(&tag, documents).len() as u64 >= tally.done;
    let documents = agent.wait_for(&[], SEEN_LIMIT, all_there)?;
    ensure!(tally.faults(&documents) == Faults::default(), "{:?}", tally.faults(&documents));
    ensure!(agent.said()?.contains("room again"), "{}", agent.said()?);
    agent.verify()?;
    agent.stop()
}

#[test]
fn escape_sequences_stay_text() -> Result<()> {
    let lab = Lab::enter()?;
    let mut agent = Agent::start(OWN_CONTAINERS)?;
    let nasty = "\x1b[2J\x1b]0;owned\x07\u{9b}31m\nforged line\r\t\u{202e}";
    let name = unique("purser-test-escape");
    run(&mut lab.docker(&name, &[], &["/bin/true", nasty]))?;
    let there = |documents: &[serde_json::Value]| {
        documents
            .iter()
            .any(|document| is(document, "exec") && strings(document, "/process/args").contains(&nasty))
    };
    agent.wait_for(&[], SEEN_LIMIT, there)?;
    for word in ["log", "tree"] {
        let shown = run(&mut agent.command(word))?;
        let raw = shown.chars().find(|char| (char.is_control() && *char != '\n') || *char == '\u{202e}');
        ensure!(raw.is_none(), "purser {word} lets {raw:?} through: {shown:?}");
        let forged = shown.lines().any(|line| line.trim_start().starts_with("forged line"));
        ensure!(shown.contains("forged line") && !forged, "purser {word} breaks the line: {shown:?}");
    }
    agent.stop()
}

#[test]
fn unknown_arguments_are_usage_errors() -> Result<()> {
    let _lab = Lab::enter()?;
    for words in
        [&["--no-such-flag"][..], &["log", "--no-such-flag"], &["no-such-command"], &["log", "-o", "poem"]]
    {
        let answer = answer(purser().args(words))?;
        ensure!(answer.code == Some(USAGE), "{words:?} ended with {:?}: {}", answer.code, answer.said);
        ensure!(answer.said.contains(words[words.len() - 1]), "{words:?} is not named in: {}", answer.said);
    }
    Ok(())
}

#[test]
fn an_agent_whose_words_nobody_reads_goes_on() -> Result<()> {
    let _lab = Lab::enter()?;
    let dir = scratch()?;
    let (config, store) = (dir.path().join("purser.toml"), dir.path().join("store"));
    fs::write(&config, OWN_CONTAINERS)?;
    let mut agent = purser();
    agent.arg("run").arg("--config").arg(&config).arg("--store").arg(&store);
    let mut agent = agent.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let asks = |word: &str| answer(purser().arg(word).arg("--store").arg(&store));
    let start = Instant::now();
    while asks("stats")?.code != Some(0) {
        ensure!(start.elapsed() < SEEN_LIMIT, "the agent does not start");
        sleep(Duration::from_millis(50));
    }
    // Each refusal is told; together they are more than a pipe takes.
    fs::write(&config, format!("{} = 1\n", "x".repeat(2000)))?;
    for _ in 0..100 {
        asks("reload")?.refuses_with(&["unknown key"])?;
    }
    let answered = asks("stats")?;
    fs::write(&config, OWN_CONTAINERS)?;
    let stopped = answer(purser().args(["stop", "--unload", "--store"]).arg(&store))?;
    let ended = wait_limited(&mut agent, ANSWER_LIMIT)?;
    if ended.is_none() {
        agent.kill()?;
        agent.wait()?;
    }
    ensure!(answered.code == Some(0), "{}", answered.said);
    ensure!(stopped.code == Some(0) && ended.is_some(), "{ended:?}: {}", stopped.said);
    Ok(())
}
