// SPDX-License-Identifier: Apache-2.0
//! The agent under test, each with a store, a configuration and a directory of its own. It never
//! touches another agent: every signal goes to the process started here.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::lab::{output, run, signal, temporary, wait_limited};

const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);
/// What the agent says once records flow.
const READY: &str = "recording";

/// The scope of most tests: only the containers of this lab.
pub(crate) const OWN_CONTAINERS: &str = "[scope]\ninclude = [\"container\"]\nnames = [\"purser-test-*\"]\n";

pub(crate) struct Agent {
    dir: TempDir,
    store: PathBuf,
    program: PathBuf,
    child: Option<Child>,
    starts: u32,
    /// Killed and not started again, so what it pinned in the kernel is still there.
    crashed: bool,
}

impl Agent {
    /// Starts an agent on an empty store and waits until it records.
    pub(crate) fn start(config: &str) -> Result<Agent> {
        let mut agent = Agent::prepare(config)?;
        agent.start_again()?;
        Ok(agent)
    }

    /// The same with a store at another place, such as a small disk.
    pub(crate) fn start_on(store: &Path, config: &str) -> Result<Agent> {
        let mut agent = Agent::prepare(config)?;
        agent.store = store.to_path_buf();
        agent.start_again()?;
        Ok(agent)
    }

    /// An agent that has not been started yet.
    pub(crate) fn prepare(config: &str) -> Result<Agent> {
        let dir = TempDir::with_prefix_in("agent-", temporary())?;
        let store = dir.path().join("store");
        let program = env!("CARGO_BIN_EXE_purser").into();
        let agent = Agent { dir, store, program, child: None, starts: 0, crashed: false };
        agent.write_config(config)?;
        Ok(agent)
    }

    /// Starts again on the same store after `stop` or `kill9`.
    pub(crate) fn start_again(&mut self) -> Result<()> {
        self.spawn()?;
        self.wait_ready()
    }

    /// Starts and kills it `after` that time, however far it came.
    pub(crate) fn kill9_while_it_starts(&mut self, after: Duration) -> Result<()> {
        self.spawn()?;
        sleep(after);
        self.kill9()
    }

    /// Starts it under strace, which counts its system calls and injects `faults`, such as
    /// `pwrite64:signal=KILL:when=7`, and does not wait: it may never come to record.
    pub(crate) fn start_with_faults(&mut self, faults: &[String]) -> Result<()> {
        // The tracer is a process beside it, so that the agent stays our child.
        let mut strace = Command::new("strace");
        strace.args(["-D", "-f", "--seccomp-bpf", "--quiet=all", "-o", "/dev/null"]);
        for fault in faults {
            strace.args(["-e", &format!("inject={fault}")]);
        }
        strace.arg(&self.program).arg("run").arg("--store").arg(self.store());
        self.spawn_by(strace)
    }

    /// Whether it has ended by itself within `limit`; its remains are taken care of then.
    pub(crate) fn has_ended(&mut self, limit: Duration) -> Result<bool> {
        let child = self.child.as_mut().context("the agent does not run")?;
        let ended = wait_limited(child, limit)?.is_some();
        if ended {
            self.child = None;
            self.crashed = true;
        }
        Ok(ended)
    }

    fn spawn(&mut self) -> Result<()> {
        let command = self.command("run");
        self.spawn_by(command)
    }

    fn spawn_by(&mut self, mut command: Command) -> Result<()> {
        ensure!(self.child.is_none(), "the agent still runs");
        self.starts += 1;
        let said = fs::File::create(self.said_path())?;
        command.arg("--config").arg(self.config()).stdin(Stdio::null());
        command.stdout(said.try_clone()?).stderr(said);
        self.child = Some(command.spawn().context("starting the agent")?);
        self.crashed = false;
        Ok(())
    }

    /// `purser WORD --store DIR`, ready for more arguments.
    pub(crate) fn command(&self, word: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(word).arg("--store").arg(self.store());
        command
    }

    /// Every later command is run by this program.
    pub(crate) fn set_program(&mut self, program: &Path) {
        self.program = program.to_path_buf();
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.store.clone()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("purser.toml")
    }

    pub(crate) fn pid(&self) -> Result<u32> {
        self.child.as_ref().map(Child::id).context("the agent does not run")
    }

    pub(crate) fn write_config(&self, config: &str) -> Result<()> {
        // Whole or not at all: a reload may read it at any moment.
        let fresh = self.dir.path().join("purser.toml.new");
        fs::write(&fresh, config)?;
        Ok(fs::rename(&fresh, self.config())?)
    }

    /// What the agent printed since its last start.
    pub(crate) fn said(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(self.said_path())?).into_owned())
    }

    /// Every document that `purser log -o json` with these arguments prints.
    pub(crate) fn log(&self, args: &[&str]) -> Result<Vec<Value>> {
        let mut command = self.command("log");
        let said = fs::File::create(self.dir.path().join("log.stderr"))?;
        command.args(["-o", "json"]).args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(said);
        let mut child = command.spawn()?;
        let lines = BufReader::new(child.stdout.take().context("stdout of purser log")?).lines();
        let mut documents = Vec::new();
        for line in lines {
            let line = line?;
            documents
                .push(serde_json::from_str(&line).with_context(|| format!("no JSON document: {line:.200}"))?);
        }
        let status = child.wait()?;
        let said = fs::read_to_string(self.dir.path().join("log.stderr"))?;
        ensure!(status.success(), "purser log {args:?}: {status}\n{said}");
        Ok(documents)
    }

    /// Asks the log again and again until `enough` says so, and gives the last answer.
    pub(crate) fn wait_for(
        &self,
        args: &[&str],
        limit: Duration,
        enough: impl Fn(&[Value]) -> bool,
    ) -> Result<Vec<Value>> {
        let start = Instant::now();
        loop {
            let documents = self.log(args)?;
            if enough(&documents) {
                return Ok(documents);
            }
            if start.elapsed() > limit {
                bail!(
                    "not in the log after {limit:?}; it has {} documents\n{}",
                    documents.len(),
                    self.said()?
                );
            }
            sleep(POLL);
        }
    }

    /// `purser verify` must call the store whole.
    pub(crate) fn verify(&self) -> Result<String> {
        let output = output(&mut self.command("verify"))?;
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "purser verify: {}\n{told}{errors}", output.status);
        Ok(told)
    }

    /// A clean stop, as a person does it: everything is unloaded from the kernel.
    pub(crate) fn stop(&mut self) -> Result<()> {
        signal(self.pid()?, "TERM")?;
        self.wait_stopped()
    }

    /// `purser stop --keep`: the kernel side goes on recording.
    pub(crate) fn stop_and_keep(&mut self) -> Result<()> {
        run(self.command("stop").arg("--keep"))?;
        self.wait_stopped()?;
        // What is pinned is to go, should nobody start it again.
        self.crashed = true;
        Ok(())
    }

    /// Waits until it ends by itself; its exit code.
    pub(crate) fn wait_ended(&mut self) -> Result<Option<i32>> {
        let mut child = self.child.take().context("the agent does not run")?;
        let Some(status) = wait_limited(&mut child, STOP_LIMIT)? else {
            self.child = Some(child);
            bail!("the agent still runs after {STOP_LIMIT:?}\n{}", self.said()?);
        };
        Ok(status.code())
    }

    /// Nothing of it is in the kernel any more: nobody need clean up.
    pub(crate) fn is_unloaded(&mut self) {
        self.crashed = false;
    }

    fn wait_stopped(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the agent does not run")?;
        let Some(status) = wait_limited(&mut child, STOP_LIMIT)? else {
            child.kill()?;
            child.wait()?;
            self.crashed = true;
            bail!("the agent did not stop within {STOP_LIMIT:?}\n{}", self.said()?);
        };
        ensure!(status.success(), "the agent stopped with {status}\n{}", self.said()?);
        Ok(())
    }

    /// Ends the agent as a crash would.
    pub(crate) fn kill9(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the agent does not run")?;
        child.kill()?;
        child.wait()?;
        self.crashed = true;
        Ok(())
    }

    /// Ends it by a signal that it does not expect.
    pub(crate) fn end_by(&mut self, word: &str) -> Result<ExitStatus> {
        signal(self.pid()?, word)?;
        let mut child = self.child.take().context("the agent does not run")?;
        self.crashed = true;
        let status = wait_limited(&mut child, STOP_LIMIT)?;
        status.context("a signal did not end it")
    }

    fn said_path(&self) -> PathBuf {
        self.dir.path().join(format!("said-{}", self.starts))
    }

    fn wait_ready(&mut self) -> Result<()> {
        let start = Instant::now();
        while !self.said()?.contains(READY) {
            let child = self.child.as_mut().context("the agent does not run")?;
            if let Some(status) = child.try_wait()? {
                self.child = None;
                bail!("the agent ended with {status} before it recorded\n{}", self.said()?);
            }
            if start.elapsed() > START_LIMIT {
                bail!("the agent was not ready after {START_LIMIT:?}\n{}", self.said()?);
            }
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Agent {
    /// A test that failed may leave a running or a crashed agent; what it pinned must go either way.
    fn drop(&mut self) {
        if self.crashed && self.child.is_none() {
            self.start_again().unwrap_or_else(|error| complain(&error));
        }
        if self.child.is_some() {
            self.stop().unwrap_or_else(|error| complain(&error));
        }
        if let Some(child) = &mut self.child {
            child.kill().and_then(|()| child.wait()).map_or_else(|error| complain(&error.into()), drop);
        }
    }
}

#[expect(clippy::print_stderr, reason = "a failed clean-up cannot be returned from drop")]
fn complain(error: &anyhow::Error) {
    eprintln!("cleaning up an agent: {error:#}");
}

/// The program under test.
pub(crate) fn purser() -> Command {
    Command::new(env!("CARGO_BIN_EXE_purser"))
}
