// SPDX-License-Identifier: Apache-2.0
//! `purser rule`: rules at run time.

use super::output::{self, Format};
use super::place::Place;
use super::{Usage, stop, when};
use crate::config::{Action, Glob, Rule};
use crate::control::{EXPIRY_LIMIT_SECS, Request, RuleSource, RuleState, ask};
use crate::exit::Exit;
use crate::table::{grouped, harmless};
use anyhow::Context;
use std::io::{self, Write};

/// Add, remove and list rules at run time.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: RuleCommand,
}

const HELP: &str = "\
Rules from here act at once, before those of the configuration, and end with the agent; write
[[rule]] into the configuration to keep one.

Examples:
  purser rule add --name quiet --container 'web-*' --executable /usr/bin/curl --action ignore --for 10m
  purser rule ls
  purser rule rm quiet

Exit codes: 0 done, 1 refused, 2 wrong command line or configuration, 3 no agent is running";

#[derive(Debug, clap::Subcommand)]
enum RuleCommand {
    Add(Box<Add>),
    Rm(Remove),
    Ls(List),
}

/// Add a rule, or replace the one with its name.
#[derive(Debug, clap::Args)]
#[command(after_help = ADD_HELP)]
struct Add {
    /// Names the rule.
    #[arg(long, value_name = "NAME")]
    name: String,
    /// The container's name, as a glob: * is any text, ? one character.
    #[arg(long, value_name = "GLOB")]
    container: Option<String>,
    /// The container's image, as a glob: * is any text, ? one character.
    #[arg(long, value_name = "GLOB")]
    image: Option<String>,
    /// The effective user id, as the host counts.
    #[arg(long, value_name = "UID")]
    uid: Option<u32>,
    /// The executable's absolute path; not compared with refused starts.
    #[arg(long, value_name = "PATH")]
    executable: Option<String>,
    /// The first argument: what the program is called by; not compared with refused starts.
    #[arg(long, value_name = "TEXT")]
    argv0: Option<String>,
    /// The absolute path of the parent's executable.
    #[arg(long, value_name = "PATH")]
    parent: Option<String>,
    /// What becomes of the execs.
    #[arg(long)]
    action: Action,
    /// Remove the rule again after this time: 90s, 10m, 2h, 1d; at most 3650d.
    #[arg(long = "for", value_name = "TIME")]
    expires: Option<String>,
    #[command(flatten)]
    place: Place,
}

const ADD_HELP: &str = "\
All conditions given must hold; at least one is needed. The first rule that matches an exec decides
what becomes of it and of its exit:
  record  it is recorded, whatever later rules say
  count   it is not recorded, and counted for the rule and for its container
  ignore  it is not recorded, and counted for the rule only
Rules added here are tried before those of the configuration, the newest first, and end with the
agent, also when it is exchanged or crashes: write [[rule]] into the configuration to keep one.
A refused start (exec_failed) has no executable: of its conditions only --container, --image, --uid
and --parent are compared, and a rule with --executable or --argv0 never matches it.

Examples:
  purser rule add --name quiet --executable /usr/bin/curl --argv0 curl --action ignore --for 10m
  purser rule add --name shells --parent /usr/sbin/nginx --action count
  purser rule add --name keep-root --uid 0 --action record";

/// Remove a rule that was added at run time.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  purser rule rm quiet")]
struct Remove {
    /// Its name.
    name: String,
    #[command(flatten)]
    place: Place,
}

/// List the rules with what they matched, in the order in which they are tried.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  purser rule ls\n  purser rule ls -o json | jq .hits")]
struct List {
    /// What to print.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
    #[command(flatten)]
    place: Place,
}

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    match args.action {
        RuleCommand::Add(add) => {
            let expires_secs = add.expires.as_deref().map(expiry).transpose()?;
            let rule = add.rule()?;
            let store = add.place.store()?;
            stop::ask_and_tell(&store, &Request::RuleAdd { rule, expires_secs }, &mut output::stdout())
        }
        RuleCommand::Rm(remove) => {
            let store = remove.place.store()?;
            stop::ask_and_tell(&store, &Request::RuleRemove { name: remove.name }, &mut output::stdout())
        }
        RuleCommand::Ls(list) => list.run(),
    }
}

fn expiry(text: &str) -> Result<u64, Usage> {
    let days = EXPIRY_LIMIT_SECS / 86_400;
    match when::ago(text).map(|ago| u64::try_from(ago.as_secs())) {
        Some(Ok(secs @ 1..=EXPIRY_LIMIT_SECS)) => Ok(secs),
        Some(Ok(0)) | None => Err(Usage(format!(
            "--for: {text:?} is no length of time up to {days}d; write 90s, 10m, 2h or 1d"
        ))),
        Some(_) => Err(Usage(format!(
            "--for: {text} is longer than {days}d (ten years), the most there is; without --for the rule has no end"
        ))),
    }
}

impl Add {
    fn rule(&self) -> Result<Rule, Usage> {
        let glob = |option: &str, text: &Option<String>| {
            text.as_deref().map(Glob::new).transpose().map_err(|wrong| Usage(format!("{option}: {wrong}")))
        };
        let rule = Rule {
            name: self.name.clone(),
            container: glob("--container", &self.container)?,
            image: glob("--image", &self.image)?,
            uid: self.uid,
            executable: self.executable.clone(),
            argv0: self.argv0.clone(),
            parent: self.parent.clone(),
            action: self.action,
        };
        rule.check().map_err(|wrong| Usage(format!("--{}: {}", wrong.key, wrong.message)))?;
        Ok(rule)
    }
}

impl List {
    fn run(self) -> anyhow::Result<Exit> {
        let reply = ask(&self.place.store()?, &Request::RuleList)?;
        let rules = reply.rules.context("the agent gave an answer without rules")?;
        let mut out = output::stdout();
        match self.output {
            Format::Table => table(&rules, &mut out)?,
            Format::Json => output::json_lines(&rules, &mut out)?,
        }
        out.flush()?;
        Ok(Exit::Success)
    }
}

fn table(rules: &[RuleState], out: &mut impl Write) -> io::Result<()> {
    let width = rules.iter().map(|state| state.rule.name.chars().count()).max().unwrap_or(0).max(4);
    writeln!(
        out,
        "{:<width$}  {:<6}  {:>12}  {:<8}  {:>8}  CONDITIONS",
        "NAME", "ACTION", "HITS", "FROM", "EXPIRES"
    )?;
    for state in rules {
        let from = match state.source {
            RuleSource::Config => "config",
            RuleSource::RunTime => "run time",
        };
        let expires = state.expires_in_secs.map_or("never".to_string(), |secs| format!("{secs} s"));
        let (name, conditions) = (harmless(&state.rule.name), state.rule.conditions());
        let (action, hits) = (state.rule.action.word(), grouped(state.hits));
        writeln!(
            out,
            "{name:<width$}  {action:<6}  {hits:>12}  {from:<8}  {expires:>8}  {}",
            harmless(&conditions)
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{expiry, table};
    use crate::config::{Action, Rule};
    use crate::control::{RuleSource, RuleState};

    #[test]
    fn rules_as_a_table() {
        let rule = Rule {
            name: "quiet".to_string(),
            container: None,
            image: None,
            uid: Some(0),
            executable: None,
            argv0: Some("cu\u{1b}rl".to_string()),
            parent: None,
            action: Action::Ignore,
        };
        let state = RuleState { rule, source: RuleSource::RunTime, hits: 1_234, expires_in_secs: Some(60) };
        let mut out = Vec::new();
        table(&[state], &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text.lines().nth(1),
            Some("quiet  ignore         1,234  run time      60 s  uid=0 argv0=cu\\x1brl")
        );
    }

    #[test]
    fn expiries() {
        assert_eq!(expiry("10m").unwrap(), 600);
        assert_eq!(expiry("3650d").unwrap(), 3_650 * 86_400);
        for wrong in ["", "0s", "10", "soon", "99999999999999999999d"] {
            assert!(expiry(wrong).unwrap_err().to_string().contains("write 90s"), "{wrong}");
        }
        for long in ["3651d", "99999999999d"] {
            assert!(expiry(long).unwrap_err().to_string().contains("longer than 3650d"), "{long}");
        }
    }
}
