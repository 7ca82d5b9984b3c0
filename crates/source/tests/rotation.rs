// SPDX-License-Identifier: Apache-2.0
//! A source against files that are rotated, truncated and copied while they are written, and against
//! an end at any moment: every line once.
//! `ROTATIONS=10000 cargo test --release -p source` rotates more often.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its files has failed")]

use event::document;
use source::{Containers, From, PathGlob, Positions, Reader, Settings};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A reader whose store is a list, and whose clock only moves when it is told to.
struct Rig {
    dir: tempfile::TempDir,
    pattern: String,
    reader: Option<Reader>,
    now: Instant,
    /// The wall clock, which stands still.
    wall_ns: u64,
    /// Lines as they were committed: file, offset and text.
    lines: Vec<String>,
    change: fn(&mut Settings),
    /// Committed events, for a start without a summary.
    learned: Positions,
}

impl Rig {
    fn new(pattern: &str, change: fn(&mut Settings)) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("log")).unwrap();
        let pattern = format!("{}/log/{pattern}", dir.path().display());
        let mut rig = Rig {
            dir,
            pattern,
            reader: None,
            now: Instant::now(),
            wall_ns: 0,
            lines: Vec::new(),
            change,
            learned: Positions::default(),
        };
        rig.start();
        rig
    }

    fn log(&self, name: &str) -> PathBuf {
        self.dir.path().join("log").join(name)
    }

    fn saved(&self) -> PathBuf {
        self.dir.path().join("saved")
    }

    /// As the agent does after `kill -9`: the summary, and the events behind it.
    fn start(&mut self) {
        let mut settings = Settings::new("app", vec![PathGlob::new(&self.pattern).unwrap()]);
        (self.change)(&mut settings);
        let mut positions = Positions::load(&self.saved(), u64::MAX);
        if !self.learned.is_empty() {
            positions = self.learned.clone();
        }
        self.reader = Some(Reader::new(settings, Box::new(Containers::default), positions, self.now));
    }

    /// One step of the loop around the reader.
    fn step(&mut self) -> usize {
        self.now += Duration::from_millis(100);
        let reader = self.reader.as_mut().unwrap();
        if reader.positions().1 {
            reader.positions().0.save(&self.dir.path().join("saved")).unwrap();
            reader.saved();
        }
        let batch = reader.poll(self.now, self.wall_ns);
        let count = batch.entries.len();
        for entry in &batch.entries {
            self.lines.push(document::text(&entry.line.message));
            self.learned.learn(&entry.container, &entry.line);
        }
        if count > 0 {
            reader.acknowledge(self.lines.len() as u64);
            self.learned = reader.positions().0.clone();
        }
        count
    }

    /// Until nothing comes for longer than every pause.
    fn settle(&mut self) {
        let mut quiet = 0;
        while quiet < 80 {
            quiet = if self.step() == 0 { quiet + 1 } else { 0 };
        }
    }

    fn open(&self) -> usize {
        self.reader.as_ref().unwrap().status().open
    }

    fn kill(&mut self) {
        self.reader = None;
        self.start();
    }

    fn is_each_once(&self, count: usize) {
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for line in &self.lines {
            *seen.entry(line).or_default() += 1;
        }
        let twice: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).take(5).collect();
        let lost: Vec<_> =
            (0..count).map(number).filter(|line| !seen.contains_key(line.as_str())).take(5).collect();
        assert!(twice.is_empty() && lost.is_empty(), "twice {twice:?}, lost {lost:?} of {count}");
        assert_eq!(seen.len(), count);
    }
}

fn number(index: usize) -> String {
    format!("line {index:08} of the log")
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// A small generator of pseudo-random numbers, the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn rotations() -> usize {
    std::env::var("ROTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(500)
}

#[test]
fn lines_come_once_through_renames_and_kills() {
    let mut rig = Rig::new("app.log*", |_| ());
    let mut dice = Dice(1);
    let (mut written, rotations) = (0, rotations());
    let mut file = File::create(rig.log("app.log")).unwrap();
    for rotation in 0..rotations {
        for _ in 0..dice.roll(5) {
            let (head, tail) = (number(written), "\n");
            file.write_all(head.as_bytes()).unwrap();
            // Now and then it is read in the middle of a line.
            if dice.roll(4) == 0 {
                rig.step();
            }
            file.write_all(tail.as_bytes()).unwrap();
            written += 1;
            if dice.roll(3) == 0 {
                rig.step();
            }
        }
        let old = rig.log("app.log");
        fs::rename(&old, rig.log(&format!("app.log.{rotation}"))).unwrap();
        if dice.roll(2) == 0 {
            rig.step();
        }
        // A writer that has not noticed yet.
        writeln!(file, "{}", number(written)).unwrap();
        written += 1;
        file = File::create(&old).unwrap();
        if dice.roll(10) == 0 {
            rig.kill();
        }
        // What is rotated away for good was read long before.
        if rotation % 100 == 99 {
            rig.settle();
            for old in rotation - 99..rotation {
                drop(fs::remove_file(rig.log(&format!("app.log.{old}"))));
            }
        }
    }
    rig.settle();
    rig.is_each_once(written);
}

#[test]
fn a_file_that_went_on_under_an_unknown_name_is_found_after_a_kill() {
    let mut rig = Rig::new("app.log", |_| ());
    append(&rig.log("app.log"), &format!("{}\n", number(0)));
    rig.settle();
    append(&rig.log("app.log"), &format!("{}\n", number(1)));
    fs::rename(rig.log("app.log"), rig.log("old")).unwrap();
    append(&rig.log("app.log"), &format!("{}\n", number(2)));
    rig.kill();
    rig.settle();
    rig.is_each_once(3);
}

#[test]
fn a_removed_file_is_read_to_its_end() {
    let mut rig = Rig::new("*.log", |_| ());
    append(&rig.log("a.log"), &format!("{}\n", number(0)));
    rig.settle();
    append(&rig.log("a.log"), &format!("{}\n{}", number(1), number(2)));
    fs::remove_file(rig.log("a.log")).unwrap();
    append(&rig.log("a.log"), &format!("{}\n", number(3)));
    rig.settle();
    rig.is_each_once(4);
    assert_eq!(rig.reader.as_ref().unwrap().status().files, 1);
}

#[test]
fn lines_come_once_through_copies_and_truncation() {
    let mut rig = Rig::new("app.log*", |_| ());
    let mut dice = Dice(2);
    let mut written = 0;
    let live = rig.log("app.log");
    for rotation in 0..rotations() / 10 {
        for _ in 0..1 + dice.roll(60) {
            append(&live, &format!("{}\n", number(written)));
            written += 1;
            if dice.roll(4) == 0 {
                rig.step();
            }
        }
        // logrotate with copytruncate; nothing is written in between, which it would lose by itself.
        let copy = rig.log(&format!("app.log.{rotation}"));
        fs::copy(&live, &copy).unwrap();
        if dice.roll(3) == 0 {
            rig.step();
        }
        OpenOptions::new().write(true).open(&live).unwrap().set_len(0).unwrap();
        match dice.roll(4) {
            0 => rig.kill(),
            1 => {}
            _ => rig.settle(),
        }
    }
    rig.settle();
    rig.is_each_once(written);
}

#[test]
fn a_file_written_anew_is_read_anew() {
    let mut rig = Rig::new("app.log", |_| ());
    append(&rig.log("app.log"), &format!("{}\n{}\n", number(0), number(1)));
    rig.settle();
    // Shorter than before, then as long as before, then longer.
    for text in [
        format!("{}\n", number(2)),
        format!("{}\n", number(3)),
        format!("{}\n{}\n{}\n", number(4), number(5), number(6)),
    ] {
        fs::write(rig.log("app.log"), text).unwrap();
        rig.settle();
    }
    rig.is_each_once(7);
    assert_eq!(rig.reader.as_ref().unwrap().status().truncated, 3);
}

#[test]
fn begins_at_the_end_and_stays_there_after_a_kill() {
    let mut rig = Rig::new("*.log", |settings| settings.from = From::End);
    append(&rig.log("a.log"), "old\n");
    rig.step();
    rig.step();
    append(&rig.log("a.log"), &format!("{}\n", number(0)));
    rig.kill();
    append(&rig.log("b.log"), &format!("{}\n", number(1)));
    rig.settle();
    rig.is_each_once(2);
}

#[test]
fn ten_thousand_files_are_read_with_few_of_them_open() {
    let mut rig = Rig::new("*.log", |settings| settings.open_limit = 512);
    let count = 10_000;
    for index in 0..count {
        append(&rig.log(&format!("{index}.log")), &format!("{}\n", number(index)));
    }
    let mut most = 0;
    while rig.lines.len() < count {
        rig.step();
        most = most.max(rig.reader.as_ref().unwrap().status().open);
        assert!(most <= 512, "{most} open");
    }
    rig.kill();
    rig.settle();
    rig.is_each_once(count);
}

#[test]
fn a_copy_of_a_file_that_was_closed_for_want_of_room_is_known() {
    for between in [false, true] {
        let mut rig = Rig::new("*.log*", |settings| settings.open_limit = 1);
        let mut written = 0;
        for rotation in 0..12 {
            // Shorter and longer than what is compared of a file.
            for _ in 0..[3, 60][rotation % 2] {
                append(&rig.log("a.log"), &format!("{}\n", number(written)));
                written += 1;
            }
            rig.settle();
            append(&rig.log("b.log"), &format!("{}\n", number(written)));
            written += 1;
            rig.settle();
            fs::copy(rig.log("a.log"), rig.log(&format!("a.log.{rotation}"))).unwrap();
            // Long enough for a look at the copy alone.
            for _ in 0..if between { 30 } else { 0 } {
                rig.step();
            }
            OpenOptions::new().write(true).open(rig.log("a.log")).unwrap().set_len(0).unwrap();
            rig.settle();
            assert!(rig.open() <= 1);
        }
        rig.is_each_once(written);
    }
}

#[test]
fn old_files_are_not_begun_with_and_what_comes_after_is_read() {
    let mut rig = Rig::new("*.log", |settings| settings.ignore_older = Some(Duration::from_secs(3600)));
    let day = std::time::UNIX_EPOCH + Duration::from_secs(86_400);
    rig.wall_ns = (86_400 + 7_200) * 1_000_000_000;
    append(&rig.log("old.log"), "of before\n");
    File::options().write(true).open(rig.log("old.log")).unwrap().set_modified(day).unwrap();
    append(&rig.log("new.log"), &format!("{}\n", number(0)));
    File::options()
        .write(true)
        .open(rig.log("new.log"))
        .unwrap()
        .set_modified(day + Duration::from_secs(7_000))
        .unwrap();
    rig.settle();
    rig.is_each_once(1);
    rig.kill();
    append(&rig.log("old.log"), &format!("{}\n", number(1)));
    rig.settle();
    rig.is_each_once(2);
}

#[test]
fn a_quiet_file_is_closed_and_opened_again_when_it_grows() {
    let mut rig = Rig::new("*.log", |settings| settings.close_inactive = Duration::from_secs(30));
    append(&rig.log("a.log"), &format!("{}\n", number(0)));
    rig.settle();
    assert_eq!(rig.open(), 1);
    rig.now += Duration::from_secs(40);
    rig.settle();
    assert_eq!((rig.open(), rig.reader.as_ref().unwrap().status().files), (0, 1));
    append(&rig.log("a.log"), &format!("{}\n", number(1)));
    rig.settle();
    assert_eq!(rig.open(), 1);
    rig.is_each_once(2);
}

#[test]
fn files_are_closed_at_their_end_when_that_is_asked_for() {
    let mut rig = Rig::new("*.log", |settings| settings.close_eof = true);
    append(&rig.log("a.log"), &format!("{}\nhalf", number(0)));
    rig.settle();
    assert_eq!(rig.open(), 0);
    // The rest of the line was not forgotten.
    append(&rig.log("a.log"), &format!(" of it\n{}\n", number(1)));
    rig.settle();
    assert_eq!(rig.open(), 0);
    assert_eq!(rig.lines, [number(0), "half of it".to_string(), number(1)]);
}

#[test]
fn a_renamed_file_is_closed_at_its_end_when_that_is_asked_for() {
    for close in [false, true] {
        let change: fn(&mut Settings) = if close {
            |settings| settings.close_renamed = true
        } else {
            |settings| settings.close_renamed = false
        };
        let mut rig = Rig::new("a.log", change);
        append(&rig.log("a.log"), &format!("{}\n", number(0)));
        rig.settle();
        append(&rig.log("a.log"), &format!("{}\n", number(1)));
        fs::rename(rig.log("a.log"), rig.log("old")).unwrap();
        rig.settle();
        assert_eq!(rig.open(), usize::from(!close), "close_renamed = {close}");
        rig.is_each_once(2);
    }
}

#[test]
fn a_removed_file_is_followed_further_when_that_is_asked_for() {
    for (close, count) in [(true, 2), (false, 3)] {
        let change: fn(&mut Settings) = if close {
            |settings| settings.close_removed = true
        } else {
            |settings| settings.close_removed = false
        };
        let mut rig = Rig::new("a.log", change);
        let mut writer = File::create(rig.log("a.log")).unwrap();
        writeln!(writer, "{}", number(0)).unwrap();
        rig.settle();
        writeln!(writer, "{}", number(1)).unwrap();
        fs::remove_file(rig.log("a.log")).unwrap();
        rig.settle();
        writeln!(writer, "{}", number(2)).unwrap();
        rig.settle();
        rig.is_each_once(count);
    }
}
