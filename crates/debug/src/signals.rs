// SPDX-License-Identifier: Apache-2.0
//! Signals as flags, and what they ask of a client that has a terminal.

use rustix::process::{Signal, getpid, kill_process};
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Signals that end a client with a terminal, and the session with it.
const ENDING: [i32; 6] = [1, 2, 3, 10, 12, 15];
const CONTINUED: i32 = 18;
const STOPPED: i32 = 20;
const WINDOW_CHANGED: i32 = 28;

/// Signals as flags, and a socket on which a byte comes with each.
#[derive(Debug)]
pub struct Signals {
    flags: Vec<(i32, Arc<AtomicBool>)>,
    /// Becomes readable when a signal has come.
    pub wake: UnixStream,
}

/// What a client with a terminal is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// To end, by the signal of this number.
    End(u8),
    /// To give the terminal back and [stop](Signals::stop).
    Stop,
    /// To go on after a stop, whoever had the terminal meanwhile.
    GoOn,
    /// To look how large the terminal is.
    Resize,
}

impl Signals {
    /// From now on these are noted, and nothing else is done.
    ///
    /// # Errors
    /// For signals that cannot be caught.
    pub fn catch(numbers: &[i32]) -> io::Result<Signals> {
        let (wake, told) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let mut flags = Vec::new();
        for &number in numbers {
            let flag = Arc::new(AtomicBool::new(false));
            // The flag first: whoever is woken finds it.
            signal_hook::flag::register(number, Arc::clone(&flag))?;
            signal_hook::low_level::pipe::register(number, told.try_clone()?)?;
            flags.push((number, flag));
        }
        Ok(Signals { flags, wake })
    }

    /// Those that a client with a terminal has to do something about.
    ///
    /// # Errors
    /// When they cannot be caught.
    pub fn catch_for_terminal() -> io::Result<Signals> {
        let numbers = [&ENDING[..], &[CONTINUED, STOPPED, WINDOW_CHANGED]];
        Signals::catch(&numbers.concat())
    }

    /// Those that came since the last time.
    pub fn take(&self) -> Vec<i32> {
        let mut bytes = [0; 64];
        while matches!(io::Read::read(&mut (&self.wake), &mut bytes), Ok(1..)) {}
        let set = self.flags.iter().filter(|(_, flag)| flag.swap(false, Ordering::AcqRel));
        set.map(|(number, _)| *number).collect()
    }

    /// What those that came since the last time come to.
    pub fn ask(&self) -> Option<Ask> {
        let came = self.take();
        if let Some(number) = came.iter().find(|number| ENDING.contains(number)) {
            return Some(Ask::End(u8::try_from(*number).unwrap_or_default()));
        }
        // Whoever was stopped and continued in one breath goes on; the screen is drawn anew in any case.
        let asks = [(CONTINUED, Ask::GoOn), (STOPPED, Ask::Stop), (WINDOW_CHANGED, Ask::Resize)];
        asks.into_iter().find(|(number, _)| came.contains(number)).map(|(_, ask)| ask)
    }

    /// Stops this process, as SIGTSTP would have, until it is continued.
    pub fn stop(&self) {
        let goes_on =
            |(number, flag): &(i32, Arc<AtomicBool>)| *number == CONTINUED && flag.load(Ordering::Acquire);
        // Nobody continues it a second time.
        if !self.flags.iter().any(goes_on) {
            kill_process(getpid(), Signal::STOP).unwrap_or_default();
        }
    }
}
