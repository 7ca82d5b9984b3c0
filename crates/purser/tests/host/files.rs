// SPDX-License-Identifier: Apache-2.0
//! `[source.NAME]`: numbered lines are written, rotated and cut into while the agent dies by SIGKILL
//! again and again. Every line must be in the store, and none twice.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::agent::{Agent, OWN_CONTAINERS};
use crate::kill9::setting;
use crate::lab::Lab;

const LIMIT: Duration = Duration::from_secs(60);
/// Lines between two rotations.
const ROTATE: u64 = 400;

/// Writes numbered lines until it is told to end, and says how many.
fn writer(dir: PathBuf, stop: Arc<AtomicBool>) -> JoinHandle<Result<u64>> {
    spawn(move || {
        let path = dir.join("app.log");
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            // In two pieces: the reader meets lines without an end.
            write!(file, "line {number:09}")?;
            if number % 16 == 0 {
                sleep(Duration::from_millis(1));
            }
            writeln!(file, " written")?;
            number += 1;
            if number % ROTATE == 0 {
                fs::rename(&path, dir.join(format!("app.log.{}", number / ROTATE)))?;
                file = OpenOptions::new().create(true).append(true).open(&path)?;
            }
        }
        Ok(number)
    })
}

fn lines(documents: &[Value]) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    for message in documents.iter().filter_map(|document| document["message"].as_str()) {
        *seen.entry(message.to_string()).or_default() += 1;
    }
    seen
}

fn config(dir: &Path) -> String {
    format!("{OWN_CONTAINERS}[source.app]\ntype = \"file\"\npaths = [\"{}/app.log*\"]\n", dir.display())
}

#[test]
fn lines_come_once_while_the_agent_is_killed() -> Result<()> {
    let _lab = Lab::enter()?;
    let kills = setting("PURSER_KILLS", 20)?;
    let dir = tempfile::tempdir()?;
    let mut agent = Agent::start(&config(dir.path()))?;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = writer(dir.path().to_path_buf(), Arc::clone(&stop));
    for kill in 0..kills {
        sleep(Duration::from_millis(u64::from(kill * 37 % 400)));
        agent.kill9()?;
        sleep(Duration::from_millis(u64::from(kill * 53 % 100)));
        agent.start_again()?;
    }
    stop.store(true, Ordering::Relaxed);
    let written = writer.join().expect("the writer does not panic")?;
    let all_there = |documents: &[Value]| lines(documents).len() as u64 >= written;
    let documents = agent.wait_for(&["--kind", "line"], LIMIT, all_there)?;
    // Time for what should not come.
    sleep(Duration::from_secs(3));
    let documents = agent.log(&["--kind", "line"]).unwrap_or(documents);
    let seen = lines(&documents);
    let twice = seen.values().filter(|times| **times > 1).count();
    let lost = (0..written).filter(|number| !seen.contains_key(&format!("line {number:09} written"))).count();
    println!(
        "{kills} kills, {written} lines: {lost} lost, {twice} twice, {} others",
        seen.len() as u64 - written
    );
    ensure!(written > u64::from(kills) * 10, "the writer hardly ran: {written}");
    ensure!((lost, twice, seen.len() as u64) == (0, 0, written), "{lost} lost, {twice} twice");
    agent.verify()?;
    agent.stop()
}

#[test]
fn json_stands_where_the_configuration_says() -> Result<()> {
    let _lab = Lab::enter()?;
    let dir = tempfile::tempdir()?;
    let json = "json = { keys_under_root = true, add_error_key = true, message_key = \"log\" }\n";
    let mut agent = Agent::start(&(config(dir.path()) + json))?;
    fs::write(
        dir.path().join("app.log"),
        "{\"log\":\"hello\",\"level\":\"warn\",\"host\":{\"name\":\"x\"}}\nplain\n",
    )?;
    let documents = agent.wait_for(&["--kind", "line"], LIMIT, |documents| documents.len() >= 2)?;
    ensure!(documents[0]["message"] == "hello" && documents[0]["level"] == "warn", "{}", documents[0]);
    ensure!(
        documents[0]["host"]["name"] != "x" && documents[0]["json"]["host"]["name"] == "x",
        "{}",
        documents[0]
    );
    ensure!(
        documents[0]["log"]["offset"] == 0 && documents[0]["purser"]["source"] == "app",
        "{}",
        documents[0]
    );
    ensure!(
        documents[1]["message"] == "plain" && documents[1]["error"]["type"] == "json",
        "{}",
        documents[1]
    );
    agent.stop()
}

#[test]
fn secrets_in_lines_do_not_reach_the_store() -> Result<()> {
    let _lab = Lab::enter()?;
    let dir = tempfile::tempdir()?;
    let other = format!(
        "[source.plain]\ntype = \"file\"\npaths = [\"{}/plain.log\"]\nredact = false\n",
        dir.path().display()
    );
    let json = "json = {}\n";
    let mut agent = Agent::start(&(config(dir.path()) + json + &other))?;
    fs::write(dir.path().join("plain.log"), "password=kept-as-it-is\n")?;
    fs::write(
        dir.path().join("app.log"),
        "login password=never-stored1 done\n{\"db\":{\"password\":\"never-stored2\"},\"n\":1}\n",
    )?;
    let documents = agent.wait_for(&["--kind", "line"], LIMIT, |documents| documents.len() >= 3)?;
    let found = |text: &str| documents.iter().find(|document| document.to_string().contains(text));
    let first = found("login").context("the first line")?;
    ensure!(
        first["message"] == "login password=[redacted:13] done" && first["purser"]["redacted"] == 1,
        "{first}"
    );
    let second = found("\"n\":1").context("the second line")?;
    ensure!(second["json"]["db"]["password"] == "[redacted:13]", "{second}");
    ensure!(found("kept-as-it-is").is_some() && found("never-stored").is_none(), "{documents:?}");
    agent.stop()
}
