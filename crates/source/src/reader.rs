// SPDX-License-Identifier: Apache-2.0
//! All files of one source: finds them, reads them in turns, and knows what of it is committed.
//!
//! It holds no clock and no thread; whoever calls it passes the time.

use crate::copies::{Closed, Copies};
use crate::error::Error;
use crate::format::Format;
use crate::glob::{PathGlob, matches, names_container};
use crate::open::{Found, host_root, look, look_below};
use crate::positions::{Position, Positions};
use crate::settings::{From, Settings};
use crate::status::{FileState, Status, Unread};
use crate::tail::{Entry, Tail, Turn, head_print, size_of};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Bytes of lines after which a batch is full.
pub const BATCH_BYTES: usize = 1 << 20;
/// Scans a closed file may be missing from before it is forgotten.
const MISSING_SCANS: u64 = 2;
/// A scan that takes longer is made again only after so many times its length.
const LONG_SCAN: Duration = Duration::from_millis(20);
const SCAN_REST: u32 = 50;
/// Time between two scans that nobody waits for.
const SCAN_PAUSE: Duration = Duration::from_millis(50);

/// Files by device and inode.
type Keys = Vec<(u64, u64)>;
/// A path that a pattern leads to.
struct FoundPath {
    /// The number of its root; 0 is the host.
    root: usize,
    path: Vec<u8>,
    /// As its directory tells, where it does.
    inode: Option<u64>,
    /// Of what the file holds.
    format: Format,
    /// Length of what is written in front of the first pattern.
    fixed: usize,
}

/// A container whose files may be read.
#[derive(Debug)]
pub struct Root {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its root directory, as its processes see it; without it the host's.
    pub root: Option<OwnedFd>,
    /// Where its runtime keeps what it prints, as seen from that root.
    pub logs: Vec<Log>,
}

/// Files with what a container prints.
#[derive(Clone, Debug)]
pub struct Log {
    /// The file, and those it was rotated to.
    pub paths: PathGlob,
    /// How they hold its lines.
    pub format: Format,
}

/// What is known of containers.
#[derive(Debug, Default)]
pub struct Containers {
    /// Those that may be read.
    pub roots: Vec<Root>,
    /// Those whose output cannot be read.
    pub unread: Vec<Unread>,
    /// Why not all could be found.
    pub error: Option<String>,
}

/// Finds the containers that may be read; asked at each scan.
pub type Roots = Box<dyn FnMut() -> Containers + Send>;

/// Lines in the order in which they were read; of one file none is left out.
#[derive(Debug, Default)]
pub struct Batch {
    /// The lines.
    pub entries: Vec<Entry>,
    /// About how many bytes they take.
    pub bytes: usize,
}

/// The files of one source.
pub struct Reader {
    settings: Settings,
    roots: Roots,
    tails: HashMap<(u64, u64), Tail>,
    /// A key by inode, to tell what a directory lists without looking at it.
    inodes: HashMap<u64, (u64, u64)>,
    committed: Positions,
    /// Of batches on their way, the last position of each file.
    sent: VecDeque<HashMap<(u64, u64), Position>>,
    copies: Copies,
    /// Files that were closed when this scan began with new ones.
    closed: Closed,
    scan: u64,
    scan_at: Instant,
    scanned_at: Option<Instant>,
    /// Positions must be saved before anything is read.
    barrier: bool,
    /// Committed positions differ from the saved ones.
    dirty: bool,
    buffer: Vec<u8>,
    /// Files open, and those that may be closed; as of this scan.
    open: usize,
    closable: Vec<(u64, u64)>,
    status: Status,
    /// Where the next turn begins, so that a busy file does not starve the others.
    turn: usize,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Reader")
            .field("settings", &self.settings)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl Reader {
    /// Goes on from `committed`.
    pub fn new(settings: Settings, roots: Roots, committed: Positions, now: Instant) -> Reader {
        Reader {
            settings,
            roots,
            tails: HashMap::new(),
            inodes: HashMap::new(),
            committed,
            sent: VecDeque::new(),
            copies: Copies::default(),
            closed: Closed::default(),
            scan: 0,
            scan_at: now,
            scanned_at: None,
            barrier: false,
            dirty: false,
            buffer: Vec::new(),
            open: 0,
            closable: Vec::new(),
            status: Status::default(),
            turn: 0,
        }
    }

    /// What it has done so far.
    pub fn status(&self) -> Status {
        let open = self.tails.values().filter(|tail| tail.file.is_some()).count();
        let lag_bytes = self.tails.values().map(Tail::lag).sum();
        Status { files: self.tails.len(), open, lag_bytes, ..self.status.clone() }
    }

    /// Its files, those with the most bytes left first, at most `limit`.
    pub fn files(&self, limit: usize) -> Vec<FileState> {
        let mut tails: Vec<&Tail> = self.tails.values().collect();
        tails.sort_unstable_by(|a, b| b.lag().cmp(&a.lag()).then_with(|| a.path.cmp(&b.path)));
        tails.into_iter().take(limit).map(Tail::state).collect()
    }

    /// Committed positions, to be saved, and whether that must be now: nothing is read before
    /// [`Reader::saved`].
    pub fn positions(&self) -> (&Positions, bool) {
        (&self.committed, self.barrier && self.sent.is_empty())
    }

    /// Whether positions changed since they were saved.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// The positions are saved.
    pub fn saved(&mut self) {
        self.dirty = false;
        if self.barrier && self.sent.is_empty() {
            self.barrier = false;
            self.tails.values_mut().for_each(|tail| tail.held = false);
        }
    }

    /// Batches on their way.
    pub fn unacknowledged(&self) -> usize {
        self.sent.len()
    }

    /// The oldest batch on its way is committed; `sequence` is the first event behind it.
    pub fn acknowledge(&mut self, sequence: u64) {
        for ((device, inode), position) in self.sent.pop_front().unwrap_or_default() {
            self.committed.set(device, inode, position);
        }
        self.committed.sequence = sequence;
        self.committed.known = true;
        self.dirty = true;
    }

    /// What was committed, for the one who goes on with other settings.
    pub fn into_positions(self) -> Positions {
        self.committed
    }

    /// Has the next call look for new files.
    pub fn look_now(&mut self, now: Instant) {
        self.scan_at = self.scan_at.min(now);
    }

    /// When there is something to do next.
    pub fn due(&self) -> Instant {
        let open = self.tails.values().filter(|tail| tail.file.is_some() && !tail.held);
        open.map(|tail| tail.check_at).min().map_or(self.scan_at, |at| at.min(self.scan_at))
    }

    /// Does what is due. `wall_ns`: the wall clock, for the ages of files. An empty batch is nothing new.
    pub fn poll(&mut self, now: Instant, wall_ns: u64) -> Batch {
        let mut batch = Batch::default();
        if self.barrier {
            return batch;
        }
        if now >= self.scan_at {
            let begun = Instant::now();
            self.scan(now, wall_ns);
            self.pace(now, begun.elapsed());
        }
        if !self.barrier {
            self.turns(now, wall_ns, &mut batch);
        }
        batch.bytes = batch.entries.iter().map(Entry::size).sum();
        self.note(&batch);
        batch
    }

    fn note(&mut self, batch: &Batch) {
        if batch.entries.is_empty() {
            return;
        }
        let mut last = HashMap::new();
        for entry in &batch.entries {
            let line = &entry.line;
            let mut position = Positions::default();
            position.learn(&entry.container, line);
            let key = (line.file.device, line.file.inode);
            if let Some(position) = position.get(key.0, key.1) {
                last.insert(key, position.clone());
            }
            self.status.cut += u64::from(line.flags & event::line_flags::CUT != 0);
        }
        self.status.lines += batch.entries.len() as u64;
        self.sent.push_back(last);
    }

    fn turns(&mut self, now: Instant, wall_ns: u64, batch: &mut Batch) {
        let ready = |tail: &Tail| tail.file.is_some() && !tail.held && tail.check_at <= now;
        let mut due: Vec<(u64, u64)> =
            self.tails.iter().filter(|(_, tail)| ready(tail)).map(|(key, _)| *key).collect();
        due.sort_unstable();
        let start = self.turn % due.len().max(1);
        due.rotate_left(start);
        self.turn = self.turn.wrapping_add(1);
        let mut held: usize =
            self.tails.values().map(|tail| tail.held_bytes(self.settings.max_line_bytes)).sum();
        let (mut bytes, mut counted) = (0, 0);
        for key in due {
            let Some(tail) = self.tails.get_mut(&key) else { continue };
            let before = tail.held_bytes(self.settings.max_line_bytes);
            let turn = tail.turn(&self.settings, now, &mut self.buffer, &mut batch.entries);
            held = (held + tail.held_bytes(self.settings.max_line_bytes)).saturating_sub(before);
            if held > self.settings.held_limit {
                held = held.saturating_sub(tail.held_bytes(self.settings.max_line_bytes));
                if let Err(error) = tail.let_go(&self.settings, &mut batch.entries) {
                    self.status.trouble(told(&tail.path, &error));
                }
            }
            if tail.moved {
                self.scan_at = self.scan_at.min(self.scanned_at.map_or(now, |at| at + SCAN_PAUSE));
            }
            self.after(key, turn, now, wall_ns, &mut batch.entries);
            bytes += batch.entries.iter().skip(counted).map(Entry::size).sum::<usize>();
            counted = batch.entries.len();
            if bytes >= BATCH_BYTES || self.barrier {
                break;
            }
        }
    }

    fn after(
        &mut self,
        key: (u64, u64),
        turn: Result<Turn, Error>,
        now: Instant,
        wall_ns: u64,
        out: &mut Vec<Entry>,
    ) {
        let Some(tail) = self.tails.get_mut(&key) else { return };
        match turn {
            Ok(Turn::Read | Turn::Idle) => {}
            Ok(Turn::Close) => tail.close(),
            Ok(Turn::Removed) => {
                if let Err(error) = tail.finish(&self.settings, out) {
                    self.status.trouble(told(&tail.path, &error));
                }
                self.remove(key);
            }
            Ok(Turn::Truncated) => {
                let ghost = tail.truncate(&self.settings, out);
                self.status.truncated += 1;
                self.copies.remember(ghost);
                // A copy that was made before is looked for, and its place saved, before the file is
                // read anew: afterwards nothing would tell how much of the copy is known.
                self.scan(now, wall_ns);
                self.barrier = true;
            }
            Err(error) => {
                self.status.trouble(told(&tail.path, &error));
                tail.close();
            }
        }
    }

    fn remove(&mut self, key: (u64, u64)) {
        self.tails.remove(&key);
        if self.inodes.get(&key.1) == Some(&key) {
            self.inodes.remove(&key.1);
        }
        if !self.sent.iter().any(|sent| sent.contains_key(&key)) {
            self.committed.forget(key.0, key.1);
            self.dirty = true;
        }
    }
}

impl Reader {
    /// Looks for files that are new, and for those that are known under another name.
    /// A scan that takes long comes seldom: those who are watched can make it as long as they like.
    fn pace(&mut self, now: Instant, took: Duration) {
        if took >= LONG_SCAN {
            self.scan_at = self.scan_at.max(now + took * SCAN_REST);
        }
    }

    fn scan(&mut self, now: Instant, wall_ns: u64) {
        self.scan += 1;
        self.scan_at = now + self.settings.scan_every;
        self.scanned_at = Some(now);
        let first = self.scan == 1;
        self.count_open();
        let containers = (self.roots)();
        if let Some(error) = containers.error {
            self.status.trouble(error);
        }
        self.status.unread = containers.unread;
        let roots = containers.roots;
        let host = match host_root() {
            Ok(host) => host,
            Err(error) => return self.status.trouble(error.to_string()),
        };
        let found = self.find(&host, &roots);
        let place = |index: usize| match index.checked_sub(1).and_then(|index| roots.get(index)) {
            Some(root) => (root.id.as_str(), root.root.as_ref().unwrap_or(&host).as_fd()),
            None => ("", host.as_fd()),
        };
        let mut fresh = Vec::new();
        for FoundPath { root: index, path, inode, format, fixed } in found {
            let (container, root) = place(index);
            if self.is_excluded(&path) || self.is_seen(container, &path, inode) {
                continue;
            }
            let there = match self.settings.symlinks {
                true => look(root, &path, true),
                false => look_below(root, &path, fixed),
            };
            match there {
                Ok(found) if found.is_regular() => {
                    if let Some(unknown) = self.meet(container, path, format, found, now) {
                        fresh.push((index, unknown));
                    }
                }
                Ok(_) => {}
                Err(error) if error.is_absent() => {}
                Err(error) => self.status.trouble(told(&path, &error)),
            }
        }
        // Files that went on under a name no pattern leads to, while nobody looked.
        if first {
            self.find_renamed(&roots, host.as_fd(), now, &mut fresh);
        }
        // Those that are known first: of what they were, others may be copies.
        fresh.sort_by_key(|(_, tail): &(usize, Tail)| self.committed.get(tail.key.0, tail.key.1).is_none());
        self.closed = match fresh.is_empty() {
            true => Closed::default(),
            false => Closed::new(self.tails.values()),
        };
        for (index, tail) in fresh {
            let Ok(found) = look(place(index).1, &tail.path, self.settings.symlinks) else { continue };
            if (found.stat.st_dev, found.stat.st_ino) != tail.key {
                continue;
            }
            if !self.make_room() {
                // Some others will be at their end by then.
                self.scan_at = now + SCAN_PAUSE;
                break;
            }
            let path = tail.path.clone();
            if let Err(error) = self.begin(tail, &found, first, wall_ns, now) {
                self.status.trouble(told(&path, &error));
            }
        }
        self.forget_missing();
    }

    /// Every path that a pattern leads to.
    fn find(&mut self, host: &OwnedFd, roots: &[Root]) -> Vec<FoundPath> {
        let mut found = Vec::new();
        let status = &mut self.status;
        let links = self.settings.symlinks;
        let mut walk = |glob: &PathGlob, index: usize, root: &OwnedFd, format: Format| match glob.walk(
            root.as_fd(),
            links,
            &mut |path, inode| {
                found.push(FoundPath { root: index, path, inode, format, fixed: glob.fixed() })
            },
        ) {
            Ok(false) => {}
            Ok(true) => status.trouble("too many files or directories: some are left out".to_string()),
            Err(error) => status.trouble(error.to_string()),
        };
        for glob in &self.settings.paths {
            let others = roots.iter().map(|root| (Some(&root.name), root.root.as_ref().unwrap_or(host)));
            for (index, (name, root)) in std::iter::once((None, host)).chain(others).enumerate() {
                let meant = match (&glob.container, name) {
                    (None, None) => true,
                    (Some(pattern), Some(name)) => names_container(pattern, name),
                    _ => false,
                };
                if meant {
                    walk(glob, index, root, Format::Plain);
                }
            }
        }
        for (index, root) in roots.iter().enumerate() {
            for log in &root.logs {
                walk(&log.paths, index + 1, root.root.as_ref().unwrap_or(host), log.format);
            }
        }
        found
    }

    fn is_excluded(&self, path: &[u8]) -> bool {
        self.settings.exclude.iter().any(|pattern| matches(pattern.as_bytes(), path))
    }

    /// Whether a directory's listing says that this is an open file under the name it has.
    fn is_seen(&mut self, container: &str, path: &[u8], inode: Option<u64>) -> bool {
        let Some(key) = inode.and_then(|inode| self.inodes.get(&inode)) else { return false };
        let Some(tail) = self.tails.get_mut(key) else { return false };
        let same = tail.file.is_some() && tail.path == path && tail.container == container;
        if same {
            tail.scan = self.scan;
        }
        same
    }

    /// A file that is known is renamed or opened again; one that is not is given back.
    fn meet(
        &mut self,
        container: &str,
        path: Vec<u8>,
        format: Format,
        found: Found,
        now: Instant,
    ) -> Option<Tail> {
        let key = (found.stat.st_dev, found.stat.st_ino);
        let Some(tail) = self.tails.get_mut(&key) else {
            let fresh = Tail::new(&found.stat, container, path, format, now);
            return Some(fresh);
        };
        // Two names of one file, or the name it has now.
        if tail.scan != self.scan && tail.path != path {
            tail.renamed = tail.file.is_some();
            tail.path = path;
        }
        tail.scan = self.scan;
        if tail.file.is_some() || tail.is_unchanged(&found.stat) {
            return None;
        }
        let (next, print) = (tail.next, tail.fingerprint());
        if !self.make_room() {
            self.scan_at = now + SCAN_PAUSE;
            return None;
        }
        let tail = self.tails.get_mut(&key)?;
        let resumed = found.open().and_then(|file| tail.resume(file, next, print));
        match resumed {
            Ok(_) => tail.check_at = now,
            Err(error) => self.status.trouble(told(&tail.path, &error)),
        }
        None
    }

    /// Begins with a file that no tail is for.
    fn begin(
        &mut self,
        mut tail: Tail,
        found: &Found,
        first: bool,
        wall_ns: u64,
        now: Instant,
    ) -> Result<(), Error> {
        let size = size_of(&found.stat);
        let key = tail.key;
        let known = self.committed.get(key.0, key.1).map(|position| (position.next, position.fingerprint));
        let file = found.open()?;
        if let Some((next, print)) = known
            && size >= next
            && tail.resume(
                file.try_clone().map_err(|source| Error::Kernel { doing: "opening the file", source })?,
                next,
                print,
            )?
        {
            return self.keep(tail);
        }
        // Written anew while nobody looked: a copy of what it was may be near.
        if known.is_some()
            && let Some(position) = self.committed.get(key.0, key.1)
        {
            let (container, path) = (position.container.clone(), position.path.clone());
            self.copies.remember(crate::tail::Ghost {
                container,
                path,
                fingerprint: position.fingerprint,
                next: position.next,
                last: Vec::new(),
            });
        }
        let head = head_print(&file, size).ok().flatten();
        let open = self.tails.values().filter(|other| other.file.is_some());
        let closed = self.closed.like(&tail.path, head).filter_map(|key| self.tails.get(&key));
        match self.copies.judge(&tail, &file, (size, head), open.chain(closed), now) {
            crate::copies::Verdict::Own => {}
            crate::copies::Verdict::Wait => return Ok(()),
            crate::copies::Verdict::From(next) => {
                tail.begin(file, next.min(size))?;
                return self.keep_from_here(tail);
            }
        }
        let mtime = u64::try_from(found.stat.st_mtime).unwrap_or(0).saturating_mul(1_000_000_000);
        let age = Duration::from_nanos(wall_ns.saturating_sub(mtime));
        let old = self.settings.ignore_older.is_some_and(|limit| age > limit);
        let skipped = first && !self.committed.known && self.settings.from == From::End;
        if old || skipped {
            tail.begin(file, size)?;
            return self.keep_from_here(tail);
        }
        tail.begin(file, 0)?;
        self.keep(tail)
    }

    /// A place that no event tells: it is saved before anything is read.
    fn keep_from_here(&mut self, mut tail: Tail) -> Result<(), Error> {
        self.committed.set(tail.key.0, tail.key.1, tail.position());
        self.dirty = true;
        self.barrier = true;
        tail.held = true;
        self.keep(tail)
    }

    fn keep(&mut self, mut tail: Tail) -> Result<(), Error> {
        tail.scan = self.scan;
        self.inodes.insert(tail.key.1, tail.key);
        self.tails.insert(tail.key, tail);
        Ok(())
    }

    fn find_renamed(
        &mut self,
        roots: &[Root],
        host: BorrowedFd<'_>,
        now: Instant,
        fresh: &mut Vec<(usize, Tail)>,
    ) {
        let mut met: std::collections::HashSet<(u64, u64)> = fresh.iter().map(|(_, tail)| tail.key).collect();
        let mut wanted: HashMap<(String, Vec<u8>), Keys> = HashMap::new();
        for (key, position) in self.committed.iter().filter(|(key, _)| !met.contains(key)) {
            let end = position.path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
            let dir = position.path.get(..end).unwrap_or_default().to_vec();
            wanted.entry((position.container.clone(), dir)).or_default().push(*key);
        }
        for ((container, dir), keys) in wanted {
            let place = match container.as_str() {
                "" => Some((0, host, Format::Plain)),
                id => roots.iter().enumerate().find(|(_, root)| root.id == id).map(|(index, found)| {
                    let root = found.root.as_ref().map_or(host, AsFd::as_fd);
                    (index + 1, root, found.logs.first().map(|log| log.format).unwrap_or_default())
                }),
            };
            let Some((index, root, format)) = place else { continue };
            let Ok(entries) = look(root, &dir, true).and_then(|found| found.entries()) else { continue };
            for (name, inode) in entries {
                if !keys.iter().any(|key| key.1 == inode) {
                    continue;
                }
                let path = [&dir, b"/".as_slice(), &name].concat();
                let Ok(found) = look(root, &path, false) else { continue };
                let key = (found.stat.st_dev, found.stat.st_ino);
                let same = self.committed.get(key.0, key.1).is_some_and(|position| {
                    let print = found.open().and_then(|file| head_print(&file, position.next));
                    size_of(&found.stat) > position.next
                        && print.is_ok_and(|print| print == Some(position.fingerprint))
                });
                if found.is_regular() && same && met.insert(key) {
                    fresh.push((index, Tail::new(&found.stat, &container, path, format, now)));
                }
            }
        }
    }

    /// Closed files that no name leads to any more.
    fn forget_missing(&mut self) {
        let scan = self.scan;
        let gone: Vec<(u64, u64)> = self
            .tails
            .iter()
            .filter(|(_, tail)| tail.file.is_none() && tail.scan + MISSING_SCANS < scan)
            .map(|(key, _)| *key)
            .collect();
        for key in gone {
            self.tails.remove(&key);
        }
        for tail in self.tails.values_mut().filter(|tail| tail.scan != scan) {
            tail.renamed = true;
        }
    }

    /// Whether one more file may be open; the one that was quiet for longest is closed for it.
    fn make_room(&mut self) -> bool {
        if self.open < self.settings.open_limit {
            self.open += 1;
            return true;
        }
        while let Some(key) = self.closable.pop() {
            if let Some(tail) = self.tails.get_mut(&key).filter(|tail| tail.file.is_some()) {
                tail.close();
                return true;
            }
        }
        false
    }

    /// Counts open files, and lists those at their end, those quiet for longest last.
    fn count_open(&mut self) {
        let open = || self.tails.iter().filter(|(_, tail)| tail.file.is_some());
        self.open = open().count();
        let mut quiet: Vec<(Instant, (u64, u64))> = open()
            .filter(|(_, tail)| tail.is_at_end())
            .map(|(key, tail)| (tail.quiet_since(), *key))
            .collect();
        quiet.sort_unstable_by(|a, b| b.cmp(a));
        self.closable = quiet.into_iter().map(|(_, key)| key).collect();
    }
}

fn told(path: &[u8], error: &Error) -> String {
    format!("{}: {error}", event::document::text(path))
}
