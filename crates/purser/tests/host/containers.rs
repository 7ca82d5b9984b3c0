// SPDX-License-Identifier: Apache-2.0
//! A thousand containers that live for milliseconds, of several runtimes. The first program of each
//! must be in the record exactly once, with the right container.
//! PURSER_CONTAINERS sets how many (1,000).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::kill9::setting;
use crate::lab::{IMAGE, Lab, podman, run, temporary, unique};
use crate::record::{is, strings, text};

const CONTAINERS: u32 = 1000;
/// The slow runtimes take a share each; bare runc, 40 ms a container, takes the rest.
const OF_DOCKER: u32 = 20;
const OF_PODMAN: u32 = 10;
const OF_CTR: u32 = 10;
const WORKERS: u32 = 2;
const SEEN_LIMIT: Duration = Duration::from_secs(60);
const TARGET: &str = "/bin/load-target";

/// bare runc and `ctr` containers have no name, so their cgroups put them into the scope.
const SCOPE: &str = "[scope]\nnames = [\"purser-test-*\"]\ncgroups = [\"/purser-test*\"]\n";

/// A container that has run, and what the record must say of it.
struct Ran {
    number: u32,
    id: String,
    name: Option<String>,
}

#[test]
fn every_first_process_is_attributed() -> Result<()> {
    let lab = Lab::enter()?;
    let all = setting("PURSER_CONTAINERS", CONTAINERS)?;
    ensure!(all > OF_DOCKER + OF_PODMAN + OF_CTR, "PURSER_CONTAINERS must leave some for runc");
    let tag = unique("first");
    let mut agent = Agent::start(SCOPE)?;
    let ran = run_all(&lab, &tag, all)?;
    remove_left_by_ctr()?;

    let seen = |documents: &[Value]| ran.iter().all(|ran| wrong(ran, &tag, documents).is_none());
    let firsts = |agent: &Agent| agent.log(&["--kind", "exec"]);
    let documents = agent.wait_for(&["--kind", "exec"], SEEN_LIMIT, seen).or_else(|_| firsts(&agent))?;
    let wrong: Vec<String> = ran.iter().filter_map(|ran| wrong(ran, &tag, &documents)).collect();
    println!("{} containers, {} not attributed", ran.len(), wrong.len());
    ensure!(ran.len() == all as usize, "{} of {all} containers ran", ran.len());
    ensure!(wrong.is_empty(), "{wrong:#?}");
    agent.stop()
}

/// What is wrong with the record of one container; `None` when it is right.
fn wrong(ran: &Ran, tag: &str, documents: &[Value]) -> Option<String> {
    let number = ran.number.to_string();
    let wanted = [TARGET, tag, &number];
    let execs = documents.iter().filter(|document| is(document, "exec"));
    let mine: Vec<_> = execs.filter(|document| strings(document, "/process/args") == wanted).collect();
    let [document] = mine.as_slice() else {
        return Some(format!("container {} ({}) has {} first programs", ran.number, ran.id, mine.len()));
    };
    let (id, name) = (text(document, "/container/id"), text(document, "/container/name"));
    let right = id == ran.id && ran.name.as_deref().is_none_or(|wanted| wanted == name);
    (!right).then(|| format!("container {} is {} {:?}, not {id} {name:?}", ran.number, ran.id, ran.name))
}

fn run_all(lab: &Lab, tag: &str, all: u32) -> Result<Vec<Ran>> {
    let mut number = 0..all;
    let mut ran = Vec::new();
    for number in number.by_ref().take(OF_DOCKER as usize) {
        ran.push(run_docker(tag, number)?);
    }
    for number in number.by_ref().take(OF_PODMAN as usize) {
        ran.push(run_podman(lab, tag, number)?);
    }
    for number in number.by_ref().take(OF_CTR as usize) {
        ran.push(run_ctr(lab, tag, number)?);
    }
    let rest: Vec<u32> = number.collect();
    let share = rest.len().div_ceil(WORKERS as usize);
    thread::scope(|scope| {
        let workers: Vec<_> =
            rest.chunks(share).map(|numbers| scope.spawn(move || run_runc(lab, tag, numbers))).collect();
        for worker in workers {
            ran.extend(worker.join().map_err(|_| anyhow::anyhow!("a runc worker panicked"))??);
        }
        Ok(ran)
    })
}

fn run_docker(tag: &str, number: u32) -> Result<Ran> {
    let name = format!("purser-test-{tag}-{number}");
    let words = ["create", "--network", "none", "--name", &name, IMAGE, TARGET, tag, &number.to_string()];
    let id = run(Command::new("docker").args(words))?.trim().to_string();
    run(Command::new("docker").args(["start", "-a", &id]))?;
    run(Command::new("docker").args(["rm", &id]))?;
    Ok(Ran { number, id, name: Some(name) })
}

fn run_podman(lab: &Lab, tag: &str, number: u32) -> Result<Ran> {
    let name = format!("purser-test-{tag}-{number}");
    let mut create = podman();
    create.args(["create", "--network", "none", "--name", &name, "--rootfs"]).arg(lab.root());
    let id = run(create.args([TARGET, tag, &number.to_string()]))?.trim().to_string();
    run(podman().args(["start", "-a", &id]))?;
    run(podman().args(["rm", &id]))?;
    Ok(Ran { number, id, name: Some(name) })
}

fn ctr() -> Result<Command> {
    let sockets = ["/run/containerd/containerd.sock", "/var/run/docker/containerd/containerd.sock"];
    let socket = sockets.iter().find(|socket| Path::new(socket).exists()).context("no containerd socket")?;
    let mut ctr = Command::new("ctr");
    ctr.args(["-a", socket]);
    Ok(ctr)
}

fn run_ctr(lab: &Lab, tag: &str, number: u32) -> Result<Ran> {
    let id = format!("purser-test-{tag}-{number}");
    let mut ctr = ctr()?;
    ctr.args(["-n", "purser-test", "run", "--rm", "--rootfs"]).arg(lab.root());
    run(ctr.args([&id, TARGET, tag, &number.to_string()]))?;
    Ok(Ran { number, id, name: None })
}

/// Runs these containers one after the other from one bundle; several workers do so at once.
fn run_runc(lab: &Lab, tag: &str, numbers: &[u32]) -> Result<Vec<Ran>> {
    let first = numbers.first().context("no containers for runc")?;
    let bundle = temporary().join(format!("bundle-{tag}-{first}"));
    fs::create_dir_all(&bundle)?;
    run(Command::new("runc").arg("spec").current_dir(&bundle))?;
    let config = bundle.join("config.json");
    let mut spec: Value = serde_json::from_slice(&fs::read(&config)?)?;
    spec["process"]["terminal"] = json!(false);
    spec["root"] = json!({"path": lab.root(), "readonly": true});
    let mut ran = Vec::new();
    for &number in numbers {
        spec["process"]["args"] = json!([TARGET, tag, number.to_string()]);
        fs::write(&config, serde_json::to_vec(&spec)?)?;
        let id = format!("purser-test-{tag}-{number}");
        run(Command::new("runc").arg("run").arg("--bundle").arg(&bundle).arg(&id))?;
        ran.push(Ran { number, id, name: None });
    }
    fs::remove_dir_all(&bundle)?;
    Ok(ran)
}

/// `ctr` leaves its namespace behind, and the empty cgroup of it in every hierarchy.
fn remove_left_by_ctr() -> Result<()> {
    run(ctr()?.args(["namespaces", "remove", "purser-test"]))?;
    let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    let left: Vec<PathBuf> = hierarchies.map(|entry| entry.path().join("purser-test")).collect();
    left.iter().filter(|dir| dir.exists()).for_each(|dir| drop(fs::remove_dir(dir)));
    Ok(())
}
