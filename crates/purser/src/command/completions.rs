// SPDX-License-Identifier: Apache-2.0
//! `purser completions`: scripts by which a shell asks this program what fits, and the answers, from the definition of the
//! command line. So containers, kits and sessions are offered as they are then.

use super::{definition, output};
use crate::exit::Exit;
use clap_complete::engine::ValueCompleter;
use clap_complete::env::Shells;
use clap_complete::{CompleteEnv, CompletionCandidate, PathCompleter, Shell};
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

/// How a script asks.
const VARIABLE: &str = "PURSER_COMPLETE";

/// Print a completion script for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// For this shell.
    shell: Shell,
}

const HELP: &str = "\
The shell then offers commands, options, and the names of containers, kits and sessions that there
are. For those purser is run as the user who types: only root sees containers.

Examples:
  purser completions bash > /etc/bash_completion.d/purser
  purser completions zsh > /usr/local/share/zsh/site-functions/_purser
  purser completions fish > ~/.config/fish/completions/purser.fish

Exit codes: 0 done, 1 failed, 2 wrong command line";

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    let name = args.shell.to_string();
    let mut script = Vec::new();
    if let Some(shell) = Shells::builtins().completer(&name) {
        shell.write_registration(VARIABLE, "purser", "purser", "purser", &mut script)?;
    }
    if args.shell == Shell::Zsh {
        // As a file of $fpath the script is run in the place of the function, and is to answer the first time, too.
        writeln!(script, "[[ $funcstack[1] == _purser ]] && _clap_dynamic_completer_purser \"$@\"")?;
    }
    let mut out = output::stdout();
    out.write_all(&script)?;
    out.flush()?;
    Ok(Exit::Success)
}

/// Answers a shell that asks; none when no shell does.
pub(super) fn answer(line: &[OsString]) -> Option<Exit> {
    let here = std::env::current_dir().ok();
    let asked = CompleteEnv::with_factory(definition).var(VARIABLE).bin("purser").completer("purser");
    match asked.try_complete(line.iter().cloned(), here.as_deref()) {
        Ok(false) => None,
        Ok(true) => Some(Exit::Success),
        // What the shell shows is the command line, which is no place for it.
        Err(_) => Some(Exit::Problem),
    }
}

/// The names that begin so, or paths when it begins like one.
pub(super) fn or_paths(begun: &OsStr, names: fn() -> Vec<CompletionCandidate>) -> Vec<CompletionCandidate> {
    if begun.as_bytes().starts_with(b".") || begun.as_bytes().contains(&b'/') {
        return PathCompleter::any().complete(begun);
    }
    let mut names = names();
    names.retain(|name| name.get_value().as_bytes().starts_with(begun.as_bytes()));
    names
}
