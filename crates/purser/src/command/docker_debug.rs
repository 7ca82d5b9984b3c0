// SPDX-License-Identifier: Apache-2.0
//! docker-debug's command line and configuration for `purser debug`: under its name, as a link to this program, or
//! behind `purser debug --as docker-debug`.

mod daemon;
mod file;
mod session;
mod settings;
mod tools;

use super::debug::comes_by_sudo;
use super::{Usage, output, say, told_as_exit, wrong_usage};
use crate::exit::Exit;
use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use file::Store;
use settings::{DEFAULT, Daemon, Environment};
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The name that a link to this program has.
const NAME: &str = "docker-debug";

/// Runs a command in a running container, with tools that the container need not have.
#[derive(Debug, Parser)]
#[command(name = NAME, after_help = HELP, max_term_width = 110, disable_version_flag = true,
    override_usage = "docker-debug [OPTIONS] CONTAINER [COMMAND [ARG...]]\n       docker-debug COMMAND")]
struct DockerDebug {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    session: session::Options,
}

const HELP: &str = "\
This is purser debug with docker-debug's command line and its configuration, ~/.docker-debug/config.toml. What is
different is in docs/from-docker-debug.md.

Examples:
  docker-debug web bash                           a shell in container web
  docker-debug web ls                             the target's files are at / and at /mnt/container
  docker-debug -t /app web tar c . > app.tar      pipes carry bytes as they are
  docker-debug -v ./scripts:/scripts:ro web sh /scripts/look
  docker-debug config -n far -H ssh://root@far    another daemon, and docker-debug use far

Exit codes: the command's; 128 and the signal's number when it was killed; 125 no session,
126 the command cannot be executed, 127 there is no such command; 2 wrong command line";

#[derive(Debug, Subcommand)]
enum Action {
    /// Write a new configuration; an old one stays as config.toml.old.
    #[command(after_help = "Examples:\n  docker-debug init\n  DOCKER_HOST=tcp://far:2375 docker-debug init")]
    Init,
    /// Tell the version.
    #[command(after_help = "Examples:\n  docker-debug info")]
    Info,
    /// Show a daemon of the configuration, or with --host write one.
    #[command(
        after_help = "Examples:\n  docker-debug config\n  docker-debug config -n far -t -c ~/certs -H tcp://far:2376"
    )]
    Config(Config),
    /// Use another daemon of the configuration from now on.
    #[command(after_help = "Examples:\n  docker-debug use far")]
    Use {
        /// Its name.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Print a completion script for a shell.
    #[command(after_help = "Examples:\n  docker-debug completion bash > /etc/bash_completion.d/docker-debug")]
    Completion {
        /// For this shell.
        shell: Shell,
        /// Accepted; there are only short descriptions.
        #[arg(long)]
        no_descriptions: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Config {
    /// The daemon's name.
    #[arg(short, long, value_name = "NAME", default_value = DEFAULT)]
    name: String,
    /// Speak TLS.
    #[arg(short, long)]
    tls: bool,
    /// The directory with ca.pem, cert.pem and key.pem.
    #[arg(short, long, value_name = "DIR", default_value = "", hide_default_value = true)]
    cert_dir: String,
    /// Its address.
    #[arg(short = 'H', long, value_name = "URL", default_value = "", hide_default_value = true)]
    host: String,
    /// A password, which nothing uses.
    #[arg(short, long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    password: String,
}

/// The arguments behind docker-debug's name, when this process is to be it.
pub(super) fn words(line: &[OsString]) -> Option<&[OsString]> {
    let is = |at: usize, word: &str| line.get(at).is_some_and(|found| found == word);
    let name = line.first().map(Path::new).and_then(Path::file_name);
    if name == Some(OsStr::new(NAME)) {
        return line.get(1..);
    }
    if !is(1, "debug") {
        return None;
    }
    match (is(2, "--as") && is(3, NAME), is(2, "--as=docker-debug")) {
        (true, _) => line.get(4..),
        (_, true) => line.get(3..),
        _ => None,
    }
}

/// The definition of its command line, for completions and the manual page.
pub(super) fn definition() -> clap::Command {
    DockerDebug::command()
}

/// Runs it.
pub(super) fn main(words: &[OsString]) -> Exit {
    let line = std::iter::once(OsStr::new(NAME)).chain(words.iter().map(OsString::as_os_str));
    match DockerDebug::try_parse_from(line) {
        Ok(DockerDebug { action: Some(action), .. }) => told_as_exit(act(action)),
        Ok(DockerDebug { session, .. }) => begin(&session),
        Err(error) => wrong_usage(&error),
    }
}

fn begin(options: &session::Options) -> Exit {
    if options.words.is_empty() {
        return told_as_exit(Err(Usage("name a container; docker-debug --help shows how".into()).into()));
    }
    let arguments = opened().and_then(|store| {
        let kits = tools::kits(options, &store.settings)?;
        session::arguments(options, &store, &kits)
    });
    match arguments {
        Ok(arguments) => super::debug_with(&arguments),
        Err(error) => match told_as_exit(Err(error)) {
            Exit::Refused => Exit::Refused,
            _ => Exit::Command(125),
        },
    }
}

fn act(action: Action) -> anyhow::Result<Exit> {
    let mut out = output::stdout();
    match action {
        Action::Init => {
            let store = Store::anew(&home()?, &environment())?;
            must_be_own()?;
            store.keep_old()?;
            store.save()?;
        }
        Action::Info => {
            let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
            let version = env!("CARGO_PKG_VERSION");
            write!(out, "Version:\t{version} (purser)\nPlatform:\t{os}-{arch}\nCommit:\t\t-\nTime:\t\t-\n")?;
        }
        Action::Config(Config { name, host, .. }) if host.is_empty() => {
            let store = opened()?;
            let daemon = store.settings.daemon(Some(&name)).map_err(anyhow::Error::msg)?;
            writeln!(out, "config `{name}`:\n{}", daemon.shown())?;
        }
        Action::Config(config) => {
            must_be_own()?;
            let mut store = opened()?;
            daemon::normal(&config.host, config.tls).map_err(Usage)?;
            let version = store.settings.daemon(Some(&config.name)).map(|old| old.version.clone());
            let daemon = Daemon {
                version: version.unwrap_or_default(),
                host: config.host,
                tls: config.tls,
                cert_dir: config.cert_dir,
                cert_password: config.password,
            };
            store.put(&config.name, daemon)?;
            store.save()?;
        }
        Action::Use { name } => {
            must_be_own()?;
            let mut store = opened()?;
            store.settings.daemon(Some(&name)).map_err(anyhow::Error::msg)?;
            store.choose(&name)?;
            store.save()?;
        }
        Action::Completion { shell, .. } => {
            // The generator panics when it cannot write, so it writes to memory.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut definition(), NAME, &mut script);
            out.write_all(&script)?;
        }
    }
    out.flush()?;
    Ok(Exit::Success)
}

/// The configuration; a first run writes it.
fn opened() -> anyhow::Result<Store> {
    let (store, is_new) = Store::open(&home()?, &environment())?;
    if is_new
        && must_be_own().is_ok()
        && let Err(error) = store.save()
    {
        // It is as good as a file, this time.
        say(&format!("docker-debug: {error:#}"));
    }
    Ok(store)
}

/// Root does not write into the home directory of another user, who could have put a link there.
fn must_be_own() -> Result<(), Usage> {
    match comes_by_sudo() {
        true => {
            Err(Usage("the configuration is not changed by sudo; do that as yourself, or as root".into()))
        }
        false => Ok(()),
    }
}

fn home() -> anyhow::Result<PathBuf> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    home.map(PathBuf::from).context("HOME is not set, so there is no ~/.docker-debug/config.toml")
}

fn environment() -> Environment {
    let of = |name: &str| std::env::var(name).unwrap_or_default();
    Environment {
        host: of("DOCKER_HOST"),
        tls_verify: of("DOCKER_TLS_VERIFY"),
        cert_path: of("DOCKER_CERT_PATH"),
    }
}

#[cfg(test)]
mod tests {
    use super::{DockerDebug, definition, words};
    use clap::Parser;
    use std::ffi::OsString;

    fn line(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn by_name_or_by_option() {
        for text in ["docker-debug a b", "/usr/bin/docker-debug a b", "purser debug --as docker-debug a b"] {
            assert_eq!(words(&line(text)).unwrap(), line("a b"), "{text}");
        }
        assert_eq!(words(&line("x debug --as=docker-debug -p a")).unwrap(), line("-p a"));
        for text in
            ["purser debug web", "purser docker-debug", "purser debug --as other a", "docker-debugger a"]
        {
            assert_eq!(words(&line(text)), None, "{text}");
        }
        assert_eq!(words(&[]), None);
    }

    #[test]
    fn options_end_with_the_container() {
        let parsed = |text: &str| DockerDebug::try_parse_from(line(text));
        let session = parsed("docker-debug -pu=0:0 -C NET_ADMIN web -u x --ipc -- info").unwrap().session;
        assert_eq!(session.words, line("web -u x --ipc -- info"));
        assert!(session.privileged && session.user.as_deref() == Some("0:0"));
        assert!(parsed("docker-debug web info").unwrap().action.is_none());
        assert!(parsed("docker-debug info").unwrap().action.is_some());
        assert!(parsed("docker-debug --nope web sh").is_err());
        definition().debug_assert();
    }
}
