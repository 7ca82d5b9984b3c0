// SPDX-License-Identifier: Apache-2.0
//! `purser install`: the agent, or any program, as a service of the host's init system.

use super::place;
use super::service::{DEFAULT, KNOWN_STORE, Which, is_open_to_others};
use super::{Usage, output, say};
use crate::config::Config;
use crate::exit::Exit;
use crate::table::harmless;
use anyhow::Context;
use service::{Active, Agent, Definition, Installed, Kind, Manager, Name, Place, Plan, Standing, Step};
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Install the agent, or any program, as a service.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// The account the program runs as; the agent runs as root.
    #[arg(long, short, value_name = "ACCOUNT")]
    user: Option<String>,
    /// The account the init system starts the process as: for us the same as --user.
    #[arg(long, value_name = "ACCOUNT")]
    init_user: Option<String>,
    /// Where the program starts [default: /].
    #[arg(long, short = 'd', value_name = "DIR")]
    working_directory: Option<PathBuf>,
    /// The agent's configuration [default: /etc/purser/purser.toml if it is there at each start].
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The agent's store, whatever the configuration says.
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// One line about the service, for people.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Only print the unit or script.
    #[arg(long, conflicts_with = "dry_run")]
    print_unit: bool,
    /// Replace a file that was edited or is not ours; a copy of it is kept.
    #[arg(long)]
    force: bool,
    /// Another program to install, and its arguments.
    #[arg(last = true, value_name = "PROGRAM")]
    command: Vec<OsString>,
}

/// Options that a unit remembers as facts, by their names.
const WORKING_DIRECTORY: &str = "working-directory";
const DESCRIPTION: &str = "description";

const HELP: &str = "\
The service starts with the host; purser start starts it now. Doing it again changes nothing, or
brings the file up to date; options that the agent was installed with are kept unless others are
given. A file that was edited by hand is left alone unless --force is given.

Examples:
  purser install                                       the agent, by the default configuration
  purser install --config /etc/purser/purser.toml --dry-run
  purser install --name backup --user backup -- /usr/local/bin/backup --every 1h
  purser install --name tunnel --user-service -- ~/bin/tunnel
  purser install --root /mnt/image --init systemd      into an image

Exit codes: 0 done, or nothing to do; 1 failed; 2 wrong command line or configuration";

pub(crate) fn run(mut args: Args) -> anyhow::Result<Exit> {
    if args.command.is_empty() && !args.which.user_service {
        keep_options(&mut args)?;
    }
    let definition = if args.command.is_empty() { agent(&args)? } else { program(&args)? };
    let place = args.which.place()?;
    let mut out = output::stdout();
    if args.print_unit {
        out.write_all(Plan::text(&definition, &place)?.as_bytes())?;
        out.flush()?;
        return Ok(Exit::Success);
    }
    warn(&definition, &place);
    let plan = Plan::install(&definition, &place, args.force)?;
    let name = &definition.name;
    if plan.steps.is_empty() {
        writeln!(out, "service {name} is already installed, nothing changed")?;
        out.flush()?;
        return Ok(Exit::Success);
    }
    if args.dry_run {
        tell_steps(&mut out, "would ", &plan.steps)?;
        return Ok(Exit::Success);
    }
    let manager = Manager::new(place);
    plan.apply(&manager)?;
    tell_steps(&mut out, "did: ", &plan.steps)?;
    let name_option = if name.as_str() == DEFAULT { String::new() } else { format!(" --service {name}") };
    let is_up = |manager: &Manager| {
        manager.state().is_ok_and(|state| matches!(state.active, Active::Running | Active::Starting))
    };
    let runs = !args.which.is_image() && is_up(&manager);
    let next = match plan.found {
        Standing::Absent => format!("installed; start it with: purser start{name_option}"),
        _ if runs => format!("brought up to date; use it with: purser restart{name_option}"),
        _ => format!("brought up to date; start it with: purser start{name_option}"),
    };
    writeln!(out, "service {name} is {next}")?;
    out.flush()?;
    Ok(Exit::Success)
}

/// Every step on a line of its own.
pub(super) fn tell_steps(out: &mut impl Write, before: &str, steps: &[Step]) -> anyhow::Result<()> {
    for step in steps {
        writeln!(out, "{before}{}", harmless(&step.to_string()))?;
    }
    out.flush()?;
    Ok(())
}

/// What the installed unit was made with stays, unless something else is given: who installs a newer
/// version does not mean to move the store.
fn keep_options(args: &mut Args) -> anyhow::Result<()> {
    // What is wrong with an installed file is found again when it shall be replaced.
    let Ok(installed) = Installed::read(&args.which.place()?) else { return Ok(()) };
    if !installed.is_agent {
        return Err(Usage(format!(
            "service {} is the program {}: name one behind --, or remove the service with: purser uninstall",
            args.which.service,
            installed.program.display()
        ))
        .into());
    }
    let fact = |name: &str| installed.fact(name).map(str::to_string);
    let mut kept = Vec::new();
    for (name, option) in [
        ("config", &mut args.config),
        ("store", &mut args.store),
        (WORKING_DIRECTORY, &mut args.working_directory),
    ] {
        if option.is_none()
            && let Some(value) = fact(name)
        {
            kept.push(format!("--{name} {value}"));
            *option = Some(value.into());
        }
    }
    if args.description.is_none()
        && let Some(value) = fact(DESCRIPTION)
    {
        kept.push(format!("--{DESCRIPTION} {value:?}"));
        args.description = Some(value);
    }
    if !kept.is_empty() {
        say(&format!("purser: kept from the installed unit: {}", kept.join(" ")));
    }
    Ok(())
}

/// This program, as the service that records.
fn agent(args: &Args) -> anyhow::Result<Definition> {
    let account = account(args)?;
    if let Some(account) = account.filter(|account| !matches!(account.as_str(), "root" | "0")) {
        return Err(Usage(format!(
            "the agent cannot run as {account}: the kernel lets only root watch all containers; \
             leave --user out (it gives up all rights but four once it has started)"
        ))
        .into());
    }
    if args.which.user_service {
        return Err(Usage(
            "the agent cannot be a service of a user: it needs root; leave --user-service out".into(),
        )
        .into());
    }
    let config = args.config.as_deref().map(absolute).transpose()?;
    let store_option = args.store.as_deref().map(absolute).transpose()?;
    // A wrong configuration is found now, not at the first start.
    let store = if args.which.is_image() {
        store_option.clone().unwrap_or_else(|| Config::default().agent.store)
    } else {
        place::Place { config: config.clone(), store: store_option.clone() }.load()?.0.agent.store
    };
    let mut flags = Vec::new();
    let mut facts = Vec::new();
    for (name, path) in [("config", &config), ("store", &store_option)] {
        if let Some(path) = path {
            let text = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?.to_string();
            flags.extend([format!("--{name}"), text.clone()]);
            facts.push((name.to_string(), text));
        }
    }
    if store_option.is_none() {
        let text = store.to_str().with_context(|| format!("{} is not UTF-8", store.display()))?;
        facts.push((KNOWN_STORE.to_string(), text.to_string()));
    }
    let working_directory = args.working_directory.as_deref().map(absolute).transpose()?;
    let directory = working_directory.as_ref().map(|path| path.display().to_string());
    let remembered = [(WORKING_DIRECTORY, directory), (DESCRIPTION, args.description.clone())];
    facts.extend(remembered.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?))));
    let name = name(args)?;
    let words =
        |first: &[&str]| first.iter().map(|word| word.to_string()).chain(flags.clone()).collect::<Vec<_>>();
    Ok(Definition {
        description: described(args, "Records every program that the containers of this host run"),
        program: args.which.as_inside(std::env::current_exe().context("finding this program")?),
        arguments: words(&["run", "--service", name.as_str()]),
        user: None,
        working_directory,
        user_service: false,
        kind: Kind::Agent(Agent {
            store,
            reload: words(&["reload"]),
            starting: words(&["init-hook", "starting", "--service", name.as_str()]),
            stopping: words(&["init-hook", "stopping", "--service", name.as_str()]),
            stopped: words(&["init-hook", "stopped", "--service", name.as_str()]),
            for_good: "--for-good".to_string(),
        }),
        name,
        facts,
    })
}

/// Any other program.
fn program(args: &Args) -> anyhow::Result<Definition> {
    if args.config.is_some() || args.store.is_some() {
        let text = "--config and --store are the agent's; write the program's own arguments behind the --";
        return Err(Usage(text.into()).into());
    }
    if args.which.service == DEFAULT {
        return Err(Usage(format!("give the service a name: --name NAME; {DEFAULT} is the agent's")).into());
    }
    let mut words = args.command.iter();
    let program = Path::new(words.next().context("no program")?);
    // An image's programs are known by their paths inside, and need not be there yet.
    let program = match args.which.is_image() && program.is_absolute() {
        true => args.which.as_inside(program.to_path_buf()),
        false => find(program)?,
    };
    let arguments = words
        .map(|word| word.to_str().map(str::to_string).ok_or(word))
        .collect::<Result<Vec<String>, _>>()
        .map_err(|word| Usage(format!("{} is not UTF-8, which unit files must be", word.display())))?;
    let user = account(args)?;
    if args.which.user_service && user.is_some() {
        return Err(Usage("a service of a user runs as that user; leave --user out".into()).into());
    }
    // An image has accounts of its own, which nobody can be asked about here.
    if let Some(user) = user.as_deref().filter(|user| !args.which.is_image() && !is_account(user)) {
        return Err(Usage(format!("there is no account {user}")).into());
    }
    Ok(Definition {
        name: name(args)?,
        description: described(args, &program.display().to_string()),
        program,
        arguments,
        user,
        working_directory: args.working_directory.as_deref().map(absolute).transpose()?,
        user_service: args.which.user_service,
        kind: Kind::Program,
        facts: Vec::new(),
    })
}

fn name(args: &Args) -> anyhow::Result<Name> {
    Ok(Name::new(&args.which.service).map_err(|error| Usage(error.to_string()))?)
}

fn described(args: &Args, usual: &str) -> String {
    args.description.clone().unwrap_or_else(|| usual.to_string())
}

/// As the host's own `id` knows them, for accounts may come from elsewhere than its files. A number needs
/// no account.
fn is_account(user: &str) -> bool {
    let is_number = user.bytes().all(|byte| byte.is_ascii_digit());
    let mut id = Command::new("id");
    id.args(["-u", "--", user]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    is_number || id.status().map_or(true, |status| status.success())
}

/// Some installers start a process as one account that then runs things as another. Ours does not.
fn account(args: &Args) -> anyhow::Result<Option<String>> {
    match (&args.user, &args.init_user) {
        (Some(user), Some(init)) if user != init => Err(Usage(format!(
            "--user {user} and --init-user {init} differ, but the init system starts the program itself as one account"
        ))
        .into()),
        (user, init) => Ok(user.as_ref().or(init.as_ref()).cloned()),
    }
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("looking at {}", path.display()))
}

/// A word without a slash is looked for as a shell would; the unit gets the whole path.
fn find(program: &Path) -> anyhow::Result<PathBuf> {
    let is_there =
        |path: &Path| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file();
    let path = if program.components().count() > 1 {
        Some(absolute(program)?)
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .map(|dir| dir.join(program))
            .find(|path| path.is_absolute() && is_there(path))
    };
    path.filter(|path| is_there(path))
        .ok_or_else(|| Usage(format!("{} is no program that can be executed", program.display())).into())
}

fn warn(definition: &Definition, place: &Place) {
    let there = place.root.join(&definition.program);
    if !place.root.is_host() && !there.is_file() {
        say(&format!(
            "purser: warning: the image has no {} yet, which the service runs; copy the program to {}",
            definition.program.display(),
            there.display()
        ));
    }
    let root_runs_it = definition.user.is_none() && !definition.user_service;
    if root_runs_it && place.root.is_host() && is_open_to_others(&definition.program) {
        say(&format!(
            "purser: warning: others than root can exchange {}, which the service runs as root; \
             install a copy, as in: install -m 0755 {} /usr/local/bin/",
            definition.program.display(),
            definition.program.display()
        ));
    }
}
