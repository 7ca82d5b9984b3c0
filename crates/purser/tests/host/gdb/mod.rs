// SPDX-License-Identifier: Apache-2.0
//! gdb of the kit on targets of every sort: all it shows is compared with what is so, and the target goes on as if
//! nothing had been.

mod bundle; // targets in user namespaces
mod cores; // cores in place of processes
mod debug_files; // stripped programs, and where the rest of them is
mod hostile; // targets that want the debugger to do something
mod remapped; // targets of engines that map users
mod remote; // gdbserver in a session, for a gdb outside
mod targets; // the programs, as images, and the kits
mod tools; // the kits net and trace in a hardened target
mod traps; // filters, stops, other debuggers, and ends in the middle

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::agent::purser;
use crate::debug::{Container, marks, nothing_is_left, processes_like, status, wait_until};
use crate::lab::{Lab, run, temporary};
use bundle::{Bundle, Mapping};
use targets::{Root, kits};

const HARDENED: [&str; 7] =
    ["--read-only", "-u", "65532", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"];
const MARK: &str = "=====";
/// A debugger that waits for a stop heeds no signal but KILL.
const LIMIT: [&str; 3] = ["-k", "2", "60"];

const DESCENT: &str = "\
#0  park (depth=7) at target.c:50
#1  descend (then=<park>, depth=0) at layer.cc:31
#2  descend (then=<park>, depth=1) at layer.cc:24
#3  descend (then=<park>, depth=2) at layer.cc:24
#4  main () at target.c:90";
const DESCENT_IN_C: &str = "\
#0  park (depth=7) at target.c:50
#1  descend (then=<park>, depth=0) at layer.c:15
#2  descend (then=<park>, depth=1) at layer.c:11
#3  descend (then=<park>, depth=2) at layer.c:11
#4  main () at target.c:90";
/// The last but one is not in the symbols that a stripped library keeps.
const THROW: &str = "\
#0  __cxa_throw () from /lib/libstdc++.so.6
#1  (anonymous namespace)::dig (depth=0) at layer.cc:16
#2  (anonymous namespace)::dig (depth=1) at layer.cc:17
#3  (anonymous namespace)::dig (depth=2) at layer.cc:17
#4  stumble (depth=2) at layer.cc:38
#5  throw_on (throwing=<stumble(int)>) at target.c:38
#6  ?? () from /lib/libc.so.6
#7  clone () from /lib/libc.so.6";

/// `gdb -p 1` in the target: what each command printed.
fn gdb(target: &str, kits: &Path, commands: &[&str]) -> Result<Vec<String>> {
    gdb_with(session(target, kits, &["--kit", "gdb"])?, commands)
}

/// The same in a session with more options.
fn gdb_with(mut session: Command, commands: &[&str]) -> Result<Vec<String>> {
    answers(session.args(["--", "gdb", "-p", "1", "-batch"]), commands)
}

/// What gdb prints for each command, which are put behind its others.
fn answers(gdb: &mut Command, commands: &[&str]) -> Result<Vec<String>> {
    let mut words = vec!["-ex", "set print address off", "-ex", "set width 0"];
    let mark = format!("echo {MARK}\\n");
    for command in commands {
        words.extend(["-ex", &mark, "-ex", command]);
    }
    // What gdb says in the end is no answer.
    words.extend(["-ex", &mark]);
    let printed = run(gdb.args(words))?;
    let mut parts: Vec<String> =
        printed.split(&format!("{MARK}\n")).skip(1).map(|part| part.trim_end().to_owned()).collect();
    parts.pop();
    ensure!(parts.len() == commands.len(), "not everything was answered: {printed}");
    Ok(parts)
}

/// What a command prints in a session with the kit.
fn in_session(target: &str, kits: &Path, words: &[&str]) -> Result<String> {
    run(session(target, kits, &["--kit", "gdb"])?.arg("--").args(words))
}

/// `purser debug`, not for ever, and without what the host happens to have of debug files.
fn session(target: &str, kits: &Path, options: &[&str]) -> Result<Command> {
    let config = temporary().join("gdb.toml");
    fs::write(&config, "[debug]\ndebug_files = []\n")?;
    let mut command = Command::new("timeout");
    command.args(LIMIT).arg(purser().get_program()).args(["debug", target, "--kits"]).arg(kits);
    command.arg("--config").arg(config).args(options);
    Ok(command)
}

/// Object files that the process runs code of, but for its program.
fn mapped(pid: i32) -> Result<BTreeSet<String>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let files = maps
        .lines()
        .filter(|line| line.contains(" r-xp "))
        .filter_map(|line| line.find('/').map(|at| &line[at..]));
    Ok(files.filter(|file| *file != "/bin/target").map(str::to_owned).collect())
}

/// Each of a process's object files has its symbols, and ours their lines.
fn all_symbolised(pid: i32, told: &str) -> Result<()> {
    let mut found = BTreeSet::new();
    for line in told.lines().filter(|line| line.contains('/')) {
        let (head, file) = line.split_at(line.find('/').context("no file")?);
        let wanted: &[&str] = if file == "/lib/layer.so" { &["Yes"] } else { &["Yes", "(*)"] };
        let said: Vec<&str> = head.split_whitespace().skip(2).collect();
        ensure!(!said.is_empty() && said.iter().all(|word| wanted.contains(word)), "{told}");
        found.insert(file.to_owned());
    }
    ensure!(found == mapped(pid)?, "gdb knows {found:?} of {:?}", mapped(pid)?);
    Ok(())
}

/// `Thread N (LWP M "NAME"):`, then `$N = VALUE`.
fn by_thread(told: &str) -> Result<BTreeMap<String, i64>> {
    let (mut values, mut name) = (BTreeMap::new(), String::new());
    for line in told.lines() {
        if let Some((_, value)) = line.split_once(" = ") {
            values.insert(name.clone(), value.parse().with_context(|| told.to_owned())?);
        } else if let Some(of) = line.split('"').nth(1) {
            of.clone_into(&mut name);
        }
    }
    Ok(values)
}

/// Each thread runs or sleeps: none is stopped, or traced.
fn goes_on(pid: i32) -> Result<()> {
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.file_name().to_string_lossy().parse()?;
        let state = status(task, "State").unwrap_or_default();
        ensure!(state.starts_with(['S', 'R', 'D']), "thread {task} is {state}");
        ensure!(status(task, "TracerPid").as_deref() == Some("0"), "thread {task} is traced");
    }
    Ok(())
}

/// The kernel's numbers of pause() and clock_nanosleep().
const PAUSE: u32 = 34;
const SLEEP: u32 = 230;

/// Waits until the first thread is where the backtraces begin: in this call of the kernel.
fn parked(pid: i32, call: u32) -> Result<()> {
    wait_until("the target is parked", || {
        Ok(fs::read_to_string(format!("/proc/{pid}/syscall"))?.starts_with(&format!("{call} ")))
    })
}

struct Expected<'a> {
    descent: &'a str,
    /// None in C.
    throw: Option<&'a str>,
    /// Functions, each of another object file, and that file.
    functions: &'a [(&'a str, &'a str)],
}

/// One program in each way that a container has: as root and with no rights, without and with a user namespace.
/// `look` is told how purser calls the target.
fn each_way(word: &str, root: &Root, look: impl Fn(&str, i32) -> Result<()>) -> Result<()> {
    let image = root.image(word)?;
    for (way, options) in [("root", &[][..]), ("hard", &HARDENED[..])] {
        let target = Container::start(&format!("{word}-{way}"), options, &image.0, &["/bin/target"])?;
        look(&target.name, target.pid).with_context(|| format!("{word} as {way}"))?;
        ensure!(target.changes()?.is_empty(), "{word} as {way}: {}", target.changes()?);
    }
    for mapping in [Mapping::Many, Mapping::ManyWithoutRights, Mapping::One] {
        let target = Bundle::start(word, root, mapping)?;
        look(&target.target, target.pid).with_context(|| format!("{word} by {mapping:?}"))?;
        ensure!(target.changes()?.is_empty(), "{word} by {mapping:?}: {:?}", target.changes()?);
    }
    Ok(())
}

/// Everything about one program.
fn check(word: &str, root: &Root, expected: &Expected<'_>) -> Result<()> {
    let Some(kits) = kits()? else { return Ok(()) };
    each_way(word, root, |target, pid| one(target, pid, &kits, expected))
}

fn one(target: &str, pid: i32, kits: &Path, expected: &Expected<'_>) -> Result<()> {
    parked(pid, PAUSE)?;
    let (processes, before) = (processes_like(pid)?, marks());
    let mut asked = vec![
        "info sharedlibrary",
        "info threads",
        "bt",
        "thread apply all print counter",
        "thread apply all print untouched",
        "print mark",
    ];
    let symbols: Vec<String> =
        expected.functions.iter().map(|(function, _)| format!("info symbol {function}")).collect();
    asked.extend(symbols.iter().map(String::as_str));
    let told = gdb(target, kits, &asked)?;
    all_symbolised(pid, &told[0])?;
    for name in ["target", "counting", "throwing"] {
        ensure!(told[1].contains(&format!("\"{name}\"")), "no thread {name}: {}", told[1]);
    }
    ensure!(told[2] == expected.descent, "another backtrace: {}", told[2]);
    let counters = by_thread(&told[3])?;
    ensure!(counters.get("target") == Some(&42) && counters.get("throwing") == Some(&1000), "{}", told[3]);
    let untouched = by_thread(&told[4])?;
    ensure!(untouched.len() == 3 && untouched.values().all(|value| *value == 77), "{}", told[4]);
    // Of the library, in the first thread.
    ensure!(told[5].ends_with(" = 6"), "{}", told[5]);
    // It may be called by another name that it has, too.
    for ((function, file), told) in expected.functions.iter().zip(&told[6..]) {
        ensure!(told.starts_with(function) && told.contains(" in section .text"), "{function}: {told}");
        ensure!(file.is_empty() || told.ends_with(file), "{function}: {told}");
    }
    goes_on(pid)?;
    if let Some(throw) = expected.throw {
        let told = gdb(target, kits, &["catch throw", "continue", "bt"])?;
        ensure!(told[2] == throw, "another backtrace of a throw: {}", told[2]);
        goes_on(pid)?;
    }
    let later = by_thread(&gdb(target, kits, &["thread apply all print counter"])?[0])?;
    ensure!(later.get("counting") > counters.get("counting"), "it counted to {counters:?}, then {later:?}");
    wait_until("the target has its own processes only", || Ok(processes_like(pid)? == processes))?;
    nothing_is_left(&before)
}

const OF_GLIBC: [(&str, &str); 7] = [
    ("main", ""),
    ("descend", "/lib/layer.so"),
    ("getppid", "/lib/libc.so.6"),
    ("__cxa_throw", "/lib/libstdc++.so.6"),
    ("_Unwind_Resume", "/lib/libgcc_s.so.1"),
    ("cbrt", "/lib/libm.so.6"),
    ("__tls_get_addr", "/lib64/ld-linux-x86-64.so.2"),
];

#[test]
fn glibc() -> Result<()> {
    let _lab = Lab::enter()?;
    let expected = Expected { descent: DESCENT, throw: Some(THROW), functions: &OF_GLIBC };
    check("glibc", &Root::glibc()?, &expected)
}

#[test]
fn an_older_glibc() -> Result<()> {
    let _lab = Lab::enter()?;
    let Some(root) = Root::old_glibc()? else { return Ok(()) };
    let throw = THROW.replace("?? () from /lib/libc.so.6", "start_thread () from /lib/libpthread.so.0");
    let functions = [&OF_GLIBC[..], &[("pthread_create", "/lib/libpthread.so.0")]].concat();
    check("old", &root, &Expected { descent: DESCENT, throw: Some(&throw), functions: &functions })
}

#[test]
fn musl() -> Result<()> {
    let _lab = Lab::enter()?;
    let functions = [("main", ""), ("descend", "/lib/layer.so"), ("getppid", "/lib/ld-musl-x86_64.so.1")];
    check("musl", &Root::musl()?, &Expected { descent: DESCENT_IN_C, throw: None, functions: &functions })
}

#[test]
fn a_static_program() -> Result<()> {
    let _lab = Lab::enter()?;
    let throw = THROW
        .replace(" from /lib/libstdc++.so.6", "")
        .replace("?? () from /lib/libc.so.6", "start_thread ()");
    let throw = throw.replace("clone () from /lib/libc.so.6", "clone ()");
    let functions = [("main", ""), ("__cxa_throw", ""), ("clock_nanosleep", "")];
    check(
        "static",
        &Root::all_in_one()?,
        &Expected { descent: DESCENT, throw: Some(&throw), functions: &functions },
    )
}

/// The program's own frames as far as main; what a runtime has on both sides of them is its own affair.
fn through_main(word: &str, root: &Root, call: u32, expected: &[&str]) -> Result<()> {
    let Some(kits) = kits()? else { return Ok(()) };
    each_way(word, root, |target, pid| {
        parked(pid, call)?;
        let told = gdb(target, &kits, &["info sharedlibrary", "bt"])?;
        all_symbolised(pid, &told[0])?;
        let frames: Vec<&str> =
            told[1].lines().filter_map(|line| line.split_once("  ").map(|(_, frame)| frame)).collect();
        ensure!(frames.windows(expected.len()).any(|window| window == expected), "{}", told[1]);
        goes_on(pid)
    })
}

#[test]
fn rust() -> Result<()> {
    let _lab = Lab::enter()?;
    let run = "target::Job<target::main::{closure_env#1}>::run<target::main::{closure_env#1}> (self=) at target.rs:20";
    let expected = ["target::main::{closure#1} () at target.rs:34", run, "target::main () at target.rs:34"];
    through_main("rust", &Root::rust()?, SLEEP, &expected)
}

#[test]
fn go() -> Result<()> {
    let _lab = Lab::enter()?;
    let park = |line| format!("main.park (depth=<optimized out>) at ./target.go:{line}");
    let (last, first) = (park(25), park(21));
    let expected = [last.as_str(), &first, &first, "main.main () at ./target.go:36"];
    through_main("go", &Root::go()?, PAUSE, &expected)
}
