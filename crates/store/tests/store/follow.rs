// SPDX-License-Identifier: Apache-2.0
//! Reading while a writer writes.

use std::time::Duration;

use store::{Query, Reader};

use crate::world::{SECOND, event, fill, open, small};

const LONG: Duration = Duration::from_secs(20);

#[test]
fn a_follower_gets_every_event_once_across_blocks_segments_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path(), 1, &small());
    fill(&mut writer, 1, 30, 3);
    let path = dir.path().to_path_buf();
    let writing = std::thread::spawn(move || {
        let mut next = 30;
        for round in 0..6u64 {
            fill(&mut writer, next, next + 300, 1 + round);
            next += 300;
            writer.tick((1000 * round + next) * SECOND).unwrap();
            if round % 2 == 0 {
                drop(writer);
            } else {
                writer.close(10_000 * SECOND).unwrap();
            }
            writer = open(&path, 10_000, &small()).0;
        }
        next
    });
    let mut follower = Reader::open(dir.path()).unwrap().follow(5);
    for sequence in 5..1830 {
        let entry = follower.next(LONG).unwrap().expect("an event within the time");
        assert_eq!((entry.sequence, entry.event), (sequence, event(sequence)));
    }
    assert_eq!(writing.join().unwrap(), 1830);
    assert!(follower.next(Duration::from_millis(1)).unwrap().is_none());
    assert!(follower.drain().unwrap().is_empty());
}

#[test]
fn queries_see_a_whole_prefix_while_a_writer_writes() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path(), 1, &small());
    let writing = std::thread::spawn(move || fill(&mut writer, 1, 3000, 5));
    let reader = Reader::open(dir.path()).unwrap();
    let mut least = 0;
    loop {
        let is_last = writing.is_finished();
        for newest_first in [false, true] {
            let query = Query { newest_first, ..Query::default() };
            let mut seen: Vec<u64> = reader.query(&query).map(|entry| entry.unwrap().sequence).collect();
            if newest_first {
                seen.reverse();
            }
            assert!(seen.len() >= least);
            assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<_>>());
            least = seen.len();
        }
        if is_last {
            break;
        }
    }
    assert_eq!(least, 2999);
    writing.join().unwrap();
}
