// SPDX-License-Identifier: Apache-2.0
//! Proves a store: reads every byte of it and names what was edited, removed, reordered or added
//! since it was signed. It changes nothing and may run beside a writer.
//!
//! What lies behind the last checkpoint is not signed yet: beside a writer that is normal, after a
//! crash the next start signs it. `lock`, `reserve` and `quarantine/` carry nothing and prove nothing.

mod chain;
mod signatures;

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::block::HeaderFault;
use crate::checkpoint;
use crate::error::Error;
use crate::file;
use crate::identity::{KEY_NAME, KEY_NEW_NAME, ORIGIN_LEN, ORIGIN_NAME, Origin};
use crate::journal::{self, Frames};
use crate::limits::{SESSIONS_NAME, SINKS_NAME, SOURCES_NAME};
use crate::recovery::{LOCK_NAME, MAX_JOURNAL_BYTES, QUARANTINE_NAME, read_small};
use crate::segment::{read_up_to, sequence_of};
use crate::writer::RESERVE_NAME;

use chain::Walk;
use signatures::Proof;

/// Most findings kept; a store with more is lost anyway.
const MAX_FINDINGS: usize = 10_000;
/// A writer at work may retire a segment while it is looked at; then another look tells.
const LIVE_TRIES: u32 = 3;

/// In what way something is not as it was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FindingKind {
    /// Bytes differ from what was signed or chained.
    Edited,
    /// Something that was there is gone.
    Missing,
    /// Pieces are not in their order, or there twice.
    Reordered,
    /// A file ends too early.
    Truncated,
    /// A file or bytes that no writer leaves.
    Unexpected,
    /// Written under other keys, so these cannot prove it.
    Foreign,
    /// Of a later format, so this program cannot prove it.
    Version,
}

/// One place that is not as it was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// In what way.
    pub kind: FindingKind,
    /// Name of the file in the store's directory.
    pub file: String,
    /// First sequence concerned; 0 when no event is.
    pub first_sequence: u64,
    /// Last sequence concerned; 0 when no event is.
    pub last_sequence: u64,
    /// What is wrong, in words.
    pub detail: String,
}

/// What [`verify`] saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Events in blocks that are right, and those of the journal that are in no block yet.
    pub events: u64,
    /// Segment files.
    pub segments: u64,
    /// Damage.
    pub findings: Vec<Finding>,
    /// First and last sequence that no checkpoint covers yet. Not damage: beside a writer it is normal,
    /// else the writer did not close the store and the next start signs it. A cut or a change among these
    /// cannot be seen.
    pub unsigned: Option<(u64, u64)>,
    /// When the last checkpoint was signed, by the clock of the writer, ns since 1970.
    pub signed_ns: Option<u64>,
    /// Bytes of a write that a crash cut short; the next start removes them.
    pub torn_bytes: u64,
    /// A writer held the store meanwhile.
    pub live: bool,
    /// The last writer closed the store, and nothing was written since.
    pub closed: bool,
    /// Checkpoints read.
    pub checkpoints: u64,
}

impl Report {
    /// True when nothing is damaged.
    pub fn whole(&self) -> bool {
        self.findings.is_empty()
    }

    fn add(&mut self, kind: FindingKind, file: &str, range: (u64, u64), detail: impl Into<String>) {
        if self.findings.len() < MAX_FINDINGS {
            // `range` is first and one past the last; an empty one concerns no event.
            let (first, last) = if range.1 > range.0 { (range.0, range.1 - 1) } else { (0, 0) };
            self.findings.push(Finding {
                kind,
                file: file.to_owned(),
                first_sequence: first,
                last_sequence: last,
                detail: detail.into(),
            });
        }
    }
}

/// Proves the store in `dir`. With `trusted_key`, the first public key of the store as it was noted
/// elsewhere, also that nobody put another store in its place. `progress` hears of bytes done and in all.
///
/// # Errors
/// `Io` when a file cannot be read. Damage is in the report, never an error.
pub fn verify(
    dir: &Path,
    trusted_key: Option<&[u8; 32]>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Report, Error> {
    let mut report = inspect(dir, trusted_key, progress)?;
    for _ in 1..LIVE_TRIES {
        if !report.live || report.whole() {
            break;
        }
        report = inspect(dir, trusted_key, progress)?;
    }
    Ok(report)
}

fn inspect(
    dir: &Path,
    trusted_key: Option<&[u8; 32]>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Report, Error> {
    let mut report = Report { live: is_live(dir)?, ..Report::default() };
    let Some(origin) = read_origin(dir, &mut report)? else { return Ok(report) };
    if trusted_key.is_some_and(|key| *key != origin.public_key) {
        report.add(FindingKind::Foreign, ORIGIN_NAME, (0, u64::MAX), "its first key is not the trusted one");
    }
    // Checkpoints first: what a writer adds meanwhile is then only unsigned.
    let proof = Proof::read(dir, &origin, &mut report)?;
    report.closed = proof.closed;
    let mut walk = Walk::new(dir, &origin, &proof, &mut report, progress);
    walk.segments()?;
    let end = walk.finish()?;
    check_journal(dir, &proof, end, &mut report)?;
    check_names(dir, &mut report)?;
    Ok(report)
}

fn is_live(dir: &Path) -> Result<bool, Error> {
    let path = dir.join(LOCK_NAME);
    let Some(file) = file::open_if_there(&path)? else { return Ok(false) };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(errno) => Err(Error::io("locking", &path, errno.into())),
    }
}

fn read_origin(dir: &Path, report: &mut Report) -> Result<Option<Origin>, Error> {
    let everything = (1, u64::MAX);
    match read_small(&dir.join(ORIGIN_NAME), ORIGIN_LEN)?.map(|bytes| Origin::decode(&bytes)) {
        Some(Ok(origin)) => return Ok(Some(origin)),
        Some(Err(HeaderFault::Version(version))) => {
            report.add(
                FindingKind::Version,
                ORIGIN_NAME,
                everything,
                format!("it has format version {version}"),
            );
        }
        Some(Err(_)) => {
            let detail = "it is not what was signed, so nothing can be proven";
            report.add(FindingKind::Edited, ORIGIN_NAME, everything, detail);
        }
        None => {
            let detail = "it is gone, so nothing can be proven";
            report.add(FindingKind::Missing, ORIGIN_NAME, everything, detail);
        }
    }
    Ok(None)
}

/// After a close the journal is gone, or the one the last checkpoint names. Else it is the unsigned tail.
fn check_journal(dir: &Path, proof: &Proof, end: u64, report: &mut Report) -> Result<(), Error> {
    let mut last = end;
    for name in [journal::OLD_NAME, journal::NAME] {
        let path = dir.join(name);
        let Some(bytes) = read_journal(&path)? else {
            if report.closed && name == journal::NAME && proof.witness != [0; 32] {
                report.add(FindingKind::Missing, name, (0, 0), "the close left a journal, which is gone");
            }
            continue;
        };
        if report.closed {
            let is_left = name == journal::NAME && proof.witness == *blake3::hash(&bytes).as_bytes();
            if !is_left {
                report.add(FindingKind::Unexpected, name, (end, end + 1), "it is not what the close left");
            }
            continue;
        }
        let mut whole = 0;
        if let Ok((_, mut frames)) = Frames::new(&bytes) {
            for event in frames.by_ref().flat_map(|frame| frame.events) {
                if event.sequence >= last {
                    report.events += 1;
                    last = event.sequence.saturating_add(1);
                }
            }
            whole = frames.state().0;
        }
        if !report.live {
            report.torn_bytes += (bytes.len() - whole) as u64;
        }
    }
    let first = report.unsigned.map_or(end, |(first, _)| first);
    if last > first {
        report.unsigned = Some((first, last - 1));
    }
    Ok(())
}

fn read_journal(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let Some(file) = file::open_if_there(path)? else { return Ok(None) };
    let len = file.metadata().map_err(|source| Error::io("reading", path, source))?.len();
    read_up_to(&file, path, 0, usize::try_from(len.min(MAX_JOURNAL_BYTES)).unwrap_or(0)).map(Some)
}

/// Directories: broken pieces, and where those who read the store or write into it keep how far they got.
const BESIDE: [&str; 4] = [QUARANTINE_NAME, SESSIONS_NAME, SINKS_NAME, SOURCES_NAME];

fn check_names(dir: &Path, report: &mut Report) -> Result<(), Error> {
    let known =
        [LOCK_NAME, ORIGIN_NAME, KEY_NAME, checkpoint::NAME, journal::NAME, journal::OLD_NAME, RESERVE_NAME];
    for entry in std::fs::read_dir(dir).map_err(|source| Error::io("listing", dir, source))? {
        let entry = entry.map_err(|source| Error::io("listing", dir, source))?;
        let kind = entry.file_type().map_err(|source| Error::io("reading", &entry.path(), source))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let unfinished = !report.closed && [KEY_NEW_NAME, journal::NEW_NAME].contains(&name.as_str());
        // A socket holds no bytes, so it cannot pass for a part of the record: agents listen here.
        if kind.is_socket() {
            continue;
        }
        let expected = if BESIDE.contains(&name.as_str()) {
            kind.is_dir()
        } else {
            kind.is_file() && (known.contains(&name.as_str()) || unfinished || sequence_of(&name).is_some())
        };
        if !expected {
            report.add(FindingKind::Unexpected, &name, (0, 0), "no writer leaves such a file");
        }
    }
    Ok(())
}

/// A file's own name, for findings.
fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Paths and lengths of the segments, and their sum.
fn lengths(segments: &[(u64, PathBuf)]) -> u64 {
    segments.iter().map(|(_, path)| path.metadata().map_or(0, |data| data.len())).sum()
}
