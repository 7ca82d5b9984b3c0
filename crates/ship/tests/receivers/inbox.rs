// SPDX-License-Identifier: Apache-2.0
//! A receiver over HTTP that a test writes: it keeps what it takes, and misbehaves as it is told.

use crate::proxy;
use flate2::read::GzDecoder;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Got {
    /// Its number, from 0.
    pub(crate) number: u64,
    /// Method and path.
    pub(crate) first: String,
    pub(crate) headers: BTreeMap<String, String>,
    /// As it came.
    pub(crate) raw: Vec<u8>,
    /// Unpacked.
    pub(crate) body: Vec<u8>,
}

impl Got {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

/// What the receiver does.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// A status line, more headers and a body.
    Say(&'static str, &'static str, Vec<u8>),
    /// The same, a few bytes at a time.
    Slowly(&'static str),
    /// Cuts the connection without a word.
    Cut,
}

impl Reply {
    pub(crate) fn status(status: &'static str) -> Reply {
        Reply::Say(status, "", Vec::new())
    }
}

/// Starts one; it ends with the process. `serve` sees each request.
pub(crate) fn start(serve: impl Fn(&Got) -> Reply + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (serve, count) = (Arc::new(serve), Arc::new(Mutex::new(0)));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, serve, count) = (stream.unwrap(), Arc::clone(&serve), Arc::clone(&count));
            std::thread::spawn(move || {
                while let Ok(Some(bytes)) = proxy::message(&mut stream) {
                    let number = {
                        let mut count = count.lock().unwrap();
                        *count += 1;
                        *count - 1
                    };
                    if !answer(&mut stream, serve(&read(number, &bytes))) {
                        return;
                    }
                }
            });
        }
    });
    port
}

fn read(number: u64, bytes: &[u8]) -> Got {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let (first, rest) = head.split_once("\r\n").unwrap();
    let headers: BTreeMap<String, String> = rest
        .split("\r\n")
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_string()))
        .collect();
    let raw = bytes[end + 4..].to_vec();
    let mut body = raw.clone();
    if headers.get("content-encoding").is_some_and(|coding| coding == "gzip") {
        body.clear();
        GzDecoder::new(raw.as_slice()).read_to_end(&mut body).unwrap();
    }
    Got { number, first: first.to_string(), headers, raw, body }
}

/// Whether the connection goes on.
fn answer(stream: &mut std::net::TcpStream, reply: Reply) -> bool {
    match reply {
        Reply::Cut => false,
        Reply::Say(status, headers, body) => {
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n");
            stream.write_all(&[head.as_bytes(), &body].concat()).is_ok()
        }
        Reply::Slowly(status) => {
            let whole = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            whole.as_bytes().chunks(9).all(|part| {
                std::thread::sleep(Duration::from_millis(15));
                stream.write_all(part).is_ok()
            })
        }
    }
}
