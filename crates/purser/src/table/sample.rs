// SPDX-License-Identifier: Apache-2.0
//! Rows made by hand for tests.

use super::Row;
use event::{Body, Container, Event, Exec, ExecFailed, Exit, Gap, GapCause, Process, ProcessKey};
use std::sync::Arc;

/// 2026-01-31 07:02:11 UTC.
pub(crate) const START_NS: u64 = 1_769_842_931_000_000_000;

pub(crate) fn key(pid: u32) -> ProcessKey {
    ProcessKey { pid, start_boot_ns: u64::from(pid) * 1_000 }
}

fn process(pid: u32, parent: u32) -> Process {
    Process { key: key(pid), parent: key(parent), ancestor: key(parent), ..Process::default() }
}

/// An event `ms` milliseconds after the start.
pub(crate) fn row(ms: u64, name: &str, body: Body) -> Row {
    let event = Event {
        boot_id: [1; 16],
        time_ns: START_NS + ms * 1_000_000,
        boot_ns: ms * 1_000_000,
        container: "c0ffee0123456789".to_string(),
        body,
    };
    let container = Container { id: event.container.clone(), name: name.to_string(), ..Container::default() };
    Row { sequence: ms, event, container: Some(Arc::new(container)) }
}

pub(crate) fn exec(ms: u64, pid: u32, parent: u32, args: &[&[u8]]) -> Row {
    let exec = Exec {
        process: process(pid, parent),
        executable: b"/bin/program".to_vec(),
        args: args.iter().map(|argument| argument.to_vec()).collect(),
        ..Exec::default()
    };
    row(ms, "demo-1", Body::Exec(Box::new(exec)))
}

pub(crate) fn exit(ms: u64, pid: u32, code: u8, signal: u8, duration_ns: u64) -> Row {
    let exit = Exit { process: process(pid, 1), code, signal, duration_ns, ..Exit::default() };
    row(ms, "demo-1", Body::Exit(exit))
}

pub(crate) fn failed(ms: u64, pid: u32, filename: &[u8], errno: u32) -> Row {
    let failed = ExecFailed {
        process: process(pid, 1),
        filename: filename.to_vec(),
        args: vec![b"tool".to_vec(), b"-x".to_vec()],
        errno,
        ..ExecFailed::default()
    };
    row(ms, "demo-1", Body::ExecFailed(Box::new(failed)))
}

pub(crate) fn gap(ms: u64, count: u64) -> Row {
    let gap = Gap { cause: GapCause::RingFull, count, cpu: 1, first: 5, last: 4 + count, ..Gap::default() };
    row(ms, "demo-1", Body::Gap(gap))
}
