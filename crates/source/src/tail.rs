// SPDX-License-Identifier: Apache-2.0
//! One log file: reads what is new, makes lines of it, and sees when it was written anew.

use crate::error::Error;
use crate::format::{Format, WRAPPED_LIMIT, Weaver};
use crate::json;
use crate::lines::{Encoding, LineDecoder, RawLine};
use crate::multiline::{Joiner, Piece};
use crate::positions::{FINGERPRINT_BYTES, Position, fingerprint};
use crate::settings::Settings;
use crate::status::FileState;
use event::{FileKey, Line, line_flags};
use rustix::fs::Stat;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// Bytes read at once.
pub(crate) const READ_BYTES: usize = 256 << 10;
/// Bytes before the next line that are remembered, to know a copy of the file by.
const LAST_BYTES: usize = 64;
/// Shortest and longest time between looks at a file without news.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// Time after which the rest of a line that comes in parts is not waited for.
const PART_WAIT: Duration = Duration::from_secs(5);
/// A byte order mark, as UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// A line with the container it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The container's id, empty on the host.
    pub container: String,
    /// The line.
    pub line: Line,
}

impl Entry {
    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        let line = &self.line;
        128 + line.message.len() + line.json.len() + line.path.len() + line.error.len() + self.container.len()
    }
}

/// What became of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// There was something, and may be more.
    Read,
    /// Nothing new.
    Idle,
    /// It is shorter than what was read, or begins differently.
    Truncated,
    /// Nothing new, and to be closed.
    Close,
    /// Nothing new, and no name left.
    Removed,
}

/// What a file that was written anew was before.
#[derive(Clone, Debug)]
pub(crate) struct Ghost {
    pub(crate) container: String,
    pub(crate) path: Vec<u8>,
    pub(crate) fingerprint: u64,
    pub(crate) next: u64,
    /// The bytes before `next`, as far as they are remembered.
    pub(crate) last: Vec<u8>,
}

/// One file.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) key: (u64, u64),
    pub(crate) container: String,
    pub(crate) path: Vec<u8>,
    pub(crate) file: Option<File>,
    /// Where the first line begins that was not handed over.
    pub(crate) next: u64,
    fingerprint: u64,
    last: Vec<u8>,
    /// Up to where bytes were taken.
    read: u64,
    format: Format,
    decoder: Option<LineDecoder>,
    weaver: Weaver,
    joiner: Joiner,
    /// When the lines that are held were last added to.
    joined_at: Instant,
    size: u64,
    ctime: (i64, i64),
    active_at: Instant,
    pub(crate) check_at: Instant,
    pause: Duration,
    /// Its name leads to another file since, or to none.
    pub(crate) renamed: bool,
    /// Not to be read before positions are saved.
    pub(crate) held: bool,
    /// The scan that saw it last.
    pub(crate) scan: u64,
    /// The directory entry changed: time to look for new files.
    pub(crate) moved: bool,
    /// The size at which its unfinished line was let go of for want of memory.
    waits_at: Option<u64>,
}

impl Tail {
    pub(crate) fn new(stat: &Stat, container: &str, path: Vec<u8>, format: Format, now: Instant) -> Tail {
        Tail {
            key: (stat.st_dev, stat.st_ino),
            container: container.to_string(),
            path,
            file: None,
            next: 0,
            fingerprint: 0,
            last: Vec::new(),
            read: 0,
            format,
            decoder: None,
            weaver: Weaver::default(),
            joiner: Joiner::default(),
            joined_at: now,
            size: 0,
            ctime: (0, 0),
            active_at: now,
            check_at: now,
            pause: PAUSES.0,
            renamed: false,
            held: false,
            scan: 0,
            moved: false,
            waits_at: None,
        }
    }

    /// Opens it where it was left. False when it is another file than the one of that position.
    pub(crate) fn resume(&mut self, file: File, next: u64, known: u64) -> Result<bool, Error> {
        let same = next == 0 || head_print(&file, next)? == Some(known);
        self.next = next;
        self.fingerprint = known;
        self.read = next;
        self.file = Some(file);
        Ok(same)
    }

    /// Begins at `next`, of which nothing was handed over.
    pub(crate) fn begin(&mut self, file: File, next: u64) -> Result<(), Error> {
        self.fingerprint = head_print(&file, next)?.unwrap_or(0);
        self.next = next;
        self.read = next;
        self.file = Some(file);
        Ok(())
    }

    pub(crate) fn position(&self) -> Position {
        Position {
            container: self.container.clone(),
            path: self.path.clone(),
            fingerprint: self.fingerprint,
            next: self.next,
            ..Position::default()
        }
    }

    /// Bytes that were not read yet, as of the last look.
    pub(crate) fn lag(&self) -> u64 {
        self.size.saturating_sub(self.next)
    }

    pub(crate) fn state(&self) -> FileState {
        FileState {
            container: self.container.clone(),
            path: event::document::text(&self.path),
            inode: self.key.1,
            position: self.next,
            size: self.size,
            lag_bytes: self.lag(),
            open: self.file.is_some(),
        }
    }

    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Whether everything it had at the last look was read.
    pub(crate) fn is_at_end(&self) -> bool {
        self.ctime != (0, 0) && self.size <= self.read
    }

    pub(crate) fn quiet_since(&self) -> Instant {
        self.active_at
    }

    /// Bytes held that belong to no complete line.
    pub(crate) fn held_bytes(&self, limit: usize) -> usize {
        let pending = self.decoder.as_ref().map_or(0, LineDecoder::pending_bytes);
        usize::try_from(pending).unwrap_or(usize::MAX).min(limit)
            + self.weaver.held_bytes()
            + self.joiner.held_bytes()
    }

    /// Whether a look at a directory entry shows nothing that is not known.
    pub(crate) fn is_unchanged(&self, stat: &Stat) -> bool {
        self.size == size_of(stat) && self.ctime == ctime_of(stat)
    }

    /// What was read before it was written anew; it begins again.
    pub(crate) fn truncate(&mut self, settings: &Settings, out: &mut Vec<Entry>) -> Ghost {
        self.flush(settings, out);
        let ghost = Ghost {
            container: self.container.clone(),
            path: self.path.clone(),
            fingerprint: self.fingerprint,
            next: self.next,
            last: std::mem::take(&mut self.last),
        };
        (self.next, self.read, self.fingerprint) = (0, 0, 0);
        self.decoder = None;
        self.held = true;
        ghost
    }

    pub(crate) fn close(&mut self) {
        self.file = None;
        self.forget();
    }

    /// Gives the memory of incomplete lines back; they are read again.
    pub(crate) fn forget(&mut self) {
        self.decoder = None;
        self.weaver = Weaver::default();
        self.joiner = Joiner::default();
        self.read = self.next;
    }

    /// The same while it stays open, for want of memory; joined lines are complete then.
    pub(crate) fn let_go(&mut self, settings: &Settings, out: &mut Vec<Entry>) -> Result<(), Error> {
        self.flush(settings, out);
        self.forget();
        self.waits_at = Some(self.size);
        self.print_entries(out)
    }

    /// The last line although it has no end, when none will come.
    pub(crate) fn finish(&mut self, settings: &Settings, out: &mut Vec<Entry>) -> Result<(), Error> {
        if let Some(raw) = self.decoder.as_mut().and_then(LineDecoder::finish) {
            self.take(settings, raw, out);
        }
        self.flush(settings, out);
        self.print_entries(out)
    }

    /// Reads once. `buffer` is lent.
    pub(crate) fn turn(
        &mut self,
        settings: &Settings,
        now: Instant,
        buffer: &mut Vec<u8>,
        out: &mut Vec<Entry>,
    ) -> Result<Turn, Error> {
        let Some(file) = &self.file else { return Ok(Turn::Idle) };
        let stat = rustix::fs::fstat(file).map_err(Error::kernel("looking at the file"))?;
        let size = size_of(&stat);
        let quiet = size == self.size;
        self.moved = quiet && self.ctime != (0, 0) && ctime_of(&stat) != self.ctime;
        (self.size, self.ctime) = (size, ctime_of(&stat));
        if size < self.read {
            return Ok(Turn::Truncated);
        }
        if self.moved && self.next > 0 && head_print(file, self.next)? != Some(self.fingerprint) {
            return Ok(Turn::Truncated);
        }
        if size == self.read || self.waits_at == Some(size) {
            return self.idle(settings, now, stat.st_nlink == 0, out);
        }
        if self.next > 0 && head_print(file, self.next)? != Some(self.fingerprint) {
            return Ok(Turn::Truncated);
        }
        buffer.resize(READ_BYTES, 0);
        let count = file
            .read_at(buffer, self.read)
            .map_err(|source| Error::Kernel { doing: "reading the file", source })?;
        let bytes = buffer.get(..count).unwrap_or_default();
        if bytes.is_empty() {
            return self.idle(settings, now, stat.st_nlink == 0, out);
        }
        self.take_bytes(settings, now, bytes, out)?;
        self.waits_at = None;
        self.active_at = now;
        self.pause = PAUSES.0;
        self.check_at = now;
        Ok(Turn::Read)
    }

    fn idle(
        &mut self,
        settings: &Settings,
        now: Instant,
        unlinked: bool,
        out: &mut Vec<Entry>,
    ) -> Result<Turn, Error> {
        let patience = match &settings.multiline {
            Some(how) if self.weaver.is_empty() => how.timeout,
            Some(how) => how.timeout.max(PART_WAIT),
            None => PART_WAIT,
        };
        if self.holds_lines() && now.saturating_duration_since(self.joined_at) >= patience {
            self.flush(settings, out);
            self.print_entries(out)?;
        }
        self.check_at = now + self.pause;
        self.pause = (self.pause * 2).min(PAUSES.1);
        if unlinked && settings.close_removed {
            return Ok(Turn::Removed);
        }
        let silent = now.saturating_duration_since(self.active_at) >= settings.close_inactive;
        let close = silent || settings.close_eof || (settings.close_renamed && self.renamed);
        Ok(if close && !self.holds_lines() { Turn::Close } else { Turn::Idle })
    }

    fn holds_lines(&self) -> bool {
        !self.joiner.is_empty() || !self.weaver.is_empty()
    }

    fn take_bytes(
        &mut self,
        settings: &Settings,
        now: Instant,
        bytes: &[u8],
        out: &mut Vec<Entry>,
    ) -> Result<(), Error> {
        let before = self.next;
        let start = self.read;
        let mut decoder = self.decoder.take().unwrap_or_else(|| match self.format {
            Format::Plain => LineDecoder::new(settings.encoding, settings.max_line_bytes),
            _ => LineDecoder::new(Encoding::Utf8, settings.max_line_bytes.max(WRAPPED_LIMIT)),
        });
        let mut lines = 0;
        decoder.push(bytes, &mut |raw| {
            lines += 1;
            self.take(settings, raw, out);
        });
        self.decoder = Some(decoder);
        self.read += bytes.len() as u64;
        if lines > 0 {
            self.joined_at = now;
        }
        if self.next > before {
            let end = usize::try_from(self.next.saturating_sub(start)).unwrap_or(0);
            let from = end.saturating_sub(LAST_BYTES);
            self.last = bytes.get(from..end).unwrap_or_default().to_vec();
        }
        if before < FINGERPRINT_BYTES && self.next > before {
            self.print_entries(out)?;
        }
        Ok(())
    }

    /// Lines at the start of a file: each has the hash of what is before its end.
    fn print_entries(&mut self, out: &mut [Entry]) -> Result<(), Error> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut head = vec![0; FINGERPRINT_BYTES as usize];
        let count = read_head(file, &mut head)?;
        head.truncate(count);
        let print = |end: u64| {
            let length = usize::try_from(end.min(FINGERPRINT_BYTES)).unwrap_or(0);
            fingerprint(head.get(..length).unwrap_or(&head))
        };
        let mut known = (0, 0);
        for entry in out.iter_mut().rev() {
            if (entry.line.file.device, entry.line.file.inode) != self.key {
                break;
            }
            let end = (entry.line.offset + entry.line.bytes).min(FINGERPRINT_BYTES);
            if known.0 != end {
                known = (end, print(end));
            }
            entry.line.file.fingerprint = known.1;
        }
        self.fingerprint = print(self.next);
        Ok(())
    }

    /// One line of the file: what is around it, JSON, joining, and on.
    fn take(&mut self, settings: &Settings, raw: RawLine, out: &mut Vec<Entry>) {
        if self.format != Format::Plain {
            for piece in self.weaver.push(self.format, raw, settings.max_line_bytes) {
                self.take_piece(settings, piece, out);
            }
            return;
        }
        let mut piece =
            Piece { text: raw.text, bytes: raw.bytes, cut: raw.cut, lines: 1, ..Piece::default() };
        if self.next == 0
            && self.joiner.is_empty()
            && let Some(rest) = piece.text.strip_prefix(MARK)
        {
            piece.text = rest.to_vec();
        }
        self.take_piece(settings, piece, out);
    }

    fn take_piece(&mut self, settings: &Settings, mut piece: Piece, out: &mut Vec<Entry>) {
        if let Some(how) = &settings.json
            && !piece.text.is_empty()
            && piece.error.is_empty()
        {
            let decoded = json::decode(how, &piece.text);
            piece.json = decoded.fields;
            piece.error = decoded.error;
            piece.text = decoded.text.unwrap_or(piece.text);
        }
        let Some(how) = &settings.multiline else { return self.hand_over(settings, piece, out) };
        // Lines of two outputs never belong together.
        if self.joiner.holds_other(piece.flags) {
            self.flush_joined(settings, out);
        }
        if let Some(piece) = self.joiner.push(how, settings.max_line_bytes, piece) {
            self.hand_over(settings, piece, out);
        }
    }

    pub(crate) fn flush(&mut self, settings: &Settings, out: &mut Vec<Entry>) {
        for piece in self.weaver.flush() {
            self.take_piece(settings, piece, out);
        }
        self.flush_joined(settings, out);
    }

    fn flush_joined(&mut self, settings: &Settings, out: &mut Vec<Entry>) {
        if let Some(piece) = self.joiner.flush() {
            self.hand_over(settings, piece, out);
        }
    }

    /// Empty lines, and those of outputs that nobody wants, only move the place.
    fn hand_over(&mut self, settings: &Settings, piece: Piece, out: &mut Vec<Entry>) {
        let offset = self.next;
        self.next += piece.bytes;
        let outputs = piece.flags & (line_flags::STDOUT | line_flags::STDERR);
        let unwanted = settings.streams != 0 && outputs != 0 && outputs & settings.streams == 0;
        if unwanted || (piece.text.is_empty() && piece.json.is_empty() && piece.error.is_empty()) {
            return;
        }
        let mut flags = piece.flags;
        let mut set = |wanted: bool, bit| flags |= if wanted { bit } else { 0 };
        set(piece.cut, line_flags::CUT);
        set(piece.lines > 1, line_flags::MULTILINE);
        if let Some(how) = &settings.json
            && !piece.json.is_empty()
        {
            set(how.keys_under_root, line_flags::UNDER_ROOT);
            set(how.keys_under_root && how.overwrite_keys, line_flags::OVERWRITE);
        }
        let (device, inode) = self.key;
        out.push(Entry {
            container: self.container.clone(),
            line: Line {
                source: settings.name.clone(),
                path: self.path.clone(),
                file: FileKey { device, inode, fingerprint: self.fingerprint },
                offset,
                bytes: piece.bytes,
                message: piece.text,
                json: piece.json,
                error: piece.error,
                flags,
                written_ns: piece.written_ns,
                redacted: 0,
            },
        });
    }
}

pub(crate) fn size_of(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

fn ctime_of(stat: &Stat) -> (i64, i64) {
    (stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap_or(0))
}

fn read_head(file: &File, head: &mut [u8]) -> Result<usize, Error> {
    file.read_at(head, 0).map_err(|source| Error::Kernel { doing: "reading the start of the file", source })
}

/// The hash of the first bytes, those before `next`; `None` when there are fewer.
pub(crate) fn head_print(file: &File, next: u64) -> Result<Option<u64>, Error> {
    let length = usize::try_from(next.min(FINGERPRINT_BYTES)).unwrap_or(0);
    let mut head = [0; FINGERPRINT_BYTES as usize];
    let head = head.get_mut(..length).unwrap_or_default();
    let count = read_head(file, head)?;
    Ok((count == length).then(|| fingerprint(head)))
}

/// Whether `bytes` stand in the file right before `next`.
pub(crate) fn stands_before(file: &File, next: u64, bytes: &[u8]) -> bool {
    let mut found = vec![0; bytes.len()];
    let Some(from) = next.checked_sub(bytes.len() as u64) else { return false };
    file.read_at(&mut found, from).is_ok_and(|count| count == bytes.len()) && found == bytes
}
