// SPDX-License-Identifier: Apache-2.0
//! What engines keep on the disk: tables in JSON and bbolt, each behind a line `@@PATH`. All three engines' readers look
//! at the same directory, and files are looked for in whatever trees they find.
#![no_main]

use image::Stores;
use libfuzzer_sys::fuzz_target;
use std::fs;
use std::path::{Component, Path};

const MARK: &[u8] = b"\n@@";

fuzz_target!(|data: &[u8]| {
    let place = std::env::temp_dir().join("stores");
    let root = place.join("root");
    fs::create_dir_all(&root).expect("a directory can be made");
    let mut left = [b"\n", data].concat();
    while let Some(at) = left.windows(MARK.len()).rposition(|part| part == MARK) {
        file(&root, &left[at + MARK.len()..]);
        left.truncate(at);
    }
    let all = vec![root.clone()];
    let stores =
        Stores { docker: all.clone(), storage: all.clone(), containerd: all.clone(), of_users: all.clone() };
    let mut trees = Vec::new();
    for image in image::images(&stores) {
        assert!(image.short_id().len() <= image.id.len());
        trees.extend(image.tree());
        image::find(&stores, &image.id, &|_| true).map(drop).unwrap_or_default();
        trees.extend(image::find(&stores, image.title(), &|image| image.names.len() < 2));
    }
    for id in ["c1", "c2", &"c".repeat(64)] {
        trees.extend(image::stopped(&stores, id));
    }
    for tree in trees {
        assert!(tree.from_top().count() <= 502, "layers beyond the limit");
        assert!(tree.from_top().all(|layer| layer.starts_with(&root)), "a layer that is elsewhere");
        assert!(tree.volumes.iter().all(|volume| volume.source.is_absolute()), "a volume from nowhere");
        let Ok(view) = tree.view() else { continue };
        for path in ["/etc/passwd", "/usr/lib/x/../so", "/link"] {
            view.open(Path::new(path)).map(drop).unwrap_or_default();
        }
    }
    fs::remove_dir_all(&place).expect("the place can be removed");
});

/// A path and, on the lines behind it, what is in the file; a directory when the path ends so, a link when it has an arrow.
fn file(root: &Path, text: &[u8]) {
    let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    let Ok(line) = std::str::from_utf8(&text[..end]) else { return };
    let mut bytes = text.get(end + 1..).unwrap_or_default().to_vec();
    let (name, target) = line.split_once(" -> ").unwrap_or((line, ""));
    let is_within = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || name.len() > 1000 || !is_within || name.contains('\0') {
        return;
    }
    let path = root.join(name);
    // A file may be where a directory is to be.
    if name.ends_with('/') {
        return fs::create_dir_all(path).unwrap_or_default();
    }
    path.parent().map(fs::create_dir_all).transpose().map(drop).unwrap_or_default();
    if !target.is_empty() {
        return std::os::unix::fs::symlink(target, path).unwrap_or_default();
    }
    if name.ends_with(".db") {
        sum(&mut bytes);
    }
    fs::write(path, bytes).unwrap_or_default();
}

/// Makes the check sum of the first page of a database right, which would stop a fuzzer at once.
fn sum(bytes: &mut [u8]) {
    let Some(body) = bytes.get_mut(16..80) else { return };
    let sum = body[..56].iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    body[56..].copy_from_slice(&sum.to_le_bytes());
}
