// SPDX-License-Identifier: Apache-2.0
//! Rules change a thousand times while numbered programs run as two users. What falls to a `count` or an
//! `ignore` rule is counted for the rule and not recorded, so that both sums are known exactly; the
//! container's own counter holds what was recorded or fell to `count`.
//! PURSER_SWAPS sets how many changes (1,000).

use std::collections::HashMap;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::agent::{Agent, OWN_CONTAINERS, purser};
use crate::kill9::setting;
use crate::lab::{Lab, run, signal, unique};
use crate::load::{Load, Tally, counts};
use crate::record::{number, strings, text};

const SWAPS: u32 = 1000;
const RELOADS: u32 = 50;
const RATE: u32 = 300;
const SEEN_LIMIT: Duration = Duration::from_secs(60);

/// The users of the file's two rules. A rule added at run time is asked before these: it lets one or the
/// other user into the record.
const COUNTED: u32 = 3001;
const IGNORED: u32 = 3002;

fn config() -> String {
    let rules = format!(
        "[[rule]]\nname = \"counted\"\nuid = {COUNTED}\naction = \"count\"\n\
         [[rule]]\nname = \"ignored\"\nuid = {IGNORED}\naction = \"ignore\"\n"
    );
    format!("{OWN_CONTAINERS}{rules}")
}

/// The file's rules behind one that lets a user into the record.
fn config_with(uid: u32) -> String {
    let first = format!("[[rule]]\nname = \"swap\"\nuid = {uid}\naction = \"record\"\n[[rule]]");
    config().replacen("[[rule]]", &first, 1)
}

#[test]
fn swaps_by_command_add_up() -> Result<()> {
    let swaps = setting("PURSER_SWAPS", SWAPS)?;
    under_load("swap", |agent| {
        for swap in 0..swaps.div_ceil(2) {
            let uid = if swap % 2 == 0 { COUNTED } else { IGNORED };
            let add = ["--name", "swap", "--action", "record", "--uid", &uid.to_string()];
            run(rule(agent, "add").args(add))?;
            run(rule(agent, "rm").arg("swap"))?;
        }
        Ok(())
    })
}

#[test]
fn swaps_by_reload_add_up() -> Result<()> {
    under_load("reload", |agent| {
        for reload in 0..RELOADS {
            let config = match reload % 3 {
                0 => config_with(COUNTED),
                1 => config_with(IGNORED),
                _ => config(),
            };
            agent.write_config(&config)?;
            signal(agent.pid()?, "HUP")?;
            sleep(Duration::from_millis(50)); // a reload is not acknowledged; most are done by then
        }
        Ok(())
    })
}

fn rule(agent: &Agent, word: &str) -> Command {
    let mut command = purser();
    command.args(["rule", word, "--store"]).arg(agent.store());
    command
}

/// Runs `swap` while two users execute, then compares the record and the rules' counts with what was done.
fn under_load(word: &str, swap: impl Fn(&Agent) -> Result<()>) -> Result<()> {
    let lab = Lab::enter()?;
    let mut agent = Agent::start(&config())?;
    let start = |word: &str, uid| {
        let tag = unique(word);
        Load::start(&lab, &format!("purser-test-{tag}"), RATE, &tag, Some(uid))
    };
    let counted = start(&format!("{word}-counted"), COUNTED)?;
    let ignored = start(&format!("{word}-ignored"), IGNORED)?;
    wait_for_hits(&agent)?;
    swap(&agent)?;
    let (counted, ignored) = (counted.end()?, ignored.end()?);
    // Counters of containers are forgotten some time after their end, those of rules are not.
    let execs = stats(&agent)?;
    let (documents, hits) = settled(&agent, &counted, "counted")?;
    check(&counted, &documents, hits)?;
    let recorded = of_container(&counted, &documents)?;
    ensure!(execs.get(&recorded.0) == Some(&(recorded.1 + hits)), "{recorded:?} and {hits}, not {execs:?}");
    let (documents, hits) = settled(&agent, &ignored, "ignored")?;
    check(&ignored, &documents, hits)?;
    let recorded = of_container(&ignored, &documents)?;
    ensure!(execs.get(&recorded.0) == Some(&recorded.1), "{recorded:?}, not {execs:?}");
    agent.verify()?;
    agent.stop()
}

/// Both loads run before the first swap.
fn wait_for_hits(agent: &Agent) -> Result<()> {
    let start = std::time::Instant::now();
    while agent_counts(agent, "counted")? == 0 || agent_counts(agent, "ignored")? == 0 {
        ensure!(start.elapsed() < SEEN_LIMIT, "the rules count nothing");
        sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// The log once everything done by `tally` is in it or a hit of `rule`, else as it is at the limit.
fn settled(agent: &Agent, tally: &Tally, rule: &str) -> Result<(Vec<Value>, u64)> {
    let hits = agent_counts(agent, rule)?;
    let kind = ["--kind", "exec"];
    let there = |documents: &[Value]| counts(&tally.tag, documents).len() as u64 + hits >= tally.done;
    let documents = agent.wait_for(&kind, SEEN_LIMIT, there).or_else(|_| agent.log(&kind))?;
    Ok((documents, hits))
}

#[expect(clippy::print_stdout, reason = "the figures of the test")]
fn check(tally: &Tally, documents: &[Value], hits: u64) -> Result<()> {
    let recorded = counts(&tally.tag, documents).len() as u64;
    let faults = tally.faults(documents);
    let told = format!("{}: {} done, {recorded} recorded, {hits} hits", tally.tag, tally.done);
    println!("{told}");
    ensure!(faults.twice.is_empty() && faults.never_done.is_empty(), "{told}: {faults:?}");
    ensure!(recorded > 0 && recorded < tally.done && hits > 0, "{told}: no swap worked");
    ensure!(recorded + hits == tally.done, "{told}: does not add up");
    Ok(())
}

/// The id of the load's container, and how many programs of it are in the record: the load's and those
/// that started the load.
fn of_container(tally: &Tally, documents: &[Value]) -> Result<(String, u64)> {
    let of_load = |document: &&Value| strings(document, "/process/args").first() == Some(&tally.tag.as_str());
    let first = documents.iter().find(of_load).context("nothing recorded")?;
    let id = text(first, "/container/id");
    let all = documents.iter().filter(|document| text(document, "/container/id") == id).count();
    Ok((id.to_string(), all as u64))
}

/// What the kernel counted of each container: id and execs.
fn stats(agent: &Agent) -> Result<HashMap<String, u64>> {
    let stats: Value = serde_json::from_str(&run(agent.command("stats").args(["-o", "json"]))?)?;
    let containers = stats.get("containers").and_then(Value::as_array).context("no containers")?;
    let execs = |line: &Value| (text(line, "/id").to_string(), number(line, "/execs").unwrap_or(0));
    Ok(containers.iter().map(execs).collect())
}

/// How many executions a rule has matched so far.
fn agent_counts(agent: &Agent, name: &str) -> Result<u64> {
    let printed = run(rule(agent, "ls").args(["-o", "json"]))?;
    let rules: Vec<Value> = printed.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let ours = rules.iter().find(|line| text(line, "/rule/name") == name);
    let hits = ours.and_then(|line| line.get("hits")).and_then(Value::as_u64);
    hits.with_context(|| format!("no hits of {name} in {printed}"))
}
