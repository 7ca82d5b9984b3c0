// SPDX-License-Identifier: Apache-2.0
//! The documents of a store as a sink makes them: for rivals as a file, for clients alone in memory.

use event::document::Context;
use ship::{Batch, Renderer, Schema};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

const PART: usize = 8192;

/// Hands all documents to `take`, a batch at a time.
pub(crate) fn each(dir: &Path, count: u64, mut take: impl FnMut(&Batch)) {
    let reader = store::Reader::open(dir).unwrap();
    let context = Context { store_id: reader.store_id(), host_name: "web1.example".to_string() };
    let mut renderer = Renderer::new(context, Schema::Ecs);
    let mut follower = reader.follow(1);
    let mut batch = Batch::new(&renderer);
    let mut left = count;
    while left > 0 {
        batch.push(&mut renderer, follower.next(Duration::from_secs(5)).unwrap().unwrap());
        left -= 1;
        if batch.len() == PART || left == 0 {
            take(&batch);
            batch = Batch::new(&renderer);
        }
    }
}

/// One document a line.
pub(crate) fn write(dir: &Path, count: u64, path: &Path) -> u64 {
    let mut file = BufWriter::new(File::create(path).unwrap());
    let mut bytes = 0;
    each(dir, count, |batch| {
        for document in batch.documents() {
            file.write_all(document.json).and_then(|()| file.write_all(b"\n")).unwrap();
            bytes += document.json.len() as u64;
        }
    });
    file.flush().unwrap();
    bytes
}
