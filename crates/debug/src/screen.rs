// SPDX-License-Identifier: Apache-2.0
//! The client's terminal while a session has it. Nothing here waits, neither for a terminal that takes nothing nor for a
//! keeper that does not read: what finds no room stays here, so that signals are always heard.

use crate::keys::{DetachKeys, Watch};
use crate::link::{Kind, Link, PAYLOAD_LIMIT};
use crate::modes::Modes;
use crate::terminal::{self, Saved};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;

/// The size of a read of what is typed.
const TYPED: usize = 4096;

pub(crate) struct Screen {
    /// Puts it back.
    saved: Saved,
    watch: Watch,
    out: OwnedFd,
    modes: Modes,
    /// What is to be shown and has found no room.
    shown: Vec<u8>,
    /// What was typed and has found no room.
    typed: Vec<u8>,
    /// What is to be told of its size.
    size: Option<Kind>,
    /// Whether the keys were typed.
    leaves: bool,
}

impl Screen {
    pub(crate) fn take(keys: &DetachKeys) -> io::Result<Screen> {
        let saved = Saved::of(rustix::stdio::stdin().try_clone_to_owned()?)?;
        saved.make_raw()?;
        Ok(Screen {
            saved,
            watch: Watch::new(keys),
            out: output()?,
            modes: Modes::default(),
            shown: Vec::new(),
            typed: Vec::new(),
            size: Some(Kind::Resize),
            leaves: false,
        })
    }

    /// Whether what came has been shown.
    pub(crate) fn is_done(&self) -> bool {
        self.shown.is_empty()
    }

    /// Whether something waits to be sent.
    pub(crate) fn has_words(&self) -> bool {
        !self.typed.is_empty() || self.size.is_some() || self.leaves
    }

    pub(crate) fn out(&self) -> &OwnedFd {
        &self.out
    }

    pub(crate) fn resize(&mut self) {
        self.size.get_or_insert(Kind::Resize);
    }

    pub(crate) fn show(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        self.modes.feed(&bytes);
        self.shown.extend(bytes);
        self.write()
    }

    /// Shows what there is room for.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        while !self.shown.is_empty() {
            match rustix::io::write(&self.out, &self.shown) {
                Ok(written) => drop(self.shown.drain(..written.min(self.shown.len()))),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Takes what was typed, when what was typed before is on its way.
    pub(crate) fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; TYPED];
        let length = match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
            // The terminal is gone.
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => length,
            Err(Errno::INTR | Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let (typed, is_over) = self.watch.pass(buffer.get(..length).unwrap_or_default());
        debug_assert!(typed.len() <= PAYLOAD_LIMIT);
        (self.typed, self.leaves) = (typed, is_over);
        Ok(())
    }

    /// Sends what there is room for; true when that was the client's leave.
    pub(crate) fn send(&mut self, link: &Link) -> io::Result<bool> {
        match self.offer(link) {
            // A session that has just ended still has something to say about that.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
            {
                (self.typed, self.size, self.leaves) = (Vec::new(), None, false);
                Ok(false)
            }
            sent => sent,
        }
    }

    fn offer(&mut self, link: &Link) -> io::Result<bool> {
        if let Some(kind) = self.size {
            if let Some(window) = terminal::window(rustix::stdio::stdout())
                && !link.offer(kind, &window.bytes())?
            {
                return Ok(false);
            }
            self.size = None;
        }
        if !self.typed.is_empty() {
            if !link.offer(Kind::Input, &self.typed)? {
                return Ok(false);
            }
            self.typed.clear();
        }
        Ok(self.leaves && link.offer(Kind::Detach, b"")?)
    }

    /// The terminal is somebody else's for a while.
    pub(crate) fn pause(&self) {
        self.say(&[self.modes.undo().as_slice(), self.modes.line_end()].concat());
        self.saved.put_back();
    }

    /// The terminal is the session's again, which draws it anew.
    pub(crate) fn resume(&mut self) -> io::Result<()> {
        self.saved.make_raw()?;
        self.say(&self.modes.redo());
        self.size = Some(Kind::Redraw);
        Ok(())
    }

    /// Gives the terminal back; words of ours are next, unless the program ended by itself.
    pub(crate) fn leave(self, with_words: bool) {
        let line_end = if with_words { self.modes.line_end() } else { b"" };
        self.say(&[self.modes.undo().as_slice(), line_end].concat());
    }

    fn say(&self, bytes: &[u8]) {
        if !bytes.is_empty() {
            // A terminal that takes nothing, or has gone, has to do without.
            rustix::io::write(&self.out, bytes).map(drop).unwrap_or_default();
        }
    }
}

/// Standard output, opened anew so that a write which waits for nobody is this process's alone.
fn output() -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match open("/proc/self/fd/1", flags, Mode::empty()) {
        Ok(out) => Ok(out),
        // Somebody else's terminal, after `su`: then a write waits.
        Err(_) => rustix::stdio::stdout().try_clone_to_owned(),
    }
}
