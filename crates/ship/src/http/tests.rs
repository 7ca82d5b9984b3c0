// SPDX-License-Identifier: Apache-2.0
//! The client against receivers that behave badly.

use super::{Client, Request, Url};
use crate::tls::TlsSettings;
use rustix::time::{ClockId, clock_gettime};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// A receiver that gives each connection to `serve`.
fn receiver(serve: impl Fn(usize, TcpStream) + Send + 'static) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            serve(number, stream.unwrap());
        }
    });
    Url::parse(&url).unwrap()
}

fn client(urls: &[Url], patience: Duration) -> Client {
    Client::new(urls, &TlsSettings::default(), patience).unwrap()
}

fn post(bytes: usize) -> Request {
    Request { method: "POST", path: "/x".to_string(), body: vec![b'a'; bytes], ..Request::default() }
}

fn read_some(stream: &mut TcpStream) -> usize {
    stream.read(&mut [0; 4096]).unwrap_or(0)
}

#[test]
fn an_answer_byte_by_byte_cannot_move_the_deadline() {
    let url = receiver(|_, mut stream| {
        read_some(&mut stream);
        for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n".iter().chain([b'x'; 100_000].iter())
        {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let mut client = client(&[url], Duration::from_millis(400));
    client.begin(post(10));
    let (begun, mut slices) = (Instant::now(), 0);
    let error = loop {
        match client.drive(Instant::now() + Duration::from_millis(20)) {
            Ok(None) => slices += 1,
            Ok(Some(answer)) => panic!("{answer:?}"),
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("did not answer within"), "{error}");
    assert!(slices > 3 && begun.elapsed() >= Duration::from_millis(400));
    assert!(!client.is_busy());
}

/// Time that this thread has been on a processor.
fn busy() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn a_receiver_that_says_little_at_a_time_keeps_nobody_busy() {
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let much = [chunked.as_slice(), b"800000\r\n", &vec![b'x'; 8 << 20], b"\r\n"].concat();
    let head = [b"HTTP/1.1 200 OK\r\nx-long: ".as_slice(), &vec![b'x'; 60_000]].concat();
    let (tiny, slow, fast) = (b"1\r\nx\r\n".as_slice(), Duration::from_millis(1), Duration::ZERO);
    for (begin, piece, count, wait) in
        [(much, tiny, 5_000, slow), (chunked, tiny, usize::MAX, fast), (head, b"y", 5_000, fast)]
    {
        let url = receiver(move |_, mut stream| {
            read_some(&mut stream);
            stream.set_nodelay(true).unwrap();
            let mut good = stream.write_all(&begin).is_ok();
            let mut left = count;
            while good && left > 0 {
                good = stream.write_all(piece).is_ok();
                left -= 1;
                std::thread::sleep(wait);
            }
            std::thread::sleep(Duration::from_secs(5));
        });
        let mut client = client(&[url], Duration::from_secs(2));
        let begun = busy();
        let error = client.ask(Request { expects: 16 << 20, ..post(10) }).unwrap_err().to_string();
        assert!(error.contains("did not answer within"), "{error}");
        let used = busy() - begun;
        assert!(used < Duration::from_millis(100), "{used:?} of 2 s");
    }
}

#[test]
fn of_a_long_answer_the_beginning_is_read() {
    let url = receiver(|_, mut stream| {
        read_some(&mut stream);
        stream.write_all(b"HTTP/1.1 500 Oh\r\ncontent-length: 33000000\r\n\r\n").unwrap();
        // It is left in the middle.
        stream.write_all(&vec![b'x'; 33_000_000]).unwrap_or_default();
    });
    let answer = client(&[url], Duration::from_secs(5)).ask(post(10)).unwrap();
    assert_eq!((answer.status, answer.body.len(), answer.cut, answer.closes), (500, 64 << 10, true, true));
}

#[test]
fn a_receiver_that_takes_nothing_costs_the_deadline_and_no_more() {
    let url = receiver(|_, stream| {
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_secs(20));
            drop(stream);
        });
    });
    let error = client(&[url], Duration::from_millis(300)).ask(post(32 << 20)).unwrap_err().to_string();
    assert!(error.contains("did not answer within"), "{error}");
}

#[test]
fn an_answer_before_the_end_of_the_request_is_read() {
    let url = receiver(|_, mut stream| {
        read_some(&mut stream);
        stream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n").unwrap();
        std::thread::sleep(Duration::from_secs(5));
    });
    let mut client = client(&[url], Duration::from_secs(4));
    let answer = client.ask(post(64 << 20)).unwrap();
    assert_eq!((answer.status, answer.closes), (413, true));
}

#[test]
fn a_kept_connection_that_was_closed_is_replaced_in_silence() {
    let url = receiver(|_, mut stream| {
        std::thread::spawn(move || {
            read_some(&mut stream);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
        });
    });
    let mut client = client(&[url], Duration::from_secs(5));
    for _ in 0..3 {
        assert_eq!(client.ask(post(10)).unwrap().body, b"ok");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_cannot_be_reached_is_told_and_the_next_is_tried() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gone = Url::parse(&format!("http://{gone}")).unwrap();
    let here = receiver(|_, mut stream| {
        read_some(&mut stream);
        stream
            .write_all(b"HTTP/1.1 301 Moved\r\nlocation: http://elsewhere/\r\ncontent-length: 0\r\n\r\n")
            .unwrap();
    });
    let mut client = client(&[gone, here], Duration::from_secs(5));
    let error = client.ask(post(1)).unwrap_err().to_string();
    assert!(error.contains("Connection refused"), "{error}");
    let answer = client.ask(post(1)).unwrap();
    assert!(answer.told().contains("http://elsewhere/; redirects are not followed"), "{}", answer.told());
}

#[test]
fn a_secret_cannot_add_headers() {
    let url = receiver(|_, _| {});
    let mut request = post(1);
    request.secrets = vec![("authorization".into(), crate::Secret::new(b"x\r\nevil: yes".to_vec()))];
    let error = client(&[url], Duration::from_secs(1)).ask(request).unwrap_err().to_string();
    assert!(error.contains("cannot stand there") && !error.contains("evil"), "{error}");
}
