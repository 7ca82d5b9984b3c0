// SPDX-License-Identifier: Apache-2.0
//! Debugging sessions that began and have not ended, so that each gets exactly one end: the client or the keeper
//! tells it, and when both were killed the agent does. A file in the store names them for the next agent.

use event::{Body, Event, Session, SessionAction, codec};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use store::{Query, Reader};

/// A line for each session, `+` before one that is open and `-` before one that is not.
const FILE: &str = "open";
/// The longest file that is read.
const FILE_LIMIT: u64 = 256 << 10;
/// Sessions that are minded at a time; those beyond are not.
const OPEN_LIMIT: usize = 4096;
/// Sessions whose end is known, so that it is not recorded again.
const ENDED_LIMIT: usize = 256;
/// Events of sessions that are looked at for the start of one that began under another agent.
const EVENTS_LIMIT: usize = 20_000;
/// A keeper closes its door before it tells the end, for which it has two seconds.
const GRACE: Duration = Duration::from_secs(4);
/// The exit code of what was killed, and of what nobody knows.
const KILLED: u8 = 137;
const UNKNOWN: u8 = 255;

/// The sessions that somebody has to end.
#[derive(Debug)]
pub(super) struct OpenSessions {
    file: PathBuf,
    open: BTreeMap<String, Open>,
    /// Their ends are appended to the store and not committed yet.
    ending: Vec<String>,
    ended: VecDeque<String>,
}

#[derive(Debug)]
struct Open {
    start: Event,
    /// Whoever began it, as long as it runs.
    client: Option<OwnedFd>,
    gone_since: Option<Instant>,
    /// It began before this agent did.
    is_old: bool,
}

impl OpenSessions {
    /// Those that an earlier agent left open in this store.
    pub(super) fn from_store(store: &Path) -> OpenSessions {
        let file = store.join(store::SESSIONS_NAME).join(FILE);
        let mut sessions =
            OpenSessions { file, open: BTreeMap::new(), ending: Vec::new(), ended: VecDeque::new() };
        let is_small = fs::metadata(&sessions.file).is_ok_and(|meta| meta.len() <= FILE_LIMIT);
        let text = fs::read_to_string(&sessions.file).ok().filter(|_| is_small).unwrap_or_default();
        let named = |mark: char| text.lines().filter_map(move |line| line.strip_prefix(mark));
        sessions.ended.extend(named('-').map(str::to_owned).take(ENDED_LIMIT));
        let mut wanted: Vec<&str> = named('+').take(OPEN_LIMIT).collect();
        if wanted.is_empty() {
            return sessions;
        }
        for event in newest(store) {
            let Body::Session(session) = &event.body else { continue };
            let Some(at) = wanted.iter().position(|id| *id == session.id) else { continue };
            let id = wanted.swap_remove(at).to_owned();
            match session.action {
                SessionAction::Start => {
                    let open = Open { start: event, client: None, gone_since: None, is_old: true };
                    sessions.open.insert(id, open);
                }
                // The agent was killed between the two.
                _ => sessions.remember(id),
            }
            if wanted.is_empty() {
                break;
            }
        }
        sessions
    }

    /// A session begins; `client` is the process that said so.
    pub(super) fn begin(&mut self, start: &Event, client: Option<i32>) {
        let Body::Session(session) = &start.body else { return };
        if self.open.len() >= OPEN_LIMIT {
            return;
        }
        let client = client.and_then(Pid::from_raw);
        let client = client.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        let open = Open { start: start.clone(), client, gone_since: None, is_old: false };
        self.open.insert(session.id.clone(), open);
        self.write();
    }

    /// Whether this end is the first that is told of its session.
    pub(super) fn is_first_end(&self, id: &str) -> bool {
        let is_known = |ended: &String| ended == id;
        self.open.contains_key(id) || !(self.ending.iter().any(is_known) || self.ended.iter().any(is_known))
    }

    /// The end of a session is on its way into the record.
    pub(super) fn end(&mut self, id: &str) {
        self.open.remove(id);
        self.ending.push(id.to_owned());
    }

    /// All that was appended is committed.
    pub(super) fn committed(&mut self) {
        if self.ending.is_empty() {
            return;
        }
        for id in std::mem::take(&mut self.ending) {
            self.remember(id);
        }
        self.write();
    }

    fn remember(&mut self, id: String) {
        if self.ended.len() == ENDED_LIMIT {
            self.ended.pop_front();
        }
        self.ended.push_back(id);
    }

    /// For a next agent. One that cannot be written costs the end of a session that is killed while no agent runs.
    fn write(&self) {
        let open = self.open.keys().chain(&self.ending).map(|id| format!("+{id}\n"));
        let text: String = open.chain(self.ended.iter().map(|id| format!("-{id}\n"))).collect();
        let fresh = self.file.with_extension("new");
        let directory = self.file.parent().unwrap_or(&self.file);
        fs::create_dir_all(directory)
            .and_then(|()| fs::write(&fresh, text))
            .and_then(|()| fs::rename(&fresh, &self.file))
            .unwrap_or_default();
    }

    /// The ends of those that have neither client nor keeper any more and whose end nobody has told.
    pub(super) fn orphans(&mut self, is_kept: impl Fn(&str) -> bool) -> Vec<Session> {
        let mut ends = Vec::new();
        for (id, open) in &mut self.open {
            if open.client.as_ref().is_some_and(|client| !has_ended(client)) {
                continue;
            }
            open.client = None;
            if is_kept(id) {
                (open.gone_since, open.is_old) = (None, false);
            } else if open.gone_since.get_or_insert_with(Instant::now).elapsed() >= GRACE {
                ends.extend(open.end());
            }
        }
        ends
    }

    /// The event of the start, for that of the end.
    pub(super) fn start(&self, id: &str) -> Option<&Event> {
        self.open.get(id).map(|open| &open.start)
    }
}

impl Open {
    fn end(&self) -> Option<Session> {
        let Body::Session(start) = &self.start.body else { return None };
        let (code, detail) = match self.is_old {
            false => (KILLED, "its keeper was killed"),
            true => (UNKNOWN, "it ended while no agent was running; nobody knows its exit code"),
        };
        let (action, detail) = (SessionAction::End, detail.to_owned());
        Some(Session { action, code, detail, ..Session::clone(start) })
    }
}

fn has_ended(client: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(client, PollFlags::IN)];
    poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
}

/// Events of sessions, the newest first.
fn newest(store: &Path) -> Vec<Event> {
    let kinds = 1 << event::Kind::Session as u64;
    let query = Query { newest_first: true, kinds, limit: Some(EVENTS_LIMIT), ..Query::default() };
    let Ok(reader) = Reader::open(store) else { return Vec::new() };
    reader.query(&query).flatten().filter_map(|entry| codec::decode(&entry.event).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::{GRACE, OpenSessions};
    use event::{Body, Event, Session};
    use std::time::Instant;

    fn start(id: &str) -> Event {
        let session = Session { id: id.to_owned(), ..Session::default() };
        Event {
            boot_id: [0; 16],
            time_ns: 1,
            boot_ns: 1,
            container: String::new(),
            body: Body::Session(Box::new(session)),
        }
    }

    #[test]
    fn an_end_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut open = OpenSessions::from_store(dir.path());
        open.begin(&start("aa"), None);
        assert!(open.is_first_end("aa") && open.is_first_end("of-another-agent"));
        open.end("aa");
        assert!(!open.is_first_end("aa"));
        // An agent that is killed before it has committed that tells it again.
        assert!(OpenSessions::from_store(dir.path()).is_first_end("aa"));
        open.committed();
        // Also under the next agent.
        assert!(!OpenSessions::from_store(dir.path()).is_first_end("aa"));
    }

    #[test]
    fn orphans_have_time() {
        let dir = tempfile::tempdir().unwrap();
        let mut open = OpenSessions::from_store(dir.path());
        let own = i32::try_from(std::process::id()).unwrap();
        open.begin(&start("kept"), None);
        open.begin(&start("gone"), None);
        open.begin(&start("mine"), Some(own));
        let is_kept = |id: &str| id == "kept";
        assert!(open.orphans(is_kept).is_empty());
        let gone = open.open.get_mut("gone").unwrap();
        gone.gone_since = Instant::now().checked_sub(GRACE);
        let ends = open.orphans(is_kept);
        assert_eq!(ends.len(), 1);
        assert_eq!((ends[0].id.as_str(), ends[0].code), ("gone", 137));
    }
}
