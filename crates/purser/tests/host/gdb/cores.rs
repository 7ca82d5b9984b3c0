// SPDX-License-Identifier: Apache-2.0
//! Cores of the same targets: what gdb shows of a core is what it showed of the process, line by line, wherever the
//! files are found.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::targets::{Root, kits};
use super::{DESCENT, DESCENT_IN_C, LIMIT, MARK, PAUSE, SLEEP, parked};
use crate::agent::purser;
use crate::debug::{Container, wait_until};
use crate::lab::{Lab, output, run, skip, temporary};

/// Commands for gdb, and in which order their answers come.
pub(super) const ASKED: [&str; 4] =
    ["thread apply all bt", "thread apply all print counter", "info sharedlibrary", "bt"];
const ASKED_OF_RUST: [&str; 4] =
    ["thread apply all bt", "thread apply all print 1", "info sharedlibrary", "bt"];
/// Go has no such variable.
const ASKED_OF_GO: [&str; 4] = ["thread apply all bt", "print 'main.counter'", "info sharedlibrary", "bt"];

pub(super) fn commands(asked: &[&str]) -> Vec<String> {
    let mut words: Vec<String> =
        ["-batch", "-ex", "set print address off", "-ex", "set width 0"].map(str::to_owned).to_vec();
    let mark = format!("echo {MARK}\\n");
    for command in asked {
        words.extend(["-ex".to_owned(), mark.clone(), "-ex".to_owned(), (*command).to_owned()]);
    }
    words.extend(["-ex".to_owned(), mark]);
    words
}

pub(super) fn answers(printed: &str, count: usize) -> Result<Vec<String>> {
    let parts: Vec<String> =
        printed.split(&format!("{MARK}\n")).skip(1).map(|part| part.trim_end().to_owned()).collect();
    ensure!(parts.len() > count, "not everything was answered: {printed}");
    Ok(parts)
}

/// `purser debug OPTIONS -- WORDS`, not for ever.
pub(super) fn debug(kits: &Path, options: &[&str], words: &[String]) -> Command {
    let mut command = Command::new("timeout");
    command.args(LIMIT).arg(purser().get_program()).arg("debug").args(options).arg("--kits").arg(kits);
    command.arg("--").args(words);
    command
}

/// What it prints, and what it says beside.
pub(super) fn debugged(kits: &Path, options: &[&str], words: &[String]) -> Result<(String, String)> {
    let output = output(&mut debug(kits, options, words))?;
    let [printed, said] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    ensure!(output.status.success(), "{options:?}: {said}");
    Ok((printed, said))
}

/// By thread's number in the kernel, what follows its headline. A core has no names of threads.
fn by_thread(told: &str) -> Result<BTreeMap<String, Vec<String>>> {
    let mut threads: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut at = String::new();
    for line in told.lines().filter(|line| !line.is_empty()) {
        match line.split_once("LWP ").filter(|_| line.starts_with("Thread ")) {
            Some((_, rest)) => at = rest.chars().take_while(char::is_ascii_digit).collect(),
            // A variable's number is how many gdb has shown.
            None => {
                let line =
                    line.split_once(" = ").filter(|_| line.starts_with('$')).map_or(line, |(_, value)| value);
                threads.entry(at.clone()).or_default().push(line.to_owned());
            }
        }
    }
    ensure!(threads.keys().any(|thread| !thread.is_empty()), "no threads: {told}");
    Ok(threads)
}

/// Names of object files, each with whether it has symbols.
fn objects(told: &str) -> BTreeMap<String, bool> {
    let lines = told.lines().filter_map(|line| Some((line, line.rsplit_once(' ')?.1)));
    lines
        .filter(|(_, name)| name.starts_with('/'))
        .map(|(line, name)| (name.to_owned(), line.contains(" Yes ")))
        .collect()
}

/// What is the same of a process and of its core.
pub(super) fn same(live: &[String], core: &[String]) -> Result<()> {
    for (live, core) in live.iter().zip(core).take(2) {
        if live.starts_with('$') {
            let value = |text: &str| text.split_once(" = ").map(|(_, value)| value.to_owned());
            ensure!(value(live) == value(core), "{live} of the process, {core} of the core");
        } else {
            let (live, core) = (by_thread(live)?, by_thread(core)?);
            ensure!(live == core, "of the process {live:#?}\nof the core {core:#?}");
        }
    }
    let (live, core) = (objects(&live[2]), objects(&core[2]));
    ensure!(live == core && core.values().all(|has_symbols| *has_symbols), "{live:?} and {core:?}");
    Ok(())
}

struct Of<'a> {
    asked: &'a [&'a str],
    /// The kernel's number of the call in which its first thread waits.
    call: u32,
    /// A signal that makes the kernel write a core; none where the program's language handles all.
    signal: Option<&'a str>,
    /// The backtrace of the first thread, where it is known as a whole.
    descent: Option<&'a str>,
}

const C: Of<'_> = Of { asked: &ASKED, call: PAUSE, signal: Some("SEGV"), descent: Some(DESCENT) };

/// Gives the program a build-id of its own: other containers of this host may have the same one from the same source. One
/// without a build-id gets bytes of its own in its first page, where nobody looks at them.
pub(super) fn make_unique(program: &Path) -> Result<()> {
    let mut bytes = fs::read(program)?;
    let notes: [&[u8]; 2] = [b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0", b"\x04\0\0\0\x53\0\0\0\x04\0\0\0Go\0\0"];
    let own = format!("{:08x}", RandomState::new().build_hasher().finish() >> 32);
    let mut has_id = false;
    for note in notes {
        let Some(at) = bytes.windows(note.len()).position(|window| window == note) else { continue };
        let room =
            bytes.get_mut(at + note.len()..at + note.len() + own.len()).context("no id behind a note")?;
        room.copy_from_slice(own.as_bytes());
        has_id = true;
    }
    if !has_id {
        // The end of the identification in the header.
        bytes.get_mut(9..16).context("no header")?.copy_from_slice(&own.as_bytes()[..7]);
    }
    Ok(fs::write(program, bytes)?)
}

fn check(word: &str, root: &Root, of: &Of<'_>) -> Result<()> {
    let Some(kits) = kits()? else { return Ok(()) };
    make_unique(&root.path().join("bin/target"))?;
    let image = root.image(&format!("core-{word}"))?;
    let dir = TempDir::with_prefix_in("cores-", temporary())?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777))?;
    let volume = format!("{}:/cores", dir.path().display());
    let options = ["--ulimit", "core=-1", "-v", &volume, "-w", "/cores"];
    let target = Container::start(&format!("core-{word}"), &options, &image.0, &["/bin/target"])?;
    parked(target.pid, of.call)?;

    // The process, and a core of the same moment.
    let asked = [of.asked, &["gcore /cores/live"]].concat();
    let mut words = vec!["gdb".to_owned(), "-p".to_owned(), "1".to_owned()];
    words.extend(commands(&asked));
    let (printed, _) = debugged(&kits, &[&target.name, "--kit", "gdb"], &words)?;
    let live = answers(&printed, asked.len())?;
    let file = dir.path().join("live").display().to_string();
    let whole = format!("purser: {} has all ", target.name);
    let look = |options: &[&str], who: &str| -> Result<Vec<String>> {
        let (printed, said) = debugged(&kits, options, &commands(of.asked))?;
        ensure!(said.contains(who), "{said}");
        answers(&printed, of.asked.len())
    };
    let found = look(&["--core", &file], &whole)?;
    same(&live, &found).with_context(|| format!("{word}, found by build-id"))?;
    // The same, in the container.
    let inside = look(&[&target.name, "--core", "/cores/live"], &whole)?;
    same(&live, &inside).with_context(|| format!("{word}, in the container"))?;
    kernel(word, &target, &dir, of, &kits)?;
    run(Command::new("docker").args(["stop", "-t", "0", &target.name]))?;
    let stopped = look(&["--core", &file], &whole)?;
    same(&live, &stopped).with_context(|| format!("{word}, in the stopped container"))?;
    // It is removed; only the image is left.
    drop(target);
    let whole = format!("purser: image:{} has all ", image.0);
    let found = look(&["--core", &file], &whole)?;
    same(&live, &found).with_context(|| format!("{word}, in the image"))
}

/// A core that the kernel has written, of a second process that died.
fn kernel(word: &str, target: &Container, dir: &TempDir, of: &Of<'_>, kits: &Path) -> Result<()> {
    let Some(signal) = of.signal else { return Ok(()) };
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern")?;
    if pattern.starts_with(['|', '/']) {
        return skip::<()>(&format!("cores of this host go to {pattern}")).map(drop);
    }
    let before = target.processes()?;
    run(Command::new("docker").args(["exec", "-d", "-w", "/cores", &target.name, "/bin/target"]))?;
    let mut started = None;
    wait_until("a second process runs", || {
        started =
            target.processes()?.difference(&before).copied().find(|pid| {
                fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "target\n")
            });
        Ok(started.is_some())
    })?;
    let pid = started.context("no second process")?;
    parked(pid, of.call)?;
    run(Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]))?;
    wait_until("the second process has ended", || Ok(!Path::new(&format!("/proc/{pid}")).exists()))?;
    let mut written = fs::read_dir(dir.path())?.filter_map(|entry| Some(entry.ok()?.path()));
    let core = written.find(|path| !path.ends_with("live")).context("no core")?.display().to_string();
    let (printed, said) = debugged(kits, &["--core", &core], &commands(of.asked))?;
    ensure!(said.contains(&format!("SIG{signal}")) && said.contains(" has all "), "{said}");
    let told = answers(&printed, of.asked.len())?;
    if let Some(descent) = of.descent {
        ensure!(told[3] == descent, "{word}: another backtrace: {}", told[3]);
        let counters: Vec<Vec<String>> = by_thread(&told[1])?.into_values().collect();
        ensure!(counters.contains(&vec!["42".to_owned()]), "{word}: {}", told[1]);
    }
    ensure!(objects(&told[2]).values().all(|has_symbols| *has_symbols), "{}", told[2]);
    Ok(())
}

#[test]
fn core_of_glibc() -> Result<()> {
    let _lab = Lab::enter()?;
    check("glibc", &Root::glibc()?, &C)
}

#[test]
fn core_of_an_older_glibc() -> Result<()> {
    let _lab = Lab::enter()?;
    let Some(root) = Root::old_glibc()? else { return Ok(()) };
    check("old", &root, &C)
}

#[test]
fn core_of_musl() -> Result<()> {
    let _lab = Lab::enter()?;
    check("musl", &Root::musl()?, &Of { descent: Some(DESCENT_IN_C), ..C })
}

#[test]
fn core_of_a_static_program() -> Result<()> {
    let _lab = Lab::enter()?;
    check("static", &Root::all_in_one()?, &C)
}

#[test]
fn core_of_rust() -> Result<()> {
    let _lab = Lab::enter()?;
    // Rust's library takes the first SIGSEGV, to see whether the stack was full.
    check(
        "rust",
        &Root::rust()?,
        &Of { asked: &ASKED_OF_RUST, call: SLEEP, signal: Some("ABRT"), descent: None },
    )
}

#[test]
fn core_of_go() -> Result<()> {
    let _lab = Lab::enter()?;
    check("go", &Root::go()?, &Of { asked: &ASKED_OF_GO, signal: None, descent: None, ..C })
}
