// SPDX-License-Identifier: Apache-2.0
//! `purser sink setup`: makes what a search cluster needs before documents come. It shows what it
//! would do and does it only when told to.

use crate::command::Usage;
use crate::command::output;
use crate::command::place::Place;
use crate::config::sink::Kind;
use crate::exit::Exit;
use crate::sinks::prepare;
use crate::table::harmless;
use anyhow::{Context, anyhow};
use ship::{SetUp, Target, dashboards};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Install index template, data stream and life-cycle policy for an elasticsearch sink.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Setup {
    /// The sink.
    name: String,
    /// Do it; without this it is only shown.
    #[arg(long)]
    yes: bool,
    /// Days after which documents are deleted, counted from when their index was full.
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    keep_days: u32,
    /// Only write dashboards to this file, to be imported into OpenSearch Dashboards or Kibana; - is the
    /// standard output.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["yes", "keep_days"])]
    dashboards: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

const HELP: &str = "\
It needs more rights than sending does: manage_ilm and manage_index_templates on Elasticsearch. An index
template of the same name is replaced; a policy of OpenSearch that is there is left as it is. Where
OpenSearch has no plug-in for policies, documents are kept for ever.

Examples:
  purser sink setup search                    show what would be done
  purser sink setup search --yes
  purser sink setup search --yes --keep-days 365
  purser sink setup search --dashboards purser.ndjson

Exit codes: 0 done or shown, 1 the cluster refused, 2 wrong command line or configuration";

impl Setup {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let (config, _) = self.place.load()?;
        let Some(sink) = config.sinks.get(&self.name) else {
            return Err(Usage(format!("there is no sink {:?}", self.name)).into());
        };
        if let (Some(file), Kind::Elasticsearch(elastic)) = (&self.dashboards, &sink.kind) {
            return write_dashboards(&elastic.data_stream, file);
        }
        let Target::Elastic(settings) = prepare(&self.name, sink)?.target()? else {
            let kind = sink.kind.word();
            return Err(Usage(format!("sink {} is of type {kind}, which needs no set-up", self.name)).into());
        };
        let mut set_up = SetUp::plan(&settings, self.keep_days).map_err(|why| anyhow!(why))?;
        let mut out = output::stdout();
        writeln!(out, "{}", harmless(set_up.product()))?;
        for what in set_up.kept() {
            writeln!(out, "kept    {what}")?;
        }
        if set_up.steps().is_empty() {
            writeln!(out, "nothing to do")?;
        }
        let mut exit = Exit::Success;
        for step in set_up.steps().to_vec() {
            if !self.yes {
                writeln!(out, "would make  {}\n  {} {}", step.what, step.method, step.path)?;
                if !step.body.is_null() {
                    writeln!(out, "  {}", step.body)?;
                }
                continue;
            }
            match set_up.run(&step) {
                Ok(()) => writeln!(out, "made    {}", step.what)?,
                Err(why) if step.optional => {
                    writeln!(out, "left out  {}: {}", step.what, harmless(&why))?;
                    writeln!(
                        out,
                        "  documents come all the same; nothing is rolled over or deleted before there is one"
                    )?;
                }
                Err(why) => {
                    writeln!(out, "failed  {}: {}", step.what, harmless(&why))?;
                    exit = Exit::Problem;
                    break;
                }
            }
        }
        if !self.yes && !set_up.steps().is_empty() {
            writeln!(out, "Nothing was done yet. With --yes it is.")?;
        }
        Ok(exit)
    }
}

fn write_dashboards(stream: &str, file: &Path) -> anyhow::Result<Exit> {
    let mut text = String::new();
    for object in dashboards(stream) {
        text.push_str(&object.to_string());
        text.push('\n');
    }
    let mut out = output::stdout();
    if file == Path::new("-") {
        out.write_all(text.as_bytes())?;
    } else {
        std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
        writeln!(out, "wrote {}; import it as saved objects", file.display())?;
    }
    out.flush()?;
    Ok(Exit::Success)
}
