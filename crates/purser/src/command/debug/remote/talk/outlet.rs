// SPDX-License-Identifier: Apache-2.0
//! A stream that is written by a thread of its own: a terminal that was stopped, or a program that does not read, makes
//! that thread wait and nobody else.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

/// Pieces that may wait for the thread.
const QUEUE: usize = 8;

#[derive(Debug)]
pub(super) struct Outlet {
    queue: SyncSender<Vec<u8>>,
    thread: JoinHandle<()>,
    /// What found no room in the queue.
    pending: Option<Vec<u8>>,
    is_closed: Arc<AtomicBool>,
    told: bool,
    /// Becomes readable when a piece is written.
    pub(super) wake: UnixStream,
}

impl Outlet {
    /// Standard output and standard error.
    pub(super) fn both() -> io::Result<[Outlet; 2]> {
        Ok([Outlet::new("output", rustix::stdio::stdout())?, Outlet::new("errors", rustix::stdio::stderr())?])
    }

    fn new(name: &str, stream: BorrowedFd<'_>) -> io::Result<Outlet> {
        let mut file = File::from(stream.try_clone_to_owned()?);
        let (queue, pieces) = sync_channel::<Vec<u8>>(QUEUE);
        let (wake, told) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        told.set_nonblocking(true)?;
        let is_closed = Arc::new(AtomicBool::new(false));
        let closed = Arc::clone(&is_closed);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            for piece in pieces {
                if !closed.load(Ordering::Acquire) && file.write_all(&piece).is_err() {
                    // Nobody reads it any more; what still comes is for nobody.
                    closed.store(true, Ordering::Release);
                }
                // When there is no room, enough bytes are there to wake somebody.
                (&told).write(&[1]).map(drop).unwrap_or_default();
            }
        })?;
        Ok(Outlet { queue, thread, pending: None, is_closed, told: false, wake })
    }

    /// Takes a piece; afterwards it may be full.
    pub(super) fn put(&mut self, piece: Vec<u8>) {
        match self.queue.try_send(piece) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(piece)) => self.pending = Some(piece),
        }
    }

    /// Whether it takes nothing more now.
    pub(super) fn is_full(&self) -> bool {
        self.pending.is_some()
    }

    /// Tries again what found no room, and whether nobody reads any more, which is told once.
    pub(super) fn has_just_closed(&mut self) -> bool {
        let mut bytes = [0; 64];
        while matches!(io::Read::read(&mut (&self.wake), &mut bytes), Ok(1..)) {}
        if let Some(piece) = self.pending.take() {
            self.put(piece);
        }
        let is_news = self.is_closed.load(Ordering::Acquire) && !self.told;
        self.told |= is_news;
        is_news
    }

    /// Waits until all is written.
    pub(super) fn finish(self) {
        let Outlet { queue, thread, pending, .. } = self;
        if let Some(piece) = pending {
            queue.send(piece).unwrap_or_default();
        }
        drop(queue);
        // One that panicked has written what it could.
        thread.join().unwrap_or_default();
    }
}
