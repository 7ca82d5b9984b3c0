// SPDX-License-Identifier: Apache-2.0
//! `type = "container"`: what containers of the real Docker print, through rotation, removal and SIGKILL
//! of the agent, and logs of pods in the kubelet's layout. Every line once.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::agent::{Agent, OWN_CONTAINERS, purser};
use crate::kill9::setting;
use crate::lab::{IMAGE, Lab, output, run, unique};

const LIMIT: Duration = Duration::from_secs(60);
/// Letters of the long line: Docker writes it in five parts.
const LONG: usize = 65_536;

fn config(keys: &str) -> String {
    format!("{OWN_CONTAINERS}[source.out]\ntype = \"container\"\nscan_every = \"1s\"\n{keys}\n")
}

/// A container that is removed with this value, when it was not before.
struct Removed(String);

impl Drop for Removed {
    fn drop(&mut self) {
        drop(output(Command::new("docker").args(["rm", "-f", &self.0])));
    }
}

fn start(name: &str, options: &[&str], script: &str) -> Result<Removed> {
    let mut docker = Command::new("docker");
    docker.args(["run", "-d", "--network", "none", "--name", name]).args(options);
    run(docker.args([IMAGE, "sh", "-c", script]))?;
    Ok(Removed(name.to_string()))
}

fn seen(documents: &[Value]) -> BTreeMap<(String, String), usize> {
    let mut seen = BTreeMap::new();
    for document in documents {
        let text = |key: &str| document[key].as_str().unwrap_or_default().to_string();
        *seen.entry((text("stream"), text("message"))).or_default() += 1;
    }
    seen
}

#[test]
fn lines_of_docker_come_once_while_the_agent_is_killed() -> Result<()> {
    let _lab = Lab::enter()?;
    let (name, lines) = (unique("purser-test-logs"), setting("PURSER_LOG_LINES", 20_000)?);
    let agent_config = config(&format!("names = [\"{name}\"]\nmax_line_bytes = \"1MiB\""));
    let mut agent = Agent::start(&agent_config)?;
    let script = format!(
        "s=x; n=0; while [ $n -lt 16 ]; do s=$s$s; n=$((n+1)); done; i=0; while [ $i -lt {lines} ]; do \
         echo \"line $i of the log\"; if [ $((i % 100)) = 0 ]; then echo \"error $i\" >&2; sleep 0.02; fi; \
         i=$((i+1)); done; echo $s; echo done"
    );
    let container = start(
        &name,
        &["--label", "tier=front", "--log-opt", "max-size=400k", "--log-opt", "max-file=30"],
        &script,
    )?;
    for kill in 0..setting("PURSER_KILLS", 5)? {
        sleep(Duration::from_millis(u64::from(kill * 137 % 700)));
        agent.kill9()?;
        sleep(Duration::from_millis(u64::from(kill * 53 % 300)));
        agent.start_again()?;
    }
    run(Command::new("docker").args(["wait", &name]))?;
    drop(container);
    let wanted = lines as usize + (lines as usize).div_ceil(100) + 2;
    let documents = agent.wait_for(&["--kind", "line"], LIMIT, |documents| documents.len() >= wanted)?;
    // Time for what should not come.
    sleep(Duration::from_secs(2));
    let documents = agent.log(&["--kind", "line"]).unwrap_or(documents);
    let seen = seen(&documents);
    let is_there = |stream: &str, text: String| seen.get(&(stream.to_string(), text)) == Some(&1);
    let lost = (0..lines).filter(|number| !is_there("stdout", format!("line {number} of the log"))).count();
    let errors =
        (0..lines).step_by(100).filter(|number| !is_there("stderr", format!("error {number}"))).count();
    println!("{lines} lines: {lost} and {errors} not there once, {} documents", documents.len());
    ensure!((lost, errors) == (0, 0), "{lost} and {errors} lost or twice");
    ensure!(is_there("stdout", "x".repeat(LONG)) && is_there("stdout", "done".to_string()), "the last lines");
    ensure!(documents.len() == wanted, "{} documents, wanted {wanted}", documents.len());
    for document in [&documents[0], documents.last().context("the last")?] {
        let container = &document["container"];
        ensure!(container["name"] == name.as_str() && container["labels"]["tier"] == "front", "{document}");
        ensure!(document["@timestamp"].as_str() < document["event"]["created"].as_str(), "{document}");
        ensure!(document["purser"]["source"] == "out" && document["error"].is_null(), "{document}");
    }
    let files = documents.iter().filter_map(|document| document["log"]["file"]["inode"].as_str());
    let files = files.collect::<std::collections::BTreeSet<_>>().len();
    ensure!(files > 3 || lines < 20_000, "Docker has hardly rotated: {files} files");
    agent.verify()?;
    agent.stop()
}

#[test]
fn a_log_driver_that_keeps_no_file_is_told_once() -> Result<()> {
    let lab = Lab::enter()?;
    let (mute, short) = (unique("purser-test-mute"), unique("purser-test-short"));
    let keys = format!("names = [\"{mute}\", \"{short}\"]\nstreams = \"stdout\"");
    let mut agent = Agent::start(&config(&keys))?;
    let container = start(&mute, &["--log-driver", "none"], "sleep 60")?;
    // Read although it is there for a moment only.
    run(&mut lab.docker(&short, &[], &["sh", "-c", "echo first; echo second >&2; echo third; sleep 1"]))?;
    let documents = agent.wait_for(&["--kind", "line"], LIMIT, |documents| documents.len() >= 2)?;
    let texts: Vec<_> = documents.iter().filter_map(|document| document["message"].as_str()).collect();
    ensure!(texts == ["first", "third"], "{texts:?}");
    let told = |documents: &[Value]| {
        let messages = documents.iter().filter_map(|document| document["message"].as_str());
        messages.filter(|message| message.contains(&mute) && message.contains("\"none\"")).count()
    };
    let documents = agent.wait_for(&["--kind", "agent"], LIMIT, |documents| told(documents) > 0)?;
    ensure!(documents.iter().any(|document| document["event"]["action"] == "source_unread"), "{documents:?}");
    sleep(Duration::from_secs(3));
    ensure!(told(&agent.log(&["--kind", "agent"])?) == 1, "told more than once");
    let listed = run(purser().args(["source", "ls", "-o", "json", "--store"]).arg(agent.store()))?;
    let listed: Value = serde_json::from_str(listed.trim())?;
    ensure!(listed["name"] == "out" && listed["type"] == "container" && listed["lines"] == 2, "{listed}");
    ensure!(listed["unread"][0]["container"] == mute.as_str() && listed["errors"] == 0, "{listed}");
    drop(container);
    agent.stop()
}

#[test]
fn lines_of_pods_come_once_and_whole() -> Result<()> {
    let _lab = Lab::enter()?;
    let dir = tempfile::tempdir()?;
    let (links, logs) = (dir.path().join("containers"), dir.path().join("pods/shop_web-7f_0f1e-22/app"));
    fs::create_dir_all(&links)?;
    fs::create_dir_all(&logs)?;
    let id = "7c".repeat(32);
    let keys = format!("pod_logs = \"{}\"\nlabels = [\"io.kubernetes.pod.namespace=shop\"]", links.display());
    let mut agent = Agent::start(&config(&keys))?;
    let live = logs.join("0.log");
    fs::write(&live, "")?;
    symlink(&live, links.join(format!("web-7f_shop_app-{id}.log")))?;
    let count = 3_000;
    for number in 0..count {
        let mut file = OpenOptions::new().create(true).append(true).open(&live)?;
        // Parts of one output with a line of the other between them.
        let time = format!("2026-01-31T07:00:00.{number:09}Z");
        write!(
            file,
            "{time} stdout P line {number} \n{time} stderr F error {number}\n{time} stdout F ends\n"
        )?;
        if number % 500 == 499 {
            fs::rename(&live, logs.join(format!("0.log.20260131-{number:06}")))?;
        }
        if number % 1_000 == 250 {
            agent.kill9()?;
            agent.start_again()?;
        }
    }
    let wanted = 2 * count;
    let documents = agent.wait_for(&["--kind", "line"], LIMIT, |documents| documents.len() >= wanted)?;
    sleep(Duration::from_secs(2));
    let documents = agent.log(&["--kind", "line"]).unwrap_or(documents);
    let listed = run(purser().args(["source", "ls", "-o", "json", "--store"]).arg(agent.store()))?;
    let listed: Value = serde_json::from_str(listed.trim())?;
    let files = listed["followed"].as_array().context("the files")?;
    ensure!(files.len() == 6 && listed["lag_bytes"] == 0, "{listed}");
    ensure!(
        files.iter().all(|file| file["container"] == id.as_str() && file["position"] == file["size"]),
        "{listed}"
    );
    let seen = seen(&documents);
    let is_there = |stream: &str, text: String| seen.get(&(stream.to_string(), text)) == Some(&1);
    let wrong = (0..count)
        .filter(|number| {
            !is_there("stdout", format!("line {number} ends"))
                || !is_there("stderr", format!("error {number}"))
        })
        .count();
    ensure!((wrong, documents.len()) == (0, wanted), "{wrong} wrong of {}", documents.len());
    let first = &documents[0];
    ensure!(first["@timestamp"] == "2026-01-31T07:00:00.000000000Z", "{first}");
    ensure!(first["container"]["id"] == id.as_str() && first["container"]["name"] == "app", "{first}");
    let orchestrator = &first["orchestrator"];
    ensure!(orchestrator["namespace"] == "shop" && orchestrator["resource"]["name"] == "web-7f", "{first}");
    agent.stop()
}
