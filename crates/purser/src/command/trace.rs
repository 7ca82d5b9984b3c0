// SPDX-License-Identifier: Apache-2.0
//! `purser trace`: what one command's containers run, without store or configuration.
//!
//! The kernel side is loaded for as long as the command runs and is not pinned. Which containers
//! are the command's is found in two ways: its descendants (Podman, runc, LXC work so), and for
//! Docker's client a proxy in front of the daemon's socket that sees which containers it makes.

mod family;
mod proxy;
mod shown;

use super::output;
use crate::agent::Wake;
use crate::config::{Config, Glob, Include};
use crate::exit::Exit;
use crate::pipeline::{Cgroups, Pipeline, settings, sizes};
use crate::table::{Live, Painter, Row};
use anyhow::{Context, bail};
use event::{Body, Event, document};
use family::Family;
use probe::Probe;
use proxy::Proxy;
use rustix::process::{Pid, Signal, kill_process};
use shown::Shown;
use std::io::Write;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time between looks at the ring and at the command.
const NAP: Duration = Duration::from_millis(5);
/// Time after the command's end in which its containers' last events still come.
const LINGER: Duration = Duration::from_millis(300);

/// Show what containers run, without a store.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Only this container: a name, a glob, an id or the start of one.
    #[arg(long, value_name = "CONTAINER", required_unless_present = "command", conflicts_with = "command")]
    pub(crate) container: Option<String>,
    /// What to print.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: super::Format,
    /// Run this command and show what its containers run until it ends.
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<std::ffi::OsString>,
}

const HELP: &str = "\
With a COMMAND the events go to standard error, as the command has standard output for itself,
and the exit code is the command's own (128 and the signal's number when it was killed), or as
with a shell 127 when there is no such command and 126 when it cannot be started.
Nothing is stored, and the rules and scope of a running agent do not matter.

Examples:
  purser trace -- docker run --rm IMAGE sh -c 'id; ls'
  purser trace -- podman run --rm IMAGE true
  purser trace --container web-1
  purser trace --container 'web-*' -o json | jq .process.args

Exit codes: the command's; without one 0 stopped, 1 failed, 2 wrong command line";

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    if !rustix::process::geteuid().is_root() {
        bail!("tracing needs root: run it with sudo, or look at purser doctor");
    }
    let mut config = Config::default();
    if !args.command.is_empty() {
        // Between the command and its containers stand processes of the host.
        config.scope.include = vec![Include::Container, Include::Host];
    }
    let probe = Probe::load(sizes(&config), &settings(&config))?;
    let pipeline = Pipeline::new(probe, Cgroups::new(&config, Vec::new())?, &config)?;
    let wanted = match &args.container {
        Some(container) => Wanted::Container(container.clone(), Glob::new(container).ok()),
        None => Wanted::Family(Family::default()),
    };
    let printer = Printer::new(args.output, !args.command.is_empty());
    let mut trace = Trace { pipeline, wanted, shown: Shown::default(), printer, wake: Wake::new()? };
    match args.command.split_first() {
        None => trace.until_stopped(),
        Some((program, rest)) => trace.command(Command::new(program).args(rest), program),
    }
}

/// Which events are shown.
#[derive(Debug)]
enum Wanted {
    /// Those of containers with this name or id.
    Container(String, Option<Glob>),
    /// Those of the containers that a command's processes made.
    Family(Family),
}

#[derive(Debug)]
struct Trace {
    pipeline: Pipeline,
    wanted: Wanted,
    shown: Shown,
    printer: Printer,
    wake: Wake,
}

impl Trace {
    fn until_stopped(&mut self) -> anyhow::Result<Exit> {
        super::say("purser: tracing; Ctrl-C ends it");
        while !self.wake.is_stop() {
            self.round()?;
        }
        self.printer.finish()?;
        Ok(Exit::Success)
    }

    fn command(&mut self, command: &mut Command, program: &std::ffi::OsStr) -> anyhow::Result<Exit> {
        let proxy = Proxy::start()?;
        if let Some(proxy) = &proxy {
            command.env("DOCKER_HOST", proxy.address());
        }
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                super::say(&format!("purser: starting {}: {error}", program.display()));
                return Ok(Exit::Command(cannot_start(&error)));
            }
        };
        let status = self.watch(&mut child, proxy.as_ref())?;
        let end = Instant::now() + LINGER;
        while Instant::now() < end {
            self.learn(proxy.as_ref());
            self.round()?;
        }
        self.printer.finish()?;
        Ok(Exit::Command(status))
    }

    fn watch(&mut self, child: &mut Child, proxy: Option<&Proxy>) -> anyhow::Result<u8> {
        use std::os::unix::process::ExitStatusExt;
        loop {
            self.learn(proxy);
            self.round()?;
            // Ctrl-C reaches the command through the terminal, SIGTERM does not; we end when it does.
            if self.wake.take_terminate() {
                kill_process(Pid::from_child(child), Signal::TERM).context("ending the command")?;
            }
            if let Some(status) = child.try_wait().context("waiting for the command")? {
                let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
                return Ok(u8::try_from(code).unwrap_or(u8::MAX));
            }
        }
    }

    fn learn(&mut self, proxy: Option<&Proxy>) {
        if let (Wanted::Family(family), Some(proxy)) = (&mut self.wanted, proxy) {
            proxy.made(|container| family.add_container(container));
        }
    }

    fn round(&mut self) -> anyhow::Result<()> {
        let ring = self.pipeline.probe.wake_fd().context("the ring has no descriptor")?;
        self.wake.sleep(ring, NAP)?;
        let mut events = Vec::new();
        while self.pipeline.drain(|event| {
            events.push(event);
            Ok(true)
        })? {}
        let done = self.pipeline.probe.reader.position();
        self.pipeline.probe.reader.release(&done);
        self.pipeline.cgroups.take_changed(&self.pipeline.probe)?;
        for event in events {
            self.show(event)?;
        }
        self.printer.poll()
    }

    fn show(&mut self, event: Event) -> anyhow::Result<()> {
        let known = self.pipeline.cgroups.known(&event.container).map(|known| known.info.clone());
        let name = known.as_ref().map_or("", |info| info.name.as_str());
        let shown = match &mut self.wanted {
            _ if matches!(event.body, Body::Gap(_)) => true,
            Wanted::Container(text, glob) => {
                let id = &event.container;
                !id.is_empty()
                    && (id.starts_with(text.as_str()) || glob.as_ref().is_some_and(|glob| glob.matches(name)))
            }
            Wanted::Family(family) => family.owns(&event, name),
        };
        if shown && self.shown.fits(&event) {
            self.printer.print(Row { sequence: 0, event, container: known.map(Arc::new) })
        } else {
            Ok(())
        }
    }
}

/// What shells give for a command that is not there, and for one that cannot be started.
fn cannot_start(error: &std::io::Error) -> u8 {
    if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 }
}

/// Writes rows to where this trace's output goes.
#[derive(Debug)]
struct Printer {
    live: Option<Live>,
    to_stderr: bool,
    sequence: u64,
}

impl Printer {
    fn new(format: super::Format, to_stderr: bool) -> Printer {
        let live = match format {
            super::Format::Table => Some(Live::new(Painter::new(output::look()), false)),
            super::Format::Json => None,
        };
        Printer { live, to_stderr, sequence: 0 }
    }

    fn with(
        &mut self,
        write: impl FnOnce(&mut Printer, &mut Vec<u8>) -> std::io::Result<()>,
    ) -> anyhow::Result<()> {
        let mut bytes = Vec::new();
        write(self, &mut bytes)?;
        if self.to_stderr {
            std::io::stderr().lock().write_all(&bytes)?;
        } else {
            let mut out = std::io::stdout().lock();
            out.write_all(&bytes)?;
            out.flush()?;
        }
        Ok(())
    }

    fn print(&mut self, mut row: Row) -> anyhow::Result<()> {
        self.sequence += 1;
        row.sequence = self.sequence;
        self.with(|printer, out| match &mut printer.live {
            Some(live) => live.push(row, Instant::now(), out),
            None => {
                let context = document::Context { host_name: super::host::name(), ..Default::default() };
                let text = document::render(&context, row.sequence, &row.event, row.container.as_deref());
                writeln!(out, "{text}")
            }
        })
    }

    fn poll(&mut self) -> anyhow::Result<()> {
        self.with(|printer, out| match &mut printer.live {
            Some(live) => live.poll(Instant::now(), out),
            None => Ok(()),
        })
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        self.with(|printer, out| match &mut printer.live {
            Some(live) => live.flush(out),
            None => Ok(()),
        })
    }
}
