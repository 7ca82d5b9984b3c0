// SPDX-License-Identifier: Apache-2.0
//! What interrupts the agent's sleep: signals and other threads, through one socket pair.

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The reading end, and what signals asked for.
#[derive(Debug)]
pub(crate) struct Wake {
    reader: UnixStream,
    writer: UnixStream,
    stop: Arc<AtomicBool>,
    terminate: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
}

impl Wake {
    /// Catches SIGTERM and SIGINT (stop) and SIGHUP (reload).
    pub(crate) fn new() -> anyhow::Result<Wake> {
        let (reader, writer) = UnixStream::pair().context("making a socket pair")?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        let [stop, terminate, reload] = [(); 3].map(|()| Arc::new(AtomicBool::new(false)));
        signal_hook::flag::register(SIGTERM, Arc::clone(&terminate)).context("catching signals")?;
        for (signal, flag) in [(SIGTERM, &stop), (SIGINT, &stop), (SIGHUP, &reload)] {
            signal_hook::flag::register(signal, Arc::clone(flag)).context("catching signals")?;
            signal_hook::low_level::pipe::register(signal, writer.try_clone()?)
                .context("catching signals")?;
        }
        Ok(Wake { reader, writer, stop, terminate, reload })
    }

    /// Something other threads can call.
    pub(crate) fn waker(&self) -> anyhow::Result<impl Fn() + Send + Sync + 'static> {
        let writer = self.writer.try_clone()?;
        // A full socket wakes as well as one more byte would.
        Ok(move || drop((&writer).write(&[1])))
    }

    /// Sleeps until `ring` is readable, somebody wakes us, or `timeout` is over.
    /// True when the ring is readable.
    pub(crate) fn sleep(&mut self, ring: BorrowedFd<'_>, timeout: Duration) -> anyhow::Result<bool> {
        let mut fds =
            [PollFd::from_borrowed_fd(ring, PollFlags::IN), PollFd::new(&self.reader, PollFlags::IN)];
        let timeout = Timespec::try_from(timeout).context("a timeout out of range")?;
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("waiting for the kernel"),
        }
        let readable = fds[0].revents().contains(PollFlags::IN);
        let mut bytes = [0; 64];
        loop {
            match self.reader.read(&mut bytes) {
                Ok(64) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => return Ok(readable),
            }
        }
    }

    /// Whether a signal asked for the end.
    pub(crate) fn is_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether that was SIGTERM, which comes from no terminal; asking forgets it.
    pub(crate) fn take_terminate(&self) -> bool {
        self.terminate.swap(false, Ordering::Relaxed)
    }

    /// Whether a signal asked for the configuration to be read again; asking forgets it.
    pub(crate) fn take_reload(&self) -> bool {
        self.reload.swap(false, Ordering::Relaxed)
    }
}
