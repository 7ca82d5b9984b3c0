// SPDX-License-Identifier: Apache-2.0
//! The loop, turn by turn, with a clock and a receiver that tests move by hand, over a real store.

use super::{Line, LineSettings, Notice, Tools, Turn};
use crate::batch::{Batch, Limits, sample};
use crate::cursor::Place;
use crate::render::Schema;
use crate::sink::{Poison, Rejected, SendError, Sent, Sink, Step, Trouble};
use crate::status::{Head, State, Status};
use event::{Agent, Body, Event, codec};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::{Keys, Options, Writer};

const NOW: Duration = Duration::ZERO;

/// A receiver that answers as it is told and keeps what it was given.
#[derive(Debug, Default)]
struct Script {
    answers: VecDeque<Result<Sent, SendError>>,
    resumes: VecDeque<Result<Place, SendError>>,
    given: Vec<Vec<u64>>,
}

#[derive(Debug, Clone, Default)]
struct Receiver(Arc<Mutex<Script>>);

impl Sink for Receiver {
    fn resume(&mut self, place: &Place) -> Result<Place, SendError> {
        self.0.lock().unwrap().resumes.pop_front().unwrap_or_else(|| Ok(place.clone()))
    }

    fn send(&mut self, batch: &Batch) -> Result<Sent, SendError> {
        let mut script = self.0.lock().unwrap();
        script.given.push(batch.documents().map(|document| document.sequence).collect());
        script.answers.pop_front().unwrap_or_else(|| Ok(Sent::default()))
    }

    fn probe(&mut self, _canary: &Batch, _tell: &mut dyn FnMut(Step)) {}
}

struct World {
    dir: tempfile::TempDir,
    writer: Writer,
    receiver: Receiver,
    told: Arc<Mutex<Vec<Notice>>>,
    deaf: Arc<AtomicBool>,
    head: Arc<Head>,
    status: Arc<Mutex<Status>>,
    millis: Arc<AtomicU64>,
    store_end: u64,
}

impl World {
    fn new() -> World {
        World::with(Options::default())
    }

    fn with(options: Options) -> World {
        let dir = tempfile::tempdir().unwrap();
        let (writer, _) = Writer::open(dir.path(), [3; 16], 1, options).unwrap();
        World {
            dir,
            writer,
            receiver: Receiver::default(),
            told: Arc::default(),
            deaf: Arc::default(),
            head: Arc::default(),
            status: Arc::default(),
            millis: Arc::default(),
            store_end: 0,
        }
    }

    fn store(&self) -> &Path {
        self.dir.path()
    }

    /// Commits `count` more events.
    fn record(&mut self, count: u64) {
        let first = self.writer.next_sequence();
        self.record_these((first..first + count).map(sample::event));
    }

    fn record_these(&mut self, events: impl Iterator<Item = Event>) {
        for event in events {
            let mut bytes = Vec::new();
            codec::encode(&event, &mut bytes);
            let keys = Keys {
                time_ns: event.time_ns,
                kind: event.kind() as u8,
                subject: b"c1",
                user: 0,
                executable: b"",
                text: &[],
            };
            self.writer.append(&bytes, &keys).unwrap();
        }
        self.writer.commit(b"").unwrap();
        self.head.set(self.writer.next_sequence());
    }

    fn line(&self, events: usize) -> Line {
        let settings = LineSettings {
            name: "test".to_string(),
            store: self.store().to_path_buf(),
            host_name: "host-1".to_string(),
            schema: Schema::Ecs,
            limits: Limits { events, bytes: 1 << 20 },
            from_start: true,
            store_end: self.store_end,
        };
        let (told, deaf, millis) = (Arc::clone(&self.told), Arc::clone(&self.deaf), Arc::clone(&self.millis));
        let tools = Tools {
            wall_ns: Box::new(|| 1_000_000_000),
            monotonic: Box::new(move || Duration::from_millis(millis.load(Ordering::Relaxed))),
            random: Box::new(|| 0),
            tell: Box::new(move |notice| {
                told.lock().unwrap().push(notice);
                !deaf.load(Ordering::Relaxed)
            }),
        };
        let sink = Box::new(self.receiver.clone());
        Line::open(settings, sink, tools, Arc::clone(&self.head), Arc::clone(&self.status)).unwrap()
    }

    fn answer(&self, answer: Result<Sent, SendError>) {
        self.receiver.0.lock().unwrap().answers.push_back(answer);
    }

    fn given(&self) -> Vec<Vec<u64>> {
        std::mem::take(&mut self.receiver.0.lock().unwrap().given)
    }

    fn status(&self) -> Status {
        self.status.lock().unwrap().clone()
    }

    fn told(&self) -> Vec<Notice> {
        std::mem::take(&mut self.told.lock().unwrap())
    }
}

/// Takes turns until there is nothing to do.
fn run(line: &mut Line) {
    for _ in 0..1_000 {
        match line.turn(NOW) {
            Turn::Again => {}
            Turn::Idle => return,
            Turn::Wait(wait) => panic!("it waits for {wait:?}"),
        }
    }
    panic!("it never becomes idle");
}

#[test]
fn every_event_goes_once_in_batches_and_a_new_line_goes_on_behind_it() {
    let mut world = World::new();
    world.record(10);
    let mut line = world.line(4);
    run(&mut line);
    assert_eq!(world.given(), [vec![1, 2, 3, 4], vec![5, 6, 7, 8], vec![9, 10]]);
    drop(line);
    world.record(2);
    run(&mut world.line(4));
    assert_eq!(world.given(), [vec![11, 12]]);
    let status = world.status();
    assert_eq!((status.cursor, status.acked, status.state), (13, 2, State::Running));
}

#[test]
fn a_canary_is_an_event_like_others_and_its_time_is_told() {
    let mut world = World::new();
    world.record(2);
    let agent = Agent { action: crate::CANARY.to_string(), ..Agent::default() };
    let canary = |time_ns| Event { time_ns, body: Body::Agent(agent.clone()), ..sample::event(1) };
    world.record_these([canary(999_000_000)].into_iter());
    let mut line = world.line(10);
    run(&mut line);
    assert_eq!(world.given(), [vec![1, 2, 3]]);
    let status = world.status();
    assert_eq!((status.canary_us, status.canary_time_ns), (Some(1_000), Some(1_000_000_000)));
    // One from a clock that has been set back since took no time at all; one set aside has not arrived.
    world.record_these([canary(2_000_000_000), canary(1_000)].into_iter());
    let poison = vec![Poison { index: 1, reason: "too long".to_string() }];
    world.answer(Ok(Sent { poison, ..Sent::default() }));
    run(&mut line);
    assert_eq!(world.status().canary_us, Some(0));
}

#[test]
fn a_failure_is_retried_with_longer_and_longer_waits_and_the_same_batch() {
    let mut world = World::new();
    world.record(3);
    let mut line = world.line(10);
    for _ in 0..3 {
        world.answer(Err(SendError::Transient("no route".to_string())));
    }
    let waits: Vec<Turn> = (0..3).map(|_| line.turn(NOW)).collect();
    let wait = |millis| Turn::Wait(Duration::from_millis(millis));
    assert_eq!(waits, [wait(50), wait(100), wait(200)]);
    let status = world.status();
    assert_eq!((status.state, status.retried, status.cursor), (State::Retrying, 3, 1));
    assert_eq!(status.error.as_deref(), Some("no route"));
    // It goes on, and the next failure begins with the shortest wait.
    assert_eq!(line.turn(NOW), Turn::Again);
    assert_eq!(world.given(), vec![vec![1, 2, 3]; 4]);
    assert_eq!(world.status().error, None);
    world.record(1);
    world.answer(Err(SendError::Transient("again".to_string())));
    assert_eq!(line.turn(NOW), wait(50));
}

#[test]
fn a_refusal_is_a_state_of_its_own_and_retried_slowly() {
    let mut world = World::new();
    world.record(1);
    let mut line = world.line(10);
    world.answer(Err(SendError::Refused("wrong password".to_string())));
    assert_eq!(line.turn(NOW), Turn::Wait(Duration::from_secs(1)));
    assert_eq!(world.status().state, State::Refused);
    run(&mut line);
    assert_eq!(world.status().state, State::Running);
}

#[test]
fn waiting_for_an_answer_is_no_failure() {
    let mut world = World::new();
    world.record(2);
    let mut line = world.line(10);
    world.answer(Err(SendError::Waiting(None)));
    assert_eq!(line.turn(NOW), Turn::Again);
    assert_eq!((world.status().retried, world.status().error), (0, None));
    let trouble = Trouble { reason: "no broker".to_string(), refused: false };
    world.answer(Err(SendError::Waiting(Some(trouble))));
    assert_eq!(line.turn(NOW), Turn::Again);
    assert_eq!(world.status().error.as_deref(), Some("no broker"));
    assert_eq!(world.status().oldest_unsent_ns, Some(1_000));
    run(&mut line);
    assert_eq!(world.given().len(), 3);
}

#[test]
fn the_age_of_what_waits_is_known_where_nothing_was_ever_sent() {
    let mut world = World::new();
    world.record(3);
    let mut line = world.line(1);
    world.receiver.0.lock().unwrap().resumes.push_back(Err(SendError::Transient("no broker".to_string())));
    assert!(matches!(line.turn(NOW), Turn::Wait(_)));
    assert_eq!(world.status().oldest_unsent_ns, Some(1_000));
    // One is sent, then somebody pauses it.
    line.turn(NOW);
    line.show(State::Paused);
    assert_eq!(world.status().oldest_unsent_ns, Some(2_000));
    run(&mut line);
    assert_eq!(world.status().oldest_unsent_ns, None);
}

#[test]
fn poison_is_set_aside_told_and_passed() {
    let mut world = World::new();
    world.record(3);
    let mut line = world.line(10);
    let poison = vec![Poison { index: 1, reason: "too large".to_string() }];
    world.answer(Ok(Sent { poison, mark: b"m".to_vec(), ..Sent::default() }));
    run(&mut line);
    let status = world.status();
    assert_eq!((status.dead, status.acked, status.cursor), (1, 2, 4));
    assert_eq!(world.told(), [Notice::Dead { count: 1, first: 2, reason: "too large".to_string() }]);
    let dead = std::fs::read_to_string(world.store().join("sinks/test/dead.jsonl")).unwrap();
    let dead: serde_json::Value = serde_json::from_str(dead.trim()).unwrap();
    assert_eq!((&dead["sequence"], &dead["reason"]), (&2.into(), &"too large".into()));
    assert_eq!(dead["document"]["process"]["args"][0], "number-2");
}

#[test]
fn a_receiver_that_refuses_everything_is_told_of_once_a_minute() {
    let mut world = World::new();
    let mut line = world.line(1);
    let refuse = |world: &World| {
        let poison = vec![Poison { index: 0, reason: "no".to_string() }];
        world.answer(Ok(Sent { poison, ..Sent::default() }));
    };
    for _ in 0..5 {
        world.record(1);
        refuse(&world);
        run(&mut line);
    }
    assert_eq!(world.told().len(), 1);
    world.millis.fetch_add(60_000, Ordering::Relaxed);
    run(&mut line);
    assert_eq!(world.told(), [Notice::Dead { count: 4, first: 2, reason: "no".to_string() }]);
    // The notices themselves are refused as well, and that is no news.
    let next = world.writer.next_sequence();
    let body = Body::Agent(Agent { action: "sink_dead".to_string(), ..Agent::default() });
    world.record_these(std::iter::once(Event { body, ..sample::event(next) }));
    refuse(&world);
    world.millis.fetch_add(60_000, Ordering::Relaxed);
    run(&mut line);
    world.millis.fetch_add(60_000, Ordering::Relaxed);
    run(&mut line);
    assert_eq!((world.told().len(), world.status().dead), (0, 6));
}

#[test]
fn what_cannot_be_told_is_not_passed_and_nothing_is_sent_again() {
    let mut world = World::new();
    world.record(1);
    world.deaf.store(true, Ordering::Relaxed);
    let mut line = world.line(10);
    world.answer(Ok(Sent { poison: vec![Poison { index: 0, reason: "no".to_string() }], ..Sent::default() }));
    assert!(matches!(line.turn(NOW), Turn::Wait(_)));
    assert!(matches!(line.turn(NOW), Turn::Wait(_)));
    assert_eq!(world.status().cursor, 1);
    world.deaf.store(false, Ordering::Relaxed);
    run(&mut line);
    assert_eq!((world.status().cursor, world.given().len()), (2, 1));
}

#[test]
fn what_retention_removed_is_told_as_missing() {
    let options =
        Options { segment_bytes: 4096, block_events: 8, retain_bytes: Some(1), ..Options::default() };
    let mut world = World::with(options);
    world.record(8);
    let mut line = world.line(100);
    run(&mut line);
    for _ in 0..40 {
        // Whole blocks, so that the journal does not keep them too.
        world.record(48);
    }
    // Sealed segments go, the open one stays.
    world.writer.tick(2).unwrap();
    assert!(world.writer.statistics().retired_segments > 0, "{:?}", world.writer.statistics());
    run(&mut line);
    let told = world.told();
    let [Notice::Missing { first, last }] = told[..] else { panic!("{told:?}") };
    let given: Vec<u64> = world.given().concat();
    assert_eq!(given, (1..first).chain(last + 1..=1928).collect::<Vec<_>>());
    assert_eq!((world.status().missing, world.status().cursor), (last + 1 - first, 1929));
}

#[test]
fn a_rewind_sends_again_and_counts_for_the_sink_that_keeps_its_own_cursor() {
    let mut world = World::new();
    world.record(5);
    let mut line = world.line(10);
    run(&mut line);
    world.given();
    line.rewind(4).unwrap();
    run(&mut line);
    assert_eq!(world.given(), [vec![4, 5]]);
    assert_eq!(line.cursor.place().rewinds, 1);
    assert_eq!(line.sequence_at(3_000).unwrap(), 3);
    assert_eq!(line.sequence_at(3_001).unwrap(), 4);
    assert_eq!(line.sequence_at(u64::MAX).unwrap(), 6);
}

#[test]
fn a_sink_that_knows_better_moves_the_line() {
    let mut world = World::new();
    world.record(9);
    let place = Place { next: 7, rewinds: 0, mark: b"m".to_vec() };
    world.receiver.0.lock().unwrap().resumes.push_back(Ok(place));
    let mut line = world.line(2);
    world.answer(Err(SendError::Moved(Place { next: 9, ..Place::default() })));
    run(&mut line);
    assert_eq!(world.given(), [vec![7, 8], vec![9]]);
    assert_eq!(world.status().cursor, 10);
}

#[test]
fn a_cursor_beyond_a_store_that_lost_its_end_goes_back_and_is_told() {
    let mut world = World::new();
    world.record(5);
    let mut line = world.line(10);
    run(&mut line);
    drop(line);
    world.given();
    // As after a loss of power: the store was opened with three events, and two more came.
    world.store_end = 4;
    run(&mut world.line(10));
    assert_eq!(world.told(), [Notice::Ahead { cursor: 6, end: 4 }]);
    assert_eq!(world.given(), [vec![4, 5]]);
}

/// A sink that is set up anew while events come: the one before it was ahead of what was known then.
#[test]
fn while_the_store_stays_open_no_cursor_is_beyond_it() {
    let mut world = World::new();
    world.record(6);
    run(&mut world.line(10));
    world.head.set(4);
    run(&mut world.line(10));
    assert_eq!((world.given(), world.told()), (vec![vec![1, 2, 3, 4, 5, 6]], vec![]));
}

#[test]
fn a_line_holds_one_batch_while_its_receiver_is_away() {
    let mut world = World::new();
    for _ in 0..50 {
        world.record(100);
    }
    let mut line = world.line(100);
    for _ in 0..20 {
        world.answer(Err(SendError::Transient("away".to_string())));
        assert!(matches!(line.turn(NOW), Turn::Wait(_)));
        assert!(
            line.batch.len() == 100 && line.read.len() < 5_000,
            "{} {}",
            line.batch.len(),
            line.read.len()
        );
    }
}

#[test]
fn what_was_read_ahead_is_given_back_while_stuck_and_sent_once_afterwards() {
    let mut world = World::new();
    world.record(1_000);
    let mut line = world.line(100);
    world.answer(Err(SendError::Waiting(None)));
    assert_eq!(line.turn(NOW), Turn::Again);
    assert!(!line.read.is_empty() && line.follower.is_some());
    world.millis.store(2_000, Ordering::Relaxed);
    world.answer(Err(SendError::Waiting(None)));
    assert_eq!(line.turn(NOW), Turn::Again);
    assert!(line.read.is_empty() && line.follower.is_none() && line.batch.len() == 100);
    world.given();
    run(&mut line);
    assert_eq!(world.given().concat(), (1..=1_000).collect::<Vec<u64>>());
    assert_eq!(world.told(), []);
}

#[test]
fn documents_that_were_refused_unnamed_are_told_and_counted_once() {
    let mut world = World::new();
    world.record(3);
    let mut line = world.line(10);
    let rejected = Some(Rejected { count: 2, reason: "too old".to_string() });
    world.answer(Ok(Sent { rejected, ..Sent::default() }));
    world.deaf.store(true, Ordering::Relaxed);
    assert!(matches!(line.turn(NOW), Turn::Wait(_)));
    assert_eq!((world.status().cursor, world.status().rejected), (1, 2));
    world.told();
    world.deaf.store(false, Ordering::Relaxed);
    line.turn(NOW);
    let notice = Notice::Rejected { count: 2, first: 1, last: 3, reason: "too old".to_string() };
    assert_eq!(world.told(), [notice]);
    assert_eq!((world.status().cursor, world.status().rejected, world.status().acked), (4, 2, 1));
    assert_eq!(world.given(), [[1, 2, 3]]);
}

#[test]
fn a_receiver_can_ask_for_time() {
    let mut world = World::new();
    world.record(1);
    let mut line = world.line(10);
    world.answer(Err(SendError::Later("429".to_string(), Duration::from_secs(77))));
    assert_eq!(line.turn(NOW), Turn::Wait(Duration::from_secs(77)));
    assert_eq!((world.status().state, world.status().retried), (State::Retrying, 1));
    // A short time does not shorten our own patience.
    world.answer(Err(SendError::Later("429".to_string(), Duration::ZERO)));
    assert!(matches!(line.turn(NOW), Turn::Wait(wait) if wait > Duration::ZERO));
}
