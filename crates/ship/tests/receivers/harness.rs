// SPDX-License-Identifier: Apache-2.0
//! A store with numbered events, a line over it, in this process or in one that can be killed.

use event::{Body, Container, Event, Exec, codec};
use ship::{Head, Limits, Line, LineSettings, Notice, Origin, Schema, State, Status, Target, Tools, Turn};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Where xtask keeps what tests need from registries.
pub(crate) const CACHE: &str = "/var/cache/purser-tests";
/// Longest time for anything that works at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) fn skip(reason: &str) {
    assert!(std::env::var_os("PURSER_REQUIRE_ALL").is_none_or(|all| all != "1"), "cannot run: {reason}");
    println!("SKIP {reason}");
}

/// A path below the cache, or `None` after a SKIP.
pub(crate) fn cached(name: &str) -> Option<PathBuf> {
    let path = Path::new(CACHE).join(name);
    if path.exists() {
        return Some(path);
    }
    skip(&format!("{} is not there: run cargo xtask setup", path.display()));
    None
}

/// A port that nobody uses now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A program of ours that ends with the test.
pub(crate) struct Mine(pub(crate) Child);

impl Drop for Mine {
    fn drop(&mut self) {
        // It may have ended already.
        self.0.kill().unwrap_or_default();
        drop(self.0.wait());
    }
}

/// Waits until `done` gives something.
pub(crate) fn wait<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = done() {
            return found;
        }
        assert!(Instant::now() < end, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What a program prints.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// The event with this number; `user` stands in it too.
pub(crate) fn event(number: u64, user: u32) -> Event {
    let args = vec![b"/bin/test".to_vec(), format!("number-{number}").into_bytes()];
    let mut exec = Exec { args, executable: b"/bin/test".to_vec(), ..Exec::default() };
    exec.process.uid = user;
    Event {
        boot_id: [3; 16],
        time_ns: 1_760_000_000_000_000_000 + number * 1_000,
        boot_ns: number * 1_000,
        container: "c1".to_string(),
        body: Body::Exec(Box::new(exec)),
    }
}

/// A store in `dir` with `count` events; `user` tells whose each is.
pub(crate) fn fill(dir: &Path, count: u64, user: fn(u64) -> u32) -> [u8; 16] {
    let (mut writer, _) = store::Writer::open(dir, [3; 16], 1, store::Options::default()).unwrap();
    let labels = vec![("app".to_string(), "web".to_string()), ("app.tier".to_string(), "front".to_string())];
    let container = Container {
        name: "web".to_string(),
        image: "registry/web:1".to_string(),
        labels,
        ..Container::default()
    };
    writer.attach(b"c1", &codec::encode_container(&container));
    for number in 1..=count {
        let event = event(number, user(number));
        let mut bytes = Vec::new();
        codec::encode(&event, &mut bytes);
        let keys = store::Keys {
            time_ns: event.time_ns,
            kind: event.kind() as u8,
            subject: b"c1",
            user: user(number),
            executable: b"/bin/test",
            text: &[],
        };
        writer.append(&bytes, &keys).unwrap();
        if number % 500 == 0 || number == count {
            writer.commit(b"").unwrap();
        }
    }
    let id = writer.store_id();
    writer.close(2).unwrap();
    id
}

/// A line to `target` over the store in `dir`, which has `count` events.
pub(crate) fn line(
    dir: &Path,
    target: &Target,
    count: u64,
    events: usize,
    schema: Schema,
) -> (Line, Arc<Mutex<Status>>) {
    let origin = Origin { sink: "test".to_string(), store_id: store::Reader::open(dir).unwrap().store_id() };
    let sink = target.sink(origin, Box::new(std::io::sink())).unwrap();
    let settings = LineSettings {
        name: "test".to_string(),
        store: dir.to_path_buf(),
        host_name: "host-1".to_string(),
        schema,
        limits: Limits { events, bytes: 4 << 20 },
        from_start: true,
        store_end: count + 1,
    };
    let started = Instant::now();
    let mut seed = 1u64;
    let tools = Tools {
        wall_ns: Box::new(|| 1_760_000_001_000_000_000),
        monotonic: Box::new(move || started.elapsed()),
        random: Box::new(move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            seed
        }),
        tell: Box::new(|_: Notice| true),
    };
    let head = Arc::new(Head::default());
    head.set(count + 1);
    let status = Arc::new(Mutex::new(Status::default()));
    (Line::open(settings, sink, tools, head, Arc::clone(&status)).unwrap(), status)
}

/// Runs `line` until all `count` events are behind it. Waits are shorter than the line wants, so
/// that tests are quick; `each` sees the status after each turn.
pub(crate) fn finish(
    line: &mut Line,
    status: &Mutex<Status>,
    count: u64,
    mut each: impl FnMut(&Status),
) -> Status {
    let end = Instant::now() + PATIENCE;
    loop {
        let turn = line.turn(Duration::from_millis(20));
        let now = status.lock().unwrap().clone();
        each(&now);
        if now.cursor > count {
            return now;
        }
        assert!(Instant::now() < end, "stuck at {} of {count}, {:?}: {:?}", now.cursor, now.state, now.error);
        if let Turn::Wait(wait) = turn {
            std::thread::sleep(wait.min(Duration::from_millis(30)));
        }
    }
}

/// Takes turns until the line has trouble, and tells it.
pub(crate) fn trouble(line: &mut Line, status: &Mutex<Status>) -> (State, String) {
    wait("trouble", || {
        line.turn(Duration::from_millis(20));
        let now = status.lock().unwrap().clone();
        now.error.map(|error| (now.state, error))
    })
}

/// Runs the test `name` of this program in a process of its own until it ends well; until then it
/// is killed again and again, `kills` times. Gives how often it was.
pub(crate) fn killed(name: &str, env: &[(&str, String)], kills: u32) -> u32 {
    let mut killed = 0;
    let end = Instant::now() + PATIENCE;
    loop {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", name, "--ignored", "--nocapture"]).envs(env.iter().map(|(k, v)| (k, v)));
        let mut child = Mine(command.stdout(Stdio::null()).spawn().unwrap());
        let life = Duration::from_millis(60 + u64::from(killed * 37 % 11) * 25);
        let until = Instant::now() + life;
        loop {
            if let Some(status) = child.0.try_wait().unwrap() {
                assert!(status.success(), "the line in a process of its own failed: {status}");
                return killed;
            }
            if killed < kills && Instant::now() > until {
                child.0.kill().unwrap();
                killed += 1;
                break;
            }
            assert!(Instant::now() < end, "the line does not come to its end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Has a sink to `target` tell its steps, with the first event of the store in `dir` for a canary.
pub(crate) fn probe(target: &Target, dir: &Path, told: &mut Vec<ship::Step>) {
    let context = event::document::Context { store_id: [9; 16], host_name: "host-1".to_string() };
    let mut renderer = ship::Renderer::new(context, Schema::Ecs);
    let mut batch = ship::Batch::new(&renderer);
    let entry = store::Reader::open(dir).unwrap().query(&store::Query::default()).next().unwrap().unwrap();
    batch.push(&mut renderer, entry);
    let origin = ship::Origin { sink: "test".to_string(), store_id: [9; 16] };
    let mut sink = target.sink(origin, Box::new(std::io::sink())).unwrap();
    sink.probe(&batch, &mut |step| told.push(step));
}
