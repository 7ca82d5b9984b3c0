// SPDX-License-Identifier: Apache-2.0
//! Sockets that hang, drip, never end or talk nonsense: each must cost only its own questions, and
//! those only a bounded time.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use container::{Directory, Resolved, Runtime, Sources, Statistics, detect};

use crate::{PATIENCE, identity, start};

const ID: &str = "5b22af62c82901e1e8e8ca927c0f822f613bd9863943cf4bdf4b8a479d410e3c";

/// Serves every connection to the socket on a thread of its own, until the test ends.
fn serve(socket: &Path, answer: fn(UnixStream)) {
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
}

fn request(stream: &mut UnixStream) -> String {
    let (mut text, mut part) = (Vec::new(), [0; 1024]);
    while !text.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut part) {
            Ok(count) if count > 0 => text.extend_from_slice(&part[..count]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn hang(mut stream: UnixStream) {
    request(&mut stream);
    // Ends when the other side gives up.
    drop(stream.read(&mut [0; 1]));
}

fn garbage(mut stream: UnixStream) {
    request(&mut stream);
    drop(stream.write_all(b"\x16\x03\x01\xff\0SSH-2.0\n\n\n\x1b[31m"));
}

fn endless(mut stream: UnixStream) {
    request(&mut stream);
    drop(stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n"));
    while stream.write_all(&[b'['; 65_536]).is_ok() {}
}

fn drip(mut stream: UnixStream) {
    request(&mut stream);
    drop(stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n"));
    while stream.write_all(b" ").is_ok() {
        thread::sleep(Duration::from_millis(20));
    }
}

/// A sane API that knows one container and answers in chunks, and nothing else.
fn sane(mut stream: UnixStream) {
    let text = request(&mut stream);
    if !text.contains(&format!("/containers/{ID}/json")) {
        drop(stream.write_all(b"HTTP/1.0 404 Not Found\r\nContent-Length: 2\r\n\r\n{}"));
        return;
    }
    let body = format!(r#"{{"Id":"{ID}","Name":"/web","Config":{{"Image":"bb:1"}}}}"#);
    let (head, tail) = body.split_at(10);
    let chunks = format!("{:x}\r\n{head}\r\n{:X};x=y\r\n{tail}\r\n0\r\n\r\n", head.len(), tail.len());
    let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
    drop(stream.write_all(answer.as_bytes()));
}

/// Docker's socket does evil, Podman's is sane.
fn sources(dir: &Path) -> Sources {
    Sources {
        docker_socket: dir.join("docker.sock"),
        podman_sockets: vec![dir.join("podman.sock")],
        request_timeout: Duration::from_millis(300),
        ..Sources::none()
    }
}

fn answer(
    directory: &Directory,
    results: &std::sync::mpsc::Receiver<Resolved>,
    runtime: Runtime,
) -> Resolved {
    assert!(directory.ask(&identity(ID, runtime), b"/x"));
    results.recv_timeout(PATIENCE).unwrap()
}

/// Asks through the evil socket first and then through the sane one; the sane answer comes first
/// although it was asked last, the evil one comes as "nobody knows", and the counters tell why.
fn evil(answer_evil: fn(UnixStream)) -> Statistics {
    let dir = tempfile::tempdir().unwrap();
    serve(&dir.path().join("docker.sock"), answer_evil);
    serve(&dir.path().join("podman.sock"), sane);
    let (directory, results) = start(sources(dir.path()));
    let other = ID.replace('5', "6");
    assert!(directory.ask(&identity(&other, Runtime::Docker), b"/docker/x"));
    let first = answer(&directory, &results, Runtime::Podman);
    assert_eq!((first.id.as_str(), first.info.unwrap().name.as_str()), (ID, "web"));
    let second = results.recv_timeout(PATIENCE).unwrap();
    assert_eq!(second, Resolved { id: other, info: None });
    directory.statistics()
}

#[test]
fn a_socket_that_hangs() {
    let seen = evil(hang);
    assert!(seen.timeouts > 0, "{seen:?}");
    assert_eq!((seen.asked, seen.resolved, seen.unknown), (2, 1, 1));
}

#[test]
fn a_socket_that_drips() {
    assert!(evil(drip).timeouts > 0);
}

#[test]
fn a_socket_that_talks_nonsense() {
    let seen = evil(garbage);
    assert!(seen.garbage >= 5, "{seen:?}");
    assert!(seen.retries >= 4, "{seen:?}");
}

#[test]
fn a_socket_that_never_ends() {
    assert!(evil(endless).garbage > 0);
}

#[test]
fn a_full_backlog_does_not_block() {
    let dir = tempfile::tempdir().unwrap();
    let docker = dir.path().join("docker.sock");
    let listener = UnixListener::bind(&docker).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    // Fills the backlog; nobody ever accepts.
    let _first = UnixStream::connect(&docker).unwrap();
    serve(&dir.path().join("podman.sock"), sane);
    let (directory, results) = start(sources(dir.path()));
    assert!(directory.ask(&identity(&ID.replace('5', "6"), Runtime::Docker), b"/docker/x"));
    assert!(answer(&directory, &results, Runtime::Podman).info.is_some());
    assert!(results.recv_timeout(PATIENCE).unwrap().info.is_none());
    assert!(directory.statistics().timeouts > 0);
}

#[test]
fn a_full_queue_refuses_and_only_its_own() {
    let dir = tempfile::tempdir().unwrap();
    serve(&dir.path().join("docker.sock"), hang);
    serve(&dir.path().join("podman.sock"), sane);
    let long = Sources { request_timeout: Duration::from_secs(20), ..sources(dir.path()) };
    let (directory, results) = start(long);
    let taken =
        (0..10_000).filter(|n| directory.ask(&identity(&format!("{n:064x}"), Runtime::Docker), b"/")).count();
    assert!((4096..10_000).contains(&taken), "{taken}");
    assert_eq!(directory.statistics().refused, 10_000 - taken as u64);
    assert!(answer(&directory, &results, Runtime::Podman).info.is_some());
}

#[test]
fn an_id_that_is_no_id_asks_nobody() {
    let dir = tempfile::tempdir().unwrap();
    serve(&dir.path().join("docker.sock"), sane);
    let (directory, results) = start(sources(dir.path()));
    for id in ["../../etc/passwd", "x HTTP/1.1\r\nEvil: 1", "", "web", "\u{1b}[2J"] {
        assert!(directory.ask(&identity(id, Runtime::Unknown), b"/x\n\xff"));
    }
    for _ in 0..5 {
        assert_eq!(results.recv_timeout(PATIENCE).unwrap().info, None);
    }
}

#[test]
fn the_answer_need_not_be_wanted() {
    let dir = tempfile::tempdir().unwrap();
    serve(&dir.path().join("podman.sock"), sane);
    let (directory, results) = start(sources(dir.path()));
    drop(results);
    directory.ask(&identity(ID, Runtime::Podman), b"/x");
    drop(directory);
}

#[test]
fn detection_is_over_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let (docker, podman) = (dir.path().join("docker.sock"), dir.path().join("podman.sock"));
    serve(&docker, hang);
    serve(&podman, garbage);
    let sources = Sources {
        runc_roots: vec![dir.path().into()],
        lxc: PathBuf::from("/nowhere"),
        ..sources(dir.path())
    };
    let start = Instant::now();
    let states = detect(&sources);
    // Far above the promised second, far below a hang.
    assert!(start.elapsed() < Duration::from_secs(20));
    let seen: Vec<_> = states.iter().map(|s| (s.runtime, s.is_socket, s.error.is_some())).collect();
    assert_eq!(
        seen,
        [(Runtime::Docker, true, true), (Runtime::Podman, true, true), (Runtime::Runc, false, false)]
    );
    assert!(states[0].error.as_ref().unwrap().contains("in time"));
}
