// SPDX-License-Identifier: Apache-2.0
//! Bytes of any kind in any file: no panic, no endless loop, and the writer still starts.

use std::time::Duration;

use store::{Query, Reader, Writer};

use crate::tamper::Dice;
use crate::world::{BOOT, copy, files, fill, open, small};

#[test]
fn changed_files_never_panic_any_entry_point() {
    let (original, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut writer, _) = open(original.path(), 1, &small());
    fill(&mut writer, 1, 100, 3);
    let mut dice = Dice(77);
    for _ in 0..250 {
        let dir = work.path().join("store");
        copy(original.path(), &dir);
        let targets: Vec<_> =
            files(&dir).into_iter().filter(|path| path.metadata().unwrap().len() > 0).collect();
        for _ in 0..1 + dice.below(3) {
            let path = &targets[dice.below(targets.len())];
            let mut bytes = std::fs::read(path).unwrap();
            for _ in 0..1 + dice.below(20) {
                let at = dice.below(bytes.len());
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = dice.below(256) as u8;
                }
            }
            bytes.truncate(bytes.len() - if dice.below(4) == 0 { dice.below(bytes.len()) } else { 0 });
            store::scan(&bytes);
            std::fs::write(path, bytes).unwrap();
        }
        let reader = Reader::open(&dir).unwrap();
        for text in [None, Some(b"number".to_vec())] {
            let read = reader.query(&Query { text, ..Query::default() }).count();
            assert!(read < 500);
        }
        reader.totals().ok();
        let mut follower = reader.follow(1);
        for _ in 0..200 {
            if matches!(follower.next(Duration::ZERO), Ok(None)) {
                break;
            }
        }
        store::verify(&dir, None, &mut |_, _| {}).unwrap();
        let (writer, _) = open(&dir, 9, &small());
        writer.close(10).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
    }
    drop(writer);
}

#[test]
fn a_named_pipe_in_place_of_a_file_holds_nobody_up() {
    let (original, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut writer, _) = open(original.path(), 1, &small());
    fill(&mut writer, 1, 100, 3);
    let mut told = 0;
    for path in files(original.path()) {
        let dir = work.path().join("store");
        copy(original.path(), &dir);
        let target = dir.join(path.strip_prefix(original.path()).unwrap());
        std::fs::remove_file(&target).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &target, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        if let Ok(reader) = Reader::open(&dir) {
            reader.query(&Query::default()).for_each(drop);
            reader.totals().ok();
            reader.follow(1).next(Duration::ZERO).ok();
        }
        told += match store::verify(&dir, None, &mut |_, _| {}) {
            Ok(report) => usize::from(!report.whole()),
            Err(error) => usize::from(error.to_string().contains("it is not a regular file")),
        };
        // Whether it starts or says why not.
        if let Err(error) = Writer::open(&dir, BOOT, 9, small()) {
            assert!(error.to_string().contains("it is not a regular file"), "{}: {error}", target.display());
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
    assert_eq!(told, files(original.path()).len());
    drop(writer);
}
