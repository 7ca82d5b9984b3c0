// SPDX-License-Identifier: Apache-2.0
//! The command's side of a session: starts the keeper, then passes on signals, or what is typed and shown.
//! With pipes the program has the client's own descriptors, and not a byte comes by here.

use crate::error::host;
use crate::keys::DetachKeys;
use crate::link::{Kind, Link, Message, Received};
use crate::relay::Relays;
use crate::screen::Screen;
use crate::signals::{Ask, Signals};
use crate::spec::{Failure, Spec};
use crate::target::Target;
use crate::{DebugError, collect, exe, handover};
use rustix::event::{PollFd, PollFlags, poll};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Signals that are the program's business when it has no terminal of its own.
pub const PASSED_ON: [i32; 6] = [1, 2, 3, 10, 12, 15];

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

/// Talks with a keeper until the end; with `keys` for a terminal. `meanwhile` is called once the program runs.
pub(crate) fn converse(
    link: &Link,
    keys: Option<&DetachKeys>,
    meanwhile: impl FnOnce(),
) -> Result<Outcome, Sentence> {
    let signals = match keys {
        None => Signals::catch(&PASSED_ON),
        Some(_) => Signals::catch_for_terminal(),
    };
    let signals = signals.map_err(Sentence::Io)?;
    let mut screen = None;
    let outcome = talk(link, (keys, &mut screen), &signals, meanwhile);
    if let Some(screen) = screen {
        screen.leave(!matches!(outcome, Ok(Outcome::Exited(_))));
    }
    outcome
}

fn talk(
    link: &Link,
    (keys, screen): (Option<&DetachKeys>, &mut Option<Screen>),
    signals: &Signals,
    meanwhile: impl FnOnce(),
) -> Result<Outcome, Sentence> {
    let mut meanwhile = Some(meanwhile);
    loop {
        let ready = wait(link, signals, screen.as_ref()).map_err(Sentence::Io)?;
        if ready.signals {
            match keys {
                None => pass_signals_on(signals, link),
                Some(_) => {
                    if let Some(number) = obey(signals, screen).map_err(Sentence::Io)? {
                        return Ok(Outcome::Exited(128 + number));
                    }
                }
            }
        }
        if ready.link {
            match link.take() {
                Received::Nothing => {}
                Received::Closed => return Err(Sentence::KeeperGone),
                Received::Message(Message { kind: Kind::Started, .. }) => {
                    if let Some(keys) = keys {
                        *screen = Some(Screen::take(keys).map_err(Sentence::Io)?);
                    }
                    meanwhile.take().into_iter().for_each(|meanwhile| meanwhile());
                }
                Received::Message(message) => {
                    if let Some(outcome) = hear(message, screen.as_mut())? {
                        return Ok(outcome);
                    }
                }
            }
        }
        let Some(screen) = screen else { continue };
        if ready.typed {
            screen.read().map_err(Sentence::Io)?;
        }
        screen.write().map_err(Sentence::Io)?;
        if screen.send(link).map_err(Sentence::Io)? {
            return Ok(Outcome::Detached);
        }
    }
}

fn pass_signals_on(signals: &Signals, link: &Link) {
    for number in signals.take() {
        // A keeper that is gone is heard of by its silence.
        link.send(Kind::Signal, &[u8::try_from(number).unwrap_or(0)], &[]).unwrap_or_default();
    }
}

/// The number of the signal that is the end.
fn obey(signals: &Signals, screen: &mut Option<Screen>) -> io::Result<Option<u8>> {
    match signals.ask() {
        Some(Ask::End(number)) => return Ok(Some(number)),
        Some(Ask::Stop) => {
            screen.iter().for_each(Screen::pause);
            signals.stop();
        }
        Some(Ask::GoOn) => screen.as_mut().map_or(Ok(()), Screen::resume)?,
        Some(Ask::Resize) => screen.iter_mut().for_each(Screen::resize),
        None => {}
    }
    Ok(None)
}

fn hear(message: Message, screen: Option<&mut Screen>) -> Result<Option<Outcome>, Sentence> {
    match (message.kind, message.payload, screen) {
        (Kind::Output, bytes, Some(screen)) => {
            screen.show(bytes).map_err(Sentence::Io)?;
            Ok(None)
        }
        (Kind::Exited, code, _) => match code.as_slice() {
            &[code] => Ok(Some(Outcome::Exited(code))),
            _ => Err(Sentence::Odd),
        },
        (Kind::Replaced, ..) => Ok(Some(Outcome::Replaced)),
        (Kind::Failed, text, _) => Err(serde_json::from_slice(&text).map_or(Sentence::Odd, Sentence::Failed)),
        _ => Err(Sentence::Odd),
    }
}

struct Ready {
    link: bool,
    signals: bool,
    typed: bool,
}

fn wait(link: &Link, signals: &Signals, screen: Option<&Screen>) -> io::Result<Ready> {
    let input = rustix::stdio::stdin();
    let mut polled = vec![PollFd::new(&signals.wake, PollFlags::IN)];
    let mut places = [None; 2];
    let mut of_link = PollFlags::empty();
    // One thing after the other: what came is shown before more is heard, and what was typed sent before more is read.
    of_link.set(PollFlags::IN, screen.is_none_or(Screen::is_done));
    of_link.set(PollFlags::OUT, screen.is_some_and(Screen::has_words));
    // A keeper that has ended would wake this again and again.
    if !of_link.is_empty() {
        places[0] = Some(polled.len());
        polled.push(PollFd::new(link, of_link));
    }
    if let Some(screen) = screen {
        if !screen.has_words() {
            places[1] = Some(polled.len());
            polled.push(PollFd::from_borrowed_fd(input, PollFlags::IN));
        }
        if !screen.is_done() {
            polled.push(PollFd::new(screen.out(), PollFlags::OUT));
        }
    }
    match poll(&mut polled, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let revents = |at: usize| polled.get(at).map_or(PollFlags::empty(), PollFd::revents);
    let news = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
    Ok(Ready {
        link: of_link.contains(PollFlags::IN) && places[0].is_some_and(|at| revents(at).intersects(news)),
        signals: !revents(0).is_empty(),
        typed: places[1].is_some_and(|at| !revents(at).is_empty()),
    })
}
