// SPDX-License-Identifier: Apache-2.0
//! A store with numbered events in a directory of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use store::{Entry, Keys, Options, Query, Reader, Recovery, Writer};

pub(crate) const BOOT: [u8; 16] = [9; 16];
pub(crate) const SECOND: u64 = 1_000_000_000;

/// Small blocks and segments, so that little data crosses every boundary.
pub(crate) fn small() -> Options {
    Options { segment_bytes: 4096, block_events: 8, block_bytes: 4096, ..Options::default() }
}

pub(crate) fn open(dir: &Path, now_secs: u64, options: &Options) -> (Writer, Recovery) {
    Writer::open(dir, BOOT, now_secs * SECOND, options.clone()).expect("opening the store")
}

/// The bytes of event `number`; its text is found by `number-N-end`.
pub(crate) fn event(number: u64) -> Vec<u8> {
    format!("event sh -c number-{number}-end {}", "x".repeat((number % 40) as usize)).into_bytes()
}

/// Appends event `number`; it must get that sequence.
pub(crate) fn append(writer: &mut Writer, number: u64) {
    let subject = format!("container-{}", number % 3);
    let executable = format!("/bin/tool{}", number % 5);
    let text = format!("number-{number}-end");
    let keys = Keys {
        time_ns: number * SECOND,
        kind: (number % 4) as u8,
        subject: subject.as_bytes(),
        user: (number % 2) as u32,
        executable: executable.as_bytes(),
        text: &[b"sh", b"-c", text.as_bytes()],
    };
    assert_eq!(writer.append(&event(number), &keys).unwrap(), number);
}

/// Appends and commits the events `from..to`, `batch` at a time; the position is the next number.
pub(crate) fn fill(writer: &mut Writer, from: u64, to: u64, batch: u64) {
    let mut number = from;
    while number < to {
        let end = (number + batch).min(to);
        (number..end).for_each(|number| append(writer, number));
        writer.commit(&end.to_le_bytes()).unwrap();
        number = end;
    }
}

pub(crate) fn all(dir: &Path) -> Vec<Entry> {
    ask(dir, &Query::default())
}

pub(crate) fn ask(dir: &Path, query: &Query) -> Vec<Entry> {
    Reader::open(dir).unwrap().query(query).collect::<Result<_, _>>().expect("reading the store")
}

/// The store holds exactly the events `from..to`, each as it was appended.
pub(crate) fn assert_holds(dir: &Path, from: u64, to: u64) {
    let entries = all(dir);
    let sequences: Vec<u64> = entries.iter().map(|entry| entry.sequence).collect();
    assert_eq!(sequences, (from..to).collect::<Vec<_>>());
    for entry in entries {
        assert_eq!(entry.event, event(entry.sequence));
        assert_eq!(entry.time_ns, entry.sequence * SECOND);
    }
}

pub(crate) fn assert_whole(dir: &Path) {
    let report = store::verify(dir, None, &mut |_, _| {}).unwrap();
    assert!(report.whole(), "{report:#?}");
}

/// What `kill -9` leaves: the files as they are at one instant. The writer's other thread may be
/// replacing the key, so the copy is made again until nothing moved meanwhile.
pub(crate) fn copy(from: &Path, to: &Path) {
    let signs = || {
        let read = |name: &str| std::fs::read(from.join(name)).ok();
        (read("key"), read("key.new"), read("checkpoints").map(|bytes| bytes.len()))
    };
    loop {
        let before = signs();
        std::fs::create_dir_all(to).unwrap();
        for path in files(from).into_iter().filter(|path| path.is_file()) {
            std::fs::copy(&path, to.join(path.file_name().unwrap())).ok();
        }
        if before == signs() && before.1.is_none() {
            return;
        }
        std::fs::remove_dir_all(to).unwrap();
    }
}

pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

pub(crate) fn seconds(secs: u64) -> Duration {
    Duration::from_secs(secs)
}
