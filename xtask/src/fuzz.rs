// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask fuzz`: builds the fuzz targets once and feeds each for a bounded time.
//!
//! A target's output goes to a log; what is shown is its last line of progress, or the end of the
//! log when it found something. What it found stays in the scratch directory for a replay.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::options::Options;
use crate::place;
use crate::process::{cargo, program, run};
use crate::setup::{self, Level};

const SECONDS: u64 = 300;
const LOG_LINES_SHOWN: usize = 40;

/// Coverage counters for libFuzzer, made by LLVM's pass, which the stable compiler offers too. They stand
/// in the environment because they must replace the workspace's flags: libFuzzer looks functions up at
/// run time, which a static program cannot, and a later `-crt-static` does not undo a `+crt-static`.
const FLAGS: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

pub(crate) fn main(args: &[String]) -> Result<ExitCode> {
    let mut options = Options::new(args);
    let seconds = options.number("--seconds")?.unwrap_or(SECONDS);
    let (names, rest) = options.finish()?;
    setup::prepare(Level::Tests)?;
    fuzz(&names, seconds, &rest)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the named targets, or all, for `seconds` each; `extra` goes to libFuzzer as it is.
pub(crate) fn fuzz(names: &[String], seconds: u64, extra: &[String]) -> Result<()> {
    let all = targets()?;
    if let Some(unknown) = names.iter().find(|name| !all.contains(name)) {
        bail!("no fuzz target {unknown:?}; there are: {}", all.join(", "));
    }
    eprintln!("fuzz: building {}", all.join(", "));
    let mut build = cargo(["build", "--quiet", "--locked", "--bins", "--target-dir"]);
    run(build.arg(output_dir()).current_dir(room()).env("RUSTFLAGS", FLAGS))?;
    for name in all.iter().filter(|name| names.is_empty() || names.contains(name)) {
        feed(name, seconds, extra)?;
    }
    Ok(())
}

fn room() -> PathBuf {
    place::root().join("fuzz")
}

/// Apart from the product's own output: everything here is built with coverage counters.
fn output_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(_) => place::target().join("fuzz"),
        None => room().join("target"),
    }
}

/// One file a target.
fn targets() -> Result<Vec<String>> {
    let folder = room().join("targets");
    let entries = fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.with_context(|| format!("list {}", folder.display()))?.file_name();
        names.extend(name.to_string_lossy().strip_suffix(".rs").map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

fn feed(name: &str, seconds: u64, extra: &[String]) -> Result<()> {
    let corpus = room().join("corpus").join(name);
    let seeds = room().join("seeds").join(name);
    let found = place::scratch().join("fuzz").join(name);
    for folder in [&corpus, &found] {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    }
    let log = found.join("log");
    let mut target = program(output_dir().join(place::TARGET).join("debug").join(name), [&corpus]);
    if seeds.is_dir() {
        target.arg(&seeds);
    }
    target.arg(format!("-max_total_time={seconds}")).arg(format!("-artifact_prefix={}/", found.display()));
    target.args(["-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1"]).args(extra);
    // In memory: some targets write whole stores.
    let temporary = Path::new("/dev/shm").join(format!("purser-fuzz-{}", std::process::id()));
    fs::create_dir_all(&temporary).with_context(|| format!("create {}", temporary.display()))?;
    let status = logged(target.env("TMPDIR", &temporary), &log);
    fs::remove_dir_all(&temporary).with_context(|| format!("remove {}", temporary.display()))?;
    let text = String::from_utf8_lossy(&fs::read(&log).context("read the fuzzer's log")?).into_owned();
    if !status? {
        bail!("target {name} found something, kept in {}:\n{}", found.display(), tail(&text));
    }
    if !text.contains("inline 8-bit counters") {
        bail!("target {name} runs blind: it has no coverage counters");
    }
    eprintln!("fuzz: {name:<8} {}", progress(&text));
    Ok(())
}

fn logged(target: &mut Command, log: &Path) -> Result<bool> {
    let file = File::create(log).with_context(|| format!("create {}", log.display()))?;
    let again = file.try_clone().context("share the log file")?;
    let status = target.stdout(file).stderr(again).status().context("start a fuzz target")?;
    Ok(status.success())
}

/// libFuzzer's last line of progress, without its leading counter: `cov: 12 ft: 34 corp: 5/6b`.
fn progress(log: &str) -> String {
    let line =
        log.lines().rfind(|line| line.starts_with('#') && line.contains("cov: ")).unwrap_or("no progress");
    let runs = log.lines().rfind(|line| line.starts_with("Done ")).unwrap_or_default();
    let counters = line.find("cov: ").and_then(|at| line.get(at..)).unwrap_or(line);
    format!("{runs}, {counters}")
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines.get(lines.len().saturating_sub(LOG_LINES_SHOWN)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::progress;

    #[test]
    fn shows_the_last_progress() {
        let log =
            "#2 INITED cov: 3 ft: 4\n#99\tDONE   cov: 31 ft: 40 corp: 5/9b\nDone 99 runs in 2 second(s)\n";
        assert_eq!(progress(log), "Done 99 runs in 2 second(s), cov: 31 ft: 40 corp: 5/9b");
    }
}
