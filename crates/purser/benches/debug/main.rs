// SPDX-License-Identifier: Apache-2.0
//! How long it takes until a program runs in a container, from the start of the client to the program's own
//! clock: by `purser debug`, by nsenter, by `docker exec`, and by the calls that docker-debug makes. In turn, so that
//! a busy moment is everybody's. Also how fast bytes go in and come back, and the memory of a client.
//!
//! Needs root, Docker, gcc and busybox-static. Makes a container of its own and removes it.
//!
//! With a file of kits also how long it takes from nothing to a shell of theirs: the file is imported onto an empty
//! shelf, and a session begins.
//!
//!   cargo bench -p purser --bench debug -- [--runs N] [--kits FILE]

#![allow(clippy::print_stdout, reason = "the figures are what this program is for")]

mod helper;
mod lab;

use anyhow::{Context, Result, ensure};
use lab::Lab;
use names as _;
use rustix::time::{ClockId, clock_gettime};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const RUNS: usize = 200;
/// docker-debug's way takes a container each time.
const HELPER_RUNS: usize = 20;
const IMPORT_RUNS: usize = 5;
const CLOCK: &str = "/bin/clock";
const PIPE_RUNS: usize = 5;
const PIPE_BYTES: usize = 256 << 20;

fn main() -> Result<()> {
    let Wanted { runs, kits } = wanted()?;
    ensure!(rustix::process::geteuid().is_root(), "sessions need root: run it with sudo");
    let lab = Lab::make()?;
    let mut ways: [Way; 4] = [
        Way::new("purser debug", runs, |lab| clock_of(&mut lab.session(CLOCK))),
        Way::new("nsenter", runs, |lab| clock_of(&mut lab.nsenter(CLOCK))),
        Way::new("docker exec", runs, |lab| clock_of(&mut lab.docker_exec(CLOCK))),
        Way::new("calls of docker-debug", HELPER_RUNS.min(runs), helper::clock),
    ];
    println!("load average {}", load_average()?);
    for run in 0..runs {
        for way in ways.iter_mut().filter(|way| run < way.runs) {
            way.took.push(way_took(&lab, way.run).with_context(|| way.name.to_owned())?);
        }
    }
    println!("load average {}", load_average()?);
    println!(
        "{:<24} {:>6} {:>9} {:>9} {:>9} {:>9}",
        "until a program runs", "runs", "min ms", "p50 ms", "p99 ms", "max ms"
    );
    for way in &mut ways {
        way.took.sort_unstable();
        let at = |share: f64| way.took[((way.took.len() - 1) as f64 * share) as usize] as f64 / 1e6;
        let [min, half, most, max] = [0.0, 0.5, 0.99, 1.0].map(at);
        println!("{:<24} {:>6} {min:>9.1} {half:>9.1} {most:>9.1} {max:>9.1}", way.name, way.took.len());
    }
    pipes(&lab)?;
    if let Some(kits) = kits {
        imports(&lab, &kits)?;
    }
    println!("memory of a client: {:.1} MB", lab.client_memory()? as f64 / 1e6);
    let changes = lab.changes()?;
    ensure!(changes.is_empty(), "the container was changed:\n{changes}");
    println!("docker diff: nothing");
    Ok(())
}

/// One way into the container, and what it took each time, in nanoseconds.
struct Way {
    name: &'static str,
    runs: usize,
    run: fn(&Lab) -> Result<u64>,
    took: Vec<u64>,
}

impl Way {
    fn new(name: &'static str, runs: usize, run: fn(&Lab) -> Result<u64>) -> Way {
        Way { name, runs, run, took: Vec::new() }
    }
}

/// From now to the clock that `run` gives.
fn way_took(lab: &Lab, run: fn(&Lab) -> Result<u64>) -> Result<u64> {
    let begun = monotonic_ns();
    Ok(run(lab)?.saturating_sub(begun))
}

fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// What a command prints, which must be a clock.
fn clock_of(command: &mut Command) -> Result<u64> {
    let output = command.stdin(Stdio::null()).output().context("starting it")?;
    ensure!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().parse().context("no clock was printed")
}

fn load_average() -> Result<String> {
    let load = std::fs::read_to_string("/proc/loadavg").context("reading /proc/loadavg")?;
    Ok(load.split_whitespace().take(3).collect::<Vec<_>>().join(" "))
}

/// A program in the container that writes what it reads.
type Echo = fn(&Lab) -> Command;

/// How fast bytes go through a program in the container and back.
fn pipes(lab: &Lab) -> Result<()> {
    let ways: [(&str, Echo); 3] = [
        ("purser debug", |lab| lab.session("/bin/cat")),
        ("nsenter", |lab| lab.nsenter("/bin/cat")),
        ("docker exec", |lab| lab.docker_exec("/bin/cat")),
    ];
    let mut rates: [Vec<u64>; 3] = Default::default();
    for _ in 0..PIPE_RUNS {
        for ((name, echo), rates) in ways.iter().zip(&mut rates) {
            let took = piped(&mut echo(lab)).with_context(|| format!("pipes of {name}"))?;
            rates.push((PIPE_BYTES as u64 * 1000).checked_div(took).unwrap_or(0));
        }
    }
    for ((name, _), rates) in ways.iter().zip(&mut rates) {
        rates.sort_unstable();
        let at = |place: usize| rates.get(place).copied().unwrap_or(0);
        let (least, half, most) = (at(0), at(PIPE_RUNS / 2), at(PIPE_RUNS - 1));
        println!("through cat and back, {name}: p50 {half} MB/s ({least} to {most})");
    }
    Ok(())
}

/// Nanoseconds from the start to the last of the bytes, all of which must come back.
fn piped(echo: &mut Command) -> Result<u64> {
    let begun = monotonic_ns();
    let mut child = echo.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("starting it")?;
    let (mut input, mut output) =
        (child.stdin.take().context("no pipe")?, child.stdout.take().context("no pipe")?);
    let writer = std::thread::spawn(move || {
        let part = vec![7; 1 << 20];
        (0..PIPE_BYTES / part.len()).try_for_each(|_| input.write_all(&part))
    });
    let back = std::io::copy(&mut output, &mut std::io::sink()).context("reading")?;
    let took = monotonic_ns().saturating_sub(begun);
    writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))?.context("writing")?;
    ensure!(child.wait()?.success() && back == PIPE_BYTES as u64, "{back} bytes came back");
    Ok(took)
}

/// From a file of kits and an empty shelf to the first program that a shell of theirs starts.
fn imports(lab: &Lab, kits: &Path) -> Result<()> {
    let mut took = Vec::new();
    for run in 0..IMPORT_RUNS {
        let begun = monotonic_ns();
        let (imported, prompt) = lab.import(kits, run)?;
        took.push((prompt.saturating_sub(begun), imported.saturating_sub(begun)));
    }
    took.sort_unstable();
    let least = took.first().context("no run")?;
    let most = took.last().context("no run")?;
    let (whole, import) = took.get(took.len() / 2).context("no run")?;
    println!(
        "import of {} to first prompt: {} runs, p50 {:.2} s ({:.2} s of it the import), {:.2} to {:.2} s",
        kits.display(),
        took.len(),
        *whole as f64 / 1e9,
        *import as f64 / 1e9,
        least.0 as f64 / 1e9,
        most.0 as f64 / 1e9
    );
    Ok(())
}

/// What is measured.
struct Wanted {
    runs: usize,
    /// A file of purser kit export.
    kits: Option<PathBuf>,
}

/// Cargo adds `--bench`; everything else must be known.
fn wanted() -> Result<Wanted> {
    let mut wanted = Wanted { runs: RUNS, kits: None };
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    while let Some(arg) = args.next() {
        match (arg.as_str(), args.next()) {
            ("--runs", Some(number)) => {
                wanted.runs = number.parse().context("--runs takes a number")?;
                ensure!(wanted.runs > 0, "--runs takes a number from 1");
            }
            ("--kits", Some(file)) => wanted.kits = Some(file.into()),
            _ => anyhow::bail!("unknown argument {arg:?}; there are --runs N and --kits FILE"),
        }
    }
    Ok(wanted)
}
