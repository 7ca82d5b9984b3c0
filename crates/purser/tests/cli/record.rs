// SPDX-License-Identifier: Apache-2.0
//! A small store, written as the agent writes it.

use event::{Body, Container, Event, Exec, ExecFailed, Exit, Gap, GapCause, Process, ProcessKey, codec};
use std::path::Path;
use store::{Keys, Options, Writer};
use tempfile::TempDir;

/// 2026-01-31 07:02:11 UTC.
const START_NS: u64 = 1_769_842_931_000_000_000;
/// Ids of the two containers; the same first digits on purpose.
pub(crate) const DEMO: &str = "c0ffee0000000000000000000000000000000000000000000000000000000001";
pub(crate) const WEB: &str = "c0ffee1111111111111111111111111111111111111111111111111111111111";

/// A store in a directory of its own, open for writing.
pub(crate) struct Record {
    dir: TempDir,
    writer: Option<Writer>,
}

impl Record {
    pub(crate) fn new() -> Record {
        let dir = tempfile::tempdir().unwrap();
        let (mut writer, _) =
            Writer::open(&dir.path().join("store"), [1; 16], START_NS, Options::default()).unwrap();
        for (id, name) in [(DEMO, "demo-1"), (WEB, "web-1")] {
            let container = Container {
                id: id.into(),
                name: name.into(),
                image: "busybox:1".into(),
                ..Container::default()
            };
            writer.attach(id.as_bytes(), &codec::encode_container(&container));
        }
        Record { dir, writer: Some(writer) }
    }

    /// What happened in the two containers of most tests.
    pub(crate) fn sample() -> Record {
        let mut record = Record::new();
        record.exec(0, DEMO, 10, 1, &[b"sh", b"-c", b"ls /etc | wc -l"]);
        record.exec(2, DEMO, 11, 10, &[b"ls", b"/etc"]);
        record.exit(3, DEMO, 11, 0, 800_000);
        record.exec(3, DEMO, 12, 10, &[b"wc", b"-l"]);
        record.exit(4, DEMO, 12, 3, 900_000);
        record.failed(5, DEMO, 13, b"/bin/gone");
        record.exit(6, DEMO, 10, 0, 3_100_000);
        record.exec(7, WEB, 20, 1, &[b"nginx", b"\x1b[31mred\n"]);
        record.gap(8, 12);
        record.commit();
        record
    }

    pub(crate) fn dir(&self) -> std::path::PathBuf {
        self.dir.path().join("store")
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn exec(&mut self, ms: u64, container: &str, pid: u32, parent: u32, args: &[&[u8]]) {
        let executable = [b"/bin/", args[0]].concat();
        let exec = Exec {
            process: process(pid, parent),
            executable: executable.clone(),
            args: args.iter().map(|argument| argument.to_vec()).collect(),
            args_count: args.len() as u32,
            ..Exec::default()
        };
        let mut text = args.to_vec();
        text.push(&executable);
        self.append(ms, container, Body::Exec(Box::new(exec)), &executable, &text);
    }

    pub(crate) fn exit(&mut self, ms: u64, container: &str, pid: u32, code: u8, duration_ns: u64) {
        let exit = Exit { process: process(pid, 1), code, duration_ns, ..Exit::default() };
        self.append(ms, container, Body::Exit(exit), b"", &[]);
    }

    fn failed(&mut self, ms: u64, container: &str, pid: u32, filename: &[u8]) {
        let args = vec![b"gone".to_vec(), b"--now".to_vec()];
        let failed = ExecFailed {
            process: process(pid, 10),
            filename: filename.to_vec(),
            args,
            args_count: 2,
            errno: 2,
            ..ExecFailed::default()
        };
        self.append(ms, container, Body::ExecFailed(Box::new(failed)), b"", &[b"gone", b"--now", filename]);
    }

    fn gap(&mut self, ms: u64, count: u64) {
        let gap = Gap { cause: GapCause::RingFull, count, cpu: 1, first: 1, last: count, ..Gap::default() };
        self.append(ms, "", Body::Gap(gap), b"", &[]);
    }

    fn append(&mut self, ms: u64, container: &str, body: Body, executable: &[u8], text: &[&[u8]]) {
        let event = Event {
            boot_id: [1; 16],
            time_ns: START_NS + ms * 1_000_000,
            boot_ns: 5_000_000_000 + ms * 1_000_000,
            container: container.to_string(),
            body,
        };
        let user = event.process().map_or(u32::MAX, |process| process.euid);
        let keys = Keys {
            time_ns: event.time_ns,
            kind: event.kind() as u8,
            subject: container.as_bytes(),
            user,
            executable,
            text,
        };
        let mut bytes = Vec::new();
        codec::encode(&event, &mut bytes);
        self.writer.as_mut().unwrap().append(&bytes, &keys).unwrap();
    }

    pub(crate) fn commit(&mut self) {
        self.writer.as_mut().unwrap().commit(b"").unwrap();
    }

    /// Ends the writer; the store stays.
    pub(crate) fn close(&mut self) {
        self.writer.take().unwrap().close(START_NS + 10_000_000_000).unwrap();
    }
}

/// A process of uid 1000 in web's pids, of root elsewhere.
fn process(pid: u32, parent: u32) -> Process {
    let key = |pid: u32| ProcessKey { pid, start_boot_ns: u64::from(pid) };
    let user = if pid == 20 { 1_000 } else { 0 };
    Process {
        key: key(pid),
        parent: key(parent),
        ancestor: key(parent),
        uid: user,
        euid: user,
        ..Process::default()
    }
}
