// SPDX-License-Identifier: Apache-2.0
//! The client's side of a session on another host: what is typed and piped goes there, what comes is shown, and each side
//! says that it is still there. Nobody who reads slowly holds up anything else: outputs are written by threads.

mod outlet;

use anyhow::{Context, bail};
use debug::frame::{Frame, Frames, INPUT_WINDOW, Kind, put, size};
use debug::{ALIVE, Ask, Beginning, Modes, PASSED_ON, Raw, SILENCE, Signals};
use docker::{Attached, Output, Taken};
use outlet::Outlet;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::time::{Duration, Instant};

/// What has the other client draw its terminal anew.
const CONTINUED: u8 = 18;
/// Bytes that are read from standard input at once.
const CHUNK: usize = 32 << 10;
/// The most bytes that wait to be sent before more input is read.
const WAITING: usize = 128 << 10;
/// The most of the outpost's own complaints that are kept.
const COMPLAINTS_LIMIT: usize = 4096;
/// Time for the other host to be done with a session.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// Runs the session to its end; the exit code.
pub(super) fn talk(attached: Attached, target: &str, beginning: &Beginning) -> anyhow::Result<u8> {
    let with_terminal = beginning.window.is_some();
    let signals = match with_terminal {
        true => Signals::catch_for_terminal(),
        false => Signals::catch(&PASSED_ON),
    };
    let now = Instant::now();
    let mut talk = Talk {
        attached,
        frames: Frames::default(),
        outlets: Outlet::both().context("making threads for what is shown")?,
        signals: signals.context("catching signals")?,
        raw: None,
        modes: Modes::default(),
        with_terminal,
        started: false,
        input: true,
        on_their_way: 0,
        complaints: Vec::new(),
        heard: now,
        said: now,
    };
    let text = serde_json::to_vec(beginning).context("writing the session down")?;
    talk.say(Kind::Part, &text);
    talk.say(Kind::Begin, b"");
    let ended = talk.pass_on();
    let Talk { raw, outlets, mut attached, complaints, modes, .. } = talk;
    let code = match ended {
        Ok(Ending::Exited(code)) => Ok(code),
        Ok(Ending::Failed(why)) => Err(anyhow::anyhow!("{target}: {why}")),
        Ok(Ending::Over) => {
            let said = String::from_utf8_lossy(&complaints).trim().to_owned();
            let why = if said.is_empty() { attached.why_ended().to_string() } else { said };
            Err(anyhow::anyhow!("the session on that host is over: {why}"))
        }
        Err(error) => Err(error),
    };
    if code.is_ok() {
        wait_for_end(&mut attached);
    }
    outlets.into_iter().for_each(Outlet::finish);
    if raw.is_some() {
        let line_end = if code.is_ok() { b"" } else { modes.line_end() };
        show(&[modes.undo().as_slice(), line_end].concat());
    }
    // Only now, so that what is told stands behind what was shown.
    drop(raw);
    code
}

enum Ending {
    Exited(u8),
    Failed(String),
    /// The connection is over and nobody said why.
    Over,
}

struct Talk {
    attached: Attached,
    frames: Frames,
    outlets: [Outlet; 2],
    signals: Signals,
    raw: Option<Raw>,
    /// What the program has changed of the terminal.
    modes: Modes,
    with_terminal: bool,
    started: bool,
    /// Whether there may be more of it.
    input: bool,
    /// Bytes of input that were sent and not yet taken there.
    on_their_way: usize,
    complaints: Vec<u8>,
    heard: Instant,
    said: Instant,
}

impl Talk {
    fn say(&mut self, kind: Kind, payload: &[u8]) {
        let mut bytes = Vec::with_capacity(payload.len() + 16);
        put(&mut bytes, kind, payload);
        self.attached.queue(&bytes);
        self.said = Instant::now();
    }

    fn pass_on(&mut self) -> anyhow::Result<Ending> {
        loop {
            if let Some(ending) = self.hear()? {
                return Ok(ending);
            }
            if let Some(ending) = self.obey_signals()? {
                return Ok(ending);
            }
            for (at, outlet) in self.outlets.iter_mut().enumerate() {
                if outlet.has_just_closed() {
                    let mut bytes = Vec::new();
                    put(&mut bytes, Kind::Unread, &[u8::try_from(at + 1).unwrap_or(0)]);
                    self.attached.queue(&bytes);
                }
            }
            if self.said.elapsed() >= ALIVE {
                self.say(Kind::Alive, b"");
            }
            if self.heard.elapsed() > SILENCE {
                bail!(
                    "nothing has been heard from that host for {} s; it ends the session by itself",
                    SILENCE.as_secs()
                );
            }
            self.attached.flush()?;
            if self.wait()? {
                self.read_input()?;
            }
        }
    }

    /// Takes what has come, as long as it finds room.
    fn hear(&mut self) -> anyhow::Result<Option<Ending>> {
        loop {
            if self.outlets.iter().any(Outlet::is_full) {
                // Whoever is not listened to is not silent.
                self.heard = Instant::now();
                return Ok(None);
            }
            if let Some(frame) = self.frames.take()? {
                match self.take(frame) {
                    Some(ending) => return Ok(Some(ending)),
                    None => continue,
                }
            }
            match self.attached.take()? {
                Taken::Nothing => return Ok(None),
                Taken::End => return Ok(Some(Ending::Over)),
                Taken::Bytes(Output::Output, bytes) => {
                    self.heard = Instant::now();
                    self.frames.push(&bytes);
                }
                Taken::Bytes(Output::Errors, bytes) => {
                    let room = COMPLAINTS_LIMIT.saturating_sub(self.complaints.len());
                    self.complaints.extend(bytes.into_iter().take(room));
                }
            }
        }
    }

    fn take(&mut self, frame: Frame) -> Option<Ending> {
        match frame.kind {
            Kind::Started => self.start(),
            Kind::Output | Kind::Errors => {
                let at = usize::from(frame.kind == Kind::Errors);
                if self.with_terminal {
                    self.modes.feed(&frame.payload);
                }
                if let Some(outlet) = self.outlets.get_mut(at) {
                    outlet.put(frame.payload);
                }
            }
            Kind::Taken => {
                let count = frame.number().and_then(|count| usize::try_from(count).ok());
                self.on_their_way = self.on_their_way.saturating_sub(count.unwrap_or(0));
            }
            Kind::Exited => return Some(Ending::Exited(frame.payload.first().copied().unwrap_or(125))),
            Kind::Failed => {
                return Some(Ending::Failed(String::from_utf8_lossy(&frame.payload).into_owned()));
            }
            _ => {}
        }
        None
    }

    fn start(&mut self) {
        self.started = true;
        if self.with_terminal {
            // A terminal that cannot be made raw shows what is typed twice, and is good for nothing worse.
            self.raw = Raw::take().ok();
            self.resize();
        }
    }

    fn resize(&mut self) {
        if let Some(window) = debug::window() {
            self.say(Kind::Resize, &size(window));
        }
    }

    fn obey_signals(&mut self) -> anyhow::Result<Option<Ending>> {
        if !self.with_terminal {
            for number in self.signals.take() {
                self.say(Kind::Signal, &[u8::try_from(number).unwrap_or(0)]);
            }
            return Ok(None);
        }
        match self.signals.ask() {
            Some(Ask::End(number)) => {
                self.say(Kind::End, b"");
                self.attached.flush()?;
                return Ok(Some(Ending::Exited(128 + number)));
            }
            Some(Ask::Stop) => self.stop(),
            Some(Ask::GoOn) => self.go_on()?,
            Some(Ask::Resize) => self.resize(),
            None => {}
        }
        Ok(None)
    }

    /// Gives the terminal back and stops. Whoever is longer silent than the other host waits finds his session ended.
    fn stop(&self) {
        if let Some(raw) = &self.raw {
            show(&[self.modes.undo().as_slice(), self.modes.line_end()].concat());
            raw.pause();
        }
        self.signals.stop();
    }

    fn go_on(&mut self) -> anyhow::Result<()> {
        let Some(raw) = &self.raw else { return Ok(()) };
        raw.resume().context("taking the terminal again")?;
        show(&self.modes.redo());
        self.resize();
        self.say(Kind::Signal, &[CONTINUED]);
        Ok(())
    }

    /// Waits for anything; whether there is input.
    fn wait(&self) -> anyhow::Result<bool> {
        let input = rustix::stdio::stdin();
        let is_full = self.outlets.iter().any(Outlet::is_full);
        let mut wanted = self.attached.wants();
        wanted.set(PollFlags::IN, !is_full);
        let mut polled = vec![
            PollFd::from_borrowed_fd(self.attached.fd(), wanted),
            PollFd::new(&self.signals.wake, PollFlags::IN),
        ];
        polled.extend(self.outlets.iter().map(|outlet| PollFd::new(&outlet.wake, PollFlags::IN)));
        let reads = self.started
            && self.input
            && self.on_their_way + CHUNK <= INPUT_WINDOW
            && self.attached.waiting() < WAITING;
        if reads {
            polled.push(PollFd::from_borrowed_fd(input, PollFlags::IN));
        }
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        match poll(&mut polled, Some(&second)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).context("waiting"),
        }
        Ok(reads && polled.last().is_some_and(|input| !input.revents().is_empty()))
    }

    fn read_input(&mut self) -> anyhow::Result<()> {
        let mut buffer = [0; CHUNK];
        match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
            Ok(0) if self.with_terminal => bail!("the terminal is gone"),
            Ok(0) => {
                self.input = false;
                self.say(Kind::InputEnd, b"");
            }
            Ok(count) => {
                self.on_their_way += count;
                self.say(Kind::Input, buffer.get(..count).unwrap_or_default());
            }
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(_) if self.with_terminal => bail!("the terminal is gone"),
            // As a program that has no standard input.
            Err(_) => {
                self.input = false;
                self.say(Kind::InputEnd, b"");
            }
        }
        Ok(())
    }
}

/// What a terminal is set to. One that takes nothing, or has gone, has to do without.
fn show(bytes: &[u8]) {
    rustix::io::write(rustix::stdio::stdout(), bytes).map(drop).unwrap_or_default();
}

/// The connection ends with the outpost's container; a daemon that is slow about it is not waited for longer.
fn wait_for_end(attached: &mut Attached) {
    let until = Instant::now() + END_PATIENCE;
    while Instant::now() < until {
        match attached.take() {
            Ok(Taken::Bytes(..)) => {}
            Ok(Taken::Nothing) => {
                let mut polled = [PollFd::from_borrowed_fd(attached.fd(), PollFlags::IN)];
                let moment = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
                poll(&mut polled, Some(&moment)).map(drop).unwrap_or_default();
            }
            Ok(Taken::End) | Err(_) => return,
        }
    }
}
