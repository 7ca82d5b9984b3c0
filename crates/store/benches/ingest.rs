// SPDX-License-Identifier: Apache-2.0
//! Measures the store with synthetic exec events: speed of writing by CPU time, bytes per event,
//! and the time of queries. `PURSER_BENCH_EVENTS` sets the number of events, 2,000,000 by default.
//! The page cache of the store is dropped before each query when the process may do that.
//! Beside the queries stands `grep` over the same events as lines of text.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measuring program prints and may stop at any error"
)]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use store::{Keys, Options, Query, Reader, Writer};

const BATCH: u64 = 256;
/// A million events an hour, one hundred thousand for each of ten containers.
const STEP_NS: u64 = 3_600_000;

fn cpu_secs() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// An exec as the agent would encode it: about 250 bytes, 60 of them arguments.
struct Exec {
    bytes: Vec<u8>,
    args: [String; 4],
    executable: &'static str,
}

const TOOLS: [&str; 8] = [
    "/usr/bin/bash",
    "/usr/bin/grep",
    "/usr/bin/sed",
    "/usr/bin/curl",
    "/usr/bin/cat",
    "/usr/sbin/nginx",
    "/usr/local/bin/python3",
    "/usr/bin/git",
];

fn exec(number: u64, state: &mut u64) -> Exec {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let random = *state >> 33;
    let executable = TOOLS[(random % 8) as usize];
    let args = [
        executable.rsplit('/').next().unwrap().to_owned(),
        "--config=/etc/service/main.conf".to_owned(),
        format!("/var/lib/data/{:05}", random % 20_000),
        format!("job-{number}"),
    ];
    let mut bytes = Vec::with_capacity(256);
    bytes.extend_from_slice(&(number * STEP_NS).to_le_bytes());
    bytes.extend_from_slice(&((1000 + number % 30_000) as u32).to_le_bytes());
    bytes.extend_from_slice(&((900 + random % 64) as u32).to_le_bytes());
    bytes.extend_from_slice(&random.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
    bytes.extend_from_slice(&(number * STEP_NS + random % 1_000_000).to_le_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(format!("{:016x}", (number % 10) * 0x1234_5678_9abc).repeat(4).as_bytes());
    bytes.extend_from_slice(executable.as_bytes());
    args.iter().for_each(|arg| bytes.extend_from_slice(arg.as_bytes()));
    bytes.extend_from_slice(b"/srv/application/current");
    bytes.extend_from_slice(b"PATH=/usr/local/bin:/usr/bin:/bin HOME=/root");
    Exec { bytes, args, executable }
}

fn drop_cache(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let file = std::fs::File::open(entry.unwrap().path()).unwrap();
        file.sync_all().unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    }
}

fn ask(dir: &Path, what: &str, query: &Query) {
    drop_cache(dir);
    let (start, cpu) = (Instant::now(), cpu_secs());
    let found = Reader::open(dir).unwrap().query(query).filter(|entry| entry.is_ok()).count();
    let (wall, cpu) = (start.elapsed().as_secs_f64() * 1e3, (cpu_secs() - cpu) * 1e3);
    println!("query {what}: {found} found in {wall:.1} ms (cpu {cpu:.1} ms)");
}

/// Reads everything as a sink does that starts behind.
fn follow(dir: &Path, events: u64) {
    // Sets the highest resident size back to the present one; without the right the figure is an upper bound.
    std::fs::write("/proc/self/clear_refs", "5").ok();
    let (before, cpu) = (resident_kib("VmRSS:"), cpu_secs());
    let mut follower = Reader::open(dir).unwrap().follow(1);
    let (mut next, mut bytes) = (1, 0);
    while next <= events {
        let entry = follower.next(Duration::from_secs(1)).unwrap().unwrap();
        assert_eq!(entry.sequence, next);
        bytes += entry.event.len();
        next += 1;
    }
    let cpu = cpu_secs() - cpu;
    let held = resident_kib("VmHWM:").saturating_sub(before);
    println!(
        "follow: {:.0} events per CPU-second, {} MB, {held} KiB more memory at most",
        events as f64 / cpu,
        bytes >> 20
    );
}

/// An event as a line of a log that a person could search.
fn write_line(log: &mut impl Write, number: u64, exec: &Exec) {
    let time = number * STEP_NS + number % 7919;
    let (container, executable, args) = (number % 10, exec.executable, exec.args.join(" "));
    writeln!(
        log,
        "{time} container={container:064x} uid={} exe={executable} cwd=/srv/application/current args={args} ",
        number % 3
    )
    .unwrap();
}

/// The rival: `grep -c` over the lines, its CPU time in steps of 10 ms.
fn grep(dir: &Path, what: &str, text: &str) {
    drop_cache(dir);
    let (start, before) = (Instant::now(), children_ms());
    let output = Command::new("grep").args(["-c", "-F", text]).arg(dir.join("log")).output().unwrap();
    let (wall, cpu) = (start.elapsed().as_secs_f64() * 1e3, children_ms() - before);
    let found = String::from_utf8_lossy(&output.stdout).trim().to_string();
    println!("grep {what}: {found} found in {wall:.1} ms (cpu {cpu} ms)");
}

/// CPU time of the processes this one has waited for, ms.
fn children_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // cutime and cstime, fields 16 and 17, in ticks of 10 ms.
    fields[13..15].iter().map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum()
}

fn resident_kib(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn main() {
    let events: u64 =
        std::env::var("PURSER_BENCH_EVENTS").ok().map_or(2_000_000, |text| text.parse().unwrap());
    let dir = tempfile::tempdir_in(std::env::var("PURSER_BENCH_DIR").unwrap_or_else(|_| "/var/tmp".into()))
        .unwrap();
    let dir = dir.path();
    let (mut writer, _) = Writer::open(dir, [1; 16], 1, Options::default()).unwrap();
    let (mut cpu, mut raw, mut state) = (0.0, 0, 7);
    let lines = tempfile::tempdir_in(dir.parent().unwrap()).unwrap();
    let mut log = BufWriter::new(File::create(lines.path().join("log")).unwrap());
    let start = Instant::now();
    for batch in 0..events.div_ceil(BATCH) {
        let made: Vec<Exec> = (0..BATCH).map(|i| exec(batch * BATCH + i, &mut state)).collect();
        let before = cpu_secs();
        for (number, exec) in (batch * BATCH..).zip(&made) {
            let subject = format!("{:064x}", number % 10);
            let text: [&[u8]; 4] = std::array::from_fn(|i| exec.args[i].as_bytes());
            let keys = Keys {
                time_ns: number * STEP_NS + number % 7919,
                kind: 1,
                subject: subject.as_bytes(),
                user: (number % 3) as u32,
                executable: exec.executable.as_bytes(),
                text: &text,
            };
            writer.append(&exec.bytes, &keys).unwrap();
            raw += exec.bytes.len();
        }
        (batch * BATCH..).zip(&made).for_each(|(number, exec)| write_line(&mut log, number, exec));
        writer.commit(&batch.to_le_bytes()).unwrap();
        writer.tick(batch * BATCH * STEP_NS / 1_000_000).unwrap();
        cpu += cpu_secs() - before;
    }
    let before = cpu_secs();
    writer.close(events * STEP_NS).unwrap();
    cpu += cpu_secs() - before;
    let written = events.div_ceil(BATCH) * BATCH;
    let disk: u64 =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    println!(
        "ingest: {:.0} events per CPU-second ({written} events, {:.1} s)",
        written as f64 / cpu,
        start.elapsed().as_secs_f64()
    );
    println!("raw: {:.1} bytes per event", raw as f64 / written as f64);
    println!("disk: {:.1} bytes per event", disk as f64 / written as f64);

    log.flush().unwrap();
    ask_all(dir, written);
    grep(lines.path(), "text, nowhere", "zmap-qx7");
    grep(lines.path(), "text, one event", &format!("job-{} ", written / 4 * 3 + 1));
    grep(lines.path(), "container, of all time", &format!("{:064x}", 4));
    follow(dir, written);
    let start = Instant::now();
    let report = store::verify(dir, None, &mut |_, _| {}).unwrap();
    println!("verify: whole = {}, {:.2} s", report.whole(), start.elapsed().as_secs_f64());
}

fn ask_all(dir: &Path, written: u64) {
    let text = |text: &str| Query { text: Some(text.as_bytes().to_vec()), ..Query::default() };
    ask(dir, "text, nowhere", &text("zmap-qx7"));
    ask(dir, "text, one event", &text(&format!("job-{}", written / 4 * 3 + 1)));
    ask(dir, "text, newest 100 of many", &Query { limit: Some(100), ..text("python3") });
    let hour = 3_600_000_000_000;
    let subject = format!("{:064x}", 4).into_bytes();
    let in_hour = Query {
        since_ns: Some(written / 2 * STEP_NS),
        until_ns: Some(written / 2 * STEP_NS + hour / 100),
        subject: Some(Arc::new(move |name, _| name == subject)),
        ..Query::default()
    };
    ask(dir, "container and 10,000 events of time", &in_hour);
    let hour = Query { since_ns: Some(0), until_ns: Some(hour), ..in_hour };
    ask(dir, "container and an hour of 1,000,000 events", &hour);
    ask(
        dir,
        "container, text and an hour of 1,000,000 events",
        &Query { text: Some(b"/data/0042".to_vec()), ..hour },
    );
}
