// SPDX-License-Identifier: Apache-2.0
//! The kits `trace`, `net` and `bpf` in targets without a right: each tool shows what is so.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};

use super::targets::{Root, bpf_kits, tool_kits};
use super::{HARDENED, goes_on, session};
use crate::debug::{Container, marks, nothing_is_left};
use crate::lab::{IMAGE, Lab, output};

/// What a command prints on both ways, whatever its exit code.
fn all(command: &mut Command) -> Result<String> {
    let told = output(command)?;
    Ok(format!("{}{}", String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr)))
}

#[test]
fn what_a_process_does() -> Result<()> {
    let _lab = Lab::enter()?;
    let Some(kits) = tool_kits()? else { return Ok(()) };
    let image = Root::alone()?.image("alone")?;
    let target = Container::start("alone", &HARDENED, &image.0, &["/bin/target"])?;
    let before = marks();
    let script = |options: &[&str], text: &str| -> Result<String> {
        let options = [&["--kit", "trace"], options].concat();
        all(session(&target.name, &kits, &options)?.args(["--", "sh", "-c", text]))
    };
    let told = script(&[], "timeout -s INT 1 strace -p 1 2>&1 | head -100")?;
    ensure!(told.contains("getppid()") && told.contains("clock_nanosleep("), "strace: {told}");
    goes_on(target.pid)?;
    // Into a file: a pipe that closes would end it before it has taken its breakpoints back.
    let told = script(&[], "timeout -s INT 2 ltrace -o $HOME/out -p 1; head -100 $HOME/out")?;
    ensure!(told.contains("getppid()") && told.contains("usleep(2000)"), "ltrace: {told}");
    goes_on(target.pid)?;
    let told = script(&[], "lsof -p 1")?;
    ensure!(told.contains("/bin/target") && told.contains("/lib/libc.so.6"), "lsof: {told}");

    let told = script(&[], "perf stat -e task-clock -p 1 -- sleep 0.3")?;
    ensure!(told.contains("msec task-clock"), "perf stat: {told}");
    // Into a file by name: into a pipe it writes its records.
    let report = "cd; perf record -q -o p -e cpu-clock -F 999 -p 1 -- sleep 0.5; perf report -i p --stdio";
    let told = script(&[], report)?;
    ensure!(told.contains("[.] spin"), "perf record: {told}");
    let everywhere = "perf stat -a -e context-switches -- sleep 0.1";
    let told = script(&["--cap-add", "PERFMON"], everywhere)?;
    ensure!(told.contains("context-switches  "), "perf stat -a: {told}");
    let calls = "perf stat -e syscalls:sys_enter_getppid -p 1 -- sleep 0.3";
    let told = script(&["--cap-add", "PERFMON"], calls)?;
    let line = told.lines().find(|line| line.contains("syscalls:sys_enter_getppid"));
    let count = line.and_then(|line| line.split_whitespace().next()?.replace(',', "").parse::<u64>().ok());
    ensure!(count.is_some_and(|count| count > 0), "perf stat -e: {told}");
    let level: i32 = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid")?.trim().parse()?;
    let told = script(&[], everywhere)?;
    ensure!(level <= 0 || told.contains("CAP_PERFMON"), "perf stat -a: {told}");
    goes_on(target.pid)?;
    nothing_is_left(&before)?;
    ensure!(target.changes()?.is_empty(), "{}", target.changes()?);
    Ok(())
}

#[test]
fn what_goes_over_the_network() -> Result<()> {
    let _lab = Lab::enter()?;
    let Some(kits) = tool_kits()? else { return Ok(()) };
    let command = ["busybox", "httpd", "-f", "-p", "127.0.0.1:8080"];
    let target = Container::start("served-by", &HARDENED, IMAGE, &command)?;
    let script = |text: &str| -> Result<String> {
        all(session(&target.name, &kits, &["--kit", "net", "--kit", "trace"])?.args(["--", "sh", "-c", text]))
    };
    let told = script("curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8080/none")?;
    ensure!(told == "404", "curl: {told}");
    let told = script("ss -tlnp")?;
    ensure!(told.contains("127.0.0.1:8080") && told.contains("(\"busybox\",pid=1,"), "ss: {told}");
    let told = script("lsof -nP -p 1 -a -i")?;
    ensure!(told.contains("TCP 127.0.0.1:8080 (LISTEN)"), "lsof: {told}");
    // Asked until it has heard something.
    let listen = "timeout 20 tcpdump -ni lo -c 1 -l tcp port 8080 > $HOME/out & \
                  while kill -0 $! 2>/dev/null; do curl -s -o /dev/null http://127.0.0.1:8080/; sleep 0.2; done; \
                  cat $HOME/out";
    let told = script(listen)?;
    ensure!(told.contains("127.0.0.1.8080: Flags") || told.contains("127.0.0.1.8080 > "), "tcpdump: {told}");
    let told = script("ip -br address; ping -c 1 -W 2 127.0.0.1")?;
    ensure!(told.contains("lo ") && told.contains("1 received"), "ip, ping: {told}");
    goes_on(target.pid)?;
    ensure!(target.changes()?.is_empty(), "{}", target.changes()?);
    Ok(())
}

/// bpftrace sees the whole host, so each probe here is of the target's own file, or asks for its program.
#[test]
fn what_the_kernel_sees() -> Result<()> {
    let _lab = Lab::enter()?;
    let Some(kits) = bpf_kits()? else { return Ok(()) };
    let image = Root::alone()?.image("traced")?;
    let target = Container::start("traced", &HARDENED, &image.0, &["/bin/target"])?;
    let before = marks();
    let probe = |text: &str| -> Result<String> {
        let text = format!("{text} {{ @seen = count(); }} interval:ms:300 {{ exit(); }}");
        let command = ["--", "timeout", "60", "bpftrace", "-e", &text];
        all(session(&target.name, &kits, &["--kit", "bpf"])?.args(command))
    };
    for of_target in ["tracepoint:syscalls:sys_enter_getppid /comm == \"target\"/", "uprobe:/bin/target:spin"]
    {
        let told = probe(of_target)?;
        let count = told.lines().find_map(|line| line.strip_prefix("@seen: ")?.parse::<u64>().ok());
        ensure!(count.is_some_and(|count| count > 0), "{of_target}: {told}");
    }
    goes_on(target.pid)?;
    nothing_is_left(&before)?;
    ensure!(target.changes()?.is_empty(), "{}", target.changes()?);
    Ok(())
}
