// SPDX-License-Identifier: Apache-2.0
//! What a session is to be, from the command line, the target and the kits.

use super::arguments::{RootWay, Session, terminal};
use super::volumes::Volume;
use super::{kits, target};
use crate::command::Usage;
use anyhow::Context;
use debug::{Capabilities, Limits, Spec, Way};
use std::ffi::OsString;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

pub(super) fn specification(
    session: &Session,
    found: &target::Found,
    kits: &[kits::Chosen],
) -> anyhow::Result<Spec> {
    let variable = |text: &String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((OsString::from(name), OsString::from(value))),
        _ => Err(Usage(format!("{text:?} is no variable; write NAME=VALUE"))),
    };
    let mut environment: Vec<(OsString, OsString)> = Vec::new();
    let terminal = terminal(session)?;
    if terminal.is_some() {
        environment.extend(std::env::var_os("TERM").map(|term| ("TERM".into(), term)));
    }
    for text in &session.environment {
        environment.push(variable(text)?);
    }
    let (capabilities, granted) = capabilities(session, found, kits)?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("reading the clock")?;
    let id = session.behalf.as_ref().map_or_else(new_id, |behalf| behalf.id.clone());
    // What runs in the session is recorded as the container's.
    let of = |container: &container::Recorded| {
        container::session_cgroup(container.runtime, &container.id, &id).map(|(_, name)| name)
    };
    Ok(Spec {
        cgroup: found.container.as_ref().and_then(of).unwrap_or_else(|| id.clone()),
        id,
        target: found.name.clone(),
        kits: kits.iter().map(|chosen| chosen.kit.clone()).collect(),
        binds: Vec::new(),
        held: Vec::new(),
        command: session.command.clone(),
        user: session.user.clone(),
        work_dir: session.work_dir.clone(),
        terminal,
        utf8: terminal.is_some() && debug::is_utf8(),
        environment,
        capabilities,
        granted,
        home_bytes: Spec::USUAL_HOME_BYTES,
        privileged: session.privileged,
        way: match session.root {
            RootWay::Auto => Way::Fitting,
            RootWay::Dev => Way::OverDev,
            RootWay::New => Way::NewRoot,
        },
        limits: Limits {
            processes: session.processes,
            memory: session.memory_mib.map(|mib| mib.saturating_mul(1 << 20)),
        },
        directory: debug::DIRECTORY.into(),
        since_secs: since.as_secs(),
        owner: 0,
        limit_secs: None,
        facts: debug::Facts::default(),
        note: String::new(),
    })
}

/// For root: those of the target's process and those the kits need; for other users the latter. Device nodes
/// are made by nobody, as the target's device rules do not hold for a session.
fn capabilities(
    session: &Session,
    found: &target::Found,
    kits: &[kits::Chosen],
) -> Result<(Capabilities, Capabilities), debug::UnknownCapability> {
    let added = session.cap_add.iter().fold(Capabilities::default(), |all, more| all.and(*more));
    if session.privileged {
        return Ok((Capabilities::all(), added));
    }
    let (trace, nodes) = ("SYS_PTRACE".parse()?, "MKNOD".parse()?);
    let mut granted = kits.iter().fold(added, |all, chosen| all.and(chosen.capabilities));
    if session.core.is_some() {
        // Nothing that runs is looked at; only files are, whose ever they are.
        granted = added.and("DAC_OVERRIDE".parse()?);
    }
    let shows_files = session.volume.iter().any(Volume::is_of_host) || !session.debug_files.is_empty();
    if session.core.is_some() || shows_files {
        granted = granted.and(Capabilities::shield());
    }
    // Who debugs another user's process reads that user's files, the program and its libraries, and stops its threads
    // by signals: gdb without KILL waits for ever at the first breakpoint.
    if granted.has(trace) && !found.is_root() {
        granted = granted.and("DAC_OVERRIDE".parse()?).and("KILL".parse()?);
    }
    Ok((found.capabilities().without(nodes).and(granted), granted))
}

/// An id that no other session here is likely to have.
pub(super) fn new_id() -> String {
    format!("{:08x}", RandomState::new().build_hasher().finish() >> 32)
}
