// SPDX-License-Identifier: Apache-2.0
//! The main line: records in, events out. Identity, scope and redaction happen here, in the
//! order of the kernel's records and on one thread.
//!
//! Nothing here waits for a container runtime (but see `cgroups` on scopes by name), writes a
//! store or prints.

mod cgroups;
mod clock;
mod convert;
mod gaps;
mod rules;

pub(crate) use cgroups::{Cgroups, described, is_still, matches_scope};
pub(crate) use clock::Clock;
pub(crate) use gaps::{Told, between};
pub(crate) use rules::Rules;

use crate::config::{Config, RedactionRule};
use anyhow::Context;
use convert::Converter;
use event::{Body, Event, Gap, GapCause};
use probe::{Item, Probe};
use redact::Redactor;
use std::sync::Arc;

/// Most records handled before the caller may commit what came of them.
pub(crate) const BATCH_LIMIT: usize = 4096;

/// The kernel side and everything that turns its records into events.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) probe: Probe,
    pub(crate) cgroups: Cgroups,
    pub(crate) clock: Clock,
    converter: Converter,
}

impl Pipeline {
    /// Puts the line together.
    pub(crate) fn new(probe: Probe, cgroups: Cgroups, config: &Config) -> anyhow::Result<Pipeline> {
        Ok(Pipeline { probe, cgroups, clock: Clock::now(), converter: converter(config)? })
    }

    /// Goes on with another configuration; the old one stays in force when it fails.
    pub(crate) fn configure(&mut self, config: &Config) -> anyhow::Result<()> {
        self.converter = converter(config)?;
        self.probe.configure(&settings(config)).context("telling the kernel side its settings")?;
        self.cgroups.configure(config, &self.probe)
    }

    /// The rules for secrets that are in force.
    pub(crate) fn redactor(&self) -> Arc<Redactor> {
        self.converter.redactor()
    }

    /// Hands over what waits in the rings, until `take` has enough (it returns false) or
    /// [`BATCH_LIMIT`] records. Stops only between records. True when there may be more.
    pub(crate) fn drain(
        &mut self,
        mut take: impl FnMut(Event) -> anyhow::Result<bool>,
    ) -> anyhow::Result<bool> {
        self.clock.refresh();
        for _ in 0..BATCH_LIMIT {
            let mut more = true;
            match self.probe.reader.read().context("reading the kernel's ring")? {
                None => return Ok(false),
                Some(Item::Bad(error)) => {
                    more &= take(self.gap(bad_record(&error)))?;
                }
                Some(Item::Record(record, missing)) => {
                    if let Some(missing) = missing {
                        more &= take(self.gap(between(missing)))?;
                    }
                    if let Some(event) = self.event(*record)? {
                        more &= take(event)?;
                    }
                }
            }
            if !more {
                break;
            }
        }
        Ok(true)
    }

    /// The processes that ran before the programs did.
    pub(crate) fn snapshot(
        &mut self,
        mut take: impl FnMut(Event) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for record in self.probe.snapshot()?.unwrap_or_default() {
            match record {
                Ok(record) => {
                    if let Some(event) = self.event(record)? {
                        take(event)?;
                    }
                }
                Err(error) => {
                    take(self.gap(bad_record(&error)))?;
                }
            }
        }
        Ok(())
    }

    /// An event about the record itself, of now.
    pub(crate) fn gap(&self, gap: Gap) -> Event {
        self.clock.event(Body::Gap(gap))
    }

    /// `None` when the record's cgroup is not in scope.
    fn event(&mut self, record: probe::record::Record) -> anyhow::Result<Option<Event>> {
        let inside = record.head.namespace_pid != record.head.pid;
        let Some(container) = self.cgroups.container(&self.probe, record.head.cgroup, inside)? else {
            return Ok(None);
        };
        let (time_ns, boot_ns) = (self.clock.wall(record.head.boot_ns), record.head.boot_ns);
        let body = self.converter.body(record);
        Ok(Some(Event { boot_id: self.clock.boot_id, time_ns, boot_ns, container, body }))
    }
}

fn bad_record(error: &probe::DecodeError) -> Gap {
    Gap { cause: GapCause::BadRecord, count: 1, cpu: u32::MAX, detail: error.to_string(), ..Gap::default() }
}

fn converter(config: &Config) -> anyhow::Result<Converter> {
    let own = |rule: &RedactionRule| redact::Rule {
        name: rule.name.clone(),
        pattern: rule.pattern.clone(),
        commands: rule.commands.clone(),
    };
    let rules = redact::Rules {
        builtin: config.redaction.enabled,
        disable: config.redaction.disable.clone(),
        extra: config.redaction.rules.iter().map(own).collect(),
    };
    let redactor = Redactor::new(&rules).context("[redaction] of the configuration")?;
    Ok(Converter::new(Arc::new(redactor), config.capture.env.clone()))
}

/// What the kernel side is told of the configuration.
pub(crate) fn settings(config: &Config) -> probe::Settings {
    let v1 = !matches!(container::cgroup_mode(), Ok(Some(container::CgroupMode::V2)));
    probe::Settings { v1, failed: config.capture.failed, env: config.capture.env.clone() }
}

/// The sizes of the rings.
pub(crate) fn sizes(config: &Config) -> probe::Sizes {
    probe::Sizes { records: config.capture.ring_mib << 20, bulk: config.capture.bulk_ring_mib << 20 }
}
