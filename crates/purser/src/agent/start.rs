// SPDX-License-Identifier: Apache-2.0
//! From options to a running agent: everything is opened and checked here, in the order in
//! which a failure leaves nothing behind.

use super::handed::Handed;
use super::notify::Notify;
use super::open::OpenSessions;
use super::pins::pins_of;
use super::place::Place;
use super::watch::Watch;
use super::{Agent, Line, Wake, no_gaps, rights};
use crate::command::say;
use crate::config::{self, Config, Include};
use crate::control::{Notice, Server};
use crate::metrics::{self, Listen};
use crate::pipeline::{Cgroups, Clock, Pipeline, Rules, settings, sizes};
use crate::sinks::{self, Sinks};
use crate::sources::{Sources, reads_containers};
use anyhow::bail;
use event::{Container, Gap, GapCause, codec};
use probe::{Origin, Probe};
use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Query, Reader, Recovery, Writer};

/// Newest events looked at for containers that were met before.
const REMEMBERED_EVENTS: usize = 1024;

/// The name under which the service manager keeps the socket of metrics.
const METRICS: &str = "metrics";

/// What the command line decides.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The configuration file, read again on reload.
    pub(crate) config: Option<PathBuf>,
    /// The store directory.
    pub(crate) store: PathBuf,
    /// Leave the kernel side recording at the end.
    pub(crate) keep: bool,
    /// The service it runs as. Its manager ends it by a signal also for a restart, so a signal then
    /// leaves the kernel side recording, unless it was said before that this is the end.
    pub(crate) service: Option<String>,
}

/// While an agent runs, events wait for room on the disk; one that starts has nobody to wait for it.
fn of_opening(error: store::Error, store: &Path) -> anyhow::Error {
    let store::Error::Full { path } = &error else { return error.into() };
    let meanwhile = if super::is_loaded(store) {
        "; meanwhile the kernel side of the last agent goes on recording and keeps what its rings have room for"
    } else {
        ""
    };
    anyhow::anyhow!(
        "not started: no space left for {}: free some space and start purser again{meanwhile}",
        path.display()
    )
}

/// Opens the store, takes over or loads the kernel side, and says what is recorded.
pub(crate) fn start(options: Options, config: Config) -> anyhow::Result<Agent> {
    if !rustix::process::geteuid().is_root() {
        bail!("recording needs root: run it with sudo, or look at purser doctor");
    }
    let mut handed = Handed::from_environment();
    // Before there is anything to hide: records hold what redaction has not seen yet.
    rights::hide()?;
    let prepared = sinks::prepare_all(&config)?;
    let clock = Clock::now();
    let had_store = options.store.join("origin").exists();
    let (store, recovery) =
        Writer::open(&options.store, clock.boot_id, clock.wall_now(), store_options(&config))
            .map_err(|error| of_opening(error, &options.store))?;
    let pins = pins_of(&options.store)?;
    let probe = Probe::open(&pins, sizes(&config), &settings(&config))?;
    let watch = Watch::new(&options.store, pins)?;
    // Recording goes on meanwhile; this needs rights that are given up next.
    debug::collect(Path::new(debug::DIRECTORY));
    // Threads inherit rights when they start: drop them before the first that reads anything.
    rights::drop_most(config.sources.values().any(reads_containers))?;
    let wake = Wake::new()?;
    let server = Server::start(&options.store, wake.waker()?)?;
    let notify = Notify::from_environment();
    serve_metrics(&config, &options.store, handed.take(METRICS), &notify)?;
    let store_end = store.next_sequence();
    let sinks = Sinks::new(&options.store, wake.waker()?);
    let place = Place::decode(store.position()).unwrap_or_default();
    let cgroups = Cgroups::new(&config, met_before(&options.store))?;
    let pipeline = Pipeline::new(probe, cgroups, &config)?;
    let sources = Sources::new(&options.store, pipeline.redactor(), wake.waker()?);
    let open = OpenSessions::from_store(&options.store);
    let mut agent = Agent {
        options,
        pipeline,
        rules: Rules::default(),
        line: Line { store, place, bytes: Vec::new(), waiting: 0, dropped_told: 0 },
        server,
        wake,
        sinks,
        sources,
        started: Instant::now(),
        notices: Vec::new(),
        watch,
        open,
        notify,
        for_good: false,
        canary_at: Instant::now(),
        mishap: None,
        gaps: no_gaps(),
        numbered: Vec::new(),
        full: false,
        busy: false,
        held: None,
        config,
    };
    agent.carry_on(&recovery, had_store)?;
    agent.sinks.configure(prepared, store_end)?;
    let end = agent.line.store.next_sequence();
    agent.sources.configure(&agent.config, agent.pipeline.redactor(), end)?;
    Ok(agent)
}

/// The service manager keeps the socket over a restart, so that nobody who asks meanwhile is turned away.
fn serve_metrics(
    config: &Config,
    store: &Path,
    kept: Option<OwnedFd>,
    notify: &Notify,
) -> anyhow::Result<()> {
    if config.metrics.listen == Listen::Off {
        notify.forget(METRICS);
        return Ok(());
    }
    let socket = metrics::start(&config.metrics.listen, store, kept)?;
    notify.keep(METRICS, socket.as_fd());
    Ok(())
}

/// Containers of the newest events: what the runtimes said of them need not be waited for again.
/// A store that cannot be read has none.
fn met_before(store: &Path) -> Vec<Container> {
    let newest = Query { newest_first: true, limit: Some(REMEMBERED_EVENTS), ..Query::default() };
    let Ok(reader) = Reader::open(store) else { return Vec::new() };
    let mut met: HashMap<Arc<[u8]>, Container> = HashMap::new();
    for entry in reader.query(&newest).flatten() {
        if let Some(Ok(container)) = entry.attachment.as_deref().map(codec::decode_container) {
            met.entry(entry.subject).or_insert(container);
        }
    }
    met.into_values().collect()
}

impl Agent {
    /// Finds the place to carry on from and tells what happened since.
    fn carry_on(&mut self, recovery: &Recovery, had_store: bool) -> anyhow::Result<()> {
        let (boot_id, rings) = (self.pipeline.clock.boot_id, self.pipeline.probe.identity());
        let same = self.line.place.boot_id == boot_id && self.line.place.rings == rings;
        let origin = self.pipeline.probe.origin();
        let resumed = same && origin != Origin::Loaded && {
            let position = self.line.place.position.clone();
            self.pipeline.probe.reader.resume(&position)
        };
        let gap = (had_store && !resumed && recovery.unclean).then(|| Gap {
            cause: GapCause::NotRecording,
            cpu: u32::MAX,
            detail: "the kernel side of the earlier agent is gone; what ran since then is not known"
                .to_string(),
            ..Gap::default()
        });
        if !resumed {
            self.line.place = Place { boot_id, rings, ..Place::default() };
        }
        let config = self.config.clone();
        self.rules.configure(&config.rules, &mut self.pipeline.probe, &self.pipeline.cgroups)?;
        for gap in gap.into_iter().chain(damage(recovery)) {
            let event = self.pipeline.gap(gap);
            self.line.append(&event)?;
        }
        let how = match (origin, resumed) {
            (Origin::Loaded, _) => "kernel side loaded",
            (_, true) => "carrying on where the store ends",
            (_, false) => "kernel side found running, from its present place",
        };
        self.tell("agent_start", format!("{how}; {}", self.scope_words()))?;
        if origin == Origin::Loaded {
            let line = &mut self.line;
            self.pipeline.snapshot(|event| line.append(&event))?;
        }
        self.commit()?;
        self.notices = self.find_notices(recovery);
        self.greet();
        self.notify.ready(&self.scope_words());
        if let Some(service) = &self.options.service {
            // Where it cannot be written the next start waits longer than it need.
            super::tries::note_ready(service).unwrap_or_default();
        }
        Ok(())
    }

    /// `containers of docker, containerd`
    pub(super) fn scope_words(&self) -> String {
        let mut runtimes: Vec<String> = self
            .pipeline
            .cgroups
            .runtimes()
            .iter()
            .filter(|state| state.error.is_none())
            .map(|state| state.runtime.as_str().to_string())
            .collect();
        runtimes.sort();
        runtimes.dedup();
        let containers = self.config.scope.include.contains(&Include::Container);
        let host = self.config.scope.include.contains(&Include::Host);
        let of = if runtimes.is_empty() { String::new() } else { format!(" of {}", runtimes.join(", ")) };
        match (containers, host) {
            (true, true) => format!("recording the host and containers{of}"),
            (false, true) => "recording the host".to_string(),
            _ => format!("recording containers{of}"),
        }
    }

    fn find_notices(&self, recovery: &Recovery) -> Vec<Notice> {
        let mut notices = Vec::new();
        let mut notice = |what: String, consequence: &str, advice: &str| {
            notices.push(Notice { what, consequence: consequence.to_string(), advice: advice.to_string() });
        };
        for (program, reason) in self.pipeline.probe.refused() {
            let what = format!("the kernel refused the program {program}: {reason}");
            notice(what, "what it would see is not recorded", "see the lines on programs");
        }
        for state in self.pipeline.cgroups.runtimes() {
            if let Some(error) = state.error {
                let what = format!("{} at {}: {error}", state.runtime.as_str(), state.path.display());
                notice(what, "its containers stay without names", "see [runtimes] of the configuration");
            }
        }
        for path in &recovery.future_versions {
            let what = format!("{} was written by a newer purser", path.display());
            notice(what, "it is left alone and not read", "read it with that version");
        }
        if recovery.new_identity {
            let what = "the store's keys were gone when the agent started".to_string();
            notice(
                what,
                "what was recorded before cannot be proven",
                "keep purser verify --print-key elsewhere",
            );
        }
        notices
    }

    fn greet(&self) {
        let notices = match self.notices.len() {
            0 => String::new(),
            1 => " · 1 notice: purser doctor".to_string(),
            count => format!(" · {count} notices: purser doctor"),
        };
        let statistics = self.line.store.statistics();
        say(&format!(
            "purser {}  {} · store {} ({} events){notices}",
            env!("CARGO_PKG_VERSION"),
            self.scope_words(),
            self.options.store.display(),
            statistics.events.saturating_sub(1),
        ));
    }
}

/// What recovery could not bring back.
fn damage(recovery: &Recovery) -> Vec<Gap> {
    let lost = recovery.lost_events.iter().map(|&(first, last)| Gap {
        cause: GapCause::StoreDamaged,
        count: last.saturating_sub(first) + 1,
        cpu: u32::MAX,
        detail: format!("events {first} to {last}"),
        ..Gap::default()
    });
    lost.collect()
}

fn store_options(config: &Config) -> store::Options {
    let store = &config.store;
    store::Options {
        segment_bytes: u64::from(store.segment_mib) << 20,
        checkpoint_every: Duration::from_secs(store.checkpoint_secs.into()),
        retain_age: store.retain_age.secs().map(Duration::from_secs),
        retain_bytes: store.retain_bytes.bytes(),
        disk_full: match store.disk_full {
            config::DiskFull::Block => store::DiskFull::Block,
            config::DiskFull::DropOldest => store::DiskFull::DropOldest,
            config::DiskFull::Reserve => store::DiskFull::Reserve,
        },
        reserve_bytes: u64::from(store.reserve_mib) << 20,
        ..store::Options::default()
    }
}
