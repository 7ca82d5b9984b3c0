// SPDX-License-Identifier: Apache-2.0
//! `purser sink test`: one canary, step by step, from this process. The agent goes on meanwhile.

use crate::command::Usage;
use crate::command::output::{self, Format};
use crate::command::place::Place;
use crate::exit::Exit;
use crate::sinks::{canary, prepare};
use crate::table::harmless;
use serde_json::json;
use ship::Step;
use std::io::Write;

/// Try a sink out: resolve, connect, authenticate, send one canary and wait for its acknowledgement.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Test {
    /// The sink.
    name: String,
    /// What to print.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
    #[command(flatten)]
    place: Place,
}

const HELP: &str = "\
It reads the configuration as it stands in the file, so that a change can be tried before it is put
in force, and needs no running agent. The canary is a document with event.action sink_test.

Examples:
  purser sink test kafka
  purser sink test kafka --config new.toml && purser reload
  purser sink test kafka -o json

Exit codes: 0 the canary was acknowledged, 1 a step failed, 2 wrong command line or configuration";

impl Test {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let (config, _) = self.place.load()?;
        let Some(sink) = config.sinks.get(&self.name) else {
            let known: Vec<&str> = config.sinks.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none is configured".to_string() } else { known.join(", ") };
            return Err(Usage(format!("there is no sink {:?}; known: {known}", self.name)).into());
        };
        let prepared = prepare(&self.name, sink)?;
        let (mut sink, batch) = canary(&prepared, &config.agent.store)?;
        let mut out = output::stdout();
        let (mut exit, mut broken) = (Exit::Success, None);
        sink.probe(&batch, &mut |step| {
            if step.outcome.is_err() {
                exit = Exit::Problem;
            }
            // Each step is shown as it is made: some take seconds.
            let shown = show(&step, self.output, &mut out).and_then(|()| Ok(out.flush()?));
            broken = broken.take().or(shown.err());
        });
        match broken {
            Some(error) => Err(error),
            None => Ok(exit),
        }
    }
}

fn show(step: &Step, format: Format, out: &mut impl Write) -> anyhow::Result<()> {
    let (word, said) = match &step.outcome {
        Ok(found) => ("ok", found),
        Err(why) => ("failed", why),
    };
    match format {
        Format::Table => writeln!(out, "{word:<6}  {}: {}", harmless(&step.name), harmless(said))?,
        Format::Json => {
            writeln!(out, "{}", json!({ "step": step.name, "ok": step.outcome.is_ok(), "said": said }))?;
        }
    }
    Ok(())
}
