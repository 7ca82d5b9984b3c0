// SPDX-License-Identifier: Apache-2.0
//! The head of an answer: its status and its headers.

use crate::{Body, HttpError};
use httparse::{EMPTY_HEADER, Error, Response};

/// How each head begins.
const BEGINNING: &[u8] = b"HTTP/";
/// Longest head: status line and headers.
const HEAD_LIMIT: usize = 64 << 10;
/// Most headers.
const HEADERS_LIMIT: usize = 128;
/// Most interim answers before the real one.
const INTERIM_LIMIT: usize = 8;

/// Takes what comes until the head of an answer is there. Interim answers before it, such as 100, are passed over; 101
/// is none of them, as nothing of HTTP follows it.
#[derive(Debug, Default)]
pub struct Heads {
    /// The beginning of a head whose end has not come yet.
    begun: Vec<u8>,
    interim: usize,
}

impl Heads {
    /// The head, when its end is in `input`, and how many bytes of `input` are used up.
    ///
    /// # Errors
    /// When it is no head, or longer than any.
    pub fn take(&mut self, input: &[u8]) -> Result<(Option<Head>, usize), HttpError> {
        let mut used = 0;
        while let Some(rest) = input.get(used..).filter(|rest| !rest.is_empty()) {
            let before = self.begun.len();
            self.begun.extend_from_slice(rest.get(..HEAD_LIMIT - before).unwrap_or(rest));
            if !self.begun.iter().zip(BEGINNING).all(|(byte, wanted)| byte == wanted) {
                return Err(HttpError::NotHttp);
            }
            let Some(end) = end_of(&self.begun, before.saturating_sub(2)) else {
                return match self.begun.len() {
                    HEAD_LIMIT => Err(HttpError::LongHead),
                    _ => Ok((None, input.len())),
                };
            };
            self.begun.truncate(end);
            used += end - before;
            let head = Head::read(&std::mem::take(&mut self.begun))?;
            if head.status == 101 || head.status >= 200 {
                return Ok((Some(head), used));
            }
            self.interim += 1;
            if self.interim >= INTERIM_LIMIT {
                return Err(HttpError::Interim);
            }
        }
        Ok((None, used))
    }
}

/// Where the empty line behind a head ends; it begins behind `from`.
fn end_of(bytes: &[u8], from: usize) -> Option<usize> {
    let behind = |(at, byte): (usize, &u8)| {
        let rest = bytes.get(at + 1..).filter(|_| *byte == b'\n')?;
        let line = [b"\n".as_slice(), b"\r\n"].into_iter().find(|line| rest.starts_with(line))?;
        Some(at + 1 + line.len())
    };
    bytes.iter().enumerate().skip(from).find_map(behind)
}

/// The head of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// From 100 to 999.
    pub status: u16,
    /// Names in lower case, and values.
    headers: Vec<(String, String)>,
    /// Whether the connection goes on unless a header says otherwise.
    goes_on: bool,
}

impl Head {
    fn read(bytes: &[u8]) -> Result<Head, HttpError> {
        let mut headers = [EMPTY_HEADER; HEADERS_LIMIT];
        let mut response = Response::new(&mut headers);
        match response.parse(bytes) {
            Ok(_) => {}
            Err(Error::HeaderName | Error::HeaderValue | Error::NewLine) => return Err(HttpError::Header),
            Err(Error::TooManyHeaders) => return Err(HttpError::LongHead),
            Err(_) => return Err(HttpError::NotHttp),
        }
        let status = response.code.filter(|status| *status >= 100).ok_or(HttpError::NotHttp)?;
        let text = |value: &[u8]| String::from_utf8_lossy(value).trim().to_owned();
        let headers = response.headers.iter();
        let headers = headers.map(|one| (one.name.to_ascii_lowercase(), text(one.value))).collect();
        Ok(Head { status, headers, goes_on: response.version == Some(1) })
    }

    /// The values of a header, which is named in lower case.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The first value of a header, which is named in lower case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body behind it, in the answer to a request of that method.
    ///
    /// # Errors
    /// When it does not say how the body comes, or the body would have to be decoded.
    pub fn body(&self, method: &str) -> Result<Body, HttpError> {
        let keeps =
            self.goes_on && !self.get("connection").is_some_and(|it| it.eq_ignore_ascii_case("close"));
        if self.all("content-encoding").any(|coding| !coding.eq_ignore_ascii_case("identity")) {
            return Err(HttpError::Coding);
        }
        if method == "HEAD" || matches!(self.status, ..200 | 204 | 304) {
            return Ok(Body::of(0, keeps));
        }
        let mut codings = self.all("transfer-encoding");
        match (codings.next(), codings.next()) {
            (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => {
                return Ok(Body::in_chunks(keeps));
            }
            (Some(_), _) => return Err(HttpError::Coding),
            (None, _) => {}
        }
        let mut lengths = self.all("content-length");
        let Some(length) = lengths.next() else { return Ok(Body::until_close()) };
        let number = length.parse().ok().filter(|_| length.bytes().all(|byte| byte.is_ascii_digit()));
        let number = number.filter(|_| lengths.all(|other| other == length));
        number.map(|length| Body::of(length, keeps)).ok_or(HttpError::Length)
    }
}
