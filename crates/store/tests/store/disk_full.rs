// SPDX-License-Identifier: Apache-2.0
//! A full disk: a file system of 512 KiB in memory, made for each test. Needs root, as the agent does.

use std::path::Path;
use std::process::Command;

use store::{DiskFull, Error, Keys, Options, Writer};

use crate::world::{SECOND, all, assert_whole, open};

/// Mounted while this lives.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> SmallDisk {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=512k", "store-test"]).arg(dir.path());
        let status = mount.status().expect("running mount");
        assert!(status.success(), "mounting a small tmpfs needs root");
        SmallDisk(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let status = Command::new("umount").arg(self.path()).status();
        assert!(status.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

fn options(disk_full: DiskFull) -> Options {
    Options {
        segment_bytes: 48 << 10,
        block_events: 16,
        disk_full,
        reserve_bytes: 128 << 10,
        ..Options::default()
    }
}

/// An event of a kilobyte that does not press.
fn event(number: u64) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let random = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    });
    number.to_le_bytes().into_iter().chain(random.take(1000)).collect()
}

/// Appends and commits one event; its number is its sequence.
fn add(writer: &mut Writer, number: u64) -> Result<(), Error> {
    let keys = Keys { time_ns: number, kind: 1, subject: b"c", user: 0, executable: b"/x", text: &[] };
    assert_eq!(writer.append(&event(number), &keys)?, number);
    writer.commit(&number.to_le_bytes())
}

/// Adds until the disk is full; gives the number that did not fit.
fn add_until_full(writer: &mut Writer, mut number: u64) -> u64 {
    loop {
        match add(writer, number) {
            Ok(()) => number += 1,
            Err(Error::Full { .. }) => return number,
            Err(other) => panic!("{other}"),
        }
    }
}

fn assert_all(dir: &Path, from: u64, to: u64) {
    let entries = all(dir);
    assert_eq!(entries.iter().map(|e| e.sequence).collect::<Vec<_>>(), (from..to).collect::<Vec<_>>());
    assert!(entries.iter().all(|entry| entry.event == event(entry.sequence)));
}

#[test]
fn block_keeps_events_until_there_is_room() {
    let disk = SmallDisk::mount();
    let dir = disk.path().join("store");
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![0; 100 << 10]).unwrap();
    let (mut writer, _) = open(&dir, 1, &options(DiskFull::Block));
    let stuck = add_until_full(&mut writer, 1);
    assert!(stuck > 100, "{stuck}");
    assert!(matches!(writer.commit(&stuck.to_le_bytes()), Err(Error::Full { .. })), "still full");
    std::fs::remove_file(&ballast).unwrap();
    writer.commit(&stuck.to_le_bytes()).unwrap();
    (stuck + 1..stuck + 20).for_each(|number| add(&mut writer, number).unwrap());
    assert_all(&dir, 1, stuck + 20);
    writer.close(2 * SECOND).unwrap();
    assert_whole(&dir);
}

#[test]
fn a_kill_on_a_full_disk_loses_nothing_committed() {
    let disk = SmallDisk::mount();
    let dir = disk.path().join("store");
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![0; 100 << 10]).unwrap();
    let (mut writer, _) = open(&dir, 1, &options(DiskFull::Block));
    add_until_full(&mut writer, 1);
    drop(writer);
    std::fs::remove_file(&ballast).unwrap();
    let (writer, recovery) = open(&dir, 2, &options(DiskFull::Block));
    assert_eq!(recovery.lost_events, []);
    let next = writer.next_sequence();
    assert_eq!(writer.position(), (next - 1).to_le_bytes());
    writer.close(3 * SECOND).unwrap();
    assert_all(&dir, 1, next);
    assert_whole(&dir);
}

#[test]
fn drop_oldest_goes_on_and_tells_what_went() {
    let disk = SmallDisk::mount();
    let dir = disk.path().join("store");
    let (mut writer, _) = open(&dir, 1, &options(DiskFull::DropOldest));
    (1..1500).for_each(|number| add(&mut writer, number).unwrap());
    let dropped = writer.statistics().dropped.expect("more was written than fits");
    assert_eq!((dropped.first_sequence, dropped.events), (1, dropped.last_sequence));
    assert_all(&dir, dropped.last_sequence + 1, 1500);
    writer.close(2 * SECOND).unwrap();
    assert_whole(&dir);
}

#[test]
fn the_reserve_is_given_up_once() {
    let disk = SmallDisk::mount();
    let dir = disk.path().join("store");
    let (mut writer, _) = open(&dir, 1, &options(DiskFull::Reserve));
    let reserve = dir.join("reserve");
    assert_eq!(std::fs::metadata(&reserve).unwrap().len(), 128 << 10);
    let mut number = 1;
    while reserve.exists() {
        add(&mut writer, number).unwrap();
        number += 1;
    }
    let stuck = add_until_full(&mut writer, number);
    assert!(stuck > number + 20, "the reserve gave room for {} events", stuck - number);
    assert_all(&dir, 1, writer.statistics().events + 1);
}
