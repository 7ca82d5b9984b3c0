// SPDX-License-Identifier: Apache-2.0
//! One line from a store to a target, run to its end.

use ship::{Head, Limits, Line, LineSettings, Origin, Schema, State, Status, Target, Tools, Turn};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Longest time for anything.
pub(crate) const LIMIT: Duration = Duration::from_secs(600);
const PATIENCE: Duration = Duration::from_millis(200);

fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// A line called `name` over the store in `dir`, which has `count` events.
pub(crate) fn line(
    dir: &Path,
    name: &str,
    target: &Target,
    count: u64,
    limits: Limits,
) -> (Line, Arc<Mutex<Status>>) {
    let store_id = store::Reader::open(dir).unwrap().store_id();
    let sink = target.sink(Origin { sink: name.to_string(), store_id }, Box::new(std::io::sink())).unwrap();
    let settings = LineSettings {
        name: name.to_string(),
        store: dir.to_path_buf(),
        host_name: "web1.example".to_string(),
        schema: Schema::Ecs,
        limits,
        from_start: true,
        store_end: count + 1,
    };
    let started = Instant::now();
    let mut seed = u64::from(std::process::id());
    let tools = Tools {
        wall_ns: Box::new(now_ns),
        monotonic: Box::new(move || started.elapsed()),
        random: Box::new(move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            seed
        }),
        tell: Box::new(|_| true),
    };
    let head = Arc::new(Head::default());
    head.set(count + 1);
    let status = Arc::new(Mutex::new(Status::default()));
    (Line::open(settings, sink, tools, head, Arc::clone(&status)).unwrap(), status)
}

/// Takes turns until all `count` events are acknowledged.
pub(crate) fn finish(line: &mut Line, status: &Mutex<Status>, count: u64) {
    let end = Instant::now() + LIMIT;
    loop {
        let turn = line.turn(PATIENCE);
        let now = status.lock().unwrap().clone();
        if now.cursor > count {
            assert_eq!((now.acked, now.dead, now.missing), (count, 0, 0), "{:?}", now.error);
            return;
        }
        assert!(Instant::now() < end, "stuck at {} of {count}: {:?}", now.cursor, now.error);
        assert_ne!(now.state, State::Refused, "{:?}", now.error);
        if let Turn::Wait(wait) = turn {
            std::thread::sleep(wait);
        }
    }
}
