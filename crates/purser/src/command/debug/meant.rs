// SPDX-License-Identifier: Apache-2.0
//! The one question before a session: whether all rights are meant.

use super::arguments::{Session, terminal};
use crate::command::{output, say};
use anyhow::Context;

/// Whether all rights, if they are asked for, are meant. Who comes from another host was asked there, and who has no
/// terminal is not asked.
pub(super) fn is_meant(session: &Session) -> anyhow::Result<bool> {
    let asks = session.privileged && !session.yes && session.behalf.is_none() && output::is_watched();
    if !asks || terminal(session)?.is_none() {
        return Ok(true);
    }
    say("purser: with all capabilities and device nodes a session is as good as root of this host.");
    say("purser: begin it? [y/N] (--yes does not ask)");
    let answer = std::io::stdin().lines().next().transpose().context("reading the answer")?;
    Ok(answer.is_some_and(|answer| matches!(answer.trim(), "y" | "Y" | "yes")))
}
