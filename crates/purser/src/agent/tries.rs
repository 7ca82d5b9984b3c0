// SPDX-License-Identifier: Apache-2.0
//! When a service was started lately, and how often without success. The unit's hook writes each start
//! into a file in `/run`, and an agent that is ready writes that it is.

use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

const DIR: &str = "/run";
/// The line of an agent that records. The others are starts, in milliseconds since the boot.
const READY: &str = "ready";
/// What counts as lately; the unit has the same span for its limit.
const LATELY_MS: u64 = 20_000;
/// Lines that are kept, more than starts count.
const LINES_LIMIT: usize = 64;

/// Starts before this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tries {
    /// Since an agent was ready last.
    pub(crate) failed: usize,
    /// Lately, whatever came of them.
    pub(crate) lately: usize,
}

/// Notes a start of `service`.
pub(crate) fn note_start(service: &str) -> io::Result<Tries> {
    let now = clock_gettime(ClockId::Monotonic);
    let now_ms = now.tv_sec.unsigned_abs() * 1_000 + now.tv_nsec.unsigned_abs() / 1_000_000;
    start_in(Path::new(DIR), service, now_ms)
}

fn start_in(dir: &Path, service: &str, now_ms: u64) -> io::Result<Tries> {
    let path = path(dir, service);
    let before = read(&path)?;
    let is_late = |line: &&str| line.parse().is_ok_and(|at: u64| now_ms.saturating_sub(at) < LATELY_MS);
    let failed = before.lines().rev().take_while(|line| *line != READY).count();
    let tries = Tries { failed, lately: before.lines().filter(is_late).count() };
    append(&path, &before, &now_ms.to_string())?;
    Ok(tries)
}

/// Notes that the agent of `service` records.
pub(crate) fn note_ready(service: &str) -> io::Result<()> {
    let path = path(Path::new(DIR), service);
    let before = read(&path)?;
    append(&path, &before, READY)
}

/// Nobody wants it to run any more.
pub(crate) fn forget(service: &str) {
    // What stays is only of starts that are long ago by the next one.
    fs::remove_file(path(Path::new(DIR), service)).unwrap_or_default();
}

fn read(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        result => result,
    }
}

fn append(path: &Path, before: &str, line: &str) -> io::Result<()> {
    let skipped = (before.lines().count() + 1).saturating_sub(LINES_LIMIT);
    let text: String = before.lines().chain([line]).skip(skipped).flat_map(|line| [line, "\n"]).collect();
    fs::write(path, text)
}

fn path(dir: &Path, service: &str) -> PathBuf {
    dir.join(format!("purser-starts-{service}"))
}

#[cfg(test)]
mod tests {
    use super::{LINES_LIMIT, READY, Tries, append, path, read, start_in};

    #[test]
    fn starts_are_counted_until_one_succeeds() {
        let dir = tempfile::tempdir().unwrap();
        let start = |at_ms| start_in(dir.path(), "a", at_ms).unwrap();
        assert_eq!(start(1_000), Tries { failed: 0, lately: 0 });
        assert_eq!(start(2_000), Tries { failed: 1, lately: 1 });
        let file = path(dir.path(), "a");
        append(&file, &read(&file).unwrap(), READY).unwrap();
        assert_eq!(start(3_000), Tries { failed: 0, lately: 2 });
        assert_eq!(start(21_500), Tries { failed: 1, lately: 2 });
        assert_eq!(start_in(dir.path(), "b", 1_000).unwrap(), Tries { failed: 0, lately: 0 });
        assert!(start_in(&dir.path().join("absent"), "a", 1).is_err());
        for at_ms in 0..200 {
            start(100_000 + at_ms);
        }
        assert_eq!(read(&file).unwrap().lines().count(), LINES_LIMIT);
    }
}
