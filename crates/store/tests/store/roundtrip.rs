// SPDX-License-Identifier: Apache-2.0
//! Appending, committing, closing, opening, asking.

use std::sync::Arc;

use store::{Error, Keys, Options, Query, Reader, Writer};

use crate::world::{BOOT, SECOND, all, append, ask, assert_holds, assert_whole, fill, open, seconds, small};

#[test]
fn events_are_there_after_commit_block_segment_and_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, recovery) = open(dir.path(), 1, &small());
    assert!(!recovery.unclean);
    append(&mut writer, 1);
    assert_eq!(all(dir.path()).len(), 0, "not committed yet");
    writer.commit(b"p1").unwrap();
    assert_holds(dir.path(), 1, 2);
    fill(&mut writer, 2, 1000, 3);
    assert_holds(dir.path(), 1, 1000);
    assert!(writer.statistics().segments > 3, "{:?}", writer.statistics());
    writer.close(2000 * SECOND).unwrap();
    assert_holds(dir.path(), 1, 1000);

    let (mut writer, recovery) = open(dir.path(), 2001, &small());
    assert!(!recovery.unclean, "{recovery:?}");
    assert_eq!(writer.next_sequence(), 1000);
    assert_eq!(writer.position(), 1000u64.to_le_bytes());
    fill(&mut writer, 1000, 1010, 1);
    drop(writer);
    let (writer, recovery) = open(dir.path(), 2002, &small());
    assert!(recovery.unclean);
    assert_eq!(recovery.recovered_events, 2);
    writer.close(2003 * SECOND).unwrap();
    assert_holds(dir.path(), 1, 1010);
    assert_whole(dir.path());
    let totals = Reader::open(dir.path()).unwrap().totals().unwrap();
    assert_eq!((totals.events, totals.first_sequence, totals.last_sequence), (1009, 1, 1009));
    assert_eq!((totals.first_time_ns, totals.last_time_ns), (SECOND, 1009 * SECOND));
}

#[test]
fn a_position_without_events_survives_close_and_crash() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path(), 1, &small());
    fill(&mut writer, 1, 9, 8);
    writer.commit(b"later").unwrap();
    writer.close(2 * SECOND).unwrap();
    assert_whole(dir.path());
    let (mut writer, _) = open(dir.path(), 3, &small());
    assert_eq!(writer.position(), b"later");
    writer.commit(b"still later").unwrap();
    drop(writer);
    let (writer, _) = open(dir.path(), 4, &small());
    assert_eq!(writer.position(), b"still later");
    drop(writer);
    let (writer, _) = open(dir.path(), 5, &small());
    assert_eq!(writer.position(), b"still later");
    assert_eq!(writer.next_sequence(), 9);
}

#[test]
fn every_part_of_a_query_selects() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path(), 1, &small());
    // The last four events stay in the journal.
    fill(&mut writer, 1, 501, 4);
    let sequences = |query: &Query| ask(dir.path(), query).iter().map(|e| e.sequence).collect::<Vec<_>>();
    let numbers = |test: fn(&u64) -> bool| (1..501).filter(test).collect::<Vec<u64>>();

    let query = Query { since_ns: Some(100 * SECOND), until_ns: Some(103 * SECOND), ..Query::default() };
    assert_eq!(sequences(&query), [100, 101, 102]);
    assert_eq!(sequences(&Query { from_sequence: Some(499), ..Query::default() }), [499, 500]);
    assert_eq!(sequences(&Query { kinds: 0b1010, ..Query::default() }), numbers(|n| n % 2 == 1));
    assert_eq!(sequences(&Query { user: Some(1), ..Query::default() }), numbers(|n| n % 2 == 1));
    let executable = Some(b"/bin/tool3".to_vec());
    assert_eq!(sequences(&Query { executable, ..Query::default() }), numbers(|n| n % 5 == 3));
    let subject = Query { subject: Some(Arc::new(|name, _| name == b"container-2")), ..Query::default() };
    assert_eq!(sequences(&subject), numbers(|n| n % 3 == 2));
    for number in [1, 77, 499, 500] {
        let text = Some(format!("number-{number}-e").into_bytes());
        assert_eq!(sequences(&Query { text, ..Query::default() }), [number]);
    }
    assert_eq!(sequences(&Query { text: Some(b"nowhere".to_vec()), ..Query::default() }), [0u64; 0]);
    assert_eq!(sequences(&Query { limit: Some(6), ..Query::default() }), [495, 496, 497, 498, 499, 500]);
    let newest = Query { limit: Some(6), newest_first: true, ..Query::default() };
    assert_eq!(sequences(&newest), [500, 499, 498, 497, 496, 495]);
    let mut backwards = sequences(&Query { newest_first: true, ..Query::default() });
    backwards.reverse();
    assert_eq!(backwards, numbers(|_| true));
}

#[test]
fn attachments_reach_blocks_before_and_after_and_survive_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path(), 1, &small());
    fill(&mut writer, 1, 4, 3);
    writer.attach(b"container-1", b"name=late");
    writer.commit(b"").unwrap();
    let attached = |sequence: u64| {
        let entries = all(dir.path());
        let entry = entries.iter().find(|entry| entry.sequence == sequence).unwrap();
        entry.attachment.as_ref().map(|bytes| bytes.to_vec())
    };
    assert_eq!(attached(1), Some(b"name=late".to_vec()), "while the block is open");
    fill(&mut writer, 4, 23, 4);
    assert_eq!(attached(2), None);
    for sequence in [1, 4, 7, 16, 22] {
        assert_eq!(attached(sequence), Some(b"name=late".to_vec()), "{sequence}");
    }
    drop(writer);
    let (writer, recovery) = open(dir.path(), 2, &small());
    assert_eq!(recovery.recovered_events, 3);
    assert_eq!(attached(22), Some(b"name=late".to_vec()), "after a crash");
    drop(writer);
    let query =
        Query { subject: Some(Arc::new(|_, attachment| attachment == b"name=late")), ..Query::default() };
    assert_eq!(ask(dir.path(), &query).len(), 8);
}

#[test]
fn a_commit_larger_than_many_blocks_is_taken_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path(), 1, &small());
    fill(&mut writer, 1, 101, 100);
    assert_holds(dir.path(), 1, 101);
    drop(writer);
    let (writer, _) = open(dir.path(), 2, &small());
    assert_eq!(writer.position(), 101u64.to_le_bytes());
    assert_holds(dir.path(), 1, 101);
    writer.close(3 * SECOND).unwrap();
    assert_whole(dir.path());
}

#[test]
fn uncommitted_events_are_not_kept_by_close() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path(), 1, &small());
    fill(&mut writer, 1, 4, 3);
    (4..30).for_each(|number| append(&mut writer, number));
    writer.close(2 * SECOND).unwrap();
    assert_holds(dir.path(), 1, 4);
    assert_whole(dir.path());
    let (writer, _) = open(dir.path(), 3, &small());
    assert_eq!(writer.next_sequence(), 4);
}

#[test]
fn a_second_writer_is_told_who_has_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, _) = open(dir.path(), 1, &small());
    let second = Writer::open(dir.path(), BOOT, 1, small());
    assert!(matches!(second, Err(Error::Locked { pid, .. }) if pid == std::process::id()));
    drop(writer);
    assert!(Writer::open(dir.path(), BOOT, 1, small()).is_ok());
}

#[test]
fn time_closes_blocks_and_retires_segments() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = small();
    options.retain_age = Some(seconds(500));
    let (mut writer, _) = open(dir.path(), 1, &options);
    fill(&mut writer, 1, 4, 3);
    writer.tick(2 * SECOND).unwrap();
    assert!(std::fs::metadata(dir.path().join("journal")).unwrap().len() > 0);
    writer.tick(7 * SECOND).unwrap();
    assert_eq!(std::fs::metadata(dir.path().join("journal")).map_or(0, |data| data.len()), 0);
    fill(&mut writer, 4, 1000, 4);
    writer.tick(1000 * SECOND).unwrap();
    let first = all(dir.path())[0].sequence;
    assert!((300..=500).contains(&first), "{first}");
    assert_holds(dir.path(), first, 1000);
    writer.close(1000 * SECOND).unwrap();
    assert_whole(dir.path());
    options.retain_age = None;
    options.retain_bytes = Some(10_000);
    let (mut writer, _) = open(dir.path(), 1001, &options);
    writer.tick(1001 * SECOND).unwrap();
    assert!(writer.statistics().bytes <= 10_000);
    assert!(writer.statistics().retired_segments > 0);
    let first = writer.statistics().first_sequence;
    assert_holds(dir.path(), first, 1000);
    writer.close(1002 * SECOND).unwrap();
    assert_whole(dir.path());
}

#[test]
fn reader_and_writer_agree_on_the_id_and_a_damaged_origin_has_none() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, _) = open(dir.path(), 1, &small());
    let reader = Reader::open(dir.path()).unwrap();
    assert_ne!(writer.store_id(), [0; 16]);
    assert_eq!(reader.store_id(), writer.store_id());
    std::fs::write(dir.path().join("origin"), b"broken").unwrap();
    assert_eq!(reader.store_id(), [0; 16]);
}

#[test]
fn text_across_two_events_is_in_neither() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path(), 1, &small());
    for event in [&b"1 needle"[..], b"ne", b"edle", b"", b"2 needle needle", b"needl", b"needle"] {
        let keys =
            Keys { time_ns: 1, kind: 1, subject: b"c", user: 0, executable: b"/x", text: &[b"needle"] };
        writer.append(event, &keys).unwrap();
    }
    writer.commit(b"p").unwrap();
    writer.close(2 * SECOND).unwrap();
    let query = Query { text: Some(b"needle".to_vec()), ..Query::default() };
    let found: Vec<u64> = ask(dir.path(), &query).iter().map(|entry| entry.sequence).collect();
    assert_eq!(found, [1, 5, 7]);
}

/// Event `number` of container `number % 3`, large enough that a block holds several frames.
fn large(number: u64) -> Vec<u8> {
    let noise: String = (0..200).map(|i| format!("{:x}", (number * 7919 + i * 104_729) % 65_537)).collect();
    format!("large {number} of {} needle-{number}-x {noise}", number % 3).into_bytes()
}

fn fill_large(writer: &mut Writer, count: u64) {
    for number in 1..=count {
        let subject = format!("container-{}", number % 3);
        let event = large(number);
        let text = format!("needle-{number}-x");
        let keys = Keys {
            time_ns: number * SECOND,
            kind: 1,
            subject: subject.as_bytes(),
            user: 5,
            executable: b"/x",
            text: &[text.as_bytes()],
        };
        writer.append(&event, &keys).unwrap();
    }
    writer.commit(b"p").unwrap();
}

#[test]
fn events_of_one_container_are_found_in_blocks_of_many() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path(), 1, &Options::default());
    fill_large(&mut writer, 400);
    writer.close(1000 * SECOND).unwrap();
    let of = |container: &'static [u8], query: &Query| -> Vec<u64> {
        let subject: store::SubjectTest = Arc::new(move |name, _| name == container);
        let entries = ask(dir.path(), &Query { subject: Some(subject), ..query.clone() });
        entries.iter().for_each(|entry| assert_eq!(entry.event, large(entry.sequence)));
        entries.iter().map(|entry| entry.sequence).collect()
    };
    for (container, rest) in [(&b"container-0"[..], 0), (b"container-1", 1), (b"container-2", 2)] {
        let expected: Vec<u64> = (1..=400).filter(|number| number % 3 == rest).collect();
        assert_eq!(of(container, &Query::default()), expected);
    }
    let everything: Vec<u64> = all(dir.path()).iter().map(|entry| entry.sequence).collect();
    assert_eq!(everything, (1..=400).collect::<Vec<_>>(), "in their order, whatever the frames");
    let needle = |number: u64| Query { text: Some(format!("needle-{number}-x").into()), ..Query::default() };
    assert_eq!(of(b"container-1", &needle(100)), [100]);
    assert_eq!(of(b"container-2", &needle(100)), [0u64; 0]);
    let newest = Query { limit: Some(3), newest_first: true, ..Query::default() };
    assert_eq!(of(b"container-0", &newest), [399, 396, 393]);
}

#[test]
fn a_broken_frame_is_told_only_to_who_needs_it() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path(), 1, &Options::default());
    fill_large(&mut writer, 300);
    writer.close(1000 * SECOND).unwrap();
    let path = dir.path().join("00000000000000000001.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let ask = |container: &'static [u8]| {
        let subject: store::SubjectTest = Arc::new(move |name, _| name == container);
        let query = Query { subject: Some(subject), ..Query::default() };
        let answer: Vec<_> = Reader::open(dir.path()).unwrap().query(&query).collect();
        (answer.iter().filter(|entry| entry.is_ok()).count(), answer.iter().filter(|e| e.is_err()).count())
    };
    // Subjects are numbered as they come, so container 0, which comes third, lies at the end.
    assert_eq!(ask(b"container-0"), (0, 1));
    assert_eq!(ask(b"container-1"), (100, 0));
    assert_eq!(ask(b"container-2"), (100, 0));
}

#[test]
fn blocks_with_more_names_than_a_filter_takes_are_read_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path(), 1, &Options::default());
    for number in 1..=900u64 {
        let (subject, executable) = (format!("{number:0>200}"), format!("/{number:0>100}"));
        let keys = Keys {
            time_ns: number,
            kind: 1,
            subject: subject.as_bytes(),
            user: u32::try_from(number).unwrap(),
            executable: executable.as_bytes(),
            text: &[],
        };
        writer.append(&number.to_le_bytes(), &keys).unwrap();
    }
    writer.commit(b"p").unwrap();
    writer.close(SECOND).unwrap();
    let wanted = format!("{:0>200}", 777).into_bytes();
    let subject: store::SubjectTest = Arc::new(move |name, _| name == wanted);
    let by_subject = Query { subject: Some(subject), ..Query::default() };
    let by_executable =
        Query { executable: Some(format!("/{:0>100}", 777).into_bytes()), ..Query::default() };
    for query in [by_subject, by_executable, Query { user: Some(777), ..Query::default() }] {
        let found: Vec<u64> = ask(dir.path(), &query).iter().map(|entry| entry.sequence).collect();
        assert_eq!(found, [777]);
    }
    assert_eq!(all(dir.path()).len(), 900);
    assert_whole(dir.path());
}
