// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask vm`: runs a command on another kernel, in a virtual machine that holds nothing but
//! busybox, the overlay module and the files named, and returns the command's output and exit code.
//!
//! The guest has no disk and no network. Its kernel talks to a log file, the command to our output.

mod guest;
mod kernel;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use self::kernel::Kernel;
use crate::options::Options;
use crate::place;
use crate::process::program;
use crate::setup::{self, Level};

/// The guest's last line on its output: this and the exit code.
const MARKER: &str = "purser-vm-exit ";
const LIMIT_SECS: u64 = 300;
const LOG_LINES_SHOWN: usize = 30;

/// One run of a command in a guest.
#[derive(Debug)]
pub(crate) struct Plan {
    /// `6.1` or `6.12`.
    pub(crate) kernel: String,
    /// Files to be there: where they are here, where they shall be there.
    pub(crate) files: Vec<(PathBuf, String)>,
    /// The command and its arguments.
    pub(crate) command: Vec<String>,
    /// The guest is killed after this time.
    pub(crate) limit_secs: u64,
}

pub(crate) fn main(args: &[String]) -> Result<ExitCode> {
    let plan = read(args)?;
    setup::prepare(Level::Tests)?;
    let code = plan.run()?;
    Ok(ExitCode::from(code))
}

fn read(args: &[String]) -> Result<Plan> {
    let mut options = Options::new(args);
    let kernel = options.values("--kernel")?.pop().context("name a kernel: --kernel 6.1 or --kernel 6.12")?;
    let limit_secs = options.number("--limit")?.unwrap_or(LIMIT_SECS);
    let files = options.values("--file")?.iter().map(|pair| file(pair)).collect::<Result<_>>()?;
    let (words, command) = options.finish()?;
    if let Some(word) = words.first() {
        bail!("unexpected argument {word:?}; the command follows `--`");
    }
    if command.is_empty() {
        bail!("no command: name one after `--`");
    }
    Ok(Plan { kernel, files, command, limit_secs })
}

fn file(pair: &str) -> Result<(PathBuf, String)> {
    match pair.split_once(':') {
        Some((host, guest)) if !host.is_empty() && guest.starts_with('/') => {
            Ok((host.into(), guest.to_owned()))
        }
        _ => bail!("--file {pair}: it must be HOST:GUEST with an absolute path in the guest"),
    }
}

impl Plan {
    /// Boots, runs, prints the command's output, and returns its exit code.
    pub(crate) fn run(&self) -> Result<u8> {
        let kernel = kernel::get(&self.kernel)?;
        let work = place::scratch().join(format!("vm-{}", std::process::id()));
        fs::create_dir_all(&work).with_context(|| format!("create {}", work.display()))?;
        let code = self.boot(&kernel, &work);
        fs::remove_dir_all(&work).with_context(|| format!("remove {}", work.display()))?;
        code
    }

    fn boot(&self, kernel: &Kernel, work: &Path) -> Result<u8> {
        let initramfs = guest::pack(self, kernel, work)?;
        let log = work.join("kernel.log");
        let mut qemu = program("timeout", ["--foreground", "--signal=KILL"]);
        qemu.arg(self.limit_secs.to_string()).args(QEMU);
        qemu.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(&initramfs);
        qemu.arg("-serial").arg(format!("file:{}", log.display())).args(["-serial", "stdio"]);
        let mut child = qemu.stdout(Stdio::piped()).spawn().context("start qemu-system-x86_64")?;
        let output = child.stdout.take().context("take qemu's output")?;
        let code = pass_on(BufReader::new(output), std::io::stdout().lock())?;
        let status = child.wait().context("wait for qemu")?;
        match code {
            Some(code) => Ok(code),
            None => bail!(
                "the guest ended without an exit code ({status}; its limit is {} s). The end of its kernel's log:\n{}",
                self.limit_secs,
                tail(&log)
            ),
        }
    }
}

/// No KVM: what runs the tests may itself be a guest that cannot nest.
const QEMU: [&str; 17] = [
    "qemu-system-x86_64",
    "-accel",
    "tcg,thread=multi",
    "-cpu",
    "max",
    "-m",
    "2048",
    "-smp",
    "2",
    "-display",
    "none",
    "-monitor",
    "none",
    "-nodefaults",
    "-no-reboot",
    "-append",
    "console=ttyS0 quiet panic=-1",
];

/// Copies lines until the guest's last one, and returns the exit code that one tells.
fn pass_on(mut from: impl BufRead, mut to: impl Write) -> Result<Option<u8>> {
    let mut line = Vec::new();
    let mut code = None;
    loop {
        line.clear();
        if from.read_until(b'\n', &mut line).context("read the guest's output")? == 0 {
            return Ok(code);
        }
        let text = String::from_utf8_lossy(&line);
        match text.trim_end().rsplit_once(MARKER) {
            // Output without a newline at its end stands before the marker.
            Some((before, number)) if number.parse::<u8>().is_ok() => {
                to.write_all(before.as_bytes()).context("pass the guest's output on")?;
                code = number.parse().ok();
            }
            _ => to.write_all(&line).context("pass the guest's output on")?,
        }
        to.flush().context("pass the guest's output on")?;
    }
}

fn tail(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(LOG_LINES_SHOWN)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(guest: &[u8]) -> (Option<u8>, Vec<u8>) {
        let mut out = Vec::new();
        let code = pass_on(guest, &mut out).unwrap();
        (code, out)
    }

    #[test]
    fn passes_output_on_and_keeps_the_code() {
        assert_eq!(passed(b"one\ntwo\npurser-vm-exit 3\n"), (Some(3), b"one\ntwo\n".to_vec()));
        assert_eq!(passed(b"no newlinepurser-vm-exit 0\n"), (Some(0), b"no newline".to_vec()));
        assert_eq!(passed(b"\xff\xfe\npurser-vm-exit x\n"), (None, b"\xff\xfe\npurser-vm-exit x\n".to_vec()));
    }

    #[test]
    fn a_guest_that_dies_has_no_code() {
        assert_eq!(passed(b"half"), (None, b"half".to_vec()));
    }

    #[test]
    fn reads_a_plan() {
        let words = ["--kernel", "6.1", "--file", "a/b:/bin/b", "--limit", "9", "--", "b", "--file"];
        let plan = read(&words.map(str::to_owned)).unwrap();
        assert_eq!(plan.files, [(PathBuf::from("a/b"), "/bin/b".to_owned())]);
        assert_eq!((plan.limit_secs, plan.command), (9, vec!["b".to_owned(), "--file".to_owned()]));
        assert!(read(&["--kernel", "6.1"].map(str::to_owned)).is_err());
        assert!(file("host-only").is_err());
        assert!(file("host:relative").is_err());
    }
}
