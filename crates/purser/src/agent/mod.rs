// SPDX-License-Identifier: Apache-2.0
//! The agent: one loop over rings, requests, signals and time, and the store at its end.
//!
//! Records are released in the rings only after the store has committed their events and the
//! place to carry on from, in one write. Whatever ends this process in between loses nothing.

mod answer;
mod handed;
mod notify;
mod open;
mod pins;
mod place;
mod plain;
mod rights;
mod session;
mod ship;
mod start;
pub(crate) mod tries;
mod wake;
mod watch;

pub(crate) use pins::{all_pins, is_loaded, unload};
pub(crate) use rights::hide;
pub(crate) use start::{Options, start};
pub(crate) use wake::Wake;

use crate::command::say;
use crate::config::Config;
use crate::control::{GapStats, Mishap, Notice, Server};
use crate::exit::Exit;
use crate::pipeline::{Clock, Pipeline, Rules, Told};
use crate::sinks::Sinks;
use crate::sources::Sources;
use anyhow::Context;
use event::{Agent as AgentEvent, Body, Event, Gap, GapCause, codec};
use notify::Notify;
use open::OpenSessions;
use place::Place;
use probe::Position;
use std::time::{Duration, Instant};
use store::{Keys, Writer};
use watch::Watch;

/// Time records gather in the ring after the first one has woken us.
const GATHER: Duration = Duration::from_millis(6);
/// The same while some come each time: the kernel is not asked to wake us then, because a wake-up
/// costs the program that is started microseconds. Most of a batch's cost is the batch itself.
const GATHER_BUSY: Duration = Duration::from_millis(10);
/// Longest sleep when nothing happens.
const IDLE: Duration = Duration::from_millis(250);
/// Time between looks at counters, rules that end and the store's housekeeping.
const TICK: Duration = Duration::from_secs(1);
/// Time between sweeps of removed cgroups.
const SWEEP: Duration = Duration::from_secs(10);
/// Bytes of events after which a batch is committed. Small, so that an agent which does not live
/// long still gets ahead: with a whole ring to a batch, one that was killed every 0.4 s never did.
const COMMIT_BYTES: usize = 256 << 10;
/// Bytes waiting for a commit above which no lines of files are taken: a batch of them stays far
/// below the rest of the store's limit.
const LINES_BYTES: usize = 4 << 20;
/// Time that sources have to save their positions when the agent ends.
const SOURCES_PATIENCE: Duration = Duration::from_millis(500);
/// Time between tries when the disk is full.
const FULL_PAUSE: Duration = Duration::from_millis(100);

/// How the loop ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Unload the kernel side.
    Unload,
    /// Leave it recording.
    Keep,
}

/// A running agent.
#[derive(Debug)]
pub(crate) struct Agent {
    options: Options,
    config: Config,
    pipeline: Pipeline,
    rules: Rules,
    line: Line,
    server: Server,
    wake: Wake,
    sinks: Sinks,
    sources: Sources,
    started: Instant,
    notices: Vec<Notice>,
    watch: Watch,
    /// Debugging sessions that have not ended.
    open: OpenSessions,
    notify: Notify,
    /// Whether a signal that ends a service means that nothing shall be recorded from then on.
    for_good: bool,
    /// When the last canary was recorded, or the agent started.
    canary_at: Instant,
    /// What went wrong last.
    mishap: Option<Mishap>,
    /// Gaps told since the start, by cause.
    gaps: Vec<GapStats>,
    /// Per CPU, the last number given out when losses were last looked for.
    numbered: Vec<u64>,
    full: bool,
    /// Whether the last look at the rings found something.
    busy: bool,
    /// Committed up to here, while the rings still hold the newest record.
    held: Option<Position>,
}

/// The end of the line: the store and the place that is committed with the events.
#[derive(Debug)]
struct Line {
    store: Writer,
    place: Place,
    bytes: Vec<u8>,
    /// Bytes appended since the last commit.
    waiting: usize,
    dropped_told: u64,
}

impl Line {
    fn append(&mut self, event: &Event) -> anyhow::Result<()> {
        self.bytes.clear();
        codec::encode(event, &mut self.bytes);
        let (user, executable, text) = searchable(event);
        let keys = Keys {
            time_ns: event.time_ns,
            kind: event.kind() as u8,
            subject: event.container.as_bytes(),
            user,
            executable,
            text: &text,
        };
        self.store.append(&self.bytes, &keys).context("appending to the store")?;
        self.waiting += self.bytes.len();
        Ok(())
    }

    /// False when the disk is full: nothing is lost, the records wait in the rings.
    fn commit(&mut self, position: Position, told: Told) -> anyhow::Result<bool> {
        self.place = Place { position, told, ..self.place.clone() };
        match self.store.commit(&self.place.encode()) {
            Ok(()) => {
                self.waiting = 0;
                Ok(true)
            }
            Err(store::Error::Full { .. }) => Ok(false),
            Err(error) => Err(error).context("committing to the store"),
        }
    }
}

/// The keys an event is found by: user, executable and pieces of text.
fn searchable(event: &Event) -> (u32, &[u8], Vec<&[u8]>) {
    match &event.body {
        Body::Exec(exec) | Body::Running(exec) => {
            let mut text: Vec<&[u8]> = exec.args.iter().map(Vec::as_slice).collect();
            text.push(&exec.executable);
            text.push(&exec.filename);
            (exec.process.euid, &exec.executable, text)
        }
        Body::ExecFailed(failed) => {
            let mut text: Vec<&[u8]> = failed.args.iter().map(Vec::as_slice).collect();
            text.push(&failed.filename);
            (failed.process.euid, &failed.filename, text)
        }
        Body::Exit(exit) => (exit.process.euid, &exit.executable, vec![&exit.executable]),
        Body::Line(line) => (0, b"", vec![&line.message, line.json.as_bytes(), &line.path]),
        Body::Session(session) => (session.uid, b"", vec![session.target.as_bytes(), session.id.as_bytes()]),
        Body::Tty(screen) => (0, b"", vec![&screen.bytes, screen.session.as_bytes()]),
        Body::Gap(_) | Body::Agent(_) => (0, b"", Vec::new()),
    }
}

impl Agent {
    /// Runs until a signal or a request ends it.
    pub(crate) fn run(mut self) -> anyhow::Result<Exit> {
        crate::command::aside().context("starting the thread that talks")?;
        match self.record().and_then(|end| self.look_around().map(|()| end)) {
            Ok(end) => self.end(end),
            Err(error) => self.end_on_failure(error),
        }
    }

    fn record(&mut self) -> anyhow::Result<End> {
        let mut next_tick = Instant::now();
        let mut next_sweep = Instant::now() + SWEEP;
        let mut more = false;
        loop {
            if !more {
                self.sleep(next_tick)?;
            }
            if let Some(end) = self.serve()? {
                return Ok(end);
            }
            more = self.drain()?;
            let now = Instant::now();
            if now >= next_tick {
                next_tick = now + TICK;
                self.tick()?;
            }
            // Records that wait for room still ask for their cgroups.
            if now >= next_sweep && !self.full {
                next_sweep = now + SWEEP;
                self.pipeline.cgroups.sweep(&self.pipeline.probe, Clock::boot_now())?;
            }
        }
    }

    fn sleep(&mut self, next_tick: Instant) -> anyhow::Result<()> {
        if self.full {
            std::thread::sleep(FULL_PAUSE);
            return Ok(());
        }
        if self.busy {
            std::thread::sleep(GATHER_BUSY);
            return Ok(());
        }
        if let Some(position) = self.held.take()
            && self.pipeline.probe.reader.release(&position)
        {
            return Ok(());
        }
        let left = next_tick.saturating_duration_since(Instant::now()).min(IDLE);
        let ring = self.pipeline.probe.wake_fd().context("the ring has no descriptor")?;
        if self.wake.sleep(ring, left)? {
            std::thread::sleep(GATHER);
        }
        Ok(())
    }

    /// Records to events to the store, one batch. True when there is more to do at once.
    fn drain(&mut self) -> anyhow::Result<bool> {
        self.describe()?;
        if self.full && !self.commit()? {
            return Ok(false);
        }
        let (line, gaps) = (&mut self.line, &mut self.gaps);
        let more = self.pipeline.drain(|event| {
            count_gap(gaps, &event);
            line.append(&event)?;
            Ok(line.waiting < COMMIT_BYTES)
        })?;
        self.take_lines()?;
        // Names that came meanwhile still reach the block these events are in.
        self.describe()?;
        Ok(self.commit()? && more)
    }

    /// Lines of files that sources have read: into the same commit as everything else.
    fn take_lines(&mut self) -> anyhow::Result<()> {
        while self.line.waiting <= LINES_BYTES {
            let Some(batch) = self.sources.take() else { break };
            // Whoever has been seen to run is described by what runs.
            for (id, info) in self.sources.take_found() {
                if self.pipeline.cgroups.known(&id).is_none_or(|known| known.info.name.is_empty()) {
                    self.line.store.attach(id.as_bytes(), &codec::encode_container(&info));
                }
            }
            for entry in batch.entries {
                let event = self.pipeline.clock.event(Body::Line(Box::new(entry.line)));
                self.line.append(&Event { container: entry.container, ..event })?;
            }
        }
        Ok(())
    }

    /// What the runtimes have answered goes to the store and to the rules.
    fn describe(&mut self) -> anyhow::Result<()> {
        let mut is_new = false;
        for known in self.pipeline.cgroups.take_changed(&self.pipeline.probe)? {
            self.line.store.attach(known.info.id.as_bytes(), &codec::encode_container(&known.info));
            self.rules.learn(&known.info, &known.cgroups, &self.pipeline.probe)?;
            is_new = true;
        }
        if is_new {
            self.sources.look_now();
        }
        Ok(())
    }

    /// Commits what was appended and gives the room in the rings back. False on a full disk.
    fn commit(&mut self) -> anyhow::Result<bool> {
        let position = self.pipeline.probe.reader.position();
        self.busy = self.line.waiting != 0 || position != self.line.place.position;
        if !self.busy {
            return Ok(true);
        }
        let told = self.line.place.told.clone();
        let done = self.line.commit(position.clone(), told)?;
        if done {
            self.pipeline.probe.reader.release_quietly(&position);
            self.held = Some(position);
            self.sinks.committed(self.line.store.next_sequence());
            self.sources.committed(self.line.store.next_sequence());
            self.open.committed();
        }
        if done == self.full {
            self.full = !done;
            self.tell_of_room();
        }
        Ok(done)
    }

    fn tell_of_room(&mut self) {
        let store = self.options.store.display();
        if self.full {
            let text = format!(
                "no space left for the store {store}: events wait in the kernel's rings; free some space"
            );
            say(&format!("purser: {text}"));
            self.notify.status(&text);
            self.blame(text);
        } else {
            say(&format!("purser: the store {store} has room again: recording goes on"));
            self.notify.status(&self.scope_words());
        }
    }

    /// Remembers what went wrong, for `purser status`.
    fn blame(&mut self, text: String) {
        self.mishap = Some(Mishap { text, time_secs: self.pipeline.clock.wall_now() / 1_000_000_000 });
    }

    /// Once a second: losses, rules that end, and the store's own chores.
    fn tick(&mut self) -> anyhow::Result<()> {
        self.notify.alive();
        self.look_around()?;
        self.sinks.tick();
        if self.full {
            return Ok(());
        }
        self.tick_sources()?;
        self.tell_losses()?;
        self.send_canary()?;
        self.end_orphans()?;
        for name in self.rules.expire(&mut self.pipeline.probe, &self.pipeline.cgroups)? {
            self.tell("rule_remove", format!("rule {name} ended"))?;
        }
        self.commit()?;
        match self.line.store.tick(self.pipeline.clock.wall_now()) {
            Ok(()) | Err(store::Error::Full { .. }) => Ok(()),
            Err(error) => Err(error).context("keeping the store in order"),
        }
    }

    fn tick_sources(&mut self) -> anyhow::Result<()> {
        let unread = self.sources.tick();
        if self.sources.knows_containers() {
            let known = self.pipeline.cgroups.all().map(|known| known.info.clone());
            self.sources.set_containers(known.collect());
        }
        unread.into_iter().try_for_each(|text| {
            say(&format!("purser: {text}"));
            self.tell("source_unread", text)
        })
    }

    /// Numbers given out by the last time this was asked and that have not come since, and
    /// counters that moved. A number given out just now may still be on its way: copying the
    /// longest arguments takes a moment.
    fn tell_losses(&mut self) -> anyhow::Result<()> {
        while self.drain()? {}
        if self.full {
            return Ok(());
        }
        let missing = self.pipeline.probe.reader.missing_at_end(&self.numbered);
        let lanes = self.pipeline.probe.lanes()?;
        self.numbered = lanes.iter().map(|lane| lane.sequence).collect();
        let mut gaps: Vec<Gap> = missing.into_iter().map(crate::pipeline::between).collect();
        gaps.extend(self.line.place.told.new_gaps(&lanes, &self.pipeline.probe.recursion_misses()));
        gaps.extend(self.dropped_by_store());
        for gap in gaps {
            let event = self.pipeline.gap(gap);
            count_gap(&mut self.gaps, &event);
            self.line.append(&event)?;
        }
        Ok(())
    }

    fn dropped_by_store(&mut self) -> Option<Gap> {
        let dropped = self.line.store.statistics().dropped?;
        let count = dropped.events.checked_sub(self.line.dropped_told).filter(|count| *count > 0)?;
        self.line.dropped_told = dropped.events;
        Some(Gap {
            cause: GapCause::StoreFull,
            count,
            cpu: u32::MAX,
            detail: format!("events {} to {}", dropped.first_sequence, dropped.last_sequence),
            ..Gap::default()
        })
    }

    /// Puts something the agent did into the record.
    fn tell(&mut self, action: &str, message: String) -> anyhow::Result<()> {
        let body = AgentEvent {
            action: action.to_string(),
            message,
            version: env!("CARGO_PKG_VERSION").to_string(),
        };
        self.line.append(&self.pipeline.clock.event(Body::Agent(body)))
    }

    fn end(mut self, end: End) -> anyhow::Result<Exit> {
        self.notify.stopping();
        self.tell_losses()?;
        std::thread::sleep(GATHER);
        self.tell_losses()?;
        if self.full || !self.commit()? {
            return Ok(self.end_on_full_disk());
        }
        let message = match end {
            End::Unload => "stopped; nothing is recorded from now on",
            End::Keep => "stopped; the kernel side goes on recording for the next agent",
        };
        self.tell("agent_stop", message.to_string())?;
        if !self.commit()? {
            return Ok(self.end_on_full_disk());
        }
        self.sources.end(SOURCES_PATIENCE);
        self.end_sinks();
        let now = self.pipeline.clock.wall_now();
        let store = match end {
            End::Unload => self.unload()?,
            End::Keep => {
                self.pipeline.probe.keep();
                self.line.store
            }
        };
        store.close(now).context("closing the store")?;
        say(&format!("purser: {message}"));
        Ok(Exit::Success)
    }
}

impl Agent {
    /// What was not committed is still in the rings: they are left for the next agent, whatever
    /// was asked, because unloading them would lose it.
    fn end_on_full_disk(self) -> Exit {
        say(&format!(
            "purser: stopped on a full disk: the kernel side goes on recording and keeps what the store {} \
             has no room for; free some space and start purser again",
            self.options.store.display()
        ));
        self.pipeline.probe.keep();
        Exit::Problem
    }
}

fn count_gap(gaps: &mut [GapStats], event: &Event) {
    let Body::Gap(gap) = &event.body else { return };
    if let Some(counted) = gaps.iter_mut().find(|counted| counted.cause == gap.cause.word()) {
        counted.gaps += 1;
        counted.lost += gap.count;
    }
}

/// A counter for each cause there is.
fn no_gaps() -> Vec<GapStats> {
    let none = |cause: GapCause| GapStats { cause: cause.word().to_string(), gaps: 0, lost: 0 };
    GapCause::ALL.map(none).to_vec()
}
