// SPDX-License-Identifier: Apache-2.0
//! Many agents and one broker: each has a store, a cursor, a line and a producer of its own, as in a
//! process of its own. They send small batches, as agents do that keep up.

use crate::broker::Broker;
use crate::kafka::settings;
use crate::usage::{cpu_secs, cpu_secs_of, resident_mb};
use crate::{sample, way};
use ship::{Limits, Target};
use std::fs;
use std::path::Path;
use std::sync::Barrier;
use std::thread::{Builder, scope, sleep};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PARTITIONS: i32 = 12;
/// Events of all agents together.
const EVENTS: u64 = 40_000;
/// Events in a batch: what an agent with 20 events a second has gathered after half a second of trouble.
const BATCH: usize = 10;
/// How long all stay connected and send nothing.
const QUIET: Duration = Duration::from_secs(10);
/// A line needs little.
const STACK: usize = 256 << 10;

pub(crate) fn measure(fleets: &[usize]) {
    println!(
        "agents          mode  connections  threads | us of CPU each event: broker  agent | bytes each: topic  \
         cursor | MB: broker  each agent | idle broker CPU"
    );
    for &agents in fleets {
        for exactly_once in [false, true] {
            fleet(agents, exactly_once);
        }
    }
}

fn fleet(agents: usize, exactly_once: bool) {
    let dir = TempDir::with_prefix("purser-bench-").unwrap();
    let events = (EVENTS / agents as u64).max(4 * BATCH as u64);
    let stores: Vec<_> = (0..agents).map(|agent| dir.path().join(agent.to_string())).collect();
    for store in &stores {
        sample::fill(store, events);
    }
    let broker = Broker::start("1g");
    broker.create("fleet", PARTITIONS);
    let (all, done, end) = (Barrier::new(agents + 1), Barrier::new(agents + 1), Barrier::new(agents + 1));
    scope(|scope| {
        let before = resident_mb(std::process::id()).1;
        for store in &stores {
            let (broker, all, done, end) = (&broker, &all, &done, &end);
            let agent = move || agent(broker, store, events, exactly_once, [all, done, end]);
            Builder::new().stack_size(STACK).spawn_scoped(scope, agent).unwrap();
        }
        // Everybody is connected and has sent the first batch.
        all.wait();
        let sent = agents as u64 * (events - BATCH as u64);
        let (cpu, server) = (cpu_secs(), cpu_secs_of(broker.pid()));
        done.wait();
        let (cpu, server) = (cpu_secs() - cpu, cpu_secs_of(broker.pid()) - server);
        let idle = cpu_secs_of(broker.pid());
        sleep(QUIET);
        let idle = (cpu_secs_of(broker.pid()) - idle) / QUIET.as_secs_f64() * 100.0;
        let all_events = agents as u64 * events;
        let cursors =
            if exactly_once { broker.bytes("purser-cursors") as f64 / all_events as f64 } else { 0.0 };
        println!(
            "{agents:>6} {:>13} {:>12} {:>8} | {:>28.1} {:>6.1} | {:>17.0} {cursors:>7.1} | {:>10.0} {:>11.2} | {idle:.1} %",
            if exactly_once { "exactly_once" } else { "idempotent" },
            connections(broker.pid()),
            threads(),
            server / sent as f64 * 1e6,
            cpu / sent as f64 * 1e6,
            broker.bytes("fleet") as f64 / all_events as f64,
            resident_mb(broker.pid()).0,
            (resident_mb(std::process::id()).1 - before) / agents as f64,
        );
        end.wait();
    });
    let ends = broker.records("fleet");
    assert!(ends >= agents as u64 * events, "{ends} of {} arrived", agents as u64 * events);
}

fn agent(broker: &Broker, store: &Path, events: u64, exactly_once: bool, stations: [&Barrier; 3]) {
    let [all, done, end] = stations;
    let target = Target::Kafka(Box::new(settings(broker, "fleet", exactly_once)));
    let limits = Limits { events: BATCH, ..Limits::default() };
    let (mut line, status) = way::line(store, "fleet", &target, events, limits);
    let start = Instant::now();
    while status.lock().unwrap().acked == 0 {
        assert!(start.elapsed() < way::LIMIT, "{:?}", status.lock().unwrap().error);
        line.turn(Duration::from_millis(200));
    }
    all.wait();
    way::finish(&mut line, &status, events);
    done.wait();
    end.wait();
}

/// Sockets of a process, less those it listens on.
fn connections(pid: u32) -> usize {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let sockets = files.filter(|file| {
        fs::read_link(file.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))
    });
    sockets.count().saturating_sub(2)
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}
