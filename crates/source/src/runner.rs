// SPDX-License-Identifier: Apache-2.0
//! The thread around a [`Reader`]: hands batches over, hears what is committed, saves positions.
//! It waits for the one who takes its batches; nobody waits for it.

use crate::positions::Positions;
use crate::reader::{Batch, Reader, Roots};
use crate::settings::Settings;
use crate::status::{FileState, Status};
use crate::tail::Entry;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Batches on their way to the store.
const BATCHES_LIMIT: usize = 4;
/// Longest sleep: how soon an order to stop is heard.
const NAP: Duration = Duration::from_millis(100);
/// Sleep while the store takes nothing.
const FULL_NAP: Duration = Duration::from_millis(5);
/// Time between two lists of files for [`Runner::files`], and most files in one.
const LIST_EVERY: Duration = Duration::from_secs(1);
const LIST_LIMIT: usize = 1_000;
/// Time between two summaries of positions.
const SAVE_EVERY: Duration = Duration::from_secs(10);

/// Changes what lines say.
pub type Edit = Box<dyn FnMut(&mut [Entry]) + Send>;

/// What a runner begins with.
pub struct Start {
    /// What to do.
    pub settings: Settings,
    /// Finds containers.
    pub roots: Roots,
    /// What is committed, found out on the thread: it may take a while.
    pub positions: Box<dyn FnOnce() -> Positions + Send>,
    /// Where summaries of positions are kept.
    pub dir: PathBuf,
    /// The wall clock, nanoseconds since 1970.
    pub clock: fn() -> u64,
    /// Called with the lines of each batch before they are handed over: it may change what they say, not
    /// where they are from.
    pub edit: Edit,
    /// Called when a batch is there.
    pub wake: Box<dyn Fn() + Send>,
}

impl std::fmt::Debug for Start {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Start")
            .field("settings", &self.settings)
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

/// A source at work.
#[derive(Debug)]
pub struct Runner {
    batches: Receiver<Batch>,
    committed: Sender<u64>,
    stop: Arc<AtomicBool>,
    look: Arc<AtomicBool>,
    status: Arc<Mutex<Status>>,
    files: Arc<Mutex<Vec<FileState>>>,
    thread: JoinHandle<Positions>,
}

impl Runner {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the kernel gives no thread.
    pub fn start(name: &str, start: Start) -> io::Result<Runner> {
        let (sender, batches) = sync_channel(BATCHES_LIMIT);
        let (committed, acknowledged) = channel();
        let (stop, status) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Status::default())));
        let look = Arc::new(AtomicBool::new(false));
        let work = Work {
            sender,
            acknowledged,
            stop: Arc::clone(&stop),
            look: Arc::clone(&look),
            status: Arc::clone(&status),
            files: Arc::default(),
        };
        let files = Arc::clone(&work.files);
        let thread = std::thread::Builder::new().name(name.to_string()).spawn(move || work.run(start))?;
        Ok(Runner { batches, committed, stop, look, status, files, thread })
    }

    /// The next batch, if one is there.
    pub fn take(&self) -> Option<Batch> {
        self.batches.try_recv().ok()
    }

    /// Each batch that was taken is told once, in order, when it is committed. `sequence`: the first
    /// event behind it.
    pub fn committed(&self, sequence: u64) {
        // A thread that is gone needs it no more.
        self.committed.send(sequence).unwrap_or_default();
    }

    /// Has it look for new files soon.
    pub fn look_now(&self) {
        self.look.store(true, Ordering::Relaxed);
    }

    /// What it does.
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its files as of a second ago, those with the most bytes left first, at most 1,000.
    pub fn files(&self) -> Vec<FileState> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells the thread to end. Batches not taken yet are read again by the next one.
    pub fn stop(self) -> Stopping {
        self.stop.store(true, Ordering::Relaxed);
        Stopping { thread: self.thread }
    }
}

/// A source that was told to end.
#[derive(Debug)]
pub struct Stopping {
    thread: JoinHandle<Positions>,
}

impl Stopping {
    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for its end; what it knew to be committed.
    pub fn join(self) -> Option<Positions> {
        self.thread.join().ok()
    }
}

struct Work {
    sender: SyncSender<Batch>,
    acknowledged: Receiver<u64>,
    stop: Arc<AtomicBool>,
    look: Arc<AtomicBool>,
    status: Arc<Mutex<Status>>,
    files: Arc<Mutex<Vec<FileState>>>,
}

impl Work {
    fn run(self, mut start: Start) -> Positions {
        let positions = (start.positions)();
        let mut reader = Reader::new(start.settings, start.roots, positions, Instant::now());
        let mut saved_at = Instant::now();
        let mut listed_at: Option<Instant> = None;
        let mut waiting = None;
        while !self.stop.load(Ordering::Relaxed) {
            while let Ok(sequence) = self.acknowledged.try_recv() {
                reader.acknowledge(sequence);
            }
            self.save(&mut reader, &start.dir, &mut saved_at);
            if self.look.swap(false, Ordering::Relaxed) {
                reader.look_now(Instant::now());
            }
            let batch = match waiting.take() {
                Some(batch) => batch,
                None if reader.unacknowledged() < BATCHES_LIMIT => {
                    let mut batch = reader.poll(Instant::now(), (start.clock)());
                    (start.edit)(&mut batch.entries);
                    batch
                }
                None => Batch::default(),
            };
            self.tell(&reader);
            if listed_at.is_none_or(|at| at.elapsed() >= LIST_EVERY) {
                listed_at = Some(Instant::now());
                *self.files.lock().unwrap_or_else(PoisonError::into_inner) = reader.files(LIST_LIMIT);
            }
            if batch.entries.is_empty() {
                self.sleep(&mut reader);
                continue;
            }
            match self.sender.try_send(batch) {
                Ok(()) => (start.wake)(),
                Err(TrySendError::Full(batch)) => {
                    waiting = Some(batch);
                    std::thread::sleep(FULL_NAP);
                }
                Err(TrySendError::Disconnected(_)) => break,
            }
        }
        drop(self.sender);
        // What was taken is committed or lost by now; the other end of this goes with it.
        while let Ok(sequence) = self.acknowledged.recv_timeout(NAP) {
            reader.acknowledge(sequence);
        }
        if reader.is_dirty()
            && let Err(error) = reader.positions().0.save(&start.dir)
        {
            self.status.lock().unwrap_or_else(PoisonError::into_inner).error = Some(error.to_string());
        }
        reader.into_positions()
    }

    fn save(&self, reader: &mut Reader, dir: &std::path::Path, saved_at: &mut Instant) {
        let (positions, now) = reader.positions();
        let due = reader.is_dirty() && saved_at.elapsed() >= SAVE_EVERY;
        if !now && !due {
            return;
        }
        match positions.save(dir) {
            Ok(()) => reader.saved(),
            Err(error) => {
                self.status.lock().unwrap_or_else(PoisonError::into_inner).error = Some(error.to_string());
                std::thread::sleep(NAP);
            }
        }
        *saved_at = Instant::now();
    }

    fn tell(&self, reader: &Reader) {
        let status = reader.status();
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    /// Until something is due, a batch is committed, or an order may have come.
    fn sleep(&self, reader: &mut Reader) {
        let (_, barrier) = reader.positions();
        if barrier {
            return;
        }
        let left = reader.due().saturating_duration_since(Instant::now());
        let left =
            if reader.unacknowledged() > 0 { FULL_NAP } else { left.clamp(Duration::from_millis(1), NAP) };
        if let Ok(sequence) = self.acknowledged.recv_timeout(left) {
            reader.acknowledge(sequence);
        }
    }
}
