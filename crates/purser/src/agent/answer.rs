// SPDX-License-Identifier: Apache-2.0
//! What the agent is asked over its socket, and by signals, answered between two batches.

use super::{Agent, End};
use crate::command::say;
use crate::config::Config;
use crate::control::{ContainerStats, Reply, Request, RingStats, Stats, Status};
use crate::sinks;
use crate::sources::reads_containers;
use std::collections::BTreeMap;
use std::time::Duration;

impl Agent {
    /// Answers what waits. `Some` when the agent is to end.
    pub(super) fn serve(&mut self) -> anyhow::Result<Option<End>> {
        if self.wake.is_stop() {
            return Ok(Some(self.meaning_of_a_signal()));
        }
        if self.wake.take_reload() {
            let reply = self.reload();
            let text = reply.message.or(reply.error).unwrap_or_default();
            say(&format!("purser: {text}"));
        }
        self.take_notices()?;
        while let Ok(call) = self.server.calls.try_recv() {
            if let Request::Stop { keep } = call.request {
                call.answer.give(Reply::done("stopping"));
                return Ok(Some(if keep || self.options.keep { End::Keep } else { End::Unload }));
            }
            if let Request::SinkRewind { name, to } = &call.request {
                self.rewind_sink(name, *to, call.answer);
                continue;
            }
            let told = match call.request {
                Request::Record { event, more } => self.record_told(&event.0, &more, call.who),
                request => self.answer(request),
            };
            let reply = told.unwrap_or_else(|error| Reply::failed(format!("{error:#}")));
            call.answer.give(reply);
        }
        Ok(None)
    }

    /// A service is ended by a signal for a restart as well.
    fn meaning_of_a_signal(&self) -> End {
        let restarts = self.options.service.is_some() && !self.for_good;
        if self.options.keep || restarts { End::Keep } else { End::Unload }
    }

    fn answer(&mut self, request: Request) -> anyhow::Result<Reply> {
        match request {
            Request::Status => Ok(Reply::status(self.status())),
            Request::Stats => Ok(Reply::stats(self.stats()?)),
            Request::Reload => Ok(self.reload()),
            Request::RuleAdd { rule, expires_secs } => {
                let name = rule.name.clone();
                let told = format!("rule {name}: {} {}", rule.action.word(), rule.conditions());
                let until = expires_secs.map(Duration::from_secs);
                self.rules.add(rule, until, &mut self.pipeline.probe, &self.pipeline.cgroups)?;
                self.tell("rule_add", told)?;
                Ok(Reply::done(format!("rule {name} is in force")))
            }
            Request::RuleRemove { name } => {
                self.rules.remove(&name, &mut self.pipeline.probe, &self.pipeline.cgroups)?;
                self.tell("rule_remove", format!("rule {name} removed"))?;
                Ok(Reply::done(format!("rule {name} is removed")))
            }
            Request::RuleList => Ok(Reply::rules(self.rules.list(&self.pipeline.probe)?)),
            Request::SourceList => Ok(Reply::sources(self.sources.list())),
            Request::SinkList => Ok(Reply::sinks(self.sinks.list(self.pipeline.clock.wall_now()))),
            Request::SinkPause { name } => self.pause_sink(&name),
            Request::SinkResume { name } => self.resume_sink(&name),
            Request::SinkRewind { .. } => Ok(Reply::failed("the sink answers itself")),
            Request::Record { .. } => Ok(Reply::failed("recorded elsewhere")),
            Request::Ending { for_good } => {
                self.for_good = for_good;
                Ok(Reply::done(if for_good { "a signal unloads" } else { "a signal keeps recording" }))
            }
            Request::Stop { .. } => Ok(Reply::failed("stopping already")),
        }
    }

    fn status(&self) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION").to_string(),
            pid: std::process::id(),
            uptime_secs: self.started.elapsed().as_secs(),
            store: self.options.store.clone(),
            pins: self.watch.pins().to_path_buf(),
            events: self.line.store.statistics().events,
            service: self.options.service.clone(),
            recording: !self.full,
            last_error: self.mishap.clone(),
            notices: self.notices.clone(),
            disk_full: self.full,
        }
    }

    fn stats(&self) -> anyhow::Result<Stats> {
        let mut by_container: BTreeMap<String, ContainerStats> = BTreeMap::new();
        for (key, cgroup) in self.pipeline.probe.cgroups()? {
            let Some(id) = self.pipeline.cgroups.of(key) else { continue };
            let stats = by_container.entry(id.to_string()).or_default();
            stats.execs += cgroup.execs;
            stats.exits += cgroup.exits;
            stats.failed += cgroup.failed;
            stats.bytes += cgroup.bytes;
            stats.lost += cgroup.lost;
            stats.ignored += cgroup.suppressed;
        }
        for (id, stats) in &mut by_container {
            stats.id.clone_from(id);
            stats.name =
                self.pipeline.cgroups.known(id).map(|known| known.info.name.clone()).unwrap_or_default();
        }
        let [records, bulk] = self.pipeline.probe.reader.usage();
        let ring = |name: &str, (used_bytes, size_bytes)| RingStats {
            name: name.to_string(),
            size_bytes,
            used_bytes,
        };
        let store = self.line.store.statistics();
        Ok(Stats {
            containers: by_container.into_values().collect(),
            rings: vec![ring("records", records), ring("bulk", bulk)],
            events: store.events,
            store_bytes: store.bytes,
            gaps: self.gaps.iter().map(|gap| gap.gaps).sum(),
            lost: self.gaps.iter().map(|gap| gap.lost).sum(),
            gap_causes: self.gaps.clone(),
            captured: self.pipeline.probe.lanes()?.iter().map(|lane| lane.sequence).sum(),
        })
    }

    /// Reads the configuration again. A bad one leaves the old one in force.
    fn reload(&mut self) -> Reply {
        self.notify.reloading();
        let result = self.try_reload();
        if let Err(error) = &result {
            self.blame(format!("reading the configuration again: {error:#}"));
        }
        self.notify.ready(&self.scope_words());
        match result {
            Ok(changed) if changed.is_empty() => Reply::done("the configuration has not changed"),
            Ok(Changed { sections, anew }) if sections.is_empty() => Reply::done(format!(
                "the configuration has not changed; begun anew with another secret: {}",
                anew.join(", ")
            )),
            Ok(changed) => Reply::done(format!(
                "the configuration is in force; changed: {}",
                changed.sections.join(", ")
            )),
            Err(error) => Reply::failed(format!("the old configuration stays in force: {error:#}")),
        }
    }

    fn try_reload(&mut self) -> anyhow::Result<Changed> {
        let (mut config, _) = Config::load(self.options.config.as_deref())?;
        config.agent.store.clone_from(&self.options.store);
        // Secrets are read again: a sink whose password changed begins anew.
        let prepared = sinks::prepare_all(&config)?;
        // Who goes on with a file must know what of it is committed.
        if self.config.sources != config.sources && !self.commit()? {
            anyhow::bail!("the disk is full, and sources change only when all they have read is stored");
        }
        let changed = differences(&self.config, &config);
        if changed.is_empty() {
            let anew = self.sinks.configure(prepared, 0)?;
            return Ok(Changed { sections: changed, anew });
        }
        self.pipeline.configure(&config)?;
        self.rules.configure(&config.rules, &mut self.pipeline.probe, &self.pipeline.cgroups)?;
        let anew = self.sinks.configure(prepared, 0)?;
        self.sources.configure(&config, self.pipeline.redactor(), self.line.store.next_sequence())?;
        self.config = config;
        self.tell("config_reload", format!("changed: {}", changed.join(", ")))?;
        Ok(Changed { sections: changed, anew })
    }
}

/// What a reload has changed.
struct Changed {
    sections: Vec<&'static str>,
    /// Sinks that were there and have begun anew.
    anew: Vec<String>,
}

impl Changed {
    fn is_empty(&self) -> bool {
        self.sections.is_empty() && self.anew.is_empty()
    }
}

/// The sections that differ; those that need a restart say so.
fn differences(old: &Config, new: &Config) -> Vec<&'static str> {
    let mut changed = Vec::new();
    let mut note = |differs: bool, name| {
        if differs {
            changed.push(name);
        }
    };
    note(old.agent != new.agent, "[agent] (after a restart)");
    let rings = (new.capture.ring_mib, new.capture.bulk_ring_mib);
    note(
        (old.capture.ring_mib, old.capture.bulk_ring_mib) != rings,
        "[capture] ring sizes (after a clean stop)",
    );
    note((&old.capture.env, old.capture.failed) != (&new.capture.env, new.capture.failed), "[capture]");
    note(old.scope != new.scope, "[scope]");
    note(old.rules != new.rules, "[[rule]]");
    note(old.redaction != new.redaction, "[redaction]");
    note(old.store != new.store, "[store] (after a restart)");
    note(old.runtimes != new.runtimes, "[runtimes] (after a restart)");
    note(old.metrics != new.metrics, "[metrics] (after a restart)");
    note(old.sinks != new.sinks, "[sink]");
    // The right to look into containers is given up at the start by an agent that needs none.
    let later = new.sources.values().any(reads_containers) && !super::rights::may_read_containers();
    note(old.sources != new.sources && !later, "[source]");
    note(later, "[source] (of paths in containers after a restart)");
    changed
}
