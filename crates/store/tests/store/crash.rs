// SPDX-License-Identifier: Apache-2.0
//! `kill -9` at any point and torn writes at every byte: nothing committed is lost or doubled, and
//! the store verifies whole after the next start.

use std::path::Path;

use proptest::prelude::*;
use store::{Keys, Writer};

use crate::world::{BOOT, SECOND, all, append, assert_holds, assert_whole, copy, fill, open, small};

/// Opens a copy, goes on from the position found, closes, and expects all of `1..end` exactly once.
fn recover_and_continue(dir: &Path, least: u64, end: u64) {
    let (mut writer, recovery) = open(dir, 5000, &small());
    assert_eq!(recovery.lost_events, [], "{recovery:?}");
    let position: [u8; 8] = writer.position().try_into().unwrap_or(1u64.to_le_bytes());
    let next = u64::from_le_bytes(position);
    assert_eq!(writer.next_sequence(), next, "events and position belong together");
    assert!(next >= least, "committed up to {least}, recovered up to {next}");
    fill(&mut writer, next, end, 3);
    writer.close(5001 * SECOND).unwrap();
    assert_holds(dir, 1, end);
    assert_whole(dir);
}

#[test]
fn a_journal_frame_torn_at_any_byte_is_cut() {
    let (dir, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut writer, _) = open(dir.path(), 1, &small());
    fill(&mut writer, 1, 11, 2);
    let journal = dir.path().join("journal");
    let before = std::fs::metadata(&journal).unwrap().len();
    fill(&mut writer, 11, 13, 2);
    let bytes = std::fs::read(&journal).unwrap();
    for len in before..=bytes.len() as u64 {
        let copied = work.path().join("store");
        copy(dir.path(), &copied);
        std::fs::write(copied.join("journal"), &bytes[..len as usize]).unwrap();
        assert_whole(&copied);
        recover_and_continue(&copied, if len == bytes.len() as u64 { 13 } else { 11 }, 20);
        std::fs::remove_dir_all(&copied).unwrap();
    }
}

#[test]
fn a_block_torn_at_any_byte_is_written_again_from_the_journal() {
    let (dir, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut writer, _) = open(dir.path(), 1, &small());
    fill(&mut writer, 1, 16, 1);
    let segment = dir.path().join("00000000000000000001.seg");
    let journal = std::fs::read(dir.path().join("journal")).unwrap();
    let before = std::fs::metadata(&segment).unwrap().len();
    // The sixteenth event fills the second block; its frame is lost here, its block torn.
    fill(&mut writer, 16, 17, 1);
    let bytes = std::fs::read(&segment).unwrap();
    assert!(bytes.len() as u64 > before);
    for len in before..=bytes.len() as u64 {
        let copied = work.path().join("store");
        copy(dir.path(), &copied);
        std::fs::write(copied.join("00000000000000000001.seg"), &bytes[..len as usize]).unwrap();
        std::fs::write(copied.join("journal"), &journal).unwrap();
        assert_whole(&copied);
        recover_and_continue(&copied, 16, 20);
        std::fs::remove_dir_all(&copied).unwrap();
    }
}

#[test]
fn a_checkpoint_or_footer_torn_at_any_byte_is_made_again() {
    let (dir, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut writer, _) = open(dir.path(), 1, &small());
    fill(&mut writer, 1, 40, 3);
    let key = std::fs::read(dir.path().join("key")).unwrap();
    let before = std::fs::metadata(dir.path().join("checkpoints")).unwrap().len();
    drop(writer);
    let (writer, _) = open(dir.path(), 2, &small());
    let bytes = std::fs::read(dir.path().join("checkpoints")).unwrap();
    assert_eq!(bytes.len() as u64, before + 368);
    for len in before..=bytes.len() as u64 {
        let copied = work.path().join("store");
        copy(dir.path(), &copied);
        std::fs::write(copied.join("checkpoints"), &bytes[..len as usize]).unwrap();
        std::fs::write(copied.join("key"), &key).unwrap();
        assert_whole(&copied);
        recover_and_continue(&copied, 40, 44);
        std::fs::remove_dir_all(&copied).unwrap();
    }
    drop(writer);
}

#[test]
fn a_footer_torn_at_any_byte_is_made_again() {
    let (dir, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut writer, _) = open(dir.path(), 1, &small());
    let segment = dir.path().join("00000000000000000001.seg");
    let mut number = 1;
    let mut blocks_end = 0;
    while writer.statistics().segments < 2 {
        if number % 8 == 1 {
            blocks_end = std::fs::metadata(&segment).map_or(0, |data| data.len());
        }
        fill(&mut writer, number, number + 1, 1);
        number += 1;
    }
    drop(writer);
    let bytes = std::fs::read(&segment).unwrap();
    // The last segment is the sealed one: a crash in its footer leaves nothing behind it.
    for len in (blocks_end as usize..=bytes.len()).rev().step_by(7) {
        let copied = work.path().join("store");
        copy(dir.path(), &copied);
        for path in crate::world::files(&copied) {
            if path.extension().is_some() && !path.ends_with("00000000000000000001.seg") {
                std::fs::remove_file(path).unwrap();
            }
        }
        std::fs::remove_file(copied.join("journal")).ok();
        std::fs::write(copied.join("00000000000000000001.seg"), &bytes[..len]).unwrap();
        assert_whole(&copied);
        let (writer, _) = open(&copied, 100, &small());
        writer.close(101 * SECOND).unwrap();
        assert_whole(&copied);
        std::fs::remove_dir_all(&copied).unwrap();
    }
}

#[test]
fn damage_never_stops_a_start_and_is_told() {
    let (dir, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut writer, _) = open(dir.path(), 1, &small());
    fill(&mut writer, 1, 100, 3);
    writer.close(2 * SECOND).unwrap();
    for name in ["origin", "key", "checkpoints"] {
        let copied = work.path().join(name);
        copy(dir.path(), &copied);
        std::fs::write(copied.join(name), b"broken").unwrap();
        let (mut writer, recovery) = open(&copied, 3, &small());
        assert!(
            recovery.new_identity || recovery.cut_bytes > 0 || !recovery.quarantined.is_empty(),
            "{name}"
        );
        let next = writer.next_sequence();
        assert_eq!(next, 100, "{name}");
        fill(&mut writer, 100, 120, 3);
        writer.close(4 * SECOND).unwrap();
        assert_eq!(all(&copied).len(), 119, "{name}");
        assert!(!store::verify(&copied, None, &mut |_, _| {}).unwrap().whole(), "{name}");
    }
    let copied = work.path().join("segment");
    copy(dir.path(), &copied);
    let last = crate::world::files(&copied).into_iter().rfind(|path| path.extension().is_some()).unwrap();
    std::fs::write(&last, [7; 5000]).unwrap();
    let (mut writer, recovery) = open(&copied, 3, &small());
    assert_eq!(recovery.quarantined.len(), 1);
    let first: u64 = last.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    assert_eq!(recovery.lost_events, [(first, 99)]);
    fill(&mut writer, 100, 120, 3);
    writer.close(4 * SECOND).unwrap();
    let report = store::verify(&copied, None, &mut |_, _| {}).unwrap();
    let missing = report.findings.iter().find(|finding| finding.first_sequence == first).unwrap();
    assert_eq!(missing.last_sequence, 99, "{report:#?}");
}

#[test]
fn a_segment_of_a_later_version_is_left_alone_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path(), 1, &small());
    fill(&mut writer, 1, 4, 3);
    writer.close(2 * SECOND).unwrap();
    let future = dir.path().join("00000000000000000050.seg");
    let mut bytes = std::fs::read(dir.path().join("00000000000000000001.seg")).unwrap();
    bytes[4] = 9;
    let crc = crc32c::crc32c(&bytes[..92]);
    bytes[92..96].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(&future, &bytes).unwrap();
    let (mut writer, recovery) = open(dir.path(), 3, &small());
    assert_eq!(recovery.future_versions, std::slice::from_ref(&future));
    assert!(writer.next_sequence() > 50);
    let keys = Keys { time_ns: 1, kind: 0, subject: b"", user: 0, executable: b"", text: &[] };
    writer.append(b"after", &keys).unwrap();
    writer.commit(b"").unwrap();
    drop(writer);
    assert_eq!(std::fs::read(&future).unwrap(), bytes);
    let errors = store::Reader::open(dir.path()).unwrap().query(&store::Query::default());
    let errors: Vec<_> = errors.filter_map(Result::err).collect();
    assert!(matches!(&errors[..], [store::Error::Version { version: 9, .. }]), "{errors:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any run of appends, commits, ticks and crashes: what was committed is there once, in order.
    #[test]
    fn any_history_keeps_what_was_committed(steps in prop::collection::vec((0u8..10, 1u64..20), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let mut now = 1;
        let (mut writer, _) = open(dir.path(), now, &small());
        let mut committed = 1;
        for (step, size) in steps {
            now += size;
            match step {
                0..=4 => {
                    fill(&mut writer, committed, committed + size, 1 + size % 4);
                    committed += size;
                }
                5 => writer.tick(now * SECOND).unwrap(),
                6 => writer.tick((now + 60) * SECOND).unwrap(),
                7 => {
                    // Appended but not committed, then killed.
                    (committed..committed + size).for_each(|number| append(&mut writer, number));
                    drop(writer);
                    writer = open(dir.path(), now, &small()).0;
                }
                8 => {
                    writer.close(now * SECOND).unwrap();
                    assert_whole(dir.path());
                    writer = open(dir.path(), now, &small()).0;
                }
                _ => {
                    let copied = tempfile::tempdir().unwrap();
                    copy(dir.path(), copied.path());
                    recover_and_continue(copied.path(), committed, committed + 5);
                }
            }
            prop_assert_eq!(writer.next_sequence(), committed);
        }
        assert_holds(dir.path(), 1, committed);
        drop(writer);
        assert_whole(dir.path());
        let (writer, _) = Writer::open(dir.path(), BOOT, now * SECOND, small()).unwrap();
        writer.close(now * SECOND).unwrap();
        assert_holds(dir.path(), 1, committed);
        assert_whole(dir.path());
    }
}
