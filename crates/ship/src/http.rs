// SPDX-License-Identifier: Apache-2.0
//! A small HTTP/1.1 client for all sinks that speak it: one request at a time on a connection that
//! is kept. A request is begun and then driven on in slices, so that its sink never blocks for long;
//! it has a deadline as a whole, which a receiver that answers byte by byte cannot move.
//!
//! It follows no redirects and reads no more of an answer than it has a limit for.

mod answer;
mod intake;
mod mask;
mod pace;
mod url;

pub(crate) use answer::Answer;
#[cfg(feature = "answers")]
pub(crate) use intake::parse;
pub(crate) use mask::Mask;
pub(crate) use pace::Pace;
pub use url::Url;

use crate::error::Error;
use crate::sink::{SendError, Step};
use crate::tls::{TlsSettings, connector};
use crate::wire::{Tls, Wire, is_slow};
use ::tls::Secret;
use flate2::Compression;
use flate2::write::GzEncoder;
use intake::Intake;
use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

/// Bytes handed to the connection at once.
const PIECE: usize = 64 << 10;
/// Bytes taken from it at once.
const READ: usize = 16 << 10;
/// Bytes that are read of the body of an answer, unless its request expects more.
const ANSWER_LIMIT: usize = 64 << 10;
/// Bytes from which on compression is worth it.
const GZIP_FROM: usize = 1024;
/// Longest name and longest value of a header that is configured.
const HEADER_LIMIT: usize = 4096;
/// Headers that say how a request is sent.
const OURS: [&str; 9] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "transfer-encoding",
    "user-agent",
];
/// Time for a look at whether the receiver answers before it has taken everything.
const GLANCE: Duration = Duration::from_millis(2);

/// Who we are, for receivers that speak HTTP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are what they are called")]
pub enum HttpAuth {
    #[default]
    None,
    Basic {
        username: String,
        password: Secret,
    },
    /// Elasticsearch's keys, encoded as it prints them.
    ApiKey(Secret),
    Bearer(Secret),
}

impl HttpAuth {
    /// The headers that say it.
    fn headers(&self) -> Vec<(Cow<'static, str>, Secret)> {
        let after = |word: &str, secret: &Secret| Secret::new([word.as_bytes(), secret.expose()].concat());
        let value = match self {
            HttpAuth::None => return Vec::new(),
            HttpAuth::Basic { username, password } => basic(username, password),
            HttpAuth::ApiKey(key) => after("ApiKey ", key),
            HttpAuth::Bearer(token) => after("Bearer ", token),
        };
        vec![("authorization".into(), value)]
    }
}

/// Where and how to send over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// One or more ways to the same receiver.
    pub urls: Vec<Url>,
    /// Who we are.
    pub auth: HttpAuth,
    /// Headers of every request, by name.
    pub headers: Vec<(String, String)>,
    /// The same with values that nobody may see.
    pub secret_headers: Vec<(String, Secret)>,
    /// Encryption, for URLs that begin with https.
    pub tls: TlsSettings,
    /// Whether requests are compressed.
    pub gzip: bool,
    /// For one request.
    pub patience: Duration,
}

impl HttpSettings {
    /// `more` is what the receiver knows beside these settings, and must not be told either.
    pub(crate) fn client(&self, more: Option<&Secret>) -> Result<Client, Error> {
        let mask = Mask::new(self.secrets().into_iter().chain(more.cloned()));
        Ok(Client { mask, ..Client::new(&self.urls, &self.tls, self.patience)? })
    }

    /// All secrets, in each form in which requests show them or a receiver can read them there.
    fn secrets(&self) -> Vec<Secret> {
        let mut all: Vec<Secret> = self.secret_headers.iter().map(|(_, value)| value.clone()).collect();
        match &self.auth {
            HttpAuth::None => {}
            HttpAuth::Basic { password: secret, .. }
            | HttpAuth::ApiKey(secret)
            | HttpAuth::Bearer(secret) => {
                all.push(secret.clone());
            }
        }
        for (_, value) in self.auth.headers() {
            // What stands behind `Basic` or `ApiKey` is USER:SECRET.
            let coded = value.expose().split(|byte| *byte == b' ').next_back().unwrap_or_default();
            let coded = Secret::new(coded.to_vec());
            let text = coded.expose_text().and_then(|text| openssl::base64::decode_block(text).ok());
            if let Some(clear) = text.map(Secret::new)
                && let Some(colon) = clear.expose().iter().position(|byte| *byte == b':')
            {
                all.push(Secret::new(clear.expose().get(colon + 1..).unwrap_or_default().to_vec()));
            }
            all.extend([coded, value]);
        }
        all
    }

    /// A request with what all of them have; `kind` is the type of a body that is not empty.
    pub(crate) fn request(&self, method: &'static str, path: String, kind: &str, body: Vec<u8>) -> Request {
        let mut headers: Vec<(Cow<'static, str>, String)> =
            self.headers.iter().map(|(name, value)| (name.clone().into(), value.clone())).collect();
        if !body.is_empty() {
            headers.push(("content-type".into(), kind.to_string()));
        }
        let mut secrets = self.auth.headers();
        secrets.extend(self.secret_headers.iter().map(|(name, value)| (name.clone().into(), value.clone())));
        let gzip = self.gzip && body.len() > GZIP_FROM;
        Request { method, path, headers, secrets, body, gzip, expects: 0 }
    }

    /// Whether `name` and `value` can be a header of a request.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_header(name: &str, value: &str) -> Result<(), String> {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || name.len() > HEADER_LIMIT || !name.bytes().all(token) {
            return Err(format!("{name:?} is no name of a header"));
        }
        if OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
            return Err(format!("the header {name} is written by purser itself"));
        }
        if value.len() > HEADER_LIMIT || !value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return Err(format!(
                "the value of the header {name} has at most {HEADER_LIMIT} printable ASCII characters"
            ));
        }
        Ok(())
    }
}

/// What to ask.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    /// Path and query, appended to the path of the URL; begins with a slash, or is empty.
    pub(crate) path: String,
    /// Without those on length and connection.
    pub(crate) headers: Vec<(Cow<'static, str>, String)>,
    /// Value of `Authorization`, or of the header named.
    pub(crate) secrets: Vec<(Cow<'static, str>, Secret)>,
    pub(crate) body: Vec<u8>,
    pub(crate) gzip: bool,
    /// How much longer than usual its answer can be.
    pub(crate) expects: usize,
}

/// A request that is not answered yet.
#[derive(Debug)]
struct Exchange {
    /// With a secret in it.
    head: Secret,
    body: Vec<u8>,
    written: usize,
    intake: Intake,
    pace: Pace,
    until: Instant,
    /// Whether the connection had served before: then it may have been closed in between.
    reused: bool,
}

/// One receiver with one or more URLs.
#[derive(Debug)]
pub(crate) struct Client {
    urls: Vec<Url>,
    tls: Option<Tls>,
    at: usize,
    wire: Option<Wire>,
    exchange: Option<Exchange>,
    request: Option<Request>,
    patience: Duration,
    /// What is read goes through it.
    buffer: Vec<u8>,
    mask: Mask,
}

impl Client {
    /// Connects to nothing yet. `patience` is for a whole request.
    pub(crate) fn new(urls: &[Url], tls: &TlsSettings, patience: Duration) -> Result<Client, Error> {
        if urls.is_empty() {
            return Err(Error::Settings("there is no URL to send to".to_string()));
        }
        let tls = match urls.iter().any(|url| url.secure) {
            true => Some(Tls { connector: connector(tls)?, skip_name_check: tls.skip_name_check }),
            false => None,
        };
        Ok(Client {
            urls: urls.to_vec(),
            tls,
            at: 0,
            wire: None,
            exchange: None,
            request: None,
            patience,
            buffer: vec![0; READ],
            mask: Mask::default(),
        })
    }

    /// Whether a request is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.request.is_some()
    }

    /// Forgets what is under way.
    pub(crate) fn cancel(&mut self) {
        if self.exchange.take().is_some() {
            self.wire = None;
        }
        self.request = None;
    }

    /// The URL in use, for messages.
    pub(crate) fn place(&self) -> String {
        self.url().place.to_string()
    }

    fn url(&self) -> &Url {
        // There is at least one, and `at` is always taken modulo their number.
        &self.urls[self.at % self.urls.len()]
    }

    /// The next of several URLs is used from now on.
    pub(crate) fn turn_away(&mut self) {
        self.wire = None;
        self.at = (self.at + 1) % self.urls.len();
    }

    /// Begins a request; [`Client::drive`] does the rest.
    pub(crate) fn begin(&mut self, request: Request) {
        self.cancel();
        self.request = Some(request);
    }

    /// Goes on with the request until `slice` ends. `None` when the answer is not there yet.
    pub(crate) fn drive(&mut self, slice: Instant) -> Result<Option<Answer>, SendError> {
        let mut result = self.advance(slice);
        match &mut result {
            Ok(None) => {}
            Ok(Some(answer)) => {
                answer.mask = self.mask.clone();
                if answer.closes {
                    self.wire = None;
                }
                (self.exchange, self.request) = (None, None);
            }
            Err(_) => {
                self.cancel();
                self.turn_away();
            }
        }
        result
    }

    /// A whole request with its answer, for the few that are not part of a line.
    pub(crate) fn ask(&mut self, request: Request) -> Result<Answer, SendError> {
        self.begin(request);
        loop {
            if let Some(answer) = self.drive(Instant::now() + Duration::from_secs(1))? {
                return Ok(answer);
            }
        }
    }

    /// Connects, telling each step, for a probe.
    pub(crate) fn reach(&mut self, tell: &mut dyn FnMut(Step)) -> Result<(), Step> {
        let mut last = None;
        for _ in 0..self.urls.len() {
            let url = self.url().clone();
            let tls = self.tls.as_ref().filter(|_| url.secure);
            match Wire::connect_telling(&url.place, tls, tell) {
                Ok(wire) => {
                    self.wire = Some(wire);
                    return Ok(());
                }
                Err(error) => last = Some(Step::failed(format!("reach {}", url.place), error.to_string())),
            }
            self.turn_away();
        }
        Err(last.unwrap_or_else(|| Step::failed("reach the receiver", "there is no URL")))
    }

    fn advance(&mut self, slice: Instant) -> Result<Option<Answer>, SendError> {
        loop {
            self.connect()?;
            let place = self.place();
            let (Some(wire), Some(exchange)) = (&mut self.wire, &mut self.exchange) else { return Ok(None) };
            if Instant::now() >= exchange.until {
                let secs = self.patience.as_secs();
                return Err(SendError::Transient(format!("{place} did not answer within {secs} s")));
            }
            wire.until(slice.min(exchange.until));
            match exchange.step(wire, &mut self.buffer) {
                Went::Slow => return Ok(None),
                Went::Answer(answer) => return Ok(Some(answer)),
                Went::Broken(_) if exchange.reused && !exchange.intake.has_heard() => {
                    // The receiver closed an idle connection: that says nothing of this request.
                    (self.wire, self.exchange) = (None, None);
                }
                Went::Broken(why) => {
                    let why = self.mask.tell(why.as_bytes());
                    return Err(SendError::Transient(format!("{place}: {why}")));
                }
            }
        }
    }

    fn connect(&mut self) -> Result<(), SendError> {
        let Some(request) = &self.request else { return Ok(()) };
        let reused = self.wire.is_some();
        if self.exchange.is_some() {
            return Ok(());
        }
        let exchange = Exchange::new(self.url(), request, self.patience, reused)?;
        if !reused {
            let url = self.url();
            self.wire = Some(Wire::connect(&url.place, self.tls.as_ref().filter(|_| url.secure))?);
        }
        self.exchange = Some(exchange);
        Ok(())
    }
}

/// What became of a try to go on.
enum Went {
    Slow,
    Answer(Answer),
    Broken(String),
}

impl Exchange {
    fn new(url: &Url, request: &Request, patience: Duration, reused: bool) -> Result<Exchange, SendError> {
        let body = match request.gzip {
            true => {
                gzip(&request.body).map_err(|error| SendError::Transient(format!("compressing: {error}")))?
            }
            false => request.body.clone(),
        };
        let (method, path) = (request.method, format!("{}{}", url.path, request.path));
        let path = if path.is_empty() { "/" } else { &path };
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nuser-agent: purser\r\naccept-encoding: identity\r\n",
            url.host_header()
        );
        for (name, value) in &request.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if request.gzip {
            head.push_str("content-encoding: gzip\r\n");
        }
        if method != "GET" && method != "HEAD" {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        let mut head = head.into_bytes();
        for (name, value) in &request.secrets {
            if value.expose().iter().any(|byte| *byte < b' ' || *byte == 0x7f) {
                let why = format!("the secret for the header {name} has characters that cannot stand there");
                return Err(SendError::Refused(why));
            }
            head.extend_from_slice(format!("{name}: ").as_bytes());
            head.extend_from_slice(value.expose());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        let until = Instant::now() + patience;
        let intake = Intake::new(ANSWER_LIMIT + request.expects);
        let pace = Pace::default();
        Ok(Exchange { head: Secret::new(head), body, written: 0, intake, pace, until, reused })
    }

    fn step(&mut self, wire: &mut Wire, buffer: &mut [u8]) -> Went {
        let head = self.head.expose().len();
        while self.written < head + self.body.len() {
            let rest = match self.written.checked_sub(head) {
                Some(sent) => self.body.get(sent..).unwrap_or_default(),
                None => self.head.expose().get(self.written..).unwrap_or_default(),
            };
            match wire.write(rest.get(..PIECE).unwrap_or(rest)) {
                Ok(0) => return self.early(wire, buffer, "it takes no more"),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if is_slow(&error) => return self.early(wire, buffer, ""),
                Err(error) => return self.early(wire, buffer, &error.to_string()),
            }
        }
        self.read(wire, buffer)
    }

    /// Looks whether a receiver that takes no more has answered already.
    fn early(&mut self, wire: &mut Wire, buffer: &mut [u8], why: &str) -> Went {
        wire.until(Instant::now() + GLANCE);
        match self.read(wire, buffer) {
            Went::Answer(mut answer) => {
                answer.closes = true;
                Went::Answer(answer)
            }
            Went::Slow if why.is_empty() => Went::Slow,
            _ => Went::Broken(if why.is_empty() {
                "it closed the connection".to_string()
            } else {
                why.to_string()
            }),
        }
    }

    fn read(&mut self, wire: &mut Wire, buffer: &mut [u8]) -> Went {
        loop {
            let count = match wire.read(buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) if is_slow(&error) => return Went::Slow,
                Err(error) => return Went::Broken(error.to_string()),
            };
            if count == 0 {
                return match self.intake.end() {
                    Some(answer) => Went::Answer(answer),
                    None => Went::Broken("it closed the connection without an answer".to_string()),
                };
            }
            let before = self.intake.kept();
            match self.intake.take(buffer.get(..count).unwrap_or_default()) {
                Ok(Some(answer)) => return Went::Answer(answer),
                Ok(None) => self.pace.after(count, self.intake.kept() - before),
                Err(why) => return Went::Broken(why),
            }
        }
    }
}

/// `bytes`, compressed.
pub(crate) fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// `Basic` credentials.
fn basic(user: &str, password: &Secret) -> Secret {
    let mut clear = format!("{user}:").into_bytes();
    clear.extend_from_slice(password.expose());
    let clear = Secret::new(clear);
    Secret::new(format!("Basic {}", openssl::base64::encode_block(clear.expose())).into_bytes())
}

#[cfg(test)]
mod tests;
