// SPDX-License-Identifier: Apache-2.0
//! Reading while a writer writes.

use std::time::Duration;

use store::{Options, Query, Reader};

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

#[test]
fn a_follower_tells_what_retention_took_before_it_came() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { retain_bytes: Some(8192), ..small() };
    let (mut writer, _) = open(dir.path(), 1, &options);
    fill(&mut writer, 1, 100, 4);
    let reader = Reader::open(dir.path()).unwrap();
    let (mut early, mut late) = (reader.follow(1), reader.follow(3));
    for sequence in 1..10 {
        assert_eq!(early.next(LONG).unwrap().unwrap().sequence, sequence);
        assert_eq!(early.missing(), None);
    }
    fill(&mut writer, 100, 2000, 4);
    writer.tick(3000 * SECOND).unwrap();
    let oldest = writer.statistics().first_sequence;
    assert!(oldest > 1000, "{oldest}");

    assert_eq!(late.next(LONG).unwrap().unwrap().sequence, oldest);
    assert_eq!(late.missing(), Some((3, oldest - 1)));
    assert_eq!(late.next(LONG).unwrap().unwrap().sequence, oldest + 1);
    assert_eq!(late.missing(), None);
    let first = late.drain().unwrap()[0].sequence;
    assert_eq!((first, late.missing()), (oldest + 2, None));

    // Whatever the early one still had open, everything it gives is in order and every hole is told.
    let (mut next, mut holes) = (10, Vec::new());
    while next < 2000 {
        let entry = early.next(LONG).unwrap().unwrap();
        if entry.sequence != next {
            holes.push((next, entry.sequence - 1));
            assert_eq!(early.missing(), holes.last().copied());
        }
        assert_eq!(entry.event, event(entry.sequence));
        next = entry.sequence + 1;
    }
    assert!(holes.len() == 1 && holes[0].1 == oldest - 1, "{holes:?}");
}

#[test]
fn an_entry_gives_the_keys_it_was_appended_with() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path(), 1, &small());
    // The last three stay in the journal.
    fill(&mut writer, 1, 20, 4);
    let mut follower = Reader::open(dir.path()).unwrap().follow(1);
    for sequence in 1..20 {
        let entry = follower.next(LONG).unwrap().unwrap();
        assert_eq!(entry.subject[..], *format!("container-{}", sequence % 3).as_bytes());
        assert_eq!(entry.executable[..], *format!("/bin/tool{}", sequence % 5).as_bytes());
        assert_eq!((entry.user, u64::from(entry.kind)), ((sequence % 2) as u32, sequence % 4));
        assert_eq!(entry.time_ns, sequence * SECOND);
    }
}

/// Hosts run out of inotify's instances; a user namespace of our own has none from the start.
#[test]
fn a_follower_needs_no_watch() {
    let script = "echo 0 > /proc/sys/user/max_inotify_instances && exec \"$0\" \"$@\"";
    let test = "follow::a_follower_gets_every_event_once_across_blocks_segments_and_restarts";
    let output = std::process::Command::new("unshare")
        .args(["-Ur", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    if said.contains("unshare failed") {
        assert!(std::env::var_os("PURSER_REQUIRE_ALL").is_none_or(|all| all != "1"), "cannot run: {said}");
        println!("SKIP no user namespaces here: {said}");
        return;
    }
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}
