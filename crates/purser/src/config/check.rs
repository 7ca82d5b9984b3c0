// SPDX-License-Identifier: Apache-2.0
//! The checks that types cannot make: ranges, lengths, numbers of items, unique names.

use super::{Config, RULES_LIMIT};
use std::collections::BTreeSet;
use std::path::Path;

/// Most environment variables.
const ENV_LIMIT: usize = 16;
/// Longest name of an environment variable, in bytes.
const ENV_NAME_LIMIT: usize = 64;
/// Most items in any other list.
const LIST_LIMIT: usize = 256;

/// A wrong value.
#[derive(Debug)]
pub(super) struct Fault {
    /// Where: a path as in [`super::spots`].
    pub(super) path: String,
    pub(super) message: String,
}

pub(super) fn fault<T>(path: impl Into<String>, message: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { path: path.into(), message: message.into() })
}

pub(super) fn check(config: &Config) -> Result<(), Fault> {
    absolute("agent.store", &config.agent.store)?;
    capture(config)?;
    scope(config)?;
    rules(config)?;
    redaction(config)?;
    within("store.segment_mib", config.store.segment_mib, 1, 1024)?;
    within("store.reserve_mib", config.store.reserve_mib, 0, 1024)?;
    within("store.checkpoint_secs", config.store.checkpoint_secs, 1, 3600)?;
    runtimes(config)?;
    super::debug::check(&config.debug)?;
    super::sink::check(&config.sinks)?;
    super::source::check(&config.sources)?;
    super::outputs::check(&config.sinks, &config.sources)
}

fn capture(config: &Config) -> Result<(), Fault> {
    let capture = &config.capture;
    if capture.env.len() > ENV_LIMIT {
        return fault("capture.env", format!("{} names; at most {ENV_LIMIT}", capture.env.len()));
    }
    for (index, name) in capture.env.iter().enumerate() {
        let bad = name.is_empty() || name.len() > ENV_NAME_LIMIT || name.contains(['=', '\0']);
        if bad {
            let message =
                format!("{name:?} is no name of an environment variable of 1 to {ENV_NAME_LIMIT} bytes");
            return fault(format!("capture.env[{index}]"), message);
        }
    }
    for (key, mib) in [("ring_mib", capture.ring_mib), ("bulk_ring_mib", capture.bulk_ring_mib)] {
        if !mib.is_power_of_two() || mib > 256 {
            return fault(format!("capture.{key}"), format!("{mib} is not a power of two from 1 to 256"));
        }
    }
    Ok(())
}

fn scope(config: &Config) -> Result<(), Fault> {
    let scope = &config.scope;
    if scope.include.is_empty() {
        return fault("scope.include", "nothing would be recorded; write \"container\", \"host\" or both");
    }
    for (key, length) in [
        ("include", scope.include.len()),
        ("names", scope.names.len()),
        ("exclude_names", scope.exclude_names.len()),
        ("images", scope.images.len()),
        ("labels", scope.labels.len()),
        ("ids", scope.ids.len()),
        ("cgroups", scope.cgroups.len()),
    ] {
        list(&format!("scope.{key}"), length)?;
    }
    Ok(())
}

fn rules(config: &Config) -> Result<(), Fault> {
    if config.rules.len() > RULES_LIMIT {
        let message = format!("{} rules; at most {RULES_LIMIT}", config.rules.len());
        return fault(format!("rule[{RULES_LIMIT}]"), message);
    }
    let mut names = BTreeSet::new();
    for (index, rule) in config.rules.iter().enumerate() {
        if let Err(error) = rule.check() {
            return fault(format!("rule[{index}].{}", error.key), error.message);
        }
        if !names.insert(&rule.name) {
            return fault(format!("rule[{index}].name"), format!("there are two rules {:?}", rule.name));
        }
    }
    Ok(())
}

fn redaction(config: &Config) -> Result<(), Fault> {
    list("redaction.disable", config.redaction.disable.len())?;
    for (index, name) in config.redaction.disable.iter().enumerate() {
        if !redact::Redactor::names().any(|(known, _)| known == name) {
            let nearest =
                redact::Redactor::names().min_by_key(|(known, _)| strsim::damerau_levenshtein(known, name));
            let hint = nearest.map_or(String::new(), |(known, _)| format!("; did you mean {known:?}?"));
            return fault(
                format!("redaction.disable[{index}]"),
                format!("no built-in pattern is called {name:?}{hint}"),
            );
        }
    }
    if config.redaction.rules.len() > redact::EXTRA_LIMIT {
        let message =
            format!("{} redaction rules; at most {}", config.redaction.rules.len(), redact::EXTRA_LIMIT);
        return fault(format!("redaction.rule[{}]", redact::EXTRA_LIMIT), message);
    }
    let mut names = BTreeSet::new();
    for (index, rule) in config.redaction.rules.iter().enumerate() {
        let at = |key: &str| format!("redaction.rule[{index}].{key}");
        if rule.name.is_empty() || rule.name.len() > super::NAME_LIMIT {
            return fault(at("name"), format!("a name has 1 to {} bytes", super::NAME_LIMIT));
        }
        if !names.insert(&rule.name) {
            return fault(at("name"), format!("there are two redaction rules {:?}", rule.name));
        }
        if rule.pattern.is_empty() {
            return fault(at("pattern"), "an empty pattern matches everywhere");
        }
        list(&at("commands"), rule.commands.len())?;
        let (name, pattern, commands) = (rule.name.clone(), rule.pattern.clone(), rule.commands.clone());
        let extra = vec![redact::Rule { name, pattern, commands }];
        let alone = redact::Rules { builtin: false, disable: Vec::new(), extra };
        if let Err(error) = redact::Redactor::new(&alone) {
            return fault(at("pattern"), error.to_string());
        }
    }
    Ok(())
}

fn runtimes(config: &Config) -> Result<(), Fault> {
    let runtimes = &config.runtimes;
    let timeout_ms = u32::try_from(runtimes.request_timeout.as_millis()).unwrap_or(u32::MAX);
    within("runtimes.request_timeout_ms", timeout_ms, 10, 60_000)?;
    for (key, path) in [
        ("docker_socket", &runtimes.docker_socket),
        ("docker_containers", &runtimes.docker_containers),
        ("lxc", &runtimes.lxc),
        ("machines", &runtimes.machines),
    ] {
        // Empty means: do not ask.
        if !path.as_os_str().is_empty() {
            absolute(&format!("runtimes.{key}"), path)?;
        }
    }
    for (key, paths) in [
        ("docker_user_sockets", &runtimes.docker_user_sockets),
        ("podman_sockets", &runtimes.podman_sockets),
        ("podman_user_sockets", &runtimes.podman_user_sockets),
        ("podman_storage", &runtimes.podman_storage),
        ("containerd_states", &runtimes.containerd_states),
        ("containerd_sockets", &runtimes.containerd_sockets),
        ("runc_roots", &runtimes.runc_roots),
    ] {
        list(&format!("runtimes.{key}"), paths.len())?;
        for (index, path) in paths.iter().enumerate() {
            absolute(&format!("runtimes.{key}[{index}]"), path)?;
        }
    }
    Ok(())
}

pub(super) fn absolute(key: &str, path: &Path) -> Result<(), Fault> {
    if path.is_absolute() { Ok(()) } else { fault(key, format!("{path:?} is not an absolute path")) }
}

pub(super) fn within(key: &str, value: u32, least: u32, most: u32) -> Result<(), Fault> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    fault(key, format!("{value} is not from {least} to {most}"))
}

pub(super) fn list(key: &str, length: usize) -> Result<(), Fault> {
    if length <= LIST_LIMIT { Ok(()) } else { fault(key, format!("{length} items; at most {LIST_LIMIT}")) }
}
