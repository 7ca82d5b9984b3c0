// SPDX-License-Identifier: Apache-2.0
//! A session in the record: its start before it begins, what its terminal shows while it lasts, and its end. The
//! start is told by the client, the rest by the keeper, which stays when the client is gone.

use super::transcript::{BYTES, GATHER, Held};
use crate::command::say;
use crate::control::{ControlError, Request, Text, ask};
use debug::{Window, Witness};
use event::{Body, Event, Screen, Session, SessionAction, codec};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Pieces that wait for the agent, of [`BYTES`] at most.
const QUEUE: usize = 128;
/// Time between two tries to reach an agent that is being restarted.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the end of a session waits for the agent to take what is left.
const LAST: Duration = Duration::from_secs(2);

/// What a client hands to the keeper of its session.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Note {
    /// The store of the agent that records; nothing is told when no agent took the start.
    pub(super) store: Option<PathBuf>,
    /// The encoded event of its start, for its end.
    pub(super) start: Text,
    /// Whether the terminal is recorded.
    pub(super) transcript: bool,
}

/// An event of a session in this container; the agent gives it its time.
pub(super) fn event(container: &str, body: Body) -> Event {
    Event { boot_id: [0; 16], time_ns: 0, boot_ns: 0, container: container.to_owned(), body }
}

/// As the agent and the keeper get it.
pub(super) fn encoded(event: &Event) -> Text {
    let mut bytes = Vec::new();
    codec::encode(event, &mut bytes);
    Text(bytes)
}

/// Tells the agent of something.
pub(super) fn tell(store: &Path, event: &Event) -> Result<(), ControlError> {
    ask(store, &Request::Record { event: encoded(event), more: Vec::new() }).map(drop)
}

/// The end of a session that began so.
pub(super) fn end_of(start: &Event, code: u8, detail: &str, duration: Duration) -> Event {
    let mut end = start.clone();
    if let Body::Session(session) = &mut end.body {
        (session.action, session.code, session.duration_ns) = (SessionAction::End, code, nanos(duration));
        if !detail.is_empty() {
            session.detail = detail.to_owned();
        }
    }
    end
}

/// For a session that has no keeper to tell it.
pub(super) fn tell_end(note: &Note, code: u8, detail: &str, duration: Duration) {
    let (Some(store), Ok(start)) = (&note.store, codec::decode(&note.start.0)) else { return };
    if let Err(error) = tell(store, &end_of(&start, code, detail, duration)) {
        say(&format!("purser: the end is not recorded: {error}"));
    }
}

/// The keeper's witness, by the note of its client.
pub(super) fn witness(note: &str) -> Witness {
    // The client is the same program; what it cannot have written is not recorded.
    let note: Note = serde_json::from_str(note).unwrap_or_default();
    let (Some(store), Ok(start)) = (note.store, codec::decode(&note.start.0)) else {
        return Witness { shown: Box::new(|_, _| {}), ended: Box::new(|_, _| {}) };
    };
    let (queue, pieces) = sync_channel(QUEUE);
    let (flushed, done) = sync_channel(1);
    let began = Instant::now();
    let teller = Teller { store, start, began, pieces };
    let thread = thread::Builder::new().name("record".to_string());
    let thread = thread.spawn(move || {
        teller.run();
        // Nobody waits for it any more when that takes too long.
        flushed.send(()).unwrap_or_default();
    });
    let mut outlet = Outlet { queue: queue.clone(), began, dropped: 0 };
    let transcript = note.transcript && thread.is_ok();
    Witness {
        shown: Box::new(move |bytes, window| {
            if transcript {
                outlet.shown(bytes, window);
            }
        }),
        ended: Box::new(move |code, how| {
            // A queue that is full stays so until the time is over.
            let until = Instant::now() + LAST;
            let mut end = Piece::End { code, how: how.to_string() };
            while let Err(TrySendError::Full(back)) = queue.try_send(end) {
                if Instant::now() >= until {
                    return;
                }
                thread::sleep(PAUSE);
                end = back;
            }
            done.recv_timeout(until.saturating_duration_since(Instant::now())).unwrap_or_default();
        }),
    }
}

/// Something to be recorded.
enum Piece {
    Shown { bytes: Vec<u8>, window: Window, elapsed_ns: u64, dropped: u64 },
    End { code: u8, how: String },
}

/// The keeper's side, which never waits.
struct Outlet {
    queue: SyncSender<Piece>,
    began: Instant,
    dropped: u64,
}

impl Outlet {
    fn shown(&mut self, bytes: &[u8], window: Window) {
        for part in bytes.chunks(BYTES) {
            let piece = Piece::Shown {
                bytes: part.to_vec(),
                window,
                elapsed_ns: nanos(self.began.elapsed()),
                dropped: self.dropped,
            };
            match self.queue.try_send(piece) {
                Ok(()) => self.dropped = 0,
                Err(_) => self.dropped += part.len() as u64,
            }
        }
    }
}

/// The thread that talks to the agent.
struct Teller {
    store: PathBuf,
    start: Event,
    began: Instant,
    pieces: Receiver<Piece>,
}

impl Teller {
    fn run(self) {
        let mut held = Held::default();
        let mut sent = Instant::now();
        let mut is_new = false;
        loop {
            let wait = if is_new { GATHER } else { Duration::MAX };
            match self.pieces.recv_timeout(wait) {
                Ok(Piece::Shown { bytes, window, elapsed_ns, dropped }) => {
                    let screen = Screen {
                        session: self.session().id,
                        elapsed_ns,
                        bytes,
                        columns: u32::from(window.columns),
                        rows: u32::from(window.rows),
                        dropped,
                        redacted: 0,
                    };
                    held.add(screen).into_iter().for_each(|group| self.show(group));
                    is_new = true;
                }
                Ok(Piece::End { code, how }) => {
                    held.rest().into_iter().for_each(|group| self.show(group));
                    return self.insist(&end_of(&self.start, code, &how, self.began.elapsed()), Vec::new());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return held.rest().into_iter().for_each(|group| self.show(group));
                }
            }
            if is_new && sent.elapsed() >= GATHER {
                held.settled().into_iter().for_each(|group| self.show(group));
                (sent, is_new) = (Instant::now(), false);
            }
        }
    }

    fn session(&self) -> Session {
        match &self.start.body {
            Body::Session(session) => Session::clone(session),
            _ => Session::default(),
        }
    }

    /// Pieces that the agent searches for secrets together.
    fn show(&self, group: Vec<Screen>) {
        let mut events =
            group.into_iter().map(|screen| event(&self.start.container, Body::Tty(Box::new(screen))));
        if let Some(first) = events.next() {
            self.insist(&first, events.map(|event| encoded(&event)).collect());
        }
    }

    /// Tells it until somebody answers: an agent that is restarted is back soon. The keeper ends this thread by its
    /// own end.
    fn insist(&self, event: &Event, more: Vec<Text>) {
        let request = Request::Record { event: encoded(event), more };
        while let Err(
            ControlError::NoAgent { .. } | ControlError::TimedOut { .. } | ControlError::Talk { .. },
        ) = ask(&self.store, &request)
        {
            thread::sleep(PAUSE);
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
