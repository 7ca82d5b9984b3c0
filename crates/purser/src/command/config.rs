// SPDX-License-Identifier: Apache-2.0
//! `purser config`: the effective configuration, and where each value comes from.

use super::output::{self, Format};
use super::place::Place;
use crate::config::{KEYS, show};
use crate::exit::Exit;
use serde_json::json;
use std::io::Write;

/// Show the effective configuration and where each value comes from.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Show every key with its meaning instead.
    #[arg(long)]
    keys: bool,
    /// What to print; a table is TOML that can be used as a configuration.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
    #[command(flatten)]
    place: Place,
}

const HELP: &str = "\
Examples:
  purser config                                 what applies, from /etc/purser/purser.toml if it is there
  purser config --config new.toml               is this file right? exit code 2 tells it is not
  purser config --keys                          what can be written, and what it means
  purser config -o json | jq .config.store

Exit codes: 0 right, 1 failed, 2 the configuration is wrong";

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    let mut out = output::stdout();
    if args.keys {
        for key in KEYS {
            match args.output {
                Format::Table => writeln!(out, "{:<32} {}", key.path, key.doc)?,
                Format::Json => writeln!(out, "{}", json!({ "key": key.path, "doc": key.doc }))?,
            }
        }
        out.flush()?;
        return Ok(Exit::Success);
    }
    let (config, provenance) = args.place.load()?;
    match args.output {
        Format::Table => out.write_all(show(&config, &provenance).as_bytes())?,
        Format::Json => {
            let origins: serde_json::Map<String, serde_json::Value> = provenance
                .iter()
                .map(|(path, origin)| (path.to_string(), origin.to_string().into()))
                .collect();
            writeln!(out, "{}", json!({ "config": config, "origins": origins }))?;
        }
    }
    out.flush()?;
    Ok(Exit::Success)
}
