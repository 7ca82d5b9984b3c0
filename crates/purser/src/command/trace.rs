// SPDX-License-Identifier: Apache-2.0
//! `purser trace`: what one command's containers run, without store or configuration.

use crate::exit::Exit;

/// Show what containers run, without a store.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only this container: a name, a glob, an id or the start of one.
    #[arg(long, value_name = "CONTAINER")]
    pub(crate) container: Option<String>,
    /// What to print.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: super::Format,
    /// Run this command and show what its containers run until it ends.
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<std::ffi::OsString>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    anyhow::bail!("not built yet: {args:?}")
}
