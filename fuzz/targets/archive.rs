// SPDX-License-Identifier: Apache-2.0
//! Images in files. The first byte says what the rest is: an archive as it lies on a disk; a layer, whose digest is
//! made right; or the documents of a layout, each in a file that is called by its digest, in which `@2` is the digest of
//! document 2. Whatever is in it, nothing is made or changed beside the directory that it is unpacked into.
#![no_main]

use image::Archive;
use libfuzzer_sys::fuzz_target;
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

/// As much as unpacked files may have.
const ROOM: u64 = 1 << 20;
const BETWEEN: &[u8] = b"\n==\n";
/// An image of one layer.
const MANIFEST: &[u8] = br#"{"config":{"digest":"sha256:@1"},"layers":[{"digest":"sha256:@2"}]}"#;
const CONFIGURATION: &[u8] = br#"{"rootfs":{"diff_ids":["sha256:@2"]}}"#;

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    let place = std::env::temp_dir().join("archive");
    let (inside, victim) = (place.join("inside"), place.join("victim"));
    fs::create_dir_all(&inside).expect("a directory can be made");
    fs::write(&victim, "as it was").expect("a file can be written");
    let file = place.join("file");
    match kind % 3 {
        0 => fs::write(&file, data).expect("a file can be written"),
        1 => layout(&file, &[MANIFEST, CONFIGURATION, data]),
        _ => layout(&file, &parts(data)),
    }
    if let Ok(archive) = Archive::open(&file, None) {
        let into = fs::File::open(&inside).expect("a directory can be opened");
        match archive.unpack(into.as_fd(), ROOM) {
            Ok(layers) => assert!(!layers.is_empty() || kind % 3 == 2, "a tree of nothing"),
            Err(error) => assert!(error.to_string().contains("/archive/file"), "{error} names no file"),
        }
    }
    let left = fs::read_dir(&place).expect("the place can be listed").count();
    assert_eq!(left, 3, "something was made beside the directory");
    assert_eq!(fs::read(&victim).expect("the victim is there"), b"as it was", "something else was changed");
    fs::remove_dir_all(&place).expect("what was unpacked can be removed");
});

fn parts(mut data: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let Some(at) = data.windows(BETWEEN.len()).position(|part| part == BETWEEN) {
        found.push(&data[..at]);
        data = &data[at + BETWEEN.len()..];
    }
    found.push(data);
    found.truncate(10);
    found
}

/// A directory whose index is the first part.
fn layout(at: &Path, parts: &[&[u8]]) {
    let blobs = at.join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("directories can be made");
    let mut digests: Vec<String> = vec![String::new(); parts.len()];
    for number in (0..parts.len()).rev() {
        let mut bytes = Vec::new();
        let mut rest = parts[number].iter().copied().peekable();
        while let Some(byte) = rest.next() {
            let digit = rest.peek().filter(|digit| byte == b'@' && digit.is_ascii_digit());
            match digit
                .and_then(|digit| digests.get(usize::from(digit - b'0')))
                .filter(|known| !known.is_empty())
            {
                Some(digest) => {
                    bytes.extend(digest.bytes());
                    rest.next();
                }
                None => bytes.push(byte),
            }
        }
        digests[number] = image::digest(&bytes);
        fs::write(blobs.join(&digests[number]), &bytes).expect("a file can be written");
        if number == 0 {
            fs::write(at.join("index.json"), &bytes).expect("a file can be written");
        }
    }
}
