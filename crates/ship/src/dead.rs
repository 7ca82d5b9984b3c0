// SPDX-License-Identifier: Apache-2.0
//! Documents the receiver will never take, one JSON line each with the reason. Two files of
//! bounded size: what falls out of them is still in the store, under its sequence.

use crate::error::Error;
use serde_json::json;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Name of the file.
const NAME: &str = "dead.jsonl";
/// Name of the one before.
const OLD_NAME: &str = "dead.1.jsonl";
/// Bytes at which a new file is begun.
const BYTES_LIMIT: u64 = 64 << 20;

/// The dead-letter files of one sink.
#[derive(Debug)]
pub(crate) struct DeadLetters {
    dir: PathBuf,
    limit: u64,
}

impl DeadLetters {
    pub(crate) fn new(dir: &Path) -> DeadLetters {
        DeadLetters { dir: dir.to_path_buf(), limit: BYTES_LIMIT }
    }

    /// Adds `letters`: sequence, reason and text. They are on the disk when it returns.
    pub(crate) fn add<'a>(
        &self,
        time: &str,
        letters: impl Iterator<Item = (u64, &'a str, &'a [u8])>,
    ) -> Result<(), Error> {
        let path = self.dir.join(NAME);
        let fail = |source| Error::io("setting documents aside in", &path, source);
        let mut lines = Vec::new();
        for (sequence, reason, text) in letters {
            serde_json::to_writer(&mut lines, &line(sequence, time, reason, text))
                .map_err(|error| fail(error.into()))?;
            lines.push(b'\n');
        }
        let mut file = self.open(&path).map_err(fail)?;
        let before = file.metadata().map_err(fail)?.len();
        let written = file.write_all(&lines).and_then(|()| file.sync_data());
        // Half a line on a full disk would spoil the next one.
        written.or_else(|error| file.set_len(before).and(Err(error))).map_err(fail)
    }

    fn open(&self, path: &Path) -> std::io::Result<File> {
        if fs::metadata(path).is_ok_and(|known| known.len() >= self.limit) {
            fs::rename(path, self.dir.join(OLD_NAME))?;
        }
        OpenOptions::new().create(true).append(true).mode(0o600).open(path)
    }
}

fn line(sequence: u64, time: &str, reason: &str, text: &[u8]) -> serde_json::Value {
    let document: serde_json::Value = serde_json::from_slice(text).unwrap_or_default();
    json!({ "sequence": sequence, "time": time, "reason": reason, "document": document })
}

#[cfg(test)]
mod tests {
    use super::DeadLetters;

    #[test]
    fn keeps_reason_and_document_in_bounded_files() {
        let dir = tempfile::tempdir().unwrap();
        let dead = DeadLetters { limit: 100, ..DeadLetters::new(dir.path()) };
        for sequence in 1..5 {
            dead.add("now", [(sequence, "too \"large\"", b"{\"a\":1}".as_slice())].into_iter()).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        let lines: Vec<serde_json::Value> = read("dead.1.jsonl")
            .lines()
            .chain(read("dead.jsonl").lines())
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[3]["sequence"], 4);
        assert_eq!(lines[0]["reason"], "too \"large\"");
        assert_eq!(lines[0]["document"]["a"], 1);
    }
}
