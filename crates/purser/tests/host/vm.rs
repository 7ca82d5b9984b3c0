// SPDX-License-Identifier: Apache-2.0
//! The exec modes on other kernels, in virtual machines with cgroup v2 alone and no runtime. The guest
//! runs `tests/vm/suite.sh`, which hands everything it found out back; all judging is done here.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::exec_modes::{by_support, failures};
use crate::lab::{Lab, run, source_dir, temporary};
use crate::record::{is, strings, text};

/// Seconds after which a guest is killed.
const GUEST_LIMIT: &str = "180";
const BEGIN: &str = "purser-vm-results-begin";
const END: &str = "purser-vm-results-end";
/// The kernels are older than AT_EXECVE_CHECK, and their binfmt_misc is a module the guest has not.
const UNSUPPORTED: [&str; 2] = ["binfmt-misc", "execve-check"];

#[test]
fn debians_own_kernel_records_every_mode() -> Result<()> {
    println!("{}", on_kernel("6.1")?);
    Ok(())
}

#[test]
fn debians_newer_kernel_records_every_mode() -> Result<()> {
    println!("{}", on_kernel("6.12")?);
    Ok(())
}

/// What was recorded there, for people.
fn on_kernel(series: &str) -> Result<String> {
    let lab = Lab::enter()?;
    let files = [(lab.program("execmodes"), "/bin/execmodes".to_owned())];
    let guest = Guest::run(series, "suite.sh", &files)?;
    doctor_tells_the_truth(&guest)?;
    for step in ["modes", "outside", "container", "stop", "run", "log", "verify"] {
        ensure!(guest.code(step)? == 0, "{series}: {step} ended with an error: {}", guest.said(step)?);
    }
    let lines = guest.documents("modes")?;
    let broken: Vec<&Value> = lines.iter().filter(|line| line.get("broken").is_some()).collect();
    ensure!(broken.is_empty(), "{series}: the test program went wrong: {broken:?}");
    let (able, unable) = by_support(&lines);
    ensure!(unable.iter().eq(UNSUPPORTED.iter()), "{series}: not supported: {unable:?}");

    let documents = guest.documents("log")?;
    let failures = failures(&lines, &documents);
    let score =
        format!("purser on Linux {series}: {} of {} exec modes", able.len() - failures.len(), able.len());
    ensure!(failures.is_empty(), "{series}: {failures:#?}");
    ensure!(!documents.iter().any(|document| is(document, "gap")), "{series}: a gap");
    scope_and_container_come_from_v2(&documents).with_context(|| format!("Linux {series}"))?;
    Ok(score)
}

/// No runtime is there, which degrades; all else is.
fn doctor_tells_the_truth(guest: &Guest) -> Result<()> {
    ensure!(guest.code("doctor")? == 1, "doctor ended otherwise than degraded: {}", guest.said("doctor")?);
    let lines = guest.documents("doctor")?;
    let state = |name: &str| {
        let line = lines.iter().find(|line| text(line, "/name") == name);
        line.map_or("not told", |line| text(line, "/state"))
    };
    let programs = ["exec", "fork", "exit", "exec_failed", "cgroup_rmdir", "snapshot"];
    let programs = programs.map(|program| format!("program {program}"));
    let others = ["root", "capabilities", "kernel", "BTF", "bpffs", "tracefs", "cgroups", "store"];
    for name in programs.iter().map(String::as_str).chain(others) {
        ensure!(state(name) == "ok", "doctor says {:?} of {name}: {lines:#?}", state(name));
    }
    ensure!(state("runtimes") == "degraded", "doctor found runtimes: {lines:#?}");
    let v2 = |line: &Value| text(line, "/name") == "cgroups" && text(line, "/detail") == "v2";
    ensure!(lines.iter().any(v2), "doctor sees other cgroups than v2: {lines:#?}");
    Ok(())
}

fn scope_and_container_come_from_v2(documents: &[Value]) -> Result<()> {
    let with = |arg: &'static str| {
        documents.iter().filter(move |document| {
            is(document, "exec") && strings(document, "/process/args") == ["echo", arg]
        })
    };
    ensure!(with("out-of-scope").count() == 0, "a cgroup out of scope was recorded");
    let inside: Vec<&Value> = with("of-a-container").collect();
    ensure!(!inside.is_empty(), "the container's command was not recorded");
    let id = format!("{:064}", 7);
    ensure!(
        inside.iter().any(|document| text(document, "/container/id") == id),
        "without the container's id: {inside:#?}"
    );
    Ok(())
}

/// What a script of `tests/vm` prints in a guest, with files of ours: where they are here, where they shall be there.
pub(crate) fn printed(series: &str, script: &str, files: &[(PathBuf, String)]) -> Result<String> {
    let file = |here: &Path, there: &str| format!("{}:{there}", here.display());
    let mut xtask = Command::new(env!("CARGO"));
    xtask.current_dir(source_dir()).args(["xtask", "vm", "--kernel", series, "--limit", GUEST_LIMIT]);
    xtask.args(["--file", &file(Path::new(env!("CARGO_BIN_EXE_purser")), "/bin/purser")]);
    for (here, there) in files {
        xtask.args(["--file", &file(here, there)]);
    }
    xtask.args(["--file", &file(&source_dir().join("vm").join(script), "/script.sh")]);
    run(xtask.args(["--", "sh", "/script.sh"]))
}

/// What a guest handed back: files `NAME.out`, `NAME.err` and `NAME.code` for each step.
struct Guest {
    dir: TempDir,
}

impl Guest {
    /// Runs a script of `tests/vm` there that hands an archive back.
    fn run(series: &str, script: &str, files: &[(PathBuf, String)]) -> Result<Guest> {
        let printed = printed(series, script, files)?;
        let (_, results) =
            printed.split_once(BEGIN).with_context(|| format!("no results: {printed:.2000}"))?;
        let (archive, _) = results.split_once(END).context("half of the results")?;
        let guest = Guest { dir: TempDir::with_prefix_in("guest-", temporary())? };
        guest.unpack(archive)?;
        Ok(guest)
    }

    fn unpack(&self, archive: &str) -> Result<()> {
        let mut shell = Command::new("sh");
        shell.args(["-c", "base64 -d | tar -x -z -C \"$0\""]).arg(self.dir.path());
        let mut shell = shell.stdin(Stdio::piped()).spawn().context("starting sh")?;
        shell.stdin.take().context("stdin of sh")?.write_all(archive.as_bytes())?;
        ensure!(shell.wait()?.success(), "the results cannot be unpacked");
        Ok(())
    }

    fn path(&self, step: &str, kind: &str) -> PathBuf {
        self.dir.path().join(format!("{step}.{kind}"))
    }

    fn code(&self, step: &str) -> Result<i32> {
        let text =
            fs::read_to_string(self.path(step, "code")).with_context(|| format!("no code of {step}"))?;
        Ok(text.trim().parse()?)
    }

    /// The first part of what the step printed, for messages.
    fn said(&self, step: &str) -> Result<String> {
        let out = fs::read(self.path(step, "out"))?;
        let err = fs::read(self.path(step, "err"))?;
        Ok(format!("{:.4000}{:.4000}", String::from_utf8_lossy(&out), String::from_utf8_lossy(&err)))
    }

    fn documents(&self, step: &str) -> Result<Vec<Value>> {
        let text = fs::read_to_string(self.path(step, "out"))?;
        let parse = |line| serde_json::from_str(line).with_context(|| format!("no JSON: {line:.200}"));
        text.lines().map(parse).collect()
    }
}
