// SPDX-License-Identifier: Apache-2.0
//! A store with one damaged file. Reading, proving and recovering it end, and recovery opens it.
//! The input names the file and the way, then holds the new content, or bytes to change in the file, or
//! bytes to change inside what the file's blocks hold pressed, with all checksums made right again.
#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use store::{Keys, Options, Query, Reader, Writer};

const EVENTS: u64 = 40;
const EDIT_LEN: usize = 4;

/// The files of a small sound store.
static FILES: LazyLock<Vec<(PathBuf, Vec<u8>)>> = LazyLock::new(|| {
    let dir = std::env::temp_dir().join("sound");
    fill(&dir).expect("a sound store can be written");
    let entries = fs::read_dir(&dir).expect("the store can be listed");
    let paths =
        entries.map(|entry| entry.expect("the store can be listed").path()).filter(|path| path.is_file());
    let mut files: Vec<_> =
        paths.map(|path| (PathBuf::from(path.file_name().unwrap_or_default()), path)).collect();
    files.sort();
    files.into_iter().map(|(name, path)| (name, fs::read(path).expect("its files can be read"))).collect()
});

fuzz_target!(|data: &[u8]| {
    assert!(store::scan(data).consumed <= data.len());
    let [file, mode, rest @ ..] = data else { return };
    let dir = std::env::temp_dir().join("damaged");
    damage(&dir, usize::from(*file), Way::of(mode >> 2), rest);
    if let Ok(reader) = Reader::open(&dir) {
        let entries =
            reader.query(&Query { newest_first: mode & 2 != 0, text: asked(*mode), ..Query::default() });
        assert!(entries.count() < 10_000, "more events than were ever written");
    }
    if let Ok(report) = store::verify(&dir, None, &mut |_, _| {}) {
        report.whole();
    }
    // Only an origin of a later version may keep a store shut.
    if let Err(error) = open(&dir) {
        assert!(matches!(error, store::Error::Version { .. }), "recovery refused: {error}");
    }
});

/// What is done with the bytes of the input.
#[derive(Clone, Copy)]
enum Way {
    Replace,
    Edit,
    Inside,
}

impl Way {
    fn of(mode: u8) -> Way {
        match mode % 3 {
            0 => Way::Replace,
            1 => Way::Edit,
            _ => Way::Inside,
        }
    }
}

fn asked(mode: u8) -> Option<Vec<u8>> {
    (mode & 1 != 0).then(|| b"passwd".to_vec())
}

fn open(dir: &Path) -> Result<Writer, store::Error> {
    let options = Options { segment_bytes: 4096, block_events: 8, ..Options::default() };
    Writer::open(dir, [7; 16], 1_000, options).map(|(writer, _)| writer)
}

fn fill(dir: &Path) -> Result<(), store::Error> {
    let mut writer = open(dir)?;
    for number in 0..EVENTS {
        let event = format!("event {number} cat /etc/passwd");
        let text: [&[u8]; 2] = [b"cat", b"/etc/passwd"];
        let keys = Keys {
            time_ns: 1_000 + number,
            kind: 0,
            subject: b"container",
            user: 0,
            executable: b"/bin/cat",
            text: &text,
        };
        writer.append(event.as_bytes(), &keys)?;
        if number % 7 == 0 {
            writer.commit(&number.to_le_bytes())?;
        }
    }
    writer.commit(b"end")?;
    writer.tick(1_000_000_000)
}

fn damage(dir: &Path, chosen: usize, way: Way, bytes: &[u8]) {
    if dir.exists() {
        fs::remove_dir_all(dir).expect("the last store can be removed");
    }
    fs::create_dir(dir).expect("a directory can be made");
    for (at, (name, content)) in FILES.iter().enumerate() {
        let mut content = content.clone();
        if at == chosen % FILES.len() {
            match way {
                Way::Replace => content = bytes.to_vec(),
                Way::Edit => edit(&mut content, bytes),
                Way::Inside => content = edit_inside(&content, bytes),
            }
        }
        fs::write(dir.join(name), content).expect("a file can be written");
    }
}

/// Each edit is three bytes of place and one of content.
fn edit(content: &mut [u8], edits: &[u8]) {
    for edit in edits.chunks_exact(EDIT_LEN) {
        let place = edit.iter().take(3).fold(0, |place, byte| place << 8 | usize::from(*byte));
        if let (Some(length), Some(value)) = (content.len().checked_sub(1), edit.last()) {
            content[place % (length + 1)] = *value;
        }
    }
}

/// Each edit is one byte that names the piece, two of place and one of content; a place behind the
/// piece's end adds a byte.
fn edit_inside(content: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut number = 0u8;
    store::mend(content, &mut |piece| {
        for edit in edits.chunks_exact(EDIT_LEN).filter(|edit| edit[0] == number) {
            let place = usize::from(edit[1]) << 8 | usize::from(edit[2]);
            match piece.get_mut(place) {
                Some(byte) => *byte = edit[3],
                None => piece.push(edit[3]),
            }
        }
        number = number.wrapping_add(1);
    })
}
