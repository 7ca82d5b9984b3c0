// SPDX-License-Identifier: Apache-2.0
//! The command's side of a session: starts the keeper, then passes on signals, or what is typed and shown.
//! With pipes the program has the client's own descriptors, and not a byte comes by here.

use crate::error::host;
use crate::keys::{DetachKeys, Watch};
use crate::link::{Kind, Link, Message, PAYLOAD_LIMIT, Received};
use crate::relay::Relays;
use crate::spec::{Failure, Spec};
use crate::target::Target;
use crate::terminal::{self, Saved};
use crate::{DebugError, collect, exe, handover};
use rustix::event::{PollFd, PollFlags, poll};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Signals that are the program's business when it has no terminal of its own.
pub const PASSED_ON: [i32; 6] = [1, 2, 3, 10, 12, 15];
/// Signals that end a client with a terminal, and the session with it.
const ENDING: [i32; 2] = [1, 15];
const WINDOW_CHANGED: i32 = 28;
/// The size of a read of what is typed.
const TYPED: usize = 4096;

/// How a client's part ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The program ended with this code; 128 and the number for a signal.
    Exited(u8),
    /// The session goes on without this client.
    Detached,
    /// Somebody else has the terminal now.
    Replaced,
}

/// How a conversation with a keeper failed.
#[derive(Debug)]
pub(crate) enum Sentence {
    Failed(Failure),
    KeeperGone,
    Odd,
    Io(io::Error),
}

impl From<Sentence> for DebugError {
    fn from(sentence: Sentence) -> DebugError {
        match sentence {
            Sentence::Failed(failure) => DebugError::Failed(failure),
            Sentence::KeeperGone => DebugError::KeeperGone,
            Sentence::Odd => DebugError::Message,
            Sentence::Io(source) => DebugError::Host { doing: "passing bytes on".into(), source },
        }
    }
}

/// Runs a session to its end, or until the keys are typed. `arguments` are those that make this program call
/// [`crate::keep`].
///
/// # Errors
/// When there is no session; what was begun is gone.
pub fn start(
    spec: &Spec,
    target: &Target,
    arguments: &[&str],
    keys: &DetachKeys,
) -> Result<Outcome, DebugError> {
    let (link, mut keeper) = start_keeper(arguments, &spec.directory)?;
    let text = handover::put(spec)?;
    // With a terminal the keeper has this one to put it back, and the program gets one of the target's.
    let relays = match spec.terminal {
        Some(_) => None,
        None => Some(Relays::start().map_err(host("making pipes"))?),
    };
    let own = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    let streams = relays.as_ref().map_or(own, |relays| relays.streams.each_ref().map(AsFd::as_fd));
    let [input, output, errors] = streams;
    let mut descriptors = vec![text.as_fd(), target.fd.as_fd(), input, output, errors];
    descriptors.extend(target.hold.iter().map(|hold| hold.link.as_fd()));
    link.send(Kind::Start, b"", &descriptors).map_err(host("handing the session over to its keeper"))?;
    let keys = spec.terminal.is_some().then_some(keys);
    // The program runs already while this is done.
    let outcome = converse(&link, keys, || {
        collect(&spec.directory);
    });
    if let Ok(Outcome::Detached | Outcome::Replaced) = outcome {
        return Ok(Outcome::Detached);
    }
    drop(link);
    keeper.wait().map_err(host("waiting for the session's keeper"))?;
    relays.into_iter().for_each(Relays::finish);
    if matches!(outcome, Err(Sentence::KeeperGone)) {
        collect(&spec.directory);
    }
    Ok(outcome?)
}

fn start_keeper(arguments: &[&str], directory: &Path) -> Result<(Link, Child), DebugError> {
    let exe = exe::unwritable(directory).map_err(host("taking hold of this program's file"))?;
    let (link, its_link) = Link::pair().map_err(host("making a pair of sockets"))?;
    let mut command = Command::new(format!("/proc/self/fd/{}", exe.as_raw_fd()));
    command.arg0("purser").args(arguments).env_clear();
    command.stdin(Stdio::from(OwnedFd::from(its_link))).stdout(Stdio::null()).stderr(Stdio::null());
    let keeper = command.spawn().map_err(host("starting the session's keeper"))?;
    Ok((link, keeper))
}

/// Signals as flags, and a socket on which a byte comes with each.
#[derive(Debug)]
pub struct Signals {
    flags: Vec<(i32, Arc<AtomicBool>)>,
    /// Becomes readable when a signal has come.
    pub wake: UnixStream,
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

    /// Those that came since the last time.
    pub fn take(&self) -> Vec<i32> {
        let mut bytes = [0; 64];
        while matches!(io::Read::read(&mut (&self.wake), &mut bytes), Ok(1..)) {}
        let set = self.flags.iter().filter(|(_, flag)| flag.swap(false, Ordering::AcqRel));
        set.map(|(number, _)| *number).collect()
    }
}

/// Talks with a keeper until the end; with `keys` for a terminal. `meanwhile` is called once the program runs.
pub(crate) fn converse(
    link: &Link,
    keys: Option<&DetachKeys>,
    meanwhile: impl FnOnce(),
) -> Result<Outcome, Sentence> {
    let mut meanwhile = Some(meanwhile);
    let numbers: Vec<i32> = match keys {
        None => PASSED_ON.to_vec(),
        Some(_) => ENDING.into_iter().chain([WINDOW_CHANGED]).collect(),
    };
    let signals = Signals::catch(&numbers).map_err(Sentence::Io)?;
    let mut screen: Option<Screen> = None;
    loop {
        let ready = wait(link, &signals, screen.is_some()).map_err(Sentence::Io)?;
        if ready.signals {
            for number in signals.take() {
                match (keys, number) {
                    (Some(_), WINDOW_CHANGED) => resize(link),
                    (Some(_), _) => return Ok(Outcome::Exited(128 + u8::try_from(number).unwrap_or(0))),
                    (None, _) => {
                        let payload = [u8::try_from(number).unwrap_or(0)];
                        link.send(Kind::Signal, &payload, &[]).unwrap_or_default();
                    }
                }
            }
        }
        if ready.link {
            let message = match link.take() {
                Received::Nothing => continue,
                Received::Closed => return Err(Sentence::KeeperGone),
                Received::Message(message) => message,
            };
            if message.kind == Kind::Started {
                if let Some(keys) = keys {
                    screen = Some(Screen::take(keys).map_err(Sentence::Io)?);
                    resize(link);
                }
                meanwhile.take().into_iter().for_each(|meanwhile| meanwhile());
            } else if let Some(outcome) = hear(message)? {
                return Ok(outcome);
            }
        }
        if ready.typed
            && let Some(screen) = &mut screen
            && screen.pass_on(link).map_err(Sentence::Io)?
        {
            return Ok(Outcome::Detached);
        }
    }
}

fn hear(message: Message) -> Result<Option<Outcome>, Sentence> {
    match (message.kind, message.payload.as_slice()) {
        (Kind::Output, bytes) => {
            let mut out = File::from(rustix::stdio::stdout().try_clone_to_owned().map_err(Sentence::Io)?);
            out.write_all(bytes).map_err(Sentence::Io)?;
            Ok(None)
        }
        (Kind::Exited, &[code]) => Ok(Some(Outcome::Exited(code))),
        (Kind::Replaced, _) => Ok(Some(Outcome::Replaced)),
        (Kind::Failed, text) => Err(serde_json::from_slice(text).map_or(Sentence::Odd, Sentence::Failed)),
        _ => Err(Sentence::Odd),
    }
}

fn resize(link: &Link) {
    if let Some(window) = terminal::window(rustix::stdio::stdout()) {
        // A keeper that is gone is heard of by its silence.
        link.send(Kind::Resize, &window.bytes(), &[]).unwrap_or_default();
    }
}

/// The client's terminal while a session has it.
struct Screen {
    /// Puts it back.
    _saved: Saved,
    watch: Watch,
}

impl Screen {
    fn take(keys: &DetachKeys) -> io::Result<Screen> {
        let saved = Saved::of(rustix::stdio::stdin().try_clone_to_owned()?)?;
        saved.make_raw()?;
        Ok(Screen { _saved: saved, watch: Watch::new(keys) })
    }

    /// Passes on what was typed; true when it was the keys.
    fn pass_on(&mut self, link: &Link) -> io::Result<bool> {
        let mut buffer = [0; TYPED];
        let length = match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
            // The terminal is gone.
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => length,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let (typed, is_over) = self.watch.pass(buffer.get(..length).unwrap_or_default());
        if !typed.is_empty() {
            debug_assert!(typed.len() <= PAYLOAD_LIMIT);
            link.send(Kind::Input, &typed, &[]).or_else(over)?;
        }
        if is_over {
            return match link.send(Kind::Detach, b"", &[]) {
                Err(error) => over(error).map(|()| false),
                Ok(()) => Ok(true),
            };
        }
        Ok(false)
    }
}

/// A session that has just ended still has something to say about that.
fn over(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Ok(()),
        _ => Err(error),
    }
}

struct Ready {
    link: bool,
    signals: bool,
    typed: bool,
}

fn wait(link: &Link, signals: &Signals, with_typed: bool) -> io::Result<Ready> {
    let input = rustix::stdio::stdin();
    let mut polled = vec![PollFd::new(link, PollFlags::IN), PollFd::new(&signals.wake, PollFlags::IN)];
    if with_typed {
        polled.push(PollFd::from_borrowed_fd(input, PollFlags::IN));
    }
    match poll(&mut polled, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let is = |at: usize| polled.get(at).is_some_and(|one| !one.revents().is_empty());
    Ok(Ready { link: is(0), signals: is(1), typed: is(2) })
}
