// SPDX-License-Identifier: Apache-2.0
//! As much of an HTTP/1.1 client as registries take: one request at a time, a body that is read while it comes, and
//! a deadline that only progress moves. It follows no redirects: who follows decides what is sent along.

mod answer;
mod stream;
mod url;

pub(crate) use ::http::{Head, escaped};
pub(crate) use answer::{Body, told};
pub(crate) use url::Url;

use openssl::ssl::SslConnector;
use std::io::{BufReader, Write};
use std::time::{Duration, Instant};
use stream::Stream;
use tls::Secret;

/// Bytes handed to the connection at once, and what must pass within the client's patience.
const PIECE: usize = 64 << 10;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It may be there at another try.
    Trouble(String),
    /// It speaks no TLS at all.
    NoTls(String),
    /// It will be the same at another try.
    Lasting(String),
}

/// What to ask.
#[derive(Clone)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'static str,
    pub(crate) url: Url,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The value of `Authorization`.
    pub(crate) secret: Option<Secret>,
    pub(crate) body: &'a [u8],
    /// Is told of the bytes of the body that were sent.
    pub(crate) sent: &'a dyn Fn(u64),
}

impl Request<'_> {
    pub(crate) fn new(method: &'static str, url: Url) -> Request<'static> {
        Request { method, url, headers: Vec::new(), secret: None, body: b"", sent: &|_| {} }
    }
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Who answers, which is not who was asked first when that one has sent us on.
    pub(crate) from: Url,
    pub(crate) head: Head,
    pub(crate) body: Body<BufReader<Stream>>,
}

/// A client with at most one connection that is kept.
pub(crate) struct Client {
    connector: SslConnector,
    patience: Duration,
    kept: Option<(Url, BufReader<Stream>)>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Client").field("patience", &self.patience).finish_non_exhaustive()
    }
}

impl Client {
    pub(crate) fn new(connector: SslConnector, patience: Duration) -> Client {
        Client { connector, patience, kept: None }
    }

    /// Asks, and reads the answer up to its body.
    pub(crate) fn ask(&mut self, request: &Request<'_>) -> Result<Answer, Fault> {
        let kept = self.kept.take().filter(|(url, _)| url.same_place(&request.url));
        if let Some((_, stream)) = kept
            && let Ok(answer) = self.over(stream, request)
        {
            return Ok(answer);
        }
        // None was kept, or the other side has closed it in between.
        let stream = Stream::connect(&request.url, &self.connector, self.patience)?;
        self.over(BufReader::with_capacity(PIECE, stream), request)
    }

    /// The connection of an answer that was read to its end serves again.
    pub(crate) fn keep(&mut self, answer: Answer) {
        if let Some(stream) = answer.body.into_rest() {
            self.kept = Some((answer.from, stream));
        }
    }

    fn over(&self, mut stream: BufReader<Stream>, request: &Request<'_>) -> Result<Answer, Fault> {
        let wire = stream.get_mut();
        wire.moves(PIECE, self.patience);
        wire.write_all(head(request).expose()).map_err(|error| self.broken(&error))?;
        // Who refuses a body may answer before it has taken it, and close.
        let written = request.body.chunks(PIECE).try_for_each(|piece| {
            wire.write_all(piece)?;
            (request.sent)(piece.len() as u64);
            Ok(())
        });
        wire.until(Instant::now() + self.patience);
        let (said, body) = match answer::head(&mut stream, request.method) {
            Err(_) if written.is_err() => {
                return written.map_err(|error| self.broken(&error)).and(Err(NOTHING));
            }
            other => other?,
        };
        stream.get_mut().moves(PIECE, self.patience);
        Ok(Answer { from: request.url.clone(), head: said, body: Body::new(stream, body) })
    }

    fn broken(&self, error: &std::io::Error) -> Fault {
        Fault::Trouble(answer::told(error, self.patience))
    }
}

const NOTHING: Fault = Fault::Trouble(String::new());

/// With a secret in it.
fn head(request: &Request<'_>) -> Secret {
    let url = &request.url;
    let mut head = format!(
        "{} {} HTTP/1.1\r\nhost: {}\r\nuser-agent: purser\r\naccept-encoding: identity\r\n",
        request.method, url.path, url.host
    );
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !matches!(request.method, "GET" | "HEAD") {
        head.push_str(&format!("content-length: {}\r\n", request.body.len()));
    }
    let secret = request.secret.as_ref().map_or(b"".as_slice(), Secret::expose);
    let mut bytes = Vec::with_capacity(head.len() + secret.len() + 32);
    bytes.extend_from_slice(head.as_bytes());
    // What could begin another header is no secret that anybody has given out.
    if !secret.is_empty() && secret.iter().all(|byte| *byte == b' ' || byte.is_ascii_graphic()) {
        for part in [b"authorization: ".as_slice(), secret, b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    }
    bytes.extend_from_slice(b"\r\n");
    Secret::new(bytes)
}

/// Reads bytes as an answer to its end.
#[cfg(feature = "said")]
pub(crate) fn read_all(mut bytes: &[u8]) {
    if let Ok((_, body)) = answer::head(&mut bytes, "GET") {
        std::io::copy(&mut Body::new(bytes, body), &mut std::io::sink()).map(drop).unwrap_or_default();
    }
}
