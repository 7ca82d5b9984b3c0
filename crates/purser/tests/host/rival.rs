// SPDX-License-Identifier: Apache-2.0
//! The distribution's execsnoop beside us: the same exec modes, in a cgroup of their own, and what it
//! printed of them. Only its score matters; nothing here can fail a test of ours but a missing tool.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::lab::{Lab, output, run, signal, temporary, unique, wait_limited};
use crate::record::{base64, strings, text};

const START: Duration = Duration::from_secs(3);
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// How many modes the rival showed whole.
pub(crate) struct Score {
    pub(crate) seen: usize,
    pub(crate) all: usize,
    pub(crate) missed: Vec<String>,
}

/// Runs all modes on the host in a cgroup which execsnoop watches.
pub(crate) fn execsnoop_modes(lab: &Lab) -> Result<Score> {
    let place = Place::make()?;
    let printed_to = temporary().join("execsnoop.out");
    let mut snoop = Snoop::start(&place, &printed_to)?;
    let script = "echo $$ > \"$0/cgroup.procs\" && exec \"$1\" all \"$2\"";
    let modes = Command::new("sh")
        .args(["-c", script])
        .arg(&place.cgroup)
        .arg(lab.program("execmodes"))
        .arg(unique("snoop"))
        .stdin(Stdio::null())
        .output()?;
    snoop.stop()?;
    let printed = String::from_utf8_lossy(&fs::read(&printed_to)?).into_owned();
    ensure!(printed.contains("PCOMM"), "execsnoop did not run: {printed}");
    let lines: Vec<Value> =
        String::from_utf8_lossy(&modes.stdout).lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    score(&lines, &printed)
}

fn score(lines: &[Value], printed: &str) -> Result<Score> {
    let mut score = Score { seen: 0, all: 0, missed: Vec::new() };
    for line in lines {
        let Some(expects) = line.get("expect").and_then(Value::as_array) else { continue };
        score.all += 1;
        let mut seen = true;
        for expect in expects.iter().filter(|expect| text(expect, "/action") != "exit") {
            seen &= shows(text(line, "/mode"), expect, printed)?;
        }
        if seen {
            score.seen += 1;
        } else {
            score.missed.push(text(line, "/mode").to_string());
        }
    }
    Ok(score)
}

/// execsnoop joins the arguments with spaces; long ones, which are told only by their hash, it never prints
/// whole. It reads them before a script's interpreter is put in front, which counts as seen too.
fn shows(mode: &str, expect: &Value, printed: &str) -> Result<bool> {
    if expect.get("args").is_none() {
        return Ok(false);
    }
    let mut args: Vec<Vec<u8>> = strings(expect, "/args").into_iter().map(base64).collect::<Result<_>>()?;
    if mode.starts_with("shebang") {
        args.drain(..args.len().saturating_sub(2));
    }
    let joined = args.join(&b' ');
    let is_there = printed.contains(String::from_utf8_lossy(&joined).as_ref());
    Ok(match text(expect, "/action") {
        "none" => !is_there,
        _ if joined.is_empty() => false,
        _ => is_there,
    })
}

/// A v2 cgroup for the load, and tracefs, which execsnoop needs; both only while this lives.
struct Place {
    cgroup: PathBuf,
    tracefs_is_ours: bool,
}

impl Place {
    fn make() -> Result<Place> {
        let tracing = Path::new("/sys/kernel/tracing");
        let tracefs_is_ours = !tracing.join("events").exists();
        if tracefs_is_ours {
            run(Command::new("mount").args(["-t", "tracefs", "tracefs"]).arg(tracing))?;
        }
        let unified = Path::new("/sys/fs/cgroup/unified");
        let tree = if unified.exists() { unified } else { Path::new("/sys/fs/cgroup") };
        let place = Place { cgroup: tree.join(unique("purser-test-snoop")), tracefs_is_ours };
        fs::create_dir(&place.cgroup)?;
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(fs::remove_dir(&self.cgroup));
        if self.tracefs_is_ours {
            drop(output(Command::new("umount").arg("/sys/kernel/tracing")));
        }
    }
}

struct Snoop {
    child: Child,
}

impl Snoop {
    fn start(place: &Place, printed_to: &Path) -> Result<Snoop> {
        let out = fs::File::create(printed_to)?;
        let mut command = Command::new("execsnoop");
        command.args(["-x", "--max-args", "60", "-c"]).arg(&place.cgroup);
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let child = command.spawn().context("starting execsnoop (package libbpf-tools)")?;
        // It says nothing when it is ready, and prints its heading only with the rest.
        sleep(START);
        Ok(Snoop { child })
    }

    fn stop(&mut self) -> Result<()> {
        signal(self.child.id(), "INT")?;
        ensure!(wait_limited(&mut self.child, STOP_LIMIT)?.is_some(), "execsnoop did not stop");
        Ok(())
    }
}

impl Drop for Snoop {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}
