// SPDX-License-Identifier: Apache-2.0
//! The rules in force: those of the configuration and those added at run time, with their hits.
//! Conditions on containers are turned into cgroups here; the kernel side does the rest.

use super::Cgroups;
use crate::config::{self, Rule};
use crate::control::{EXPIRY_LIMIT_SECS, RuleSource, RuleState};
use anyhow::bail;
use event::Container;
use probe::{Action, Probe};
use std::time::{Duration, Instant};

/// Rules in the order in which they are tried, with what was counted for them.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    rule: Rule,
    source: RuleSource,
    /// Hits under earlier sets; those of the set in force are the kernel's.
    hits: u64,
    until: Option<Instant>,
}

impl Rules {
    /// Puts the configuration's rules in the place of its earlier ones. Hits of rules that stay
    /// go on.
    pub(crate) fn configure(
        &mut self,
        rules: &[Rule],
        probe: &mut Probe,
        cgroups: &Cgroups,
    ) -> anyhow::Result<()> {
        let mut next: Vec<Entry> =
            self.entries.iter().filter(|entry| entry.source == RuleSource::RunTime).cloned().collect();
        for rule in rules {
            let hits = self.entries.iter().find(|entry| entry.rule == *rule).map_or(0, |entry| entry.hits);
            next.push(Entry { rule: rule.clone(), source: RuleSource::Config, hits, until: None });
        }
        // What an earlier agent left in force is gone already.
        if next.is_empty() && self.entries.is_empty() {
            return Ok(());
        }
        self.swap(next, probe, cgroups)
    }

    /// Adds a rule in front of the others, or puts it in the place of the one with its name.
    pub(crate) fn add(
        &mut self,
        rule: Rule,
        expires_after: Option<Duration>,
        probe: &mut Probe,
        cgroups: &Cgroups,
    ) -> anyhow::Result<()> {
        if let Err(wrong) = rule.check() {
            bail!("{}: {}", wrong.key, wrong.message);
        }
        if expires_after.is_some_and(|after| after.as_secs() > EXPIRY_LIMIT_SECS) {
            bail!("a rule lasts at most {} days, or without an end", EXPIRY_LIMIT_SECS / 86_400);
        }
        let mut next = self.entries.clone();
        if let Some(old) = next.iter().position(|entry| entry.rule.name == rule.name) {
            if next[old].source == RuleSource::Config {
                bail!("the configuration has a rule {:?}: change it there and run purser reload", rule.name);
            }
            next.remove(old);
        }
        let until = expires_after.map(|after| Instant::now() + after);
        next.insert(0, Entry { rule, source: RuleSource::RunTime, hits: 0, until });
        self.swap(next, probe, cgroups)
    }

    /// Removes a rule that was added at run time.
    pub(crate) fn remove(&mut self, name: &str, probe: &mut Probe, cgroups: &Cgroups) -> anyhow::Result<()> {
        let mut next = self.entries.clone();
        match next.iter().position(|entry| entry.rule.name == name) {
            None => bail!("there is no rule {name:?}; purser rule ls shows all"),
            Some(place) if next[place].source == RuleSource::Config => {
                bail!("the rule {name:?} is in the configuration: remove it there and run purser reload")
            }
            Some(place) => next.remove(place),
        };
        self.swap(next, probe, cgroups)
    }

    /// Removes the rules whose time is over; their names.
    pub(crate) fn expire(&mut self, probe: &mut Probe, cgroups: &Cgroups) -> anyhow::Result<Vec<String>> {
        let now = Instant::now();
        let is_over = |entry: &Entry| entry.until.is_some_and(|until| until <= now);
        let over: Vec<String> =
            self.entries.iter().filter(|entry| is_over(entry)).map(|entry| entry.rule.name.clone()).collect();
        if !over.is_empty() {
            let next = self.entries.iter().filter(|entry| !is_over(entry)).cloned().collect();
            self.swap(next, probe, cgroups)?;
        }
        Ok(over)
    }

    /// A container that is new or better known: the rules in force learn its cgroups.
    pub(crate) fn learn(&self, info: &Container, keys: &[u64], probe: &Probe) -> anyhow::Result<()> {
        let mut mask = 0u64;
        for (place, entry) in self.entries.iter().enumerate() {
            if is_about_containers(&entry.rule) && is_about(&entry.rule, info) {
                mask |= 1 << place;
            }
        }
        if self.entries.iter().any(|entry| is_about_containers(&entry.rule)) {
            for &key in keys {
                probe.add_cgroup_to_rules(key, mask)?;
            }
        }
        Ok(())
    }

    /// The rules with their hits.
    pub(crate) fn list(&self, probe: &Probe) -> anyhow::Result<Vec<RuleState>> {
        let now = Instant::now();
        let hits = if self.entries.is_empty() { Vec::new() } else { probe.rule_hits()? };
        let state = |(place, entry): (usize, &Entry)| RuleState {
            rule: entry.rule.clone(),
            source: entry.source,
            hits: entry.hits + hits.get(place).copied().unwrap_or(0),
            expires_in_secs: entry.until.map(|until| until.saturating_duration_since(now).as_secs()),
        };
        Ok(self.entries.iter().enumerate().map(state).collect())
    }

    /// Makes `next` the rules in force. The hits of the old set are final when the swap is done.
    fn swap(&mut self, mut next: Vec<Entry>, probe: &mut Probe, cgroups: &Cgroups) -> anyhow::Result<()> {
        if next.len() > probe::RULES_LIMIT {
            bail!("{} rules; at most {} fit the kernel side", next.len(), probe::RULES_LIMIT);
        }
        let compiled: Vec<probe::Rule> = next.iter().map(|entry| compile(&entry.rule, cgroups)).collect();
        let hits = probe.set_rules(&compiled)?;
        for (place, old) in self.entries.iter().enumerate() {
            if let Some(entry) = next.iter_mut().find(|entry| entry.rule == old.rule) {
                entry.hits = old.hits + hits.get(place).copied().unwrap_or(0);
            }
        }
        self.entries = next;
        Ok(())
    }
}

fn compile(rule: &Rule, cgroups: &Cgroups) -> probe::Rule {
    let keys = || {
        let matching = cgroups.all().filter(|known| is_about(rule, &known.info));
        matching.flat_map(|known| known.cgroups.iter().copied()).collect()
    };
    let bytes = |text: &Option<String>| text.as_ref().map(|text| text.as_bytes().to_vec());
    probe::Rule {
        cgroups: is_about_containers(rule).then(keys),
        uid: rule.uid,
        executable: bytes(&rule.executable),
        argv0: bytes(&rule.argv0),
        parent: bytes(&rule.parent),
        action: match rule.action {
            config::Action::Record => Action::Record,
            config::Action::Count => Action::Count,
            config::Action::Ignore => Action::Ignore,
        },
    }
}

fn is_about_containers(rule: &Rule) -> bool {
    rule.container.is_some() || rule.image.is_some()
}

fn is_about(rule: &Rule, info: &Container) -> bool {
    rule.container.as_ref().is_none_or(|glob| glob.matches(&info.name))
        && rule.image.as_ref().is_none_or(|glob| glob.matches(&info.image))
}
