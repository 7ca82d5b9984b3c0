// SPDX-License-Identifier: Apache-2.0
//! Receivers that fail in ways the real ones cannot be made to: slow, silent, with a wrong certificate, with
//! no address, or busy for ever. Nothing is lost by any of them, nothing comes twice, and each is told.

use crate::harness::{event, fill, finish, free_port, line, probe, trouble};
use crate::proxy::{answer, message};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509Name};
use serde_json::Value;
use ship::{
    ElasticSettings, HostPort, HttpAuth, HttpSettings, Schema, State, SyslogSettings, SyslogTransport,
    Target, TlsSettings, Turn, Url,
};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const EVENTS: u64 = 2_000;

/// How often each number arrived.
type Numbers = Arc<Mutex<BTreeMap<u64, u64>>>;

fn once_each(count: u64) -> BTreeMap<u64, u64> {
    (1..=count).map(|number| (number, 1)).collect()
}

fn elastic(url: &str, tls: TlsSettings) -> Target {
    cluster(&[url], tls)
}

fn cluster(urls: &[&str], tls: TlsSettings) -> Target {
    let http = HttpSettings {
        urls: urls.iter().map(|url| Url::parse(url).unwrap()).collect(),
        auth: HttpAuth::None,
        headers: Vec::new(),
        secret_headers: Vec::new(),
        tls,
        gzip: false,
        patience: Duration::from_secs(1),
    };
    let data_stream = "logs-test".to_string();
    Target::Elastic(Box::new(ElasticSettings { http, data_stream, pipeline: None }))
}

fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// What a receiver does with a request.
enum Deed {
    /// Stores it and answers.
    Take,
    /// The same, with so many bytes more about each document.
    Chat(usize),
    /// Stores it and says nothing any more, with the connection open: as when its host has lost power.
    Silence,
    /// Gives this answer.
    Say(&'static str),
}

/// A receiver of `_bulk` that stores each id once; `deed` is asked with the number of the request.
fn bulk(deed: impl Fn(u64) -> Deed + Send + Sync + 'static) -> (u16, Numbers) {
    let (listener, port) = listen();
    let numbers = Numbers::default();
    let stored = Arc::clone(&numbers);
    let requests = AtomicU64::new(0);
    let next = Arc::new(move || deed(requests.fetch_add(1, Ordering::Relaxed) + 1));
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (next, stored) = (Arc::clone(&next), Arc::clone(&stored));
            std::thread::spawn(move || serve(client.unwrap(), &stored, next.as_ref()));
        }
    });
    (port, numbers)
}

fn serve(mut client: TcpStream, stored: &Numbers, next: &impl Fn() -> Deed) {
    while let Some(request) = message(&mut client).unwrap_or_default() {
        let said = match next() {
            Deed::Take => take(&request, stored, 0),
            Deed::Chat(more) => take(&request, stored, more),
            Deed::Say(status) => answer(status, ""),
            Deed::Silence => {
                take(&request, stored, 0);
                // Open, and no word more.
                std::mem::forget(client);
                return;
            }
        };
        client.write_all(said.as_bytes()).unwrap_or_default();
    }
}

fn take(request: &[u8], stored: &Numbers, more: usize) -> String {
    let more = "x".repeat(more);
    let body = request.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let mut items = Vec::new();
    for document in request[body..].split(|byte| *byte == b'\n').skip(1).step_by(2) {
        let document: Value = serde_json::from_slice(document).unwrap();
        let number = document["event"]["sequence"].as_u64().unwrap();
        let fresh = stored.lock().unwrap().insert(number, 1).is_none();
        let status = if fresh { 201 } else { 409 };
        items.push(format!("{{\"create\":{{\"_index\":\"{more}\",\"status\":{status}}}}}"));
    }
    answer("200 OK", &format!("{{\"items\":[{}]}}", items.join(",")))
}

#[test]
fn a_receiver_that_falls_silent_is_left_and_one_that_is_busy_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), EVENTS, |_| 0);
    // Two connections die without a word; then it is busy for as many tries as fit into twenty minutes.
    let (port, numbers) = bulk(|request| match request {
        1 | 3 => Deed::Silence,
        4..50 => Deed::Say("429 Too Many Requests"),
        50..60 => Deed::Say("503 Service Unavailable"),
        _ => Deed::Take,
    });
    let target = elastic(&format!("http://127.0.0.1:{port}"), TlsSettings::default());
    let (mut line, status) = line(dir.path(), &target, EVENTS, 500, Schema::Ecs);
    let (state, error) = trouble(&mut line, &status);
    assert_eq!(state, State::Retrying);
    assert!(error.contains("did not answer within 1 s"), "{error}");
    let (mut waits, mut refused) = (0, false);
    let last = finish(&mut line, &status, EVENTS, |now| {
        waits += u64::from(now.error.as_deref().is_some_and(|error| error.contains("429")));
        refused |= now.state == State::Refused;
    });
    assert_eq!((last.acked, last.dead, refused), (EVENTS, 0, false));
    assert!(waits >= 46, "{waits}");
    assert_eq!(*numbers.lock().unwrap(), once_each(EVENTS));
}

#[test]
fn a_receiver_that_reads_byte_by_byte_holds_up_nobody_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let count = 20_000;
    fill(dir.path(), count, |_| 0);
    let (listener, port) = listen();
    let slow = Arc::new(Mutex::new(true));
    let hurry = Arc::clone(&slow);
    let reader = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut bytes = Vec::new();
        while *slow.lock().unwrap() {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            bytes.push(byte[0]);
            std::thread::sleep(Duration::from_millis(20));
        }
        client.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let place = HostPort { host: "127.0.0.1".to_string(), port };
    let settings = SyslogSettings { place, transport: SyslogTransport::Tcp, facility: 13 };
    let (mut line, status) = line(dir.path(), &Target::Syslog(Box::new(settings)), count, 2_000, Schema::Ecs);
    // The connection's buffers fill up; from then on each turn comes back without progress or failure.
    let (mut before, mut still) = (0, 0);
    while still < 3 {
        assert_eq!(line.turn(Duration::from_millis(1)), Turn::Again);
        let now = status.lock().unwrap().clone();
        assert_eq!((now.state, now.error), (State::Running, None));
        still = if now.cursor == before { still + 1 } else { 0 };
        before = now.cursor;
    }
    assert!(before < count, "all of it fitted into buffers");
    *hurry.lock().unwrap() = false;
    finish(&mut line, &status, count, |_| {});
    drop(line);
    let bytes = reader.join().unwrap();
    let mut found = BTreeMap::new();
    for piece in String::from_utf8(bytes).unwrap().split("\"number-").skip(1) {
        let number: u64 = piece.split('"').next().unwrap().parse().unwrap();
        *found.entry(number).or_insert(0) += 1;
    }
    assert_eq!(found, once_each(count));
}

#[test]
fn a_probe_of_syslog_sends_its_canary() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 1, |_| 0);
    let (listener, port) = listen();
    let reader = std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        let (mut client, _) = listener.accept().unwrap();
        let count = client.read(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    });
    let place = HostPort { host: "127.0.0.1".to_string(), port };
    let settings = SyslogSettings { place, transport: SyslogTransport::Tcp, facility: 13 };
    let mut told = Vec::new();
    probe(&Target::Syslog(Box::new(settings)), dir.path(), &mut told);
    assert!(told.iter().all(|step| step.outcome.is_ok()), "{told:?}");
    assert!(reader.join().unwrap().contains("number-1"));
}

#[test]
fn a_node_in_whose_place_something_else_answers_is_left_for_the_next() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 100, |_| 0);
    let (wrong, _) = bulk(|_| Deed::Say("200 OK"));
    let (right, numbers) = bulk(|_| Deed::Take);
    let [wrong, right] = [wrong, right].map(|port| format!("http://127.0.0.1:{port}"));
    let target = cluster(&[&wrong, &right], TlsSettings::default());
    let (mut line, status) = line(dir.path(), &target, 100, 500, Schema::Ecs);
    let (state, error) = trouble(&mut line, &status);
    assert!(state == State::Retrying && error.contains("not one to _bulk"), "{error}");
    let last = finish(&mut line, &status, 100, |_| {});
    assert_eq!((last.acked, last.retried), (100, 1));
    assert_eq!(*numbers.lock().unwrap(), once_each(100));
}

#[test]
fn a_cluster_that_says_too_much_is_asked_for_less_and_stores_everything_once() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), EVENTS, |_| 0);
    let (port, numbers) = bulk(|_| Deed::Chat(3_000));
    let target = elastic(&format!("http://127.0.0.1:{port}"), TlsSettings::default());
    let (mut line, status) = line(dir.path(), &target, EVENTS, 500, Schema::Ecs);
    let last = finish(&mut line, &status, EVENTS, |now| assert_eq!(now.error, None));
    assert_eq!((last.acked, last.dead, last.retried), (EVENTS, 0, 0));
    assert_eq!(*numbers.lock().unwrap(), once_each(EVENTS));
}

/// A certificate for `name` that counts from `from` to `to`, in seconds from now, and is its own authority.
fn certificate(name: &str, from: i64, to: i64) -> (X509, PKey<Private>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut subject = X509Name::builder().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(&subject).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(now + from).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(now + to).unwrap()).unwrap();
    let names = SubjectAlternativeName::new().dns(name).build(&builder.x509v3_context(None, None)).unwrap();
    builder.append_extension(names).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    (builder.build(), key)
}

/// A receiver with that certificate, which answers nothing after the handshake.
fn secure(certificate: &X509, key: &PKey<Private>) -> u16 {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    acceptor.set_certificate(certificate).unwrap();
    acceptor.set_private_key(key).unwrap();
    let acceptor = acceptor.build();
    let (listener, port) = listen();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for client in listener.incoming() {
            // A client that does not like the certificate is what this is for.
            kept.extend(acceptor.accept(client.unwrap()).ok());
        }
    });
    port
}

#[test]
fn a_wrong_certificate_is_refused_with_its_reason() {
    let day = 86_400;
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 1, |_| 0);
    for (name, from, to, why) in [
        ("localhost", -2 * day, -day, "certificate has expired"),
        ("localhost", day, 2 * day, "certificate is not yet valid"),
        ("other.example", -day, day, "hostname mismatch"),
    ] {
        let (certificate, key) = certificate(name, from, to);
        let ca = dir.path().join("ca.pem");
        fs::write(&ca, certificate.to_pem().unwrap()).unwrap();
        let tls = TlsSettings { ca: Some(ca), ..TlsSettings::default() };
        let target = elastic(&format!("https://localhost:{}", secure(&certificate, &key)), tls);
        let (mut line, status) = line(dir.path(), &target, 1, 500, Schema::Ecs);
        let (state, error) = trouble(&mut line, &status);
        assert_eq!(state, State::Refused, "{error}");
        assert!(error.contains("is not good") && error.to_lowercase().contains(why), "{why}: {error}");
    }
}

#[test]
fn a_receiver_without_tls_address_or_listener_is_told_and_found_again() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 10, |_| 0);
    let (plain, _) = bulk(|_| Deed::Take);
    let (certificate, _) = certificate("localhost", -10, 1_000);
    let ca = dir.path().join("ca.pem");
    fs::write(&ca, certificate.to_pem().unwrap()).unwrap();
    let tls = TlsSettings { ca: Some(ca), ..TlsSettings::default() };
    let port = free_port();
    for (url, why) in [
        (format!("https://localhost:{plain}"), "agreeing on TLS"),
        ("http://no-such-host.invalid:9200".to_string(), "no-such-host.invalid"),
        (format!("http://127.0.0.1:{port}"), "Connection refused"),
    ] {
        let (mut line, status) = line(dir.path(), &elastic(&url, tls.clone()), 10, 500, Schema::Ecs);
        let (_, error) = trouble(&mut line, &status);
        assert!(error.contains(why), "{url}: {error}");
        assert_eq!(status.lock().unwrap().cursor, 1, "{url}");
    }
    // The last one comes up: the same line goes on by itself.
    let (upstream, numbers) = bulk(|_| Deed::Take);
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            pass_on(client.unwrap(), upstream);
        }
    });
    let target = elastic(&format!("http://127.0.0.1:{port}"), tls);
    let (mut line, status) = line(dir.path(), &target, 10, 500, Schema::Ecs);
    finish(&mut line, &status, 10, |_| {});
    assert_eq!(*numbers.lock().unwrap(), once_each(10));
}

fn pass_on(mut client: TcpStream, upstream: u16) {
    let mut server = TcpStream::connect(("127.0.0.1", upstream)).unwrap();
    while let Some(request) = message(&mut client).unwrap_or_default() {
        server.write_all(&request).unwrap();
        let told = message(&mut server).unwrap().unwrap();
        client.write_all(&told).unwrap();
    }
}

/// The order of events is that of their numbers: a clock that goes back by an hour in between changes nothing.
#[test]
fn a_clock_that_was_set_back_loses_and_repeats_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = store::Writer::open(dir.path(), [3; 16], 1, store::Options::default()).unwrap();
    for number in 1..=1_000 {
        let mut event = event(number, 0);
        if number > 500 {
            event.time_ns -= 3_600_000_000_000;
        }
        let mut bytes = Vec::new();
        event::codec::encode(&event, &mut bytes);
        let keys = store::Keys {
            time_ns: event.time_ns,
            kind: event.kind() as u8,
            subject: b"c1",
            user: 0,
            executable: b"/bin/test",
            text: &[],
        };
        writer.append(&bytes, &keys).unwrap();
    }
    writer.commit(b"").unwrap();
    writer.close(2).unwrap();
    let (port, numbers) = bulk(|_| Deed::Take);
    let target = elastic(&format!("http://127.0.0.1:{port}"), TlsSettings::default());
    let (mut line, status) = line(dir.path(), &target, 1_000, 100, Schema::Ecs);
    let last = finish(&mut line, &status, 1_000, |_| {});
    assert_eq!((last.acked, last.missing), (1_000, 0));
    assert_eq!(*numbers.lock().unwrap(), once_each(1_000));
    // A time that the clock showed twice: sending begins where it showed it first.
    let shown = event(400, 0).time_ns;
    assert_eq!(line.sequence_at(shown).unwrap(), 400);
}
