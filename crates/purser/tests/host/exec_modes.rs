// SPDX-License-Identifier: Apache-2.0
//! Every way Linux knows to start a program, and every way to fail at it, driven by
//! `tests/execmodes` in Docker containers. The same load is then shown to execsnoop, for its score.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::agent::{Agent, OWN_CONTAINERS};
use crate::lab::{Lab, output, run, temporary, unique};
use crate::record::{args, base64, by_entity, fnv1a, is, number, strings, text};
use crate::rival;

const SEEN_LIMIT: Duration = Duration::from_secs(180);
/// Up to this many bytes a refused program's arguments must be whole.
const FAILED_ARGS_LIMIT: u64 = 4096;

#[test]
fn every_exec_mode_is_seen() -> Result<()> {
    let lab = Lab::enter()?;
    let mut agent = Agent::start(OWN_CONTAINERS)?;
    let handler = BinfmtHandler::register()?;
    let mut lines = modes_in_container(&lab, "plain", &[])?;
    // What Docker's default capabilities forbid is done with one more, in the process ids of the host.
    lines.extend(modes_in_container(&lab, "admin", &["--pid", "host", "--cap-add", "SYS_ADMIN"])?);
    handler.unregister()?;

    let (able, unable) = by_support(&lines);
    let forgiven = BTreeSet::from_iter(forgiven_here()?);
    ensure!(unable.is_subset(&forgiven), "not supported here, but should be: {unable:?} of {lines:#?}");

    let enough = |documents: &[Value]| failures(&lines, documents).is_empty();
    let documents = agent.wait_for(&[], SEEN_LIMIT, enough).or_else(|_| agent.log(&[]))?;
    let failures = failures(&lines, &documents);
    let strays = elsewhere(&lines, &documents);
    let missed: BTreeSet<&str> = failures.iter().map(|(mode, _)| mode.as_str()).collect();
    println!(
        "purser: {} of {} exec modes; not possible here: {unable:?}",
        able.len() - missed.len(),
        able.len()
    );
    let rival = rival::execsnoop_modes(&lab)?;
    println!("execsnoop: {} of {} exec modes; missed: {:?}", rival.seen, rival.all, rival.missed);
    ensure!(failures.is_empty(), "{failures:#?}");
    ensure!(strays.is_empty(), "in no container, or in another one: {strays:?}");
    agent.stop()
}

#[test]
fn the_checker_finds_what_is_wrong() {
    let line = serde_json::json!({"mode": "m", "tag": "t", "expect": [
        {"action": "exec", "args_count": 1, "args_bytes": 2, "args_fnv1a": format!("{:016x}", fnv1a(&[b"a".to_vec()]))},
        {"action": "exit", "exit_code": 3}]});
    let exec = serde_json::json!({"event": {"action": "exec"},
        "process": {"args": ["a"], "args_count": 1, "entity_id": "e"}});
    let exit = |code: u32| serde_json::json!({"event": {"action": "exit"}, "process": {"entity_id": "e", "exit_code": code}});
    let wrong = |documents: &[Value]| failures(std::slice::from_ref(&line), documents).len();
    assert_eq!(wrong(&[exec.clone(), exit(3)]), 0);
    assert_eq!(wrong(&[exec.clone(), exit(4)]), 1);
    assert_eq!(wrong(std::slice::from_ref(&exec)), 1);
    assert_eq!(wrong(&[exec.clone(), exec, exit(3)]), 1);
    assert_eq!(wrong(&[]), 1);
}

/// Runs every mode in a container and gives the lines that say what must be seen.
fn modes_in_container(lab: &Lab, word: &str, options: &[&str]) -> Result<Vec<Value>> {
    let name = unique(&format!("purser-test-modes-{word}"));
    let printed = run(&mut lab.docker(&name, options, &["/bin/execmodes", "all", &name]))?;
    let lines: Vec<Value> = printed.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let broken: Vec<&Value> = lines.iter().filter(|line| line.get("broken").is_some()).collect();
    ensure!(broken.is_empty(), "the test program went wrong: {broken:?}");
    Ok(lines)
}

/// Tags of programs that are recorded, but not in the container that ran them, whose name starts the tag.
fn elsewhere<'a>(lines: &[Value], documents: &'a [Value]) -> BTreeSet<&'a str> {
    let tags: BTreeSet<&str> = lines.iter().map(|line| text(line, "/tag")).collect();
    let tagged = documents.iter().filter_map(|document| {
        let args = strings(document, "/process/args");
        args.get(2)
            .copied()
            .filter(|tag| tags.contains(tag))
            .map(|tag| (tag, text(document, "/container/name")))
    });
    tagged.filter(|(tag, name)| name.is_empty() || !tag.starts_with(name)).map(|(tag, _)| tag).collect()
}

/// Modes that were possible in some run, and modes that were possible in none.
pub(crate) fn by_support(lines: &[Value]) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let mut support: BTreeMap<&str, bool> = BTreeMap::new();
    for line in lines {
        *support.entry(text(line, "/mode")).or_default() |= line.get("expect").is_some();
    }
    let (able, unable): (BTreeMap<_, _>, BTreeMap<_, _>) = support.into_iter().partition(|(_, able)| *able);
    (able.into_keys().collect(), unable.into_keys().collect())
}

/// The kernel's own helpers need a setting of the whole host, which only the tests in a virtual machine
/// change; AT_EXECVE_CHECK came with Linux 6.14.
fn forgiven_here() -> Result<Vec<&'static str>> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    Ok(if version < (6, 14) { vec!["usermode-helper", "execve-check"] } else { vec!["usermode-helper"] })
}

/// Mode and reason of everything that a log does not show as it must.
pub(crate) fn failures(lines: &[Value], documents: &[Value]) -> Vec<(String, String)> {
    let log = Log::read(documents);
    let able = lines.iter().filter(|line| line.get("expect").is_some());
    let judged = able.map(|line| (line, log.judge(line)));
    let wrong = |(line, result): (&Value, Result<()>)| {
        let tag = text(line, "/tag");
        result.err().map(|error| (text(line, "/mode").to_string(), format!("{tag}: {error:#}")))
    };
    judged.filter_map(wrong).collect()
}

/// The documents of a log with the hash of their arguments, taken once.
struct Log<'a> {
    programs: Vec<(&'a Value, u64)>,
    by_entity: std::collections::HashMap<&'a str, Vec<&'a Value>>,
}

impl<'a> Log<'a> {
    fn read(documents: &'a [Value]) -> Log<'a> {
        let programs =
            documents.iter().filter(|document| is(document, "exec") || is(document, "exec_failed"));
        let hashed = programs.map(|document| (document, args(document).map_or(0, |args| fnv1a(&args))));
        Log { programs: hashed.collect(), by_entity: by_entity(documents) }
    }

    fn judge(&self, line: &Value) -> Result<()> {
        let expects = line.get("expect").and_then(Value::as_array).context("no expectations")?;
        let mut executed: Vec<&Value> = Vec::new();
        for expect in expects {
            match text(expect, "/action") {
                "exec" => executed.push(self.exec(expect)?),
                "exec_failed" => self.exec_failed(expect)?,
                "none" => ensure!(self.found("exec", expect)?.is_empty(), "an exec that never was"),
                _ => self.exit(executed.last().context("an exit without a program")?, expect)?,
            }
        }
        if line.get("same_pid").is_some() {
            let pids: BTreeSet<_> =
                executed.iter().map(|document| number(document, "/process/pid")).collect();
            let entities: BTreeSet<_> =
                executed.iter().map(|document| text(document, "/process/entity_id")).collect();
            ensure!(
                pids.len() == 1 && entities.len() == executed.len(),
                "pids {pids:?}, entities {entities:?}"
            );
        }
        Ok(())
    }

    /// Documents of this action with exactly the expected arguments, and executable where one is said.
    fn found(&self, action: &str, expect: &Value) -> Result<Vec<&'a Value>> {
        let hash = u64::from_str_radix(text(expect, "/args_fnv1a"), 16)?;
        let executable = expect.get("executable").and_then(Value::as_str);
        let same = self.programs.iter().filter(|(document, seen)| {
            let path = text(document, "/process/executable");
            is(document, action) && *seen == hash && executable.is_none_or(|executable| executable == path)
        });
        Ok(same.map(|(document, _)| *document).collect())
    }

    fn exec(&self, expect: &Value) -> Result<&'a Value> {
        let found = self.found("exec", expect)?;
        let [document] = found.as_slice() else {
            anyhow::bail!("{} times instead of once: {}", found.len(), self.nearest(expect)?);
        };
        let (count, told) = (number(expect, "/args_count"), number(document, "/process/args_count"));
        ensure!(count == told, "args_count {told:?} instead of {count:?}");
        if let Some(variable) = expect.get("env").and_then(Value::as_str) {
            let seen = strings(document, "/process/env_vars");
            ensure!(seen.contains(&variable), "environment {seen:?} without {variable}");
        }
        Ok(document)
    }

    fn exit(&self, program: &Value, expect: &Value) -> Result<()> {
        let of_program = self.by_entity.get(text(program, "/process/entity_id")).into_iter().flatten();
        let exits: Vec<_> = of_program.filter(|document| is(document, "exit")).collect();
        let [exit] = exits.as_slice() else { anyhow::bail!("{} exits instead of one", exits.len()) };
        match expect.get("signal").and_then(Value::as_str) {
            Some(signal) => ensure!(text(exit, "/purser/signal") == signal, "not {signal}: {exit}"),
            None => {
                let code = number(expect, "/exit_code");
                ensure!(number(exit, "/process/exit_code") == code, "not exit code {code:?}: {exit}");
                ensure!(exit.pointer("/purser/signal").is_none(), "a signal that never was: {exit}");
            }
        }
        Ok(())
    }

    /// The path of a failed mode carries its tag, so it stands for the whole attempt.
    fn exec_failed(&self, expect: &Value) -> Result<()> {
        let path = text(expect, "/executable");
        let failed = self.programs.iter().filter(|(document, _)| {
            is(document, "exec_failed") && text(document, "/process/executable") == path
        });
        let failed: Vec<_> = failed.collect();
        let [(document, hash)] = failed.as_slice() else {
            anyhow::bail!("{} failed execs of {path} instead of one", failed.len());
        };
        let (code, errno) = (text(document, "/error/code"), text(expect, "/errno"));
        ensure!(code == errno, "error.code {code} instead of {errno}");
        let small = number(expect, "/args_bytes").is_some_and(|bytes| bytes <= FAILED_ARGS_LIMIT);
        let same = *hash == u64::from_str_radix(text(expect, "/args_fnv1a"), 16)?;
        ensure!(!small || same, "other arguments than tried: {document}");
        Ok(())
    }

    /// What the log has instead, for the message.
    fn nearest(&self, expect: &Value) -> Result<String> {
        let wanted: Vec<Vec<u8>> = strings(expect, "/args").into_iter().map(base64).collect::<Result<_>>()?;
        let tag = wanted.get(2).map(|tag| String::from_utf8_lossy(tag).into_owned()).unwrap_or_default();
        let near =
            self.programs.iter().find(|(document, _)| strings(document, "/process/args").contains(&&*tag));
        Ok(near.map_or_else(|| format!("nothing like {expect}"), |(document, _)| format!("{document:.2000}")))
    }
}

/// A handler for the magic of the binfmt_misc mode, in a mount of our own of the kernel's one table.
struct BinfmtHandler {
    dir: PathBuf,
}

impl BinfmtHandler {
    fn register() -> Result<BinfmtHandler> {
        let handler = BinfmtHandler { dir: temporary().join("binfmt") };
        fs::create_dir_all(&handler.dir)?;
        run(Command::new("mount").args(["-t", "binfmt_misc", "binfmt_misc"]).arg(&handler.dir))?;
        fs::write(handler.dir.join("register"), ":purser-test:M::PRSRTEST::/bin/execmodes:")
            .context("registering a binfmt_misc handler")?;
        Ok(handler)
    }

    fn unregister(self) -> Result<()> {
        Ok(fs::write(self.dir.join("purser-test"), "-1")?)
    }
}

impl Drop for BinfmtHandler {
    fn drop(&mut self) {
        let entry = self.dir.join("purser-test");
        if entry.exists() {
            drop(fs::write(entry, "-1"));
        }
        drop(output(Command::new("umount").arg(&self.dir)));
    }
}
