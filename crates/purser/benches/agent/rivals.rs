// SPDX-License-Identifier: Apache-2.0
//! The distribution's auditd and execsnoop, told to look at the lab's load only. What they cannot
//! do here is told as the reason they are left out.

use crate::lab::Lab;
use crate::usage::pid_of;
use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const START_LIMIT: Duration = Duration::from_secs(10);
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// execsnoop does not say when it is ready.
const SNOOP_START: Duration = Duration::from_secs(3);
const KEY: &str = "purser-bench";
/// Debian's rules set the same.
const BACKLOG: &str = "8192";

/// A running auditd; the audit system is as it was before when this is dropped.
#[derive(Debug)]
pub(crate) struct Auditd {
    dir: TempDir,
    child: Child,
    uid: u32,
    /// `enabled` and `backlog_limit`, as they were.
    before: (String, String),
    is_restored: bool,
}

impl Auditd {
    /// Records the programs that `uid` executes. The inner error says why it cannot be here.
    pub(crate) fn start(uid: u32) -> Result<Result<Auditd, String>> {
        let Some((enabled, daemon, backlog)) = audit_state() else {
            return Ok(Err("no answer from the audit system; is auditd installed?".to_string()));
        };
        if daemon != "0" || enabled == "2" {
            return Ok(Err("an audit daemon runs already, or the rules are locked".to_string()));
        }
        let dir = TempDir::with_prefix("purser-bench-")?;
        configure(dir.path())?;
        let mut command = Command::new("auditd");
        command.args(["-n", "-c"]).arg(dir.path()).stdin(Stdio::null());
        let said = fs::File::create(dir.path().join("said"))?;
        command.stdout(said.try_clone()?).stderr(said);
        let child = command.spawn().context("starting auditd")?;
        let mut auditd = Auditd { dir, child, uid, before: (enabled, backlog), is_restored: false };
        let start = Instant::now();
        while audit_state().is_none_or(|(_, daemon, _)| daemon != auditd.pid().to_string()) {
            if start.elapsed() > START_LIMIT || auditd.child.try_wait()?.is_some() {
                let said = fs::read_to_string(auditd.dir.path().join("said"))?;
                return Ok(Err(format!("auditd does not start: {}", said.trim())));
            }
            sleep(Duration::from_millis(50));
        }
        let told = auditctl(&["-b", BACKLOG]).and_then(|()| auditctl(&rule("-a", &uid.to_string())));
        Ok(told.map(|()| auditd))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The kernel's thread that hands records to auditd.
    pub(crate) fn kernel_pid(&self) -> Option<u32> {
        pid_of("kauditd").ok().flatten()
    }

    /// Ends it and tells how many executions it recorded.
    pub(crate) fn stop(mut self) -> Result<u64> {
        self.restore()?;
        let mut count = 0;
        for entry in fs::read_dir(self.dir.path().join("log"))? {
            let lines = BufReader::new(fs::File::open(entry?.path())?).split(b'\n');
            for line in lines {
                let line = String::from_utf8_lossy(&line?).into_owned();
                count += u64::from(line.starts_with("type=SYSCALL") && line.contains("comm=\"load-target\""));
            }
        }
        Ok(count)
    }

    fn restore(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.is_restored, true) {
            return Ok(());
        }
        // It may never have been added.
        let removed = auditctl(&rule("-d", &self.uid.to_string()));
        end(&mut self.child, Signal::TERM)?;
        let (enabled, backlog) = &self.before;
        for told in [auditctl(&["-e", enabled]), auditctl(&["-b", backlog]), removed] {
            told.map_err(anyhow::Error::msg).context("putting the audit system back")?;
        }
        Ok(())
    }
}

impl Drop for Auditd {
    fn drop(&mut self) {
        if let Err(error) = self.restore() {
            println!("{error:#}");
        }
    }
}

/// Debian's settings, but for the place of the log and its rotation.
fn configure(dir: &Path) -> Result<()> {
    for inner in ["log", "plugins.d"] {
        fs::create_dir(dir.join(inner))?;
    }
    let config = format!(
        "local_events = yes\nwrite_logs = yes\nlog_file = {log}\nlog_group = root\nlog_format = ENRICHED\n\
         flush = INCREMENTAL_ASYNC\nfreq = 50\nmax_log_file = 500\nnum_logs = 5\npriority_boost = 4\n\
         name_format = NONE\nmax_log_file_action = ROTATE\nspace_left = 75\nspace_left_action = IGNORE\n\
         admin_space_left = 50\nadmin_space_left_action = IGNORE\ndisk_full_action = IGNORE\n\
         disk_error_action = IGNORE\nq_depth = 2000\noverflow_action = IGNORE\nplugin_dir = {plugins}\n",
        log = dir.join("log/audit.log").display(),
        plugins = dir.join("plugins.d").display(),
    );
    Ok(fs::write(dir.join("auditd.conf"), config)?)
}

fn rule<'a>(action: &'a str, uid: &'a str) -> Vec<String> {
    let uid = format!("uid={uid}");
    [action, "always,exit", "-F", "arch=b64", "-S", "execve", "-F", &uid, "-k", KEY]
        .map(String::from)
        .to_vec()
}

fn auditctl(args: &[impl AsRef<str>]) -> Result<(), String> {
    let args: Vec<&str> = args.iter().map(AsRef::as_ref).collect();
    let output =
        Command::new("auditctl").args(&args).output().map_err(|error| format!("auditctl: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("auditctl {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

/// `enabled`, `pid` and `backlog_limit` of the audit system.
fn audit_state() -> Option<(String, String, String)> {
    let output = Command::new("auditctl").arg("-s").output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let of = |name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.map(|value| value.trim().to_string())
    };
    Some((of("enabled")?, of("pid")?, of("backlog_limit")?))
}

/// A running execsnoop.
#[derive(Debug)]
pub(crate) struct Execsnoop {
    dir: TempDir,
    child: Child,
}

impl Execsnoop {
    /// Prints what is executed in the lab's cgroup. The inner error says why it cannot be here.
    pub(crate) fn start(lab: &Lab) -> Result<Result<Execsnoop, String>> {
        let Some(cgroup) = lab.cgroup_v2() else { return Ok(Err("no cgroup v2 hierarchy".to_string())) };
        let dir = TempDir::with_prefix("purser-bench-")?;
        let out = fs::File::create(dir.path().join("printed"))?;
        let mut command = Command::new("execsnoop");
        command.arg("-c").arg(cgroup).stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return Ok(Err(format!("execsnoop (package libbpf-tools): {error}"))),
        };
        let mut execsnoop = Execsnoop { dir, child };
        sleep(SNOOP_START);
        if execsnoop.child.try_wait()?.is_some() {
            let said = fs::read_to_string(execsnoop.dir.path().join("printed"))?;
            return Ok(Err(format!("execsnoop ended: {}", said.trim())));
        }
        Ok(Ok(execsnoop))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it and tells how many executions it printed.
    pub(crate) fn stop(mut self) -> Result<u64> {
        end(&mut self.child, Signal::INT)?;
        let printed = fs::read(self.dir.path().join("printed"))?;
        let lines = String::from_utf8_lossy(&printed).into_owned();
        Ok(lines.lines().filter(|line| line.contains("load-target")).count() as u64)
    }
}

impl Drop for Execsnoop {
    fn drop(&mut self) {
        if let Err(error) = end(&mut self.child, Signal::INT) {
            println!("ending execsnoop: {error:#}");
        }
    }
}

/// Ends a process of ours that may have ended already.
fn end(child: &mut Child, signal: Signal) -> Result<()> {
    let start = Instant::now();
    let mut told = false;
    while child.try_wait()?.is_none() {
        if !std::mem::replace(&mut told, true) {
            kill_process(Pid::from_child(child), signal)?;
        }
        if start.elapsed() > STOP_LIMIT {
            child.kill()?;
            child.wait()?;
        }
        ensure!(start.elapsed() <= STOP_LIMIT, "it did not end by {signal:?}");
        sleep(Duration::from_millis(20));
    }
    Ok(())
}
