// SPDX-License-Identifier: Apache-2.0
//! Every single edit, cut, swap and deletion of a closed store is found and its place named.

use std::path::{Path, PathBuf};

use store::{FindingKind, Options, Report};

use crate::world::{SECOND, assert_whole, copy, event, files, fill, open, small};

/// A small generator with a seed, so that a failure can be repeated.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}

fn verify(dir: &Path) -> Report {
    store::verify(dir, None, &mut |_, _| {}).unwrap()
}

/// Several segments, checkpoints between, an open segment at the end, a crash in the middle.
fn closed_store(dir: &Path) {
    let (mut writer, _) = open(dir, 1, &small());
    for round in 0..10u64 {
        fill(&mut writer, 1 + round * 20, 21 + round * 20, 4);
        writer.tick((100 + round * 70) * SECOND).unwrap();
    }
    drop(writer);
    let (mut writer, _) = open(dir, 1000, &small());
    fill(&mut writer, 201, 306, 4);
    writer.close(1001 * SECOND).unwrap();
    assert_whole(dir);
    assert!(verify(dir).closed);
}

fn targets(dir: &Path) -> Vec<PathBuf> {
    files(dir).into_iter().filter(|path| path.is_file() && !path.ends_with("lock")).collect()
}

/// Changes something and says what, with the offset where it begins.
fn tamper(dice: &mut Dice, path: &Path) -> Option<(String, usize)> {
    let before = std::fs::read(path).unwrap();
    let mut bytes = before.clone();
    let at = dice.below(bytes.len());
    let len = 1 + dice.below(40);
    let end = (at + len).min(bytes.len());
    let what = match dice.below(8) {
        0 => {
            std::fs::remove_file(path).unwrap();
            return Some(("delete".into(), 0));
        }
        1 => {
            bytes.truncate(at);
            "truncate"
        }
        2 => {
            bytes.drain(at..end);
            "cut out"
        }
        3 => {
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
            "double"
        }
        4 => {
            let other = dice.below(bytes.len().saturating_sub(end - at));
            for number in 0..end - at {
                bytes.swap(at + number, other + number);
            }
            "swap"
        }
        5 => {
            bytes.extend(std::iter::repeat_n(len as u8, len));
            std::fs::write(path, &bytes).unwrap();
            return Some(("append".into(), before.len()));
        }
        6 => {
            bytes[at] ^= 1 << dice.below(8);
            "flip a bit"
        }
        _ => {
            bytes[at..end].fill(dice.below(256) as u8);
            "fill"
        }
    };
    if bytes == before {
        return None;
    }
    let first = bytes.iter().zip(&before).position(|(a, b)| a != b).unwrap_or(bytes.len().min(before.len()));
    std::fs::write(path, &bytes).unwrap();
    Some((what.into(), first))
}

/// The finding names the file, or at least events of it.
fn names_place(report: &Report, dir: &Path, path: &Path) -> bool {
    let name = path.file_name().unwrap().to_string_lossy();
    let Some(first) = name.strip_suffix(".seg").and_then(|digits| digits.parse::<u64>().ok()) else {
        return report
            .findings
            .iter()
            .any(|finding| finding.file == name || name == "key" && finding.file == "checkpoints");
    };
    let mut firsts: Vec<u64> = files(dir)
        .iter()
        .filter_map(|path| path.file_name()?.to_str()?.strip_suffix(".seg")?.parse().ok())
        .filter(|other| *other > first)
        .collect();
    firsts.sort_unstable();
    let next = firsts.first().copied().unwrap_or(u64::MAX);
    report.findings.iter().any(|finding| {
        finding.file == name || (finding.first_sequence < next && finding.last_sequence >= first)
    })
}

#[test]
fn every_random_change_of_a_closed_store_is_found_and_named() {
    let edits: u64 =
        std::env::var("PURSER_TAMPER_EDITS").ok().and_then(|text| text.parse().ok()).unwrap_or(2000);
    let (original, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    closed_store(original.path());
    let mut dice = Dice(0x5eed_1234_5678_9abc);
    let mut done = 0;
    while done < edits {
        let dir = work.path().join("store");
        copy(original.path(), &dir);
        let targets = targets(&dir);
        let path = targets[dice.below(targets.len())].clone();
        if let Some((what, at)) = tamper(&mut dice, &path) {
            let report = verify(&dir);
            let place = format!("{what} {} at {at}: {report:#?}", path.display());
            assert!(!report.whole(), "not found: {place}");
            assert!(names_place(&report, &dir, &path), "place not named: {place}");
            done += 1;
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}

#[test]
fn an_edited_event_is_named_by_its_block_and_only_that() {
    let dir = tempfile::tempdir().unwrap();
    closed_store(dir.path());
    let path = targets(dir.path()).into_iter().find(|path| path.extension().is_some()).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    // Behind the segment's header and the first block's header lies the first block's payload.
    bytes[96 + 160 + 100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let report = verify(dir.path());
    assert_eq!(report.findings.len(), 1, "{report:#?}");
    let finding = &report.findings[0];
    assert_eq!((finding.kind, finding.first_sequence, finding.last_sequence), (FindingKind::Edited, 1, 8));
}

#[test]
fn swapped_deleted_and_foreign_segments_are_named() {
    let (original, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    closed_store(original.path());
    closed_store(other.path());
    let segments: Vec<_> =
        targets(original.path()).into_iter().filter(|path| path.extension().is_some()).collect();
    let work = tempfile::tempdir().unwrap();
    let fresh = |name: &str| {
        let dir = work.path().join(name);
        copy(original.path(), &dir);
        dir
    };
    let in_dir = |dir: &Path, path: &Path| dir.join(path.file_name().unwrap());

    let dir = fresh("deleted");
    std::fs::remove_file(in_dir(&dir, &segments[1])).unwrap();
    let report = verify(&dir);
    let first: u64 = segments[1].file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let next: u64 = segments[2].file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let finding = &report.findings[0];
    assert_eq!(
        (finding.kind, finding.first_sequence, finding.last_sequence),
        (FindingKind::Missing, first, next - 1)
    );

    let dir = fresh("swapped");
    std::fs::rename(in_dir(&dir, &segments[0]), dir.join("x")).unwrap();
    std::fs::rename(in_dir(&dir, &segments[1]), in_dir(&dir, &segments[0])).unwrap();
    std::fs::rename(dir.join("x"), in_dir(&dir, &segments[1])).unwrap();
    assert!(verify(&dir).findings.iter().any(|finding| finding.kind == FindingKind::Reordered));

    let dir = fresh("foreign");
    std::fs::copy(in_dir(other.path(), &segments[0]), in_dir(&dir, &segments[0])).unwrap();
    assert!(verify(&dir).findings.iter().any(|finding| finding.kind == FindingKind::Foreign));

    let dir = fresh("extra");
    std::fs::write(dir.join("00000000000000000777.seg"), b"no segment").unwrap();
    std::fs::write(dir.join("notes.txt"), b"hello").unwrap();
    assert_eq!(verify(&dir).findings.len(), 2);
}

#[test]
fn an_older_copy_of_everything_but_the_key_is_found() {
    let (dir, older) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    closed_store(dir.path());
    copy(dir.path(), older.path());
    let (mut writer, _) = open(dir.path(), 2000, &small());
    fill(&mut writer, 306, 320, 2);
    writer.close(2001 * SECOND).unwrap();
    std::fs::copy(dir.path().join("key"), older.path().join("key")).unwrap();
    let report = verify(older.path());
    assert!(report.findings.iter().any(|finding| finding.kind == FindingKind::Missing), "{report:#?}");
    let trusted = [7; 32];
    let report = store::verify(dir.path(), Some(&trusted), &mut |_, _| {}).unwrap();
    assert!(report.findings.iter().any(|finding| finding.kind == FindingKind::Foreign));
}

#[test]
fn a_store_that_was_not_closed_is_whole_and_says_what_is_unsigned() {
    let (dir, crashed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut writer, _) = open(dir.path(), 1, &Options { block_events: 8, ..Options::default() });
    fill(&mut writer, 1, 22, 1);
    let report = verify(dir.path());
    assert!(report.live && report.whole(), "{report:#?}");
    assert_eq!(report.unsigned, Some((1, 21)));
    copy(dir.path(), crashed.path());
    let report = verify(crashed.path());
    assert!(!report.live && !report.closed && report.whole(), "{report:#?}");
    assert_eq!((report.unsigned, report.events, report.signed_ns), (Some((1, 21)), 21, Some(SECOND)));
    // 16 of them lie in blocks; those alone are fewer, and the journal's are not counted twice.
    std::fs::remove_file(crashed.path().join("journal")).unwrap();
    let report = verify(crashed.path());
    assert_eq!((report.unsigned, report.events), (Some((1, 16)), 16));
    assert_eq!(event(1).len(), "event sh -c number-1-end x".len());
    drop(writer);
}

#[test]
fn events_of_the_journal_alone_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path(), 1, &Options::default());
    fill(&mut writer, 1, 6, 2);
    drop(writer);
    let report = verify(dir.path());
    assert_eq!((report.events, report.unsigned, report.closed), (5, Some((1, 5)), false));
}

/// Ticks at one and the same time until another thread is done with a signature.
fn tick_until_signed(writer: &mut store::Writer, now_secs: u64, checkpoints: u64) {
    for _ in 0..20_000 {
        writer.tick(now_secs * SECOND).unwrap();
        if writer.statistics().checkpoints == checkpoints {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("{:?} at {now_secs}", writer.statistics());
}

#[test]
fn an_idle_writer_signs_hourly_and_one_with_news_at_the_next_minute() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path(), 0, &Options::default());
    let opened = writer.statistics().checkpoints;
    let ticks = |writer: &mut store::Writer, minutes: std::ops::Range<u64>| {
        minutes.for_each(|minute| writer.tick(minute * 60 * SECOND).unwrap());
    };
    ticks(&mut writer, 1..60);
    assert_eq!(writer.statistics().checkpoints, opened, "nothing new in an hour");
    tick_until_signed(&mut writer, 60 * 60, opened + 1);
    ticks(&mut writer, 61..70);
    assert_eq!(writer.statistics().checkpoints, opened + 1);
    fill(&mut writer, 1, 2, 1);
    tick_until_signed(&mut writer, 70 * 60, opened + 2);
    ticks(&mut writer, 71..130);
    assert_eq!(writer.statistics().checkpoints, opened + 2, "the same is signed once");
    writer.close(130 * 60 * SECOND).unwrap();
    assert_whole(dir.path());
}
