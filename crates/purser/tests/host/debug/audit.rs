// SPDX-License-Identifier: Apache-2.0
//! A session in the record: who began it, each command, what the terminal showed, its end; and what the policy
//! forbids.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::terminal::Person;
use super::{Container, debug};
use crate::agent::Agent;
use crate::lab::{Lab, output, run};

const LIMIT: Duration = Duration::from_secs(20);

pub(super) fn agent(target: &Container, policy: &str) -> Result<Agent> {
    Agent::start(&format!("[scope]\nnames = [\"{}\"]\n{policy}", target.name))
}

/// `purser debug` with the agent's configuration.
pub(super) fn session(
    agent: &Agent,
    target: &Container,
    options: &[&str],
    command: &[&str],
) -> Result<std::process::Command> {
    let (config, store) = (agent.config().display().to_string(), agent.store().display().to_string());
    debug(&target.name, &[&["--config", &config, "--store", &store], options].concat(), command)
}

pub(super) fn of_sessions(agent: &Agent, enough: impl Fn(&[Value]) -> bool) -> Result<Vec<Value>> {
    agent.wait_for(&["--kind", "session,tty"], LIMIT, enough)
}

fn has(documents: &[Value], action: &str) -> bool {
    documents.iter().any(|document| document["event"]["action"] == action)
}

#[test]
fn a_session_is_recorded_with_all_it_ran() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("audit", &[])?;
    let mut agent = agent(&target, "")?;
    // With their paths, so that the shell does not run them without an exec.
    let script = "/dev/.purser/base/bin/id; exec /dev/.purser/base/bin/ls /password=hunter2";
    let command = ["sh", "-c", script];
    let options = ["--reason", "case 7", "--volume", "/usr:/mnt/usr:ro"];
    let ended = output(&mut session(&agent, &target, &options, &command)?)?;
    ensure!(ended.status.code() == Some(1), "{ended:?}");
    let told = of_sessions(&agent, |all| has(all, "session_end"))?;
    let (start, end) = (&told[0], &told[1]);
    ensure!(start["event"]["action"] == "session_start" && start["user"]["id"].is_string(), "{start}");
    let of = |document: &Value| document["purser"]["session"].clone();
    ensure!(of(start)["id"] == of(end)["id"] && of(start)["reason"] == "case 7", "{start} {end}");
    ensure!(of(start)["target"] == target.name && of(start)["kits"][0] == "base", "{start}");
    ensure!(of(start)["detail"] == "volumes /usr:/mnt/usr:ro", "{start}");
    ensure!(of(end)["exit_code"] == 1, "{end}");
    let id = start["container"]["id"].clone();
    // What ran in the session is the container's, although it does not count as such for the kernel.
    let execs = agent.wait_for(&["--kind", "exec"], LIMIT, |all| all.len() >= 3)?;
    for name in ["sh", "id", "ls"] {
        let is = |exec: &&Value| exec["process"]["args"][0].as_str().is_some_and(|arg| arg.ends_with(name));
        let ran = execs.iter().filter(is).any(|exec| exec["container"]["id"] == id);
        ensure!(ran, "{name} is not recorded as the container's: {execs:?}");
    }
    let whole = format!("{told:?}{execs:?}");
    ensure!(!whole.contains("hunter2"), "a secret reached the record");
    agent.verify()?;
    agent.stop()
}

#[test]
fn what_a_terminal_showed_can_be_played() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("replay", &[])?;
    let mut agent = agent(&target, "")?;
    let mut person = Person::at(session(&agent, &target, &[], &["sh"])?)?;
    person.sees("# ")?;
    person.types("echo seen-$((40+2))\n")?;
    person.sees("seen-42")?;
    // The agent is away for a moment; what is shown meanwhile comes later.
    agent.kill9()?;
    person.types("echo later-$((40+3))\n")?;
    person.sees("later-43")?;
    agent.start_again()?;
    // What is typed while the terminal does not show it is nowhere.
    person.types("stty -echo; echo now\n")?;
    person.sees("now")?;
    person.types("echo unseen >/dev/null; stty echo; exit 5\n")?;
    ensure!(person.ends()? == Some(5), "another exit code");
    let told = of_sessions(&agent, |all| has(all, "session_end"))?;
    let id = told[0]["purser"]["session"]["id"].as_str().unwrap_or_default().to_string();
    let played = run(agent.command("replay").args([&id[..4], "--speed", "1000"]))?;
    for shown in ["echo seen-$((40+2))", "seen-42", "later-43"] {
        ensure!(played.contains(shown), "{shown} is missing: {played:?}");
    }
    ensure!(!played.contains("unseen"), "what was not shown is recorded: {played:?}");
    let cast = run(agent.command("replay").args([&id, "--asciicast"]))?;
    let mut lines = cast.lines().map(serde_json::from_str::<Value>);
    let head = lines.next().unwrap()?;
    ensure!(head["version"] == 2 && head["width"] == 80 && head["height"] == 24, "{head}");
    let text: String = lines.filter_map(|line| Some(line.ok()?[2].as_str()?.to_string())).collect();
    // The shell asks the terminal where its cursor is, which playing does not.
    ensure!(text.contains("\x1b[6n"), "the cast has not all: {text:?}");
    ensure!(text.replace("\x1b[6n", "") == played, "the cast shows something else:\n{text:?}\n{played:?}");
    let list = run(&mut agent.command("replay"))?;
    ensure!(list.contains(&id) && list.contains("exit 5"), "{list}");
    agent.stop()
}

/// A secret comes a byte at a time, and then in two parts, split at each place.
#[test]
fn a_secret_in_pieces_is_replaced() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("pieces", &[])?;
    let mut agent = agent(&target, "")?;
    let mut person = Person::at(session(&agent, &target, &[], &["sh"])?)?;
    person.sees("# ")?;
    // Nothing that is typed holds it as a whole.
    person.types("a=PASS; b=WORD=secr; c=3tvalue9; s=$a$b$c; echo ok-$((6*7))\n")?;
    person.sees("ok-42")?;
    let slowly = "printf %s $s | busybox sed 's/./&\\n/g' | while read c; do printf %s $c; sleep 0.11; done; echo; echo ok-$((6*8))\n";
    person.types(slowly)?;
    person.sees("ok-48")?;
    let split = "for i in $(busybox seq 20); do printf %.${i}s $s; sleep 0.15; printf %s $s | busybox cut -c $((i+1))-; done; echo ok-$((6*9))\n";
    person.types(split)?;
    person.sees("ok-54")?;
    person.types("exit\n")?;
    person.ends()?;
    of_sessions(&agent, |all| has(all, "session_end"))?;
    let played =
        run(agent.command("replay").args(["--speed", "1000", "--idle", "0.01"]).arg(id_of(&agent)?))?;
    let found = played.matches("PASSWORD=[redacted:12]").count();
    ensure!(found == 21 && !played.contains("3tvalue9\r\n"), "{found} were replaced: {played}");
    ensure!(played.contains("ok-48") && played.contains("ok-54"), "{played}");
    agent.stop()
}

/// The one session of the record.
fn id_of(agent: &Agent) -> Result<String> {
    let told = agent.log(&["--kind", "session"])?;
    Ok(told[0]["purser"]["session"]["id"].as_str().unwrap_or_default().to_string())
}

const POLICY: &str = r#"
[debug]
require_record = true
[[debug.allow]]
name = "all"
targets = ["purser-test-debug-*"]
kits = ["base"]
capabilities = []
require_reason = true
volumes = ["/usr"]
max_time = "1s"
"#;

#[test]
fn what_is_not_allowed_is_refused_and_recorded() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("policy", &[])?;
    let mut agent = agent(&target, POLICY)?;
    let reason = ["--reason", "case 8"];
    for (options, why) in [
        (&[][..], "not without --reason"),
        (&["--reason", "x", "--privileged"], "not with --privileged"),
        (&["--reason", "x", "--cap-add", "SYS_PTRACE"], "not with capability SYS_PTRACE"),
        (&["--reason", "x", "--volume", "/etc:/x:ro"], "not with /etc of the host to be read"),
    ] {
        let refused = output(&mut session(&agent, &target, options, &["true"])?)?;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(refused.status.code() == Some(125) && said.contains(why), "{said}");
    }
    // By sudo the policy cannot be chosen, nor what a kit is.
    let mut by_sudo = session(&agent, &target, &reason, &["true"])?;
    let refused = output(by_sudo.env("SUDO_UID", "1000"))?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(2) && said.contains("not for who comes by sudo"), "{said}");
    let told = of_sessions(&agent, |all| all.len() == 4)?;
    ensure!(told.iter().all(|one| one["event"]["action"] == "session_refused"), "{told:?}");
    let begun = Instant::now();
    let allowed = [&reason[..], &["-v", "/usr/bin:ro"]].concat();
    let limited = output(&mut session(&agent, &target, &allowed, &["sleep", "100"])?)?;
    ensure!(limited.status.code() == Some(137) && begun.elapsed() < LIMIT, "{limited:?}");
    let told = of_sessions(&agent, |all| has(all, "session_end"))?;
    let detail = &told.last().unwrap()["purser"]["session"]["detail"];
    ensure!(detail == "its time was over", "{detail}");
    // Nobody records any more.
    let mut unrecorded = session(&agent, &target, &reason, &["true"])?;
    agent.stop()?;
    let refused = output(&mut unrecorded)?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(125) && said.contains("no session without a record"), "{said}");
    Ok(())
}
