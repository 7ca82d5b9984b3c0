// SPDX-License-Identifier: Apache-2.0
//! Terminals: the session's, which is one of the target's, and the client's, which is put back as it was.

use crate::DebugError;
use crate::root::{StepError, step};
use crate::spec::Window;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, Termios, Winsize, tcdrain, tcgetattr, tcgetwinsize, tcsetattr,
    tcsetwinsize,
};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The two ends of a terminal.
#[derive(Debug)]
pub(crate) struct Terminal {
    pub(crate) master: OwnedFd,
    pub(crate) slave: OwnedFd,
}

/// A new terminal among those that the session's root has, so that its name means something in there.
/// With `utf8` a letter of several bytes is one letter, as where somebody takes it back.
pub(crate) fn new(window: Window, utf8: bool, owner: u32) -> Result<Terminal, StepError> {
    let opening = || step::<rustix::io::Errno>("opening a terminal among the target's");
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let master = open("/dev/pts/ptmx", flags, Mode::empty())
        .or_else(|_| open("/dev/ptmx", flags, Mode::empty()))
        .map_err(opening())?;
    unlockpt(&master).map_err(opening())?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = ioctl_tiocgptpeer(&master, flags).map_err(opening())?;
    resize(master.as_fd(), window).map_err(step("sizing the terminal"))?;
    let mut state = tcgetattr(&slave).map_err(opening())?;
    state.input_modes.set(InputModes::IUTF8, utf8);
    tcsetattr(&slave, OptionalActions::Now, &state).map_err(opening())?;
    let owner = rustix::fs::Uid::from_raw(owner);
    rustix::fs::fchown(&slave, Some(owner), None).map_err(step("giving the terminal to the user"))?;
    Ok(Terminal { master, slave })
}

/// A new terminal of this host, for a client that somebody else sits behind.
pub(crate) fn of_host(window: Window) -> io::Result<Terminal> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    unlockpt(&master)?;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    resize(master.as_fd(), window)?;
    Ok(Terminal { master, slave })
}

pub(crate) fn resize(terminal: BorrowedFd<'_>, window: Window) -> io::Result<()> {
    let size = Winsize { ws_row: window.rows, ws_col: window.columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(tcsetwinsize(terminal, size)?)
}

/// How large a terminal is; `None` for what is no terminal.
pub(crate) fn window(terminal: BorrowedFd<'_>) -> Option<Window> {
    let size = tcgetwinsize(terminal).ok()?;
    Some(Window { rows: size.ws_row, columns: size.ws_col })
}

/// Whether a letter of several bytes is one letter to the terminal on standard input.
pub fn is_utf8() -> bool {
    tcgetattr(rustix::stdio::stdin()).is_ok_and(|state| state.input_modes.contains(InputModes::IUTF8))
}

impl Window {
    pub(crate) fn bytes(self) -> [u8; 4] {
        let ([a, b], [c, d]) = (self.rows.to_be_bytes(), self.columns.to_be_bytes());
        [a, b, c, d]
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Window> {
        let [a, b, c, d] = bytes.try_into().ok()?;
        Some(Window { rows: u16::from_be_bytes([a, b]), columns: u16::from_be_bytes([c, d]) })
    }
}

/// The state of a terminal, given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Saved {
    terminal: OwnedFd,
    /// Nothing when it is to stay as it is.
    state: Option<Termios>,
}

impl Saved {
    pub(crate) fn of(terminal: OwnedFd) -> io::Result<Saved> {
        let state = Some(tcgetattr(&terminal)?);
        Ok(Saved { terminal, state })
    }

    /// Every byte passes as it is, until this is dropped. A process in the background is stopped here until it is in front.
    pub(crate) fn make_raw(&self) -> io::Result<()> {
        let Some(mut raw) = self.state.clone() else { return Ok(()) };
        raw.make_raw();
        Ok(tcsetattr(&self.terminal, OptionalActions::Now, &raw)?)
    }

    /// As it was, until it is made raw again.
    pub(crate) fn put_back(&self) {
        // A terminal that has gone needs nothing.
        if let Some(state) = &self.state {
            tcsetattr(&self.terminal, OptionalActions::Now, state).unwrap_or_default();
        }
    }

    /// Puts a terminal back whose client is gone, unless somebody has set it anew: the client at its end, or a shell.
    pub(crate) fn put_back_for_client(self) {
        let unset = LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        let is_raw = tcgetattr(&self.terminal).is_ok_and(|now| !now.local_modes.intersects(unset));
        if is_raw {
            self.put_back();
        }
        self.forget();
    }

    /// Leaves the terminal as it is.
    pub(crate) fn forget(mut self) {
        self.state = None;
    }
}

/// The terminal on standard input, raw until this is dropped.
#[derive(Debug)]
pub struct Raw {
    saved: Saved,
}

impl Raw {
    /// Makes it raw.
    ///
    /// # Errors
    /// When it is none.
    pub fn take() -> io::Result<Raw> {
        let saved = Saved::of(rustix::stdio::stdin().try_clone_to_owned()?)?;
        saved.make_raw()?;
        Ok(Raw { saved })
    }

    /// As it was, until it is taken again.
    pub fn pause(&self) {
        self.saved.put_back();
    }

    /// Raw again.
    ///
    /// # Errors
    /// When it has gone.
    pub fn resume(&self) -> io::Result<()> {
        self.saved.make_raw()
    }
}

/// Waits until this process is in front of the terminal on standard input; one in the background is stopped meanwhile. What
/// a terminal is set to in between is its shell's business, and not what it is to be put back to.
///
/// # Errors
/// When nobody can bring it to the front, or the terminal has gone.
pub fn wait_for_front() -> Result<(), DebugError> {
    // Of all that a terminal is asked only what changes it stops those in the background. This changes nothing.
    while let Err(error) = tcdrain(rustix::stdio::stdin()) {
        match error {
            Errno::INTR => {}
            Errno::NOTTY => break,
            _ => {
                let doing = "waiting to be in front of the terminal (is its shell gone?)".into();
                return Err(DebugError::Host { doing, source: error.into() });
            }
        }
    }
    Ok(())
}

impl Drop for Saved {
    fn drop(&mut self) {
        self.put_back();
    }
}

#[cfg(test)]
mod tests {
    use crate::spec::Window;

    #[test]
    fn sizes() {
        let window = Window { rows: 24, columns: 300 };
        assert_eq!(Window::from_bytes(&window.bytes()), Some(window));
        assert_eq!(Window::from_bytes(b"abc"), None);
    }
}
