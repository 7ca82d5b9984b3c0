// SPDX-License-Identifier: Apache-2.0
//! The process on the host that a session hangs on. It stays when the client leaves by its keys, and ends
//! the session when the client is gone in any other way. Enters nothing of the target's itself.

mod begin;
mod guests;

use crate::group::Group;
use crate::link::{Kind, Link, Message, PAYLOAD_LIMIT, Received};
use crate::modes::Modes;
use crate::spec::{Failure, Spec, Window};
use crate::target::is_over_within;
use crate::terminal::{self, Saved};
use crate::witness::Witness;
use guests::Door;

pub(crate) use begin::own_world;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, waitpid};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// Time for the warden to build the root and start the program.
const START_PATIENCE: Duration = Duration::from_secs(15);
/// Time for the warden to end whoever is left.
const END_PATIENCE: Duration = Duration::from_secs(5);
/// Time for the first process of a pid namespace to follow the last of the others.
const NAMESPACE_END: Duration = Duration::from_millis(300);
/// Time for the maker to take the zombie of the warden.
const LAST_STEP: Duration = Duration::from_secs(1);
/// What of the screen is kept for who attaches.
const RECENT_LIMIT: usize = 64 << 10;
/// The most typed bytes that wait for the program; a client that has more to say has to wait, too.
const TYPED_LIMIT: usize = 256 << 10;
/// Bytes that are read from the terminal at once.
const CHUNK: usize = 16 << 10;
/// The most bytes that are read from a terminal whose session is over.
const LAST_WORDS_LIMIT: usize = 4 << 20;

/// The main function of a keeper, whose standard input is the client's socket. `witness` gets the caller's note
/// once the session is about to begin; it may start threads.
pub fn keep(witness: impl FnOnce(&str) -> Witness) -> u8 {
    match begin::begin() {
        Ok(keeper) => {
            let witness = witness(&keeper.spec.note);
            keeper.run(witness)
        }
        Err(failed) => {
            if let Some((note, failure)) = failed {
                (witness(&note).ended)(failure.code, &failure.text);
            }
            1
        }
    }
}

#[derive(Debug)]
struct Keeper {
    spec: Spec,
    group: Group,
    /// Locks that keep the kits where they are.
    _kits: Vec<OwnedFd>,
    /// A target that only stands in does so as long as this is open.
    _hold: Option<OwnedFd>,
    door: Door,
    target: OwnedFd,
    /// The warden's number until it has been waited for.
    warden: Option<Pid>,
    link: Link,
    client: Option<Client>,
    screen: Option<Screen>,
    end: End,
}

/// Who has the session's streams or its terminal.
#[derive(Debug)]
struct Client {
    link: Link,
    /// The client's terminal as it was, for a client that cannot put it back itself.
    saved: Option<Saved>,
}

/// The session's terminal.
#[derive(Debug)]
struct Screen {
    master: OwnedFd,
    /// Open, so that the terminal outlasts a program that closes it and opens it again.
    _slave: OwnedFd,
    /// Its size, as far as anybody has told it.
    window: Window,
    /// The newest output.
    recent: Vec<u8>,
    /// What the output before that has changed.
    modes: Modes,
    /// Output that the client's socket has no room for.
    outgoing: Vec<u8>,
    /// Typed bytes that the terminal has no room for.
    typed: Vec<u8>,
}

/// How far the session is from its end.
#[derive(Debug)]
struct End {
    started: bool,
    /// By when the next step must be done.
    deadline: Option<Instant>,
    /// When the session is over, whatever its program does.
    limit: Option<Instant>,
    asked: bool,
    /// Why it was asked to end.
    why: Option<&'static str>,
    code: Option<u8>,
    failure: Option<Failure>,
}

impl Keeper {
    fn run(mut self, mut witness: Witness) -> u8 {
        while self.warden.is_some() {
            let ready = self.wait_for_news();
            if ready.warden {
                self.hear_warden();
            }
            if ready.client {
                self.hear_client();
            }
            if ready.screen {
                self.read_screen(&mut witness);
            }
            self.write_screen();
            for message in self.door.open(ready.door) {
                self.serve(message);
            }
            self.mind_the_time();
        }
        self.finish(witness);
        0
    }

    fn wait_for_news(&self) -> News {
        let mut polled =
            vec![PollFd::new(&self.link, PollFlags::IN), PollFd::new(&self.door.listener, PollFlags::IN)];
        let mut places = [None; 2];
        if let Some(client) = &self.client {
            places[0] = Some(polled.len());
            // Output waits for the client.
            let waits = self.screen.as_ref().is_some_and(|screen| !screen.outgoing.is_empty());
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, self.screen.as_ref().is_none_or(Screen::has_room));
            flags.set(PollFlags::OUT, waits);
            polled.push(PollFd::new(&client.link, flags));
        }
        // The client is told of the start before anything else: it makes its terminal raw then.
        if let Some(screen) = self.screen.as_ref().filter(|_| self.end.started) {
            places[1] = Some(polled.len());
            let mut flags = if screen.outgoing.is_empty() { PollFlags::IN } else { PollFlags::empty() };
            flags.set(PollFlags::OUT, !screen.typed.is_empty());
            polled.push(PollFd::new(&screen.master, flags));
        }
        let guests = polled.len();
        polled.extend(self.door.guests.iter().map(|guest| PollFd::new(guest, PollFlags::IN)));
        let wait = self.end.next().map(|deadline| {
            Timespec::try_from(deadline.saturating_duration_since(Instant::now())).unwrap_or_default()
        });
        // An interrupted wait is one that nothing came of.
        let woken = poll(&mut polled, wait.as_ref()).is_ok();
        let is = |at: usize| woken && polled.get(at).is_some_and(|one| !one.revents().is_empty());
        News {
            warden: is(0),
            door: is(1) || (guests..polled.len()).any(is),
            client: places[0].is_some_and(is),
            screen: places[1].is_some_and(is),
        }
    }

    fn hear_warden(&mut self) {
        match self.link.take() {
            Received::Nothing => {}
            Received::Closed => self.lose_warden(),
            Received::Message(Message { kind, payload, mut descriptors }) => match kind {
                Kind::Master => {
                    let window = self.spec.terminal.unwrap_or(Window { rows: 24, columns: 80 });
                    self.screen = descriptors.pop().and_then(|master| Screen::new(master, window));
                }
                Kind::Started => {
                    self.end.started = true;
                    self.end.deadline = None;
                    self.drop_names();
                    self.tell(Kind::Started, b"");
                }
                Kind::Exited => self.end.code = payload.first().copied(),
                Kind::Failed => self.end.failure = serde_json::from_slice(&payload).ok(),
                _ => {}
            },
        }
        if self.end.code.is_some() || self.end.failure.is_some() {
            self.end.deadline.get_or_insert_with(|| Instant::now() + END_PATIENCE);
        }
    }

    /// The warden has ended, by itself or by somebody's hand.
    fn lose_warden(&mut self) {
        let Some(warden) = self.warden.take() else { return };
        // Its socket is closed, so it is over or about to be; what it has left is ended by the cgroup. The maker, which is
        // what is known here, waits for it: killed before, it would leave a zombie to the host's first process.
        if let Ok(maker) = pidfd_open(warden, PidfdFlags::empty()) {
            is_over_within(maker.as_fd(), LAST_STEP);
        }
        kill_process(warden, Signal::KILL).unwrap_or_default();
        waitpid(Some(warden), WaitOptions::empty()).unwrap_or_default();
    }

    fn hear_client(&mut self) {
        let Some(client) = &self.client else { return };
        match client.link.take() {
            Received::Nothing => {}
            Received::Closed => self.lose_client(),
            Received::Message(message) => match (message.kind, message.payload) {
                (Kind::Input, payload) => {
                    if let Some(screen) = &mut self.screen {
                        screen.typed.extend(payload);
                    }
                }
                (Kind::Resize, payload) => self.resize(Window::from_bytes(&payload)),
                (Kind::Redraw, payload) => self.redraw(Window::from_bytes(&payload)),
                // A warden that is gone is heard of elsewhere.
                (Kind::Signal, payload) => self.link.send(Kind::Signal, &payload, &[]).unwrap_or_default(),
                (Kind::Detach, _) if self.screen.is_some() => self.drop_client(),
                (Kind::End, _) => self.ask_end(),
                _ => {}
            },
        }
    }

    /// The client is gone without a word, and nobody can come back to streams or an unattended terminal.
    fn lose_client(&mut self) {
        if let Some(saved) = self.client.take().and_then(|client| client.saved) {
            saved.put_back_for_client();
        }
        self.end.why.get_or_insert("its client was gone");
        self.ask_end();
    }

    /// The client puts its terminal back itself.
    fn drop_client(&mut self) {
        if let Some(saved) = self.client.take().and_then(|client| client.saved) {
            saved.forget();
        }
        if let Some(screen) = &mut self.screen {
            screen.outgoing.clear();
        }
    }

    fn ask_end(&mut self) {
        if !self.end.asked {
            self.end.asked = true;
            self.end.deadline = Some(Instant::now() + END_PATIENCE);
            self.link.send(Kind::End, b"", &[]).unwrap_or_default();
        }
    }

    fn mind_the_time(&mut self) {
        if self.end.limit.is_some_and(|limit| Instant::now() >= limit) {
            self.end.limit = None;
            self.end.why.get_or_insert("its time was over");
            self.ask_end();
        }
        if self.end.deadline.is_none_or(|deadline| Instant::now() < deadline) {
            return;
        }
        if !self.end.started && self.end.failure.is_none() && !self.end.asked {
            let text = format!(
                "the session was not ready after {} s: does a file system of the target hang?",
                START_PATIENCE.as_secs()
            );
            self.end.failure = Some(Failure::ours(text));
        }
        // Stuck somewhere in the target; a warden that cannot even die is left to whoever collects.
        let Some(warden) = self.warden.take() else { return };
        kill_process(warden, Signal::KILL).unwrap_or_default();
        self.group.clear();
        waitpid(Some(warden), WaitOptions::NOHANG).unwrap_or_default();
    }

    fn resize(&mut self, window: Option<Window>) {
        if let (Some(screen), Some(window)) = (&mut self.screen, window) {
            screen.window = window;
            terminal::resize(screen.master.as_fd(), window).unwrap_or_default();
        }
    }

    /// Has a program that fills the screen draw it anew: nobody is told of a size that stays the same.
    fn redraw(&mut self, window: Option<Window>) {
        if let (Some(screen), Some(window)) = (&self.screen, window)
            && screen.window == window
        {
            let another = Window { rows: window.rows ^ 1, ..window };
            terminal::resize(screen.master.as_fd(), another).unwrap_or_default();
        }
        self.resize(window);
    }

    fn read_screen(&mut self, witness: &mut Witness) {
        let Some(screen) = &mut self.screen else { return };
        if screen.outgoing.is_empty() {
            screen.read(witness);
        }
        if self.client.is_none() {
            screen.outgoing.clear();
        }
    }

    fn write_screen(&mut self) {
        let Some(screen) = &mut self.screen else { return };
        screen.type_in();
        let Some(client) = &self.client else { return };
        while !screen.outgoing.is_empty() {
            let length = screen.outgoing.len().min(PAYLOAD_LIMIT);
            let part = screen.outgoing.get(..length).unwrap_or_default();
            match client.link.offer(Kind::Output, part) {
                Ok(true) => drop(screen.outgoing.drain(..length)),
                // No room now; or the client is gone, which is heard of elsewhere.
                Ok(false) | Err(_) => return,
            }
        }
    }

    fn tell(&self, kind: Kind, payload: &[u8]) {
        if let Some(client) = &self.client {
            client.link.send(kind, payload, &[]).unwrap_or_default();
        }
    }

    /// What is mounted stays without its name.
    fn drop_names(&self) {
        for name in self.spec.held.iter().filter_map(|held| held.passing_name.as_ref()) {
            // It may be gone, by the client's hand.
            std::fs::remove_file(name).unwrap_or_default();
        }
    }

    /// Nothing is left before the client hears of the end.
    fn finish(mut self, mut witness: Witness) {
        self.drop_names();
        let cleared = self.group.clear();
        self.door.close();
        let mut rest = LAST_WORDS_LIMIT;
        while let Some(screen) = &mut self.screen
            && rest > 0
        {
            if screen.outgoing.is_empty() && screen.read(&mut witness) == 0 {
                break;
            }
            rest = rest.saturating_sub(screen.outgoing.len());
            let out = std::mem::take(&mut screen.outgoing);
            out.chunks(PAYLOAD_LIMIT).for_each(|part| self.tell(Kind::Output, part));
        }
        let failure = self.end.failure.take().or_else(|| self.end.code.is_none().then(|| self.why()));
        let how = failure.as_ref().map_or(self.end.why.unwrap_or_default(), |failure| failure.text.as_str());
        let code = failure.as_ref().map_or(self.end.code.unwrap_or_default(), |failure| failure.code);
        (witness.ended)(code, how);
        match failure {
            _ if !cleared => {
                let text = "processes of the session do not end, perhaps in a file system that hangs; \
                            the next purser debug tries again";
                self.tell(Kind::Failed, &Failure::ours(text).payload());
            }
            Some(failure) => self.tell(Kind::Failed, &failure.payload()),
            None => self.tell(Kind::Exited, &[self.end.code.unwrap_or_default()]),
        }
        self.wait_for_client();
    }

    /// Until the client has taken its last words, and put its terminal back. One that was killed has not.
    fn wait_for_client(&mut self) {
        let Some(Client { link, saved: Some(saved) }) = self.client.take() else { return };
        while let Ok(Some(_)) = link.receive() {}
        saved.put_back_for_client();
    }

    /// Why a session ended whose program has no exit code.
    fn why(&self) -> Failure {
        // A pid namespace is over only when the warden in it has been waited for, which was just now.
        let text = if is_over_within(self.target.as_fd(), NAMESPACE_END) {
            "the target ended, and the session with it"
        } else if let Some(why) = self.end.why {
            why
        } else if self.end.asked {
            "the session was ended"
        } else {
            "the session was killed"
        };
        Failure { code: 137, text: text.to_owned() }
    }
}

impl End {
    /// When something has to be done.
    fn next(&self) -> Option<Instant> {
        self.deadline.into_iter().chain(self.limit).min()
    }
}

impl Screen {
    fn new(master: OwnedFd, window: Window) -> Option<Screen> {
        rustix::io::ioctl_fionbio(&master, true).ok()?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        Some(Screen {
            _slave: ioctl_tiocgptpeer(&master, flags).ok()?,
            master,
            window,
            recent: Vec::new(),
            modes: Modes::default(),
            outgoing: Vec::new(),
            typed: Vec::new(),
        })
    }

    /// All that somebody who comes now has to see.
    fn shown(&self) -> Vec<u8> {
        [self.modes.redo(), self.recent.clone()].concat()
    }

    fn has_room(&self) -> bool {
        self.typed.len() < TYPED_LIMIT
    }

    /// Takes what the program has written; the number of bytes.
    fn read(&mut self, witness: &mut Witness) -> usize {
        let mut buffer = [0; CHUNK];
        let length = rustix::io::read(&self.master, &mut buffer).unwrap_or(0);
        let bytes = buffer.get(..length).unwrap_or_default();
        if !bytes.is_empty() {
            (witness.shown)(bytes, self.window);
        }
        self.outgoing.extend_from_slice(bytes);
        self.recent.extend_from_slice(bytes);
        let old = self.recent.len().saturating_sub(RECENT_LIMIT);
        self.modes.feed(self.recent.get(..old).unwrap_or_default());
        self.recent.drain(..old);
        length
    }

    fn type_in(&mut self) {
        if self.typed.is_empty() {
            return;
        }
        match rustix::io::write(&self.master, &self.typed) {
            Ok(written) => drop(self.typed.drain(..written.min(self.typed.len()))),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(_) => self.typed.clear(),
        }
    }
}

/// Who has something to say.
struct News {
    warden: bool,
    door: bool,
    client: bool,
    screen: bool,
}
