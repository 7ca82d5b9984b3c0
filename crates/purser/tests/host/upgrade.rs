// SPDX-License-Identifier: Apache-2.0
//! An agent of another build takes over from one that was killed, again and again while a container
//! executes numbered programs: its programs take the place of the others in the slots, what is attached
//! and what is in the rings stays. No number lost, none twice.
//! PURSER_UPGRADES sets how often (15).

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::agent::{Agent, OWN_CONTAINERS};
use crate::kill9::setting;
use crate::lab::{Lab, run, temporary, unique};
use crate::load::{Faults, Load, counts, wrong_exits};
use crate::record::is;

const UPGRADES: u32 = 15;
const RATE: u32 = 500;
const SEEN_LIMIT: Duration = Duration::from_secs(60);
const BPFFS: &str = "/sys/fs/bpf";
/// A line of the programs' source, which their debug information quotes and nothing executes.
const QUOTED: &[u8] = b"int BPF_PROG(capture_exec, struct task_struct *task";
/// The slots that every kernel fills.
const SLOTS: [&str; 3] = ["exec_slot", "fork_slot", "exit_slot"];

#[test]
fn another_build_takes_over_under_load() -> Result<()> {
    let lab = Lab::enter()?;
    let upgrades = setting("PURSER_UPGRADES", UPGRADES)?;
    let builds = [PathBuf::from(env!("CARGO_BIN_EXE_purser")), other_build()?];
    let mut agent = Agent::start(OWN_CONTAINERS)?;
    let kernel_side = KernelSide::of(agent.pid()?)?;
    let tag = unique("upgrade");
    let load = Load::start(&lab, &format!("purser-test-{tag}"), RATE, &tag, None)?;
    agent.wait_for(&["--kind", "exec"], SEEN_LIMIT, |documents| !counts(&tag, documents).is_empty())?;
    let mut before = kernel_side.look()?;
    for (upgrade, build) in (1..=upgrades).zip(builds.iter().cycle().skip(1)) {
        sleep(Duration::from_millis(u64::from(upgrade * 37 % 300)));
        agent.kill9()?;
        agent.set_program(build);
        if upgrade % 5 == 0 {
            agent.kill9_while_it_starts(Duration::from_millis(u64::from(upgrade * 29 % 250)))?;
        }
        agent.start_again()?;
        let now = kernel_side.look()?;
        ensure!(now.attached == before.attached, "attached anew: {before:?}, {now:?}");
        ensure!(now.fingerprint != before.fingerprint, "not seen as another build: {now:?}");
        ensure!(now.programs.is_disjoint(&before.programs), "not replaced: {before:?}, {now:?}");
        before = now;
    }
    let tally = load.end()?;
    let all_there = |documents: &[_]| counts(&tag, documents).len() as u64 >= tally.done;
    let documents = agent.wait_for(&[], SEEN_LIMIT, all_there).or_else(|_| agent.log(&[]))?;
    let faults = tally.faults(&documents);
    let (lost, twice) = (faults.lost.len(), faults.twice.len());
    println!("{upgrades} upgrades, {} numbered executions: {lost} lost, {twice} twice", tally.done);
    ensure!(tally.done > u64::from(upgrades), "the load hardly ran: {tally:?}");
    ensure!(faults == Faults::default(), "{faults:?}");
    let gaps: Vec<&Value> = documents.iter().filter(|document| is(document, "gap")).collect();
    ensure!(gaps.is_empty(), "{gaps:?}");
    agent.wait_for(&[], SEEN_LIMIT, |documents| wrong_exits(&tag, documents) == 0)?;
    agent.verify()?;
    agent.stop()
}

/// The same program from a source that differs in one word: as the agent sees it, another build.
fn other_build() -> Result<PathBuf> {
    let mut bytes = fs::read(env!("CARGO_BIN_EXE_purser"))?;
    let places: Vec<usize> = memchr::memmem::find_iter(&bytes, QUOTED).collect();
    let [place] = places.as_slice() else { bail!("the programs quote their source {} times", places.len()) };
    bytes.get_mut(*place..*place + 3).context("the word")?.copy_from_slice(b"INT");
    let path = temporary().join("purser-of-another-build");
    fs::write(&path, bytes)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// Where an agent has pinned what it leaves in the kernel.
struct KernelSide {
    dir: PathBuf,
}

#[derive(Debug)]
struct Look {
    fingerprint: String,
    /// Ids of what is attached.
    attached: BTreeSet<u64>,
    /// The programs in the slots, as bpftool shows their ids.
    programs: BTreeSet<String>,
}

impl KernelSide {
    /// The directory whose ring this process has open.
    fn of(pid: u32) -> Result<KernelSide> {
        let mut open = BTreeSet::new();
        for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
            // A descriptor may be closed meanwhile.
            let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
            open.extend(
                text.lines().filter_map(|line| line.strip_prefix("map_id:")?.trim().parse::<u64>().ok()),
            );
        }
        for entry in fs::read_dir(BPFFS)? {
            let dir = entry?.path();
            let ring = dir.join("map-records");
            // Other agents come and go meanwhile.
            let Ok(shown) = bpftool(&["map", "show", "pinned"], &ring, &[]) else { continue };
            if shown.get("id").and_then(Value::as_u64).is_some_and(|id| open.contains(&id)) {
                return Ok(KernelSide { dir });
            }
        }
        bail!("process {pid} has no ring that is pinned in {BPFFS}")
    }

    fn look(&self) -> Result<Look> {
        let value = |map: &str, key: &str| -> Result<String> {
            let key = ["key", key, "0", "0", "0"];
            let shown = bpftool(&["map", "lookup", "pinned"], &self.dir.join(map), &key)?;
            Ok(shown.get("value").with_context(|| format!("no value of {map}: {shown}"))?.to_string())
        };
        let mut attached = BTreeSet::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"link-")) {
                let shown = bpftool(&["link", "show", "pinned"], &path, &[])?;
                attached.insert(shown.get("id").and_then(Value::as_u64).context("a link without an id")?);
            }
        }
        ensure!(!attached.is_empty(), "nothing is attached");
        let programs = SLOTS.iter().map(|slot| value(&format!("map-{slot}"), "0")).collect::<Result<_>>()?;
        Ok(Look { fingerprint: value("meta", "1")?, attached, programs })
    }
}

fn bpftool(words: &[&str], path: &Path, rest: &[&str]) -> Result<Value> {
    let printed = run(Command::new("bpftool").arg("-j").args(words).arg(path).args(rest))?;
    serde_json::from_str(&printed).with_context(|| format!("bpftool printed {printed}"))
}
