// SPDX-License-Identifier: Apache-2.0
//! Rules change a thousand times while numbered programs run as two users. What falls to an `ignore` rule
//! is counted and not recorded, what falls to a `count` rule is both, so the sums are known exactly.
//! PURSER_SWAPS sets how many changes (1,000).

use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::agent::{Agent, OWN_CONTAINERS, purser};
use crate::kill9::setting;
use crate::lab::{Lab, run, signal, unique};
use crate::load::{Load, Tally, counts};
use crate::record::text;

const SWAPS: u32 = 1000;
const RELOADS: u32 = 50;
const RATE: u32 = 300;
const SEEN_LIMIT: Duration = Duration::from_secs(60);

/// The users of the file's two rules. A rule added at run time is asked before these: it lets the second
/// user into the record, and keeps the first one out.
const COUNTED: u32 = 3001;
const IGNORED: u32 = 3002;

fn config() -> String {
    let rules = format!(
        "[[rule]]\nname = \"counted\"\nuid = {COUNTED}\naction = \"count\"\n\
         [[rule]]\nname = \"ignored\"\nuid = {IGNORED}\naction = \"ignore\"\n"
    );
    format!("{OWN_CONTAINERS}{rules}")
}

/// The file's rules behind one more.
fn config_with(uid: u32, action: &str) -> String {
    let first = format!("[[rule]]\nname = \"swap\"\nuid = {uid}\naction = \"{action}\"\n[[rule]]");
    config().replacen("[[rule]]", &first, 1)
}

#[test]
fn swaps_by_command_add_up() -> Result<()> {
    let swaps = setting("PURSER_SWAPS", SWAPS)?;
    under_load("swap", |agent| {
        for swap in 0..swaps.div_ceil(2) {
            let (uid, action) = if swap % 2 == 0 { (COUNTED, "ignore") } else { (IGNORED, "record") };
            let add = ["--name", "swap", "--action", action, "--uid", &uid.to_string()];
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
                0 => config_with(COUNTED, "ignore"),
                1 => config_with(IGNORED, "record"),
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
    let (documents, hits) =
        settled(&agent, &ignored, "ignored", |recorded, hits| recorded + hits >= ignored.done)?;
    check(&ignored, &documents, hits, |recorded| recorded + hits == ignored.done)?;
    let (documents, hits) = settled(&agent, &counted, "counted", |recorded, hits| recorded >= hits)?;
    check(&counted, &documents, hits, |recorded| recorded == hits)?;
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

/// The log once the executions of `tally` in it and the hits of `rule` are `enough`, else as it is at the limit.
fn settled(
    agent: &Agent,
    tally: &Tally,
    rule: &str,
    enough: impl Fn(u64, u64) -> bool,
) -> Result<(Vec<Value>, u64)> {
    let hits = agent_counts(agent, rule)?;
    let kind = ["--kind", "exec"];
    let there = |documents: &[Value]| enough(counts(&tally.tag, documents).len() as u64, hits);
    let documents = agent.wait_for(&kind, SEEN_LIMIT, there).or_else(|_| agent.log(&kind))?;
    Ok((documents, hits))
}

fn check(tally: &Tally, documents: &[Value], hits: u64, adds_up: impl Fn(u64) -> bool) -> Result<()> {
    let recorded = counts(&tally.tag, documents).len() as u64;
    let faults = tally.faults(documents);
    let told = format!("{}: {} done, {recorded} recorded, {hits} hits", tally.tag, tally.done);
    ensure!(faults.twice.is_empty() && faults.never_done.is_empty(), "{told}: {faults:?}");
    ensure!(recorded > 0 && recorded < tally.done && hits > 0, "{told}: no swap worked");
    ensure!(adds_up(recorded), "{told}: does not add up");
    Ok(())
}

/// How many executions a rule has matched so far.
fn agent_counts(agent: &Agent, name: &str) -> Result<u64> {
    let printed = run(rule(agent, "ls").args(["-o", "json"]))?;
    let rules: Vec<Value> = printed.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let ours = rules.iter().find(|line| text(line, "/rule/name") == name);
    let hits = ours.and_then(|line| line.get("hits")).and_then(Value::as_u64);
    hits.with_context(|| format!("no hits of {name} in {printed}"))
}
