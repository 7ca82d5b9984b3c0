// SPDX-License-Identifier: Apache-2.0
//! The process that begins a session on behalf of a client on another host. It runs in a container of its own with the
//! host's processes, and its standard input and output lead to the client: [`crate::frame`] says what is said there.
//!
//! It puts itself among the host's mounts, in a copy of their namespace in which its own image is mounted as well, and
//! then starts an ordinary client, with pipes or a terminal of the host. So everything is as if that client had been
//! typed there. Whatever happens to the connection, the session is over before this process is, and its container
//! with it.

mod host;

use crate::frame::{Frame, Frames, INPUT_WINDOW, Kind, put};
use crate::signals::Signals;
use crate::spec::Window;
use crate::terminal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{DumpableBehavior, Pid, WaitOptions, set_child_subreaper, set_dumpable_behavior, wait};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often each side says that it is still there, when it has nothing else to say.
pub const ALIVE: Duration = Duration::from_secs(5);
/// How long either side believes in a silent other one.
pub const SILENCE: Duration = Duration::from_secs(15);
/// Time for a session to be over.
const END_PATIENCE: Duration = Duration::from_secs(10);
/// Time for the last bytes of a terminal, which the kernel passes on in its own time.
const LAST_BYTES: Duration = Duration::from_secs(1);
const NAP: Duration = Duration::from_millis(5);
/// The most bytes that wait to go out; nothing is read from the program while there are more.
const OUTGOING: usize = 256 << 10;
/// The longest description of a session.
const BEGINNING_LIMIT: usize = 4 << 20;
const CHUNK: usize = 32 << 10;
const HANG_UP: i32 = 1;
const INTERRUPT: i32 = 2;
const TERMINATE: i32 = 15;
const CHILD_ENDED: i32 = 17;
const WINDOW_CHANGED: i32 = 28;

/// What is to begin.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Beginning {
    /// The client's arguments, behind those that this program puts first.
    pub arguments: Vec<OsString>,
    /// The client's environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The size of the terminal, if there is to be one.
    pub window: Option<Window>,
}

/// The main function of an outpost. `first` gives the first arguments of a client, from the place where the image is.
pub fn outpost(first: impl Fn(&Path) -> Vec<OsString>) -> u8 {
    let mut post = match Post::new() {
        Ok(post) => post,
        // There is nobody to tell.
        Err(_) => return 1,
    };
    let code = match post.run(first) {
        Ok(Some(code)) => {
            put(&mut post.outgoing, Kind::Exited, &[code]);
            0
        }
        // Whoever would hear of it is gone.
        Ok(None) => return 1,
        Err(failure) => {
            put(&mut post.outgoing, Kind::Failed, failure.as_bytes());
            1
        }
    };
    post.last_words();
    code
}

/// The end that leads to the client.
struct Post {
    input: OwnedFd,
    output: OwnedFd,
    frames: Frames,
    outgoing: Vec<u8>,
    heard: Instant,
    said: Instant,
}

/// The session's client, and the ends of its streams that are ours.
struct Session {
    child: Child,
    input: Option<OwnedFd>,
    outputs: [Option<OwnedFd>; 2],
    terminal: Option<OwnedFd>,
    /// Input that has found no room yet.
    typed: Vec<u8>,
    input_is_over: bool,
    code: Option<u8>,
    /// When the code was there.
    ended: Option<Instant>,
}

/// Nobody is there any more, or wants the session any more.
struct Gone;

impl Post {
    fn new() -> io::Result<Post> {
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        let input = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
        let output = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
        rustix::io::ioctl_fionbio(&input, true)?;
        rustix::io::ioctl_fionbio(&output, true)?;
        let now = Instant::now();
        Ok(Post { input, output, frames: Frames::default(), outgoing: Vec::new(), heard: now, said: now })
    }

    /// The exit code; nothing when the client was gone.
    fn run(&mut self, first: impl Fn(&Path) -> Vec<OsString>) -> Result<Option<u8>, String> {
        let told = |doing: &str, error: io::Error| format!("{doing}: {error}");
        let signals = Signals::catch(&[HANG_UP, INTERRUPT, TERMINATE, CHILD_ENDED])
            .map_err(|error| told("catching signals", error))?;
        let Ok(beginning) = self.beginning(&signals)? else { return Ok(None) };
        let place = host::enter().map_err(|error| error.to_string())?;
        // A keeper whose client was killed is ours to wait for.
        set_child_subreaper(Some(rustix::process::getpid()))
            .map_err(|error| told("becoming a subreaper", error.into()))?;
        let mut session = Session::start(&place.join("purser"), first(&place), &beginning)
            .map_err(|error| told("starting the session's client", error))?;
        put(&mut self.outgoing, Kind::Started, b"");
        let kept = self.keep(&mut session, &signals);
        if kept.is_err() {
            // Its keeper sees that it is gone, and ends the session.
            session.child.kill().unwrap_or_default();
        }
        let code = session.code;
        drop(session);
        wait_for_all();
        Ok(kept.ok().and(code))
    }

    /// What is to begin, once all of it is there.
    fn beginning(&mut self, signals: &Signals) -> Result<Result<Beginning, Gone>, String> {
        let mut text = Vec::new();
        loop {
            match self.frames.take().map_err(|error| error.to_string())? {
                Some(Frame { kind: Kind::Part, payload }) => text.extend(payload),
                Some(Frame { kind: Kind::Begin, .. }) => break,
                Some(Frame { kind: Kind::Alive, .. }) => {}
                Some(_) => return Ok(Err(Gone)),
                None => {
                    self.wait(signals, None);
                    if self.hear().is_err() || self.is_silent() || has_ending(&signals.take()) {
                        return Ok(Err(Gone));
                    }
                }
            }
            if text.len() > BEGINNING_LIMIT {
                return Err(format!("the session's description is longer than {BEGINNING_LIMIT} bytes"));
            }
        }
        serde_json::from_slice(&text).map(Ok).map_err(|_| crate::frame::NoFrame.to_string())
    }

    /// Passes on until the program has ended and all it has written is on its way.
    fn keep(&mut self, session: &mut Session, signals: &Signals) -> Result<(), Gone> {
        loop {
            self.wait(signals, Some(session));
            if has_ending(&signals.take()) {
                return Err(Gone);
            }
            self.hear()?;
            while let Some(frame) = self.frames.take().map_err(|_| Gone)? {
                session.obey(frame)?;
            }
            let passed_on = session.pass_input_on();
            if passed_on > 0 {
                let count = u32::try_from(passed_on).unwrap_or(u32::MAX);
                put(&mut self.outgoing, Kind::Taken, &count.to_be_bytes());
            }
            let is_quiet = self.read_outputs(session);
            self.say()?;
            if self.is_silent() {
                return Err(Gone);
            }
            session.look_whether_over();
            if session.is_told(is_quiet) && self.outgoing.len() < OUTGOING {
                return Ok(());
            }
        }
    }

    fn wait(&self, signals: &Signals, session: Option<&Session>) {
        let mut polled =
            vec![PollFd::new(&self.input, PollFlags::IN), PollFd::new(&signals.wake, PollFlags::IN)];
        if !self.outgoing.is_empty() {
            polled.push(PollFd::new(&self.output, PollFlags::OUT));
        }
        if let Some(session) = session {
            if self.outgoing.len() < OUTGOING {
                polled.extend(session.outputs.iter().flatten().map(|fd| PollFd::new(fd, PollFlags::IN)));
            }
            if !session.typed.is_empty() {
                polled.extend(session.input.iter().map(|fd| PollFd::new(fd, PollFlags::OUT)));
            }
        }
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        // Whatever woke it, everybody is looked at.
        poll(&mut polled, Some(&second)).map(drop).unwrap_or_default();
    }

    /// Takes in what has come.
    fn hear(&mut self) -> Result<(), Gone> {
        let mut buffer = [0; CHUNK];
        match rustix::io::read(&self.input, &mut buffer) {
            Ok(0) => Err(Gone),
            Ok(count) => {
                self.heard = Instant::now();
                self.frames.push(buffer.get(..count).unwrap_or_default());
                Ok(())
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(()),
            Err(_) => Err(Gone),
        }
    }

    fn is_silent(&self) -> bool {
        self.heard.elapsed() > SILENCE
    }

    /// Sends what goes now.
    fn say(&mut self) -> Result<(), Gone> {
        if self.outgoing.is_empty() && self.said.elapsed() > ALIVE {
            put(&mut self.outgoing, Kind::Alive, b"");
        }
        while !self.outgoing.is_empty() {
            match rustix::io::write(&self.output, &self.outgoing) {
                Ok(count) => {
                    self.said = Instant::now();
                    self.outgoing.drain(..count.min(self.outgoing.len()));
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(_) => return Err(Gone),
            }
        }
        Ok(())
    }

    /// What the program has written; whether there is nothing more now.
    fn read_outputs(&mut self, session: &mut Session) -> bool {
        let mut is_quiet = true;
        for (at, kind) in [(0, Kind::Output), (1, Kind::Errors)] {
            let Some(Some(output)) = session.outputs.get(at) else { continue };
            if self.outgoing.len() >= OUTGOING {
                is_quiet = false;
                continue;
            }
            let mut buffer = [0; CHUNK];
            match rustix::io::read(output, &mut buffer) {
                Ok(count @ 1..) => {
                    put(&mut self.outgoing, kind, buffer.get(..count).unwrap_or_default());
                    is_quiet = false;
                }
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                // A terminal that nobody has open any more says so by an error.
                Ok(_) | Err(_) => session.close_output(at),
            }
        }
        is_quiet
    }

    /// Everything out that is to go out, for a while.
    fn last_words(&mut self) {
        let until = Instant::now() + SILENCE;
        while !self.outgoing.is_empty() && Instant::now() < until && self.say().is_ok() {
            let mut polled = [PollFd::new(&self.output, PollFlags::OUT)];
            let moment = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
            poll(&mut polled, Some(&moment)).map(drop).unwrap_or_default();
        }
    }
}

impl Session {
    fn start(program: &Path, mut arguments: Vec<OsString>, beginning: &Beginning) -> io::Result<Session> {
        arguments.extend(beginning.arguments.iter().cloned());
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(beginning.environment.iter().cloned());
        let session = |command: &mut Command, terminal: Option<OwnedFd>| -> io::Result<Session> {
            let mut child = command.spawn()?;
            let own = |fd: Option<OwnedFd>| -> io::Result<Option<OwnedFd>> {
                fd.iter().try_for_each(|fd| rustix::io::ioctl_fionbio(fd, true))?;
                Ok(fd)
            };
            let copy = || terminal.as_ref().map(OwnedFd::try_clone).transpose();
            let input = own(child.stdin.take().map(OwnedFd::from).or(copy()?))?;
            let output = own(child.stdout.take().map(OwnedFd::from).or(copy()?))?;
            let errors = own(child.stderr.take().map(OwnedFd::from))?;
            let outputs = [output, errors];
            Ok(Session {
                child,
                input,
                outputs,
                terminal,
                typed: Vec::new(),
                input_is_over: false,
                code: None,
                ended: None,
            })
        };
        match beginning.window {
            None => {
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
                session(&mut command, None)
            }
            Some(window) => {
                let made = terminal::of_host(window)?;
                command.stdin(made.slave.try_clone()?).stdout(made.slave.try_clone()?).stderr(made.slave);
                let session = session(&mut command, Some(made.master));
                // Our copies would keep the terminal open.
                drop(command);
                session
            }
        }
    }

    fn obey(&mut self, frame: Frame) -> Result<(), Gone> {
        match frame.kind {
            Kind::Input => {
                if self.typed.len() + frame.payload.len() > INPUT_WINDOW {
                    return Err(Gone);
                }
                self.typed.extend(frame.payload);
            }
            Kind::InputEnd => self.input_is_over = true,
            Kind::Resize => {
                if let (Some(window), Some(terminal)) = (frame.window(), &self.terminal) {
                    // One that is gone has no size; the client hears of the other by a signal.
                    terminal::resize(terminal.as_fd(), window).unwrap_or_default();
                    self.signal(WINDOW_CHANGED);
                }
            }
            Kind::Signal => {
                if let &[number @ 1..=31] = frame.payload.as_slice() {
                    self.signal(number.into());
                }
            }
            Kind::Unread => match frame.payload.as_slice() {
                [1] => self.close_output(0),
                [2] => self.close_output(1),
                _ => {}
            },
            Kind::End => return Err(Gone),
            _ => {}
        }
        Ok(())
    }

    fn signal(&mut self, number: i32) {
        // Not to a number that may be somebody else's by now.
        if self.code.is_some() {
            return;
        }
        let (pid, signal) = (Pid::from_child(&self.child), rustix::process::Signal::from_named_raw(number));
        if let Some(signal) = signal {
            rustix::process::kill_process(pid, signal).unwrap_or_default();
        }
    }

    fn close_output(&mut self, at: usize) {
        if let Some(output) = self.outputs.get_mut(at) {
            *output = None;
        }
    }

    /// How many bytes of input have found their way.
    fn pass_input_on(&mut self) -> usize {
        let mut passed = 0;
        while let (Some(input), false) = (&self.input, self.typed.is_empty()) {
            match rustix::io::write(input, &self.typed) {
                Ok(count) => {
                    passed += count;
                    self.typed.drain(..count.min(self.typed.len()));
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return passed,
                // Nobody reads: as if it had been read.
                Err(_) => self.input = None,
            }
        }
        if self.input.is_none() {
            passed += std::mem::take(&mut self.typed).len();
        }
        if self.input_is_over && self.terminal.is_none() {
            self.input = None;
        }
        passed
    }

    fn look_whether_over(&mut self) {
        if self.code.is_none()
            && let Ok(Some(status)) = self.child.try_wait()
        {
            let code = status.code().or_else(|| Some(128 + status.signal()?));
            self.code = Some(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(125));
            self.ended = Some(Instant::now());
        }
    }

    /// Whether it has ended and all it wrote has been read. Whoever still has its streams open then writes nothing any
    /// more: what ran in the session was ended before its client.
    fn is_told(&self, is_quiet: bool) -> bool {
        let is_late = self.ended.is_some_and(|ended| ended.elapsed() > LAST_BYTES);
        self.code.is_some() && (self.outputs.iter().all(Option::is_none) || (is_quiet && is_late))
    }
}

fn has_ending(signals: &[i32]) -> bool {
    signals.iter().any(|number| *number != CHILD_ENDED)
}

/// Waits for the client and for a keeper that outlived it: with this process ends the container, and all in it.
fn wait_for_all() {
    let until = Instant::now() + END_PATIENCE;
    while Instant::now() < until {
        match wait(WaitOptions::NOHANG) {
            Ok(None) => std::thread::sleep(NAP),
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            // There is nobody.
            Err(_) => return,
        }
    }
}
