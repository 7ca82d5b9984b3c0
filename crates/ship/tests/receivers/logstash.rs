// SPDX-License-Identifier: Apache-2.0
//! Lumberjack against Elastic's own receiver, and against one that breaks every rule it can.

use crate::harness::{self, CACHE, Mine, fill, finish, free_port, line, run, skip, wait};
use openssl::ssl::{SslAcceptor, SslFiletype, SslMethod};
use rustix::time::{ClockId, clock_gettime};
use ship::{Batch, HostPort, LogstashSettings, Origin, Renderer, Schema, State, Step, Target, TlsSettings};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const EVENTS: u64 = 5_000;

fn here(port: u16) -> HostPort {
    HostPort { host: "127.0.0.1".to_string(), port }
}

fn target(hosts: Vec<HostPort>, tls: Option<TlsSettings>) -> Target {
    let patience = Duration::from_secs(1);
    Target::Logstash(Box::new(LogstashSettings { hosts, tls, compression_level: 3, window: 500, patience }))
}

/// One window as it comes: the sequence of each document.
fn window(stream: &mut impl Read) -> io::Result<Vec<u64>> {
    let count = loop {
        let (kind, number) = head(stream)?;
        assert_eq!(kind, b'W');
        if number > 0 {
            break number;
        }
    };
    let mut found = Vec::new();
    frames(stream, count, &mut found)?;
    Ok(found)
}

fn head(stream: &mut impl Read) -> io::Result<(u8, u32)> {
    let mut bytes = [0; 6];
    stream.read_exact(&mut bytes)?;
    assert_eq!(bytes[0], b'2');
    Ok((bytes[1], u32::from_be_bytes(bytes[2..].try_into().unwrap())))
}

fn frames(stream: &mut impl Read, count: u32, found: &mut Vec<u64>) -> io::Result<()> {
    while (found.len() as u32) < count {
        let (kind, number) = head(stream)?;
        if kind == b'C' {
            let mut packed = vec![0; number as usize];
            stream.read_exact(&mut packed)?;
            frames(&mut flate2::read::ZlibDecoder::new(packed.as_slice()), count, found)?;
            continue;
        }
        assert_eq!((kind, number as usize), (b'J', found.len() + 1));
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut json = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut json)?;
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        found.push(json["event"]["sequence"].as_u64().unwrap());
    }
    Ok(())
}

/// What a receiver has read, and what of it the sender was told is safe.
#[derive(Default)]
struct Seen {
    windows: Vec<usize>,
    read: BTreeMap<u64, u64>,
    safe: BTreeMap<u64, u64>,
    connections: usize,
}

impl Seen {
    fn read(&mut self, numbers: &[u64]) {
        self.windows.push(numbers.len());
        numbers.iter().for_each(|number| *self.read.entry(*number).or_default() += 1);
    }

    fn safe(&mut self, numbers: &[u64]) {
        numbers.iter().for_each(|number| *self.safe.entry(*number).or_default() += 1);
    }
}

/// Elastic's test server, which tells how many events it was sent.
struct Lumber {
    port: u16,
    _process: Mine,
    log: std::path::PathBuf,
}

impl Lumber {
    fn new(dir: &Path) -> Option<Lumber> {
        let program = Path::new(CACHE).join("go-lumber-0.1.1/tst-lj");
        if !program.exists() {
            skip(&format!("{} is not there: run cargo xtask setup", program.display()));
            return None;
        }
        let (port, log) = (free_port(), dir.join("tst-lj.log"));
        let mut command = Command::new(program);
        command.args(["-v2", "-bind", &format!("127.0.0.1:{port}")]).stdin(Stdio::null());
        let process = command.stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
        let lumber = Lumber { port, _process: Mine(process), log };
        wait("tst-lj", || lumber.text().contains("server up").then_some(()));
        Some(lumber)
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn events(&self) -> u64 {
        let text = self.text();
        let counts =
            text.lines().filter_map(|line| line.split("Received batch of ").nth(1)?.split(' ').next());
        counts.map(|count| count.parse::<u64>().unwrap()).sum()
    }
}

/// Takes TLS off before `upstream`, and notes what passes.
fn unwrapping(dir: &Path, upstream: u16) -> (u16, Arc<Mutex<Seen>>) {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    acceptor.set_private_key_file(dir.join("key.pem"), SslFiletype::PEM).unwrap();
    acceptor.set_certificate_chain_file(dir.join("cert.pem")).unwrap();
    let acceptor = acceptor.build();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let shared = Arc::clone(&seen);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            // One that does not trust us goes away.
            let Ok(client) = acceptor.accept(client.unwrap()) else { continue };
            shared.lock().unwrap().connections += 1;
            // The end of a connection is an error here, and no trouble.
            relay(client, upstream, &shared).unwrap_or_default();
        }
    });
    (port, seen)
}

/// Keeps a copy of what is read.
struct Copied<R>(R, Vec<u8>);

impl<R: Read> Read for Copied<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        self.1.extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}

fn relay(client: impl Read + Write, upstream: u16, seen: &Mutex<Seen>) -> io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", upstream))?;
    let mut client = Copied(client, Vec::new());
    loop {
        let numbers = window(&mut client)?;
        server.write_all(&std::mem::take(&mut client.1))?;
        seen.lock().unwrap().read(&numbers);
        let mut ack = [0; 6];
        while ack[2..] != u32::to_be_bytes(numbers.len() as u32) {
            server.read_exact(&mut ack)?;
            if ack[2..] == u32::to_be_bytes(numbers.len() as u32) {
                // Before the sender hears of it: the test looks as soon as the sender is done.
                seen.lock().unwrap().safe(&numbers);
            }
            client.0.write_all(&ack)?;
        }
    }
}

fn once() -> BTreeMap<u64, u64> {
    (1..=EVENTS).map(|number| (number, 1)).collect()
}

#[test]
fn the_real_receiver_gets_everything_once() {
    let dir = tempfile::tempdir().unwrap();
    let Some(lumber) = Lumber::new(dir.path()) else { return };
    let path = |name: &str| dir.path().join(name).display().to_string();
    let subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    let (key, cert) = (path("key.pem"), path("cert.pem"));
    let made =
        ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", &key, "-out", &cert];
    run("openssl", &[&made[..], &subject[..]].concat()).unwrap();
    let (port, seen) = unwrapping(dir.path(), lumber.port);
    let trusted = || TlsSettings { ca: Some(dir.path().join("cert.pem")), ..TlsSettings::default() };
    let store = tempfile::tempdir().unwrap();
    fill(store.path(), EVENTS, |_| 0);

    for (host, tls) in [("127.0.0.1", trusted()), ("localhost", TlsSettings::default())] {
        let target = target(vec![HostPort { host: host.to_string(), port }], Some(tls));
        let (mut line, status) = line(store.path(), &target, EVENTS, 1000, Schema::Ecs);
        let (state, error) = harness::trouble(&mut line, &status);
        assert_eq!(state, State::Refused, "{error}");
        assert!(error.contains("is not good"), "{error}");
    }
    let secure = target(vec![HostPort { host: "localhost".to_string(), port }], Some(trusted()));
    let (mut one, status) = line(store.path(), &secure, EVENTS, 1000, Schema::Ecs);
    let end = finish(&mut one, &status, EVENTS, |now| assert_eq!(now.error, None));
    assert_eq!((end.acked, end.retried, end.dead), (EVENTS, 0, 0));
    assert_eq!(wait("all of it", || Some(lumber.events()).filter(|count| *count >= EVENTS)), EVENTS);
    {
        let seen = seen.lock().unwrap();
        assert_eq!((&seen.read, &seen.safe, seen.connections), (&once(), &once(), 1));
        // Small windows first, then as large as they may be.
        assert_eq!(seen.windows[..5], [64, 128, 256, 500, 52], "the last of a batch holds the rest");
        assert_eq!(seen.windows.iter().max(), Some(&500));
    }
    drop(one);

    // Without TLS and without a relay.
    let store = tempfile::tempdir().unwrap();
    fill(store.path(), EVENTS, |_| 0);
    let (mut one, status) =
        line(store.path(), &target(vec![here(lumber.port)], None), EVENTS, 1000, Schema::Ecs);
    finish(&mut one, &status, EVENTS, |now| assert_eq!(now.error, None));
    assert_eq!(wait("all of it", || Some(lumber.events()).filter(|count| *count >= 2 * EVENTS)), 2 * EVENTS);
}

/// What a receiver does with a window.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Take,
    InThirds,
    HalfThenCut,
    AliveThenTake,
    AliveWithoutPause,
    TooMany,
    Garbage,
    Cut,
    Silent,
    TakeThenClose,
    NextOnly,
}

/// A receiver on loopback that does `deeds`, one a window, and then takes everything.
fn hostile(deeds: &[Deed], seen: &Arc<Mutex<Seen>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let deeds = Arc::new(Mutex::new(deeds.to_vec()));
    let seen = Arc::clone(seen);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, seen, deeds) = (client.unwrap(), Arc::clone(&seen), Arc::clone(&deeds));
            seen.lock().unwrap().connections += 1;
            std::thread::spawn(move || serve(client, &seen, &deeds).unwrap_or_default());
        }
    });
    port
}

fn serve(mut client: TcpStream, seen: &Mutex<Seen>, deeds: &Mutex<Vec<Deed>>) -> io::Result<()> {
    loop {
        let numbers = window(&mut client)?;
        seen.lock().unwrap().read(&numbers);
        let deed = {
            let mut deeds = deeds.lock().unwrap();
            if deeds.is_empty() { Deed::Take } else { deeds.remove(0) }
        };
        let all = numbers.len();
        let mut told = 0;
        let mut ack = |client: &mut TcpStream, count: usize| {
            // Noted first: the sender may be quicker than this thread.
            seen.lock().unwrap().safe(&numbers[told..count]);
            told = count;
            client.write_all(&[b"2A".as_slice(), &(count as u32).to_be_bytes()].concat())
        };
        match deed {
            Deed::Take => ack(&mut client, all)?,
            Deed::InThirds => {
                for count in [all / 3, all * 2 / 3, all] {
                    ack(&mut client, count)?;
                }
            }
            Deed::HalfThenCut => {
                ack(&mut client, all / 2)?;
                return client.shutdown(Shutdown::Write);
            }
            Deed::AliveThenTake => {
                // Longer than the sender waits for a word.
                for _ in 0..4 {
                    std::thread::sleep(Duration::from_millis(400));
                    ack(&mut client, 0)?;
                }
                ack(&mut client, all)?;
            }
            Deed::AliveWithoutPause => {
                let until = Instant::now() + Duration::from_secs(2);
                while Instant::now() < until {
                    ack(&mut client, 0)?;
                }
                ack(&mut client, all)?;
            }
            Deed::TooMany => client.write_all(&[b"2A".as_slice(), &u32::MAX.to_be_bytes()].concat())?,
            Deed::Garbage => client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")?,
            Deed::Cut => return Ok(()),
            Deed::Silent => {}
            Deed::TakeThenClose => {
                ack(&mut client, all)?;
                return Ok(());
            }
            Deed::NextOnly => {
                ack(&mut client, 1)?;
                client.write_all(b"1A\0\0\0\x02")?;
            }
        }
    }
}

#[test]
fn what_is_acknowledged_is_never_sent_again_and_nothing_else_is_lost() {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let first = [
        Deed::InThirds,
        Deed::HalfThenCut,
        Deed::AliveThenTake,
        Deed::TooMany,
        Deed::Cut,
        Deed::TakeThenClose,
        Deed::HalfThenCut,
    ];
    let second = [Deed::Garbage, Deed::Silent, Deed::NextOnly, Deed::Take, Deed::HalfThenCut, Deed::Cut];
    let dead = free_port();
    let hosts = vec![here(hostile(&first, &seen)), here(dead), here(hostile(&second, &seen))];
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), EVENTS, |_| 0);
    let (mut one, status) = line(dir.path(), &target(hosts, None), EVENTS, 1000, Schema::Ecs);
    let mut errors = Vec::new();
    let end = finish(&mut one, &status, EVENTS, |now| errors.extend(now.error.clone()));
    assert_eq!((end.acked, end.dead, end.missing), (EVENTS, 0, 0));
    for wanted in [
        "before it acknowledged everything",
        "it acknowledged 4294967295 documents",
        "HTTP/1.1 400 Bad Request",
        "nothing was heard of it for 1 s",
        "refused",
    ] {
        assert!(errors.iter().any(|error| error.contains(wanted)), "{wanted}: {errors:?}");
    }
    let seen = seen.lock().unwrap();
    assert_eq!(seen.safe, once(), "each was acknowledged once");
    assert!(seen.read.len() as u64 == EVENTS && seen.read.values().any(|times| *times > 1));
    let small = seen.windows.windows(2).any(|two| two[1] < two[0] / 2 + 1 && two[1] > 1);
    assert!(small && seen.windows.iter().all(|size| *size <= 500), "{:?}", seen.windows);
}

#[test]
fn a_receiver_that_says_without_pause_that_it_is_alive_keeps_nobody_busy() {
    let busy = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let seen = Arc::new(Mutex::new(Seen::default()));
    let port = hostile(&[Deed::AliveWithoutPause], &seen);
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 50, |_| 0);
    let (mut one, status) = line(dir.path(), &target(vec![here(port)], None), 50, 250, Schema::Ecs);
    let begun = busy();
    let end = finish(&mut one, &status, 50, |now| assert_eq!(now.error, None));
    let used = busy() - begun;
    assert_eq!((end.acked, end.retried), (50, 0));
    assert!(used < Duration::from_millis(100), "{used:?} of 2 s");
}

#[test]
fn a_connection_that_was_closed_while_idle_is_no_trouble() {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let port = hostile(&[Deed::Take, Deed::Take, Deed::TakeThenClose], &seen);
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 250, |_| 0);
    let (mut one, status) = line(dir.path(), &target(vec![here(port)], None), 250, 250, Schema::Ecs);
    for round in 1..=2 {
        let end = finish(&mut one, &status, 250, |now| assert_eq!(now.error, None));
        assert_eq!(end.retried, 0);
        assert_eq!(seen.lock().unwrap().connections, round);
        one.rewind(1).unwrap();
    }
}

#[test]
fn a_probe_tells_each_host_and_the_canary() {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let probe = |hosts| {
        let origin = Origin { sink: "test".to_string(), store_id: [7; 16] };
        let mut sink = target(hosts, None).sink(origin, Box::new(io::sink())).unwrap();
        let context = event::document::Context { store_id: [7; 16], host_name: "host-1".to_string() };
        let mut renderer = Renderer::new(context, Schema::Ecs);
        let canary = Batch::of_event(&mut renderer, &harness::event(1, 0));
        let mut steps: Vec<Step> = Vec::new();
        sink.probe(&canary, &mut |step| steps.push(step));
        steps
    };
    let steps = probe(vec![here(hostile(&[], &seen))]);
    assert!(steps.iter().all(|step| step.outcome.is_ok()), "{steps:?}");
    assert!(steps.last().unwrap().outcome.as_ref().unwrap().starts_with("acknowledged after"), "{steps:?}");
    let steps = probe(vec![here(free_port()), here(hostile(&[], &seen))]);
    let failed: Vec<&Step> = steps.iter().filter(|step| step.outcome.is_err()).collect();
    assert!(failed.len() == 1 && failed[0].name.starts_with("reach 127.0.0.1:"), "{steps:?}");
    let steps = probe(vec![here(hostile(&[Deed::Garbage], &seen))]);
    assert!(steps.last().unwrap().outcome.as_ref().unwrap_err().contains("HTTP/1.1 400"), "{steps:?}");
    let steps = probe(vec![here(hostile(&[Deed::Silent], &seen))]);
    assert!(steps.last().unwrap().outcome.is_err(), "{steps:?}");
    assert_eq!(seen.lock().unwrap().safe.len(), 1);
}
