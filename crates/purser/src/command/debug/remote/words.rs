// SPDX-License-Identifier: Apache-2.0
//! A session as the command line of a client on the other host.

use crate::command::debug::arguments::{RootWay, Session};
use crate::command::debug::behalf::Behalf;
use crate::command::debug::kits::Chosen;
use anyhow::Context;
use std::ffi::OsString;

/// The words behind `debug --kits DIR`.
pub(super) fn of(
    session: &Session,
    kits: &[Chosen],
    behalf: &Behalf,
    terminal: bool,
) -> anyhow::Result<Vec<OsString>> {
    let mut words: Vec<OsString> = Vec::new();
    let mut option = |name: &str, value: OsString| {
        // In one word, so that a value is never taken for an option.
        let mut word = OsString::from(format!("{name}="));
        word.push(value);
        words.push(word);
    };
    option("--behalf", serde_json::to_string(behalf).context("writing the session down")?.into());
    for chosen in kits {
        option("--kit", chosen.kit.name.clone().into());
    }
    option("--reason", session.reason.clone().into());
    if let Some(user) = &session.user {
        option("--user", user.into());
    }
    if let Some(dir) = &session.work_dir {
        option("--work-dir", dir.into());
    }
    for variable in &session.environment {
        option("--env", variable.into());
    }
    for capability in &session.cap_add {
        capability.to_string().split(' ').for_each(|name| option("--cap-add", name.into()));
    }
    for volume in &session.volume {
        option("--volume", volume.text().into());
    }
    if let Some(mib) = session.memory_mib {
        option("--memory-mib", mib.to_string().into());
    }
    option("--processes", session.processes.to_string().into());
    let way = match session.root {
        RootWay::Auto => "auto",
        RootWay::Dev => "dev",
        RootWay::New => "new",
    };
    option("--root", way.into());
    if session.privileged {
        words.push("--privileged".into());
    }
    words.push(if terminal { "--tty" } else { "--no-tty" }.into());
    words.push(session.target.clone().into());
    words.push("--".into());
    words.extend(session.command.iter().cloned());
    Ok(words)
}
