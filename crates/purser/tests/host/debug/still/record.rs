// SPDX-License-Identifier: Apache-2.0
//! Sessions in what does not run, in the record and under a policy: under which name, with all that ran, and what is
//! refused to whom.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::super::audit::of_sessions;
use super::super::sudo::Host;
use super::super::terminal::Person;
use super::super::{Container, debug};
use super::Stopped;
use crate::agent::Agent;
use crate::lab::{IMAGE, Lab, output, run};

const LIMIT: std::time::Duration = std::time::Duration::from_secs(20);

fn session(agent: &Agent, word: &str, options: &[&str], command: &[&str]) -> Result<Command> {
    let (config, store) = (agent.config().display().to_string(), agent.store().display().to_string());
    debug(word, &[&["--config", &config, "--store", &store], options].concat(), command)
}

fn ends(all: &[Value]) -> Vec<&Value> {
    all.iter().filter(|one| one["event"]["action"] == "session_end").collect()
}

#[test]
fn all_that_ran_is_in_the_record_by_name() -> Result<()> {
    let _lab = Lab::enter()?;
    let mut stopped = Stopped::after("record", &[], IMAGE, "true")?;
    let image = stopped.commit(&[])?;
    let running = Container::idle("recordcopy", &[])?;
    let dir = tempfile::tempdir()?;
    let at = |name: &str| dir.path().join(name).display().to_string();
    run(Command::new("docker").args(["export", "-o", &at("tree.tar"), &stopped.name]))?;
    run(Command::new("docker").args(["save", "-o", &at("saved.tar"), &image]))?;
    // Of images nobody knows whether they are in a scope by names.
    let mut agent =
        Agent::start(&format!("[scope]\nnames = [\"{}\", \"{}\"]\n", stopped.name, running.name))?;
    let mut ids = BTreeSet::new();
    let targets = [
        (stopped.name.clone(), stopped.name.clone(), &[][..]),
        (running.name.clone(), running.name.clone(), &["--scratch"]),
        (format!("image:{}", image.replace(":1", "")), format!("image:{image}"), &[]),
        (format!("archive:{}", at("tree.tar")), format!("archive:{}", at("tree.tar")), &[]),
        (format!("archive:{}", at("saved.tar")), format!("archive:{}", at("saved.tar")), &[]),
    ];
    for (number, (word, name, options)) in targets.iter().enumerate() {
        // With their paths, so that the shell does not run them without an exec.
        let script = format!("/dev/.purser/base/bin/id; exec /dev/.purser/base/bin/ls /none-{number}");
        let options = [&["--reason", "case 9"], *options].concat();
        let ended = output(&mut session(&agent, word, &options, &["sh", "-c", &script])?)?;
        ensure!(ended.status.code() == Some(1), "{word}: {ended:?}");
        let told = of_sessions(&agent, |all| ends(all).len() == number + 1)?;
        let (start, end) = (&told[number * 2], &told[number * 2 + 1]);
        let of = |document: &Value| document["purser"]["session"].clone();
        ensure!(start["event"]["action"] == "session_start" && start["user"]["id"].is_string(), "{start}");
        ensure!(of(start)["reason"] == "case 9" && of(start)["kits"][0] == "base", "{start}");
        ensure!(start["purser"]["capabilities"].as_str().is_some_and(|bits| bits.contains('4')), "{start}");
        ensure!(of(end)["id"] == of(start)["id"] && of(end)["exit_code"] == 1, "{end}");
        ensure!(of(start)["target"] == name.as_str(), "{name}: {start}");
        let id = start["container"]["id"].as_str().context("no container")?.to_owned();
        let last = format!("/none-{number}");
        let execs = agent.wait_for(&["--kind", "exec", "--container", &id], LIMIT, |all| {
            all.iter().any(|exec| exec["process"]["args"][1] == last.as_str())
        })?;
        let ran = |program: &str| {
            execs.iter().filter(|exec| exec["process"]["args"][0] == program).any(|exec| {
                exec["container"]["id"] == id.as_str() && exec["container"]["name"] == name.as_str()
            })
        };
        for program in ["/dev/.purser/base/bin/id", "/dev/.purser/base/bin/ls"] {
            ensure!(ran(program), "{program} is not recorded as of {name}: {execs:?}");
        }
        let lines = run(agent.command("log").args(["--container", name]))?;
        for shown in ["began session", &last, "ended session", "case 9"] {
            ensure!(lines.contains(shown), "{name}: {shown} is not in\n{lines}");
        }
        ids.insert(id);
    }
    ensure!(ids.len() == targets.len(), "two of them are one: {ids:?}");
    let list = run(&mut agent.command("replay"))?;
    for (_, name, _) in &targets[2..] {
        ensure!(list.contains(name.as_str()), "{name} is not in\n{list}");
    }
    shown_and_played(&mut agent, &format!("image:{image}"), targets.len())?;
    agent.verify()?;
    agent.stop()
}

/// What a terminal in there shows; and that the agent still knows the name after a restart.
fn shown_and_played(agent: &mut Agent, word: &str, sessions: usize) -> Result<()> {
    let mut person = Person::at(session(agent, word, &[], &["sh"])?)?;
    person.sees("# ")?;
    person.types("echo seen-$((40+2))\n")?;
    person.sees("seen-42")?;
    agent.kill9()?;
    agent.start_again()?;
    person.types("/dev/.purser/base/bin/ls /again; exit 5\n")?;
    ensure!(person.ends()? == Some(5));
    let told = of_sessions(agent, |all| ends(all).len() == sessions + 1)?;
    let id = ends(&told).last().context("no end")?["purser"]["session"]["id"].as_str().map(str::to_owned);
    let played = run(agent.command("replay").args([&id.context("no id")?, "--speed", "1000"]))?;
    ensure!(played.contains("seen-42"), "{played:?}");
    agent.wait_for(&["--kind", "exec", "--container", word], LIMIT, |all| {
        all.iter().any(|exec| exec["process"]["args"][1] == "/again")
    })?;
    Ok(())
}

#[test]
fn a_policy_knows_images_and_archives() -> Result<()> {
    let lab = Lab::enter()?;
    let mut stopped = Stopped::after("policy", &[], IMAGE, "true")?;
    let image = stopped.commit(&[])?;
    let policy = format!(
        "[[debug.allow]]\nname = \"by image\"\nimages = [\"{IMAGE}\"]\ncapabilities = []\n\
         [[debug.allow]]\nname = \"by name\"\ntargets = [\"image:purser-test-still-*\"]\nkits = [\"base\"]\n\
         require_reason = true\nmax_time = \"1s\"\n"
    );
    let mut agent = Agent::start(&policy)?;
    // The container is of that image, too; --scratch of it changes nothing about that.
    for (word, options) in [
        (format!("image:{IMAGE}"), &[][..]),
        (stopped.name.clone(), &[]),
        (stopped.name.clone(), &["--scratch"]),
        (format!("image:{image}"), &["--reason", "x"]),
    ] {
        let ended = output(&mut session(&agent, &word, options, &["true"])?)?;
        ensure!(ended.status.success(), "{word}: {ended:?}");
    }
    let limited = format!("image:{image}");
    let ended = output(&mut session(&agent, &limited, &["--reason", "x"], &["sleep", "100"])?)?;
    ensure!(ended.status.code() == Some(137), "{ended:?}");
    let archive = format!("archive:{}", lab.root().display());
    let refusals = [
        (&limited, &[][..], "by name: not without --reason"),
        (&limited, &["--reason", "x", "--cap-add", "SYS_PTRACE"], ""),
        (&stopped.name, &["--cap-add", "SYS_PTRACE"], "by image: not with capability SYS_PTRACE"),
        (&stopped.name, &["--privileged"], "by image: not with --privileged"),
        (&archive, &["--reason", "x"], "no container that you may debug is called \"archive:"),
    ];
    let mut refused = Vec::new();
    for (word, options, why) in refusals {
        let ended = output(&mut session(&agent, word, options, &["true"])?)?;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        if why.is_empty() {
            // The entry says nothing of capabilities.
            ensure!(ended.status.success(), "{word}: {said}");
            continue;
        }
        ensure!(ended.status.code() == Some(125) && said.contains(why), "{word} {options:?}: {said}");
        refused.push(word.clone());
    }
    let is_refused = |one: &&Value| one["event"]["action"] == "session_refused";
    let told = of_sessions(&agent, |all| all.iter().filter(is_refused).count() == refused.len())?;
    let told: Vec<&Value> = told.iter().filter(is_refused).collect();
    for (one, word) in told.iter().zip(&refused) {
        ensure!(one["purser"]["session"]["target"] == word.as_str(), "{word}: {one}");
    }
    agent.stop()
}

/// A store of Podman's with one image in it, which has no file but `/own`.
fn store(home: &Path, name: &str) -> Result<()> {
    let root = home.join(".local/share/containers/storage");
    let (id, layers) = ("b".repeat(64), root.join("overlay-layers"));
    let images = root.join("overlay-images");
    fs::create_dir_all(images.join(&id))?;
    fs::create_dir_all(&layers)?;
    fs::create_dir_all(root.join("overlay/one/diff"))?;
    fs::write(root.join("overlay/one/diff/own"), "of a user")?;
    fs::write(images.join("images.json"), format!(r#"[{{"id":"{id}","names":["{name}"],"layer":"one"}}]"#))?;
    let key = run(Command::new("sh").args(["-c", &format!("printf sha256:{id} | base64 -w 0")]))?;
    fs::write(images.join(&id).join(format!("={key}")), r#"{"config":{}}"#)?;
    Ok(fs::write(layers.join("layers.json"), r#"[{"id":"one"}]"#)?)
}

#[test]
fn who_comes_by_sudo_sees_no_image_of_a_user() -> Result<()> {
    const ANN: &str = "54713";
    let lab = Lab::enter()?;
    let mut stopped = Stopped::after("sudo", &[], IMAGE, "true")?;
    let image = stopped.commit(&[])?;
    let mut agent = Agent::start("")?;
    let policy = "[[debug.allow]]\nname = \"ann\"\nusers = [\"ann-of-test\"]\n\
        targets = [\"image:*\", \"archive:*\"]\n[[debug.allow]]\nname = \"root\"\nusers = [\"root\"]\n";
    let host = Host::with(&agent, policy)?;
    let home = tempfile::tempdir()?;
    store(home.path(), "localhost/of-ann:1")?;
    let users = fs::read_to_string("/etc/passwd")?;
    host.write("passwd", &format!("{users}ann-of-test:x:{ANN}:{ANN}::{}:/bin/sh\n", home.path().display()))?;
    let own = ["image:of-ann:1", "--", "cat", "/own"];
    let (code, told) = host.said("0", &own)?;
    ensure!(code == Some(0) && told == "of a user", "root: {code:?} {told}");
    let (code, told) = host.said(ANN, &own)?;
    ensure!(code == Some(125) && told.contains("no image on this host is called"), "{code:?} {told}");
    ensure!(!told.contains("localhost/of-ann"), "it is among the candidates: {told}");
    let (code, told) = host.said(ANN, &[&format!("image:{image}"), "--", "id", "-u"])?;
    ensure!(code == Some(0) && told == "0\n", "{code:?} {told}");
    // A stopped container is no image, and not this one's.
    let (code, _) = host.said(ANN, &[&stopped.name, "--", "true"])?;
    ensure!(code == Some(125));
    let archive = format!("archive:{}", lab.root().display());
    let core = home.path().join("core");
    fs::write(&core, "")?;
    chown(&core, Some(ANN.parse()?), None)?;
    let core = core.display().to_string();
    for words in [
        &[archive.as_str(), "--", "true"][..],
        &["--core", &core, "--in", &archive, "--", "true"],
        &["--core", &core, "--in", "runc:/tmp/x", "--", "true"],
    ] {
        let (code, told) = host.said(ANN, words)?;
        ensure!(code == Some(2) && told.contains("not for who comes by sudo"), "{words:?}: {code:?} {told}");
    }
    let told = of_sessions(&agent, |all| {
        all.iter().any(|one| one["event"]["action"] == "session_refused") && ends(all).len() == 2
    })?;
    let refused = told.iter().find(|one| one["event"]["action"] == "session_refused").context("none")?;
    ensure!(refused["user"]["id"] == ANN && refused["purser"]["session"]["target"] == stopped.name.as_str());
    agent.stop()
}
