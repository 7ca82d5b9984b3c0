// SPDX-License-Identifier: Apache-2.0
//! `purser debug cores`: which cores there are, of what, and who has the program.

use super::cored::{STORE, looked_through};
use super::target::Knows;
use super::who::{self, Who};
use crate::command::output::{self, Format};
use crate::command::place::Place;
use crate::exit::Exit;
use crate::table::harmless;
use cores::Core;
use jiff::{Timestamp, Zoned};
use rustix::fs::{Mode, OFlags, open};
use serde::{Serialize, Serializer};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// The most cores that are listed.
const CORES_LIMIT: usize = 200;
/// The most files of a directory that are looked at.
const FILES_LIMIT: usize = 10_000;
/// What is read of a compressed core: its notes, and the first pages of its program.
const HEAD: usize = 4 << 20;

/// List the cores that systemd-coredump has kept, and those in a directory.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
IN is where purser debug --core would open it: what has the program with the same build-id, of
running containers, this host, stopped containers and images the first.

Examples:
  purser debug cores
  purser debug cores /var/crash -o json")]
pub(super) struct List {
    /// Where to look beside systemd-coredump's store [default: the current directory].
    #[arg(value_name = "DIR", default_value = ".", hide_default_value = true)]
    directory: PathBuf,
    /// What is printed.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

/// A core as it is listed.
#[derive(Debug, Serialize)]
struct Row {
    /// What --core takes.
    core: String,
    #[serde(serialize_with = "as_text")]
    time: Option<Timestamp>,
    /// The name of the first thread.
    name: String,
    pid: i32,
    signal: Option<String>,
    threads: Option<usize>,
    program: Option<PathBuf>,
    build_id: Option<String>,
    /// What to look at it in.
    target: Option<String>,
    /// Why not all of it can be said.
    problem: Option<String>,
}

fn as_text<S: Serializer>(time: &Option<Timestamp>, out: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.to_string()).serialize(out)
}

pub(super) fn list(args: &List) -> anyhow::Result<Exit> {
    let config = Place::default().load()?.0;
    let sources = config.runtimes;
    let who = Who::asks();
    let by_policy = |one: &container::Recorded| who.may_know(&config.debug, one);
    let knows = Knows((!config.debug.allow.is_empty()).then_some(&by_policy));
    // Others' cores, and where they are, are nothing for who comes by sudo.
    let is_theirs = |file: &File| {
        !who::comes_by_sudo() || file.metadata().is_ok_and(|meta| meta.is_file() && meta.uid() == who.uid)
    };
    let mut rows = kept(&is_theirs);
    rows.extend(lying(&args.directory, &is_theirs)?);
    rows.sort_by_key(|(row, _)| std::cmp::Reverse(row.time));
    rows.truncate(CORES_LIMIT);
    let mut known = HashMap::new();
    for (row, core) in &mut rows {
        let Some(core) = core.take() else { continue };
        row.tell(&core);
        // Cores of one build have one place.
        let key = (row.program.clone(), row.build_id.clone());
        let home = || looked_through(&Arc::new(core), &sources, knows).0.map(|home| home.word);
        row.target = match &key.1 {
            Some(_) => known.entry(key).or_insert_with(home).clone(),
            None => None,
        };
    }
    let rows: Vec<Row> = rows.into_iter().map(|(row, _)| row).collect();
    show(&rows, args.output)?;
    Ok(Exit::Success)
}

impl Row {
    fn tell(&mut self, core: &Core) {
        self.name.clone_from(&core.name);
        // The name of a kept core has the number on the host; the core itself that of its own namespace.
        self.pid = if self.pid == 0 { core.pid } else { self.pid };
        self.signal = (core.signal != 0).then(|| cores::signal_name(core.signal));
        self.threads = Some(core.threads);
        self.program = core.program().map(|program| program.path.clone());
        self.build_id =
            core.program().and_then(|program| Some(program.identity.build_id.as_ref()?.to_string()));
    }
}

/// In systemd-coredump's store.
fn kept(is_theirs: &dyn Fn(&File) -> bool) -> Vec<(Row, Option<Core>)> {
    let row = |one: cores::Stored| {
        let micros = i64::try_from(one.time_us).ok();
        let time = micros.and_then(|micros| Timestamp::from_microsecond(micros).ok());
        let file = one.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let core = format!("coredump:{file}");
        let opened = File::open(&one.path);
        if opened.as_ref().map_or(who::comes_by_sudo(), |file| !is_theirs(file)) {
            return None;
        }
        let opened = opened.map_err(|error| error.to_string());
        let (core_read, problem) = match opened.and_then(|file| read(&one.path, &file)) {
            Ok(core) => (core, None),
            Err(error) => (None, Some(error)),
        };
        Some((Row { core, time, name: one.name, pid: one.pid, problem, ..Row::empty() }, core_read))
    };
    cores::stored(Path::new(STORE)).into_iter().take(CORES_LIMIT).filter_map(row).collect()
}

/// In a directory: whatever begins like a core.
fn lying(directory: &Path, is_theirs: &dyn Fn(&File) -> bool) -> anyhow::Result<Vec<(Row, Option<Core>)>> {
    use anyhow::Context;
    let entries = fs::read_dir(directory).with_context(|| format!("listing {}", directory.display()))?;
    let mut rows = Vec::new();
    for entry in entries.flatten().take(FILES_LIMIT) {
        if !entry.file_type().is_ok_and(|kind| kind.is_file()) || rows.len() == CORES_LIMIT {
            continue;
        }
        let path = entry.path();
        // What was a file a moment ago may be a pipe that waits for a writer.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let Ok(file) = open(&path, flags, Mode::empty()).map(File::from) else { continue };
        if !is_theirs(&file) {
            continue;
        }
        let Ok(Some(core)) = read(&path, &file) else { continue };
        let time = entry.metadata().ok().and_then(|data| data.modified().ok());
        let time = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let time = time.and_then(|time| Timestamp::from_second(i64::try_from(time.as_secs()).ok()?).ok());
        let path = path.strip_prefix(".").unwrap_or(&path).display().to_string();
        rows.push((Row { core: path, time, ..Row::empty() }, Some(core)));
    }
    Ok(rows)
}

impl Row {
    fn empty() -> Row {
        Row {
            core: String::new(),
            time: None,
            name: String::new(),
            pid: 0,
            signal: None,
            threads: None,
            program: None,
            build_id: None,
            target: None,
            problem: None,
        }
    }
}

/// Nothing for what is no core. A compressed one is read only as far as its beginning.
fn read(path: &Path, file: &File) -> Result<Option<Core>, String> {
    let text = |error: std::io::Error| error.to_string();
    let core = match cores::packing(file).map_err(text)? {
        // Unpacking everything that lies around would take long.
        Some(_) if !path.file_name().is_some_and(|name| name.to_string_lossy().contains("core")) => {
            return Ok(None);
        }
        Some(packing) => {
            let head = cores::head(file, packing, HEAD).map_err(|error| error.to_string())?;
            Core::read(&head, head.len() as u64)
        }
        None => Core::read(file, file.metadata().map_err(text)?.len()),
    };
    match core {
        Ok(core) => Ok(Some(core)),
        Err(cores::CoreError::NotACore { .. }) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

fn show(rows: &[Row], format: Format) -> anyhow::Result<()> {
    let mut out = output::stdout();
    if format == Format::Json {
        for row in rows {
            writeln!(out, "{}", serde_json::to_string(row)?)?;
        }
        out.flush()?;
        return Ok(());
    }
    writeln!(out, "{:<19}  {:<15}  {:>7}  {:<8}  {:<20}  CORE", "TIME", "PROGRAM", "PID", "SIGNAL", "IN")?;
    let zone = Zoned::now().time_zone().clone();
    for row in rows {
        let time = row.time.map(|time| time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string());
        writeln!(
            out,
            "{:<19}  {:<15}  {:>7}  {:<8}  {:<20}  {}",
            time.unwrap_or_default(),
            harmless(&row.name),
            row.pid,
            row.signal.as_deref().unwrap_or("-"),
            harmless(row.target.as_deref().unwrap_or("-")),
            harmless(&row.core),
        )?;
        if let Some(problem) = &row.problem {
            writeln!(out, "{:<19}  {}", "", harmless(problem))?;
        }
    }
    out.flush()?;
    Ok(())
}
