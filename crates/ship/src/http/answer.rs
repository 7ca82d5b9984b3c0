// SPDX-License-Identifier: Apache-2.0
//! Reading an HTTP/1.1 answer from bytes of which more may come.

use crate::sink::SendError;
use std::time::Duration;

/// Longest head: status line and headers.
const HEAD_LIMIT: usize = 64 << 10;
/// Longest body. A batch of 65,536 documents has an answer of about 10 MiB.
const BODY_LIMIT: usize = 32 << 20;
/// Most interim answers before the real one.
const INTERIM_LIMIT: usize = 8;
/// Longest wait that a receiver can ask for.
const RETRY_LIMIT: u64 = 600;

/// What a receiver said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Where a redirect leads.
    pub(crate) location: Option<String>,
    /// How long to wait, when it says so in seconds.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Vec<u8>,
    /// Whether the connection cannot be used again.
    pub(crate) closes: bool,
}

impl Answer {
    /// Whether the receiver took the request.
    pub(crate) fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// That it may go better later: at once, or when the receiver wants it.
    pub(crate) fn later(&self, told: String) -> SendError {
        match self.retry_after {
            Some(wait) => SendError::Later(told, wait),
            None => SendError::Transient(told),
        }
    }

    /// The beginning of the body, for messages.
    pub(crate) fn excerpt(&self) -> String {
        let text = String::from_utf8_lossy(self.body.get(..300).unwrap_or(&self.body));
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_string()
    }

    /// Status, and what else helps, for messages.
    pub(crate) fn told(&self) -> String {
        match (&self.location, self.excerpt()) {
            (Some(place), _) => format!("{} (to {place}; redirects are not followed)", self.status),
            (None, text) if text.is_empty() => self.status.to_string(),
            (None, text) => format!("{}: {text}", self.status),
        }
    }
}

/// How long the body is.
enum Length {
    Known(usize),
    Chunks,
    UntilClose,
}

/// The answer at the start of `input`; `None` when it is not whole yet.
pub(crate) fn parse(input: &[u8], closed: bool) -> Result<Option<Answer>, String> {
    let mut rest = input;
    for _ in 0..INTERIM_LIMIT {
        let Some((head, body)) = split_head(rest)? else { return Ok(None) };
        let (mut answer, length) = read_head(head)?;
        if (100..200).contains(&answer.status) {
            rest = body;
            continue;
        }
        let used = match length {
            Length::Known(length) => body.get(..length).map(|part| (part.to_vec(), length)),
            Length::Chunks => unchunk(body)?,
            Length::UntilClose => {
                answer.closes = true;
                closed.then(|| (body.to_vec(), body.len()))
            }
        };
        if body.len() > BODY_LIMIT.saturating_mul(2) {
            return Err(format!("its answer is longer than {BODY_LIMIT} bytes"));
        }
        let Some((text, used)) = used else { return Ok(None) };
        if text.len() > BODY_LIMIT {
            return Err(format!("its answer is longer than {BODY_LIMIT} bytes"));
        }
        // What follows belongs to no request: such a connection cannot be trusted any more.
        answer.closes |= body.len() > used;
        answer.body = text;
        return Ok(Some(answer));
    }
    Err("it sends interim answers without end".to_string())
}

/// Head and what follows it.
type Parts<'a> = (&'a [u8], &'a [u8]);

fn split_head(input: &[u8]) -> Result<Option<Parts<'_>>, String> {
    let window = input.get(..HEAD_LIMIT).unwrap_or(input);
    match window.windows(4).position(|four| four == b"\r\n\r\n") {
        Some(at) => Ok(input.split_at_checked(at + 4)),
        None if input.len() >= HEAD_LIMIT => {
            Err(format!("the head of its answer is longer than {HEAD_LIMIT} bytes"))
        }
        None if input.len() >= 5 && !input.starts_with(b"HTTP/") => Err("it does not speak HTTP".to_string()),
        None => Ok(None),
    }
}

fn read_head(head: &[u8]) -> Result<(Answer, Length), String> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let mut words = first.splitn(3, ' ');
    let version = words.next().unwrap_or_default();
    let status =
        words.next().and_then(|word| word.parse::<u16>().ok()).filter(|status| (100..1000).contains(status));
    let (true, Some(status)) = (version.starts_with("HTTP/1."), status) else {
        return Err("it does not speak HTTP/1.1".to_string());
    };
    let mut answer = Answer { status, closes: version != "HTTP/1.1", ..Answer::default() };
    let mut length = None;
    for line in lines.filter(|line| !line.is_empty()) {
        let Some((name, value)) = line.split_once(':') else {
            return Err("it sends a header without a colon".to_string());
        };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" if !matches!(length, Some(Length::Chunks)) => {
                let known = value.parse::<usize>().ok().filter(|length| *length <= BODY_LIMIT);
                let known = known.ok_or_else(|| format!("it announces an answer of {value:?} bytes"))?;
                length = Some(Length::Known(known));
            }
            "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => length = Some(Length::Chunks),
            "transfer-encoding" => {
                return Err(format!("it sends its answer as {value:?}, which nobody asked for"));
            }
            "content-encoding" if !value.eq_ignore_ascii_case("identity") => {
                return Err(format!("it compresses its answer with {value:?}, which nobody asked for"));
            }
            "connection" if value.eq_ignore_ascii_case("close") => answer.closes = true,
            "location" if (300..400).contains(&status) => {
                answer.location = Some(value.chars().take(300).collect())
            }
            "retry-after" => {
                answer.retry_after =
                    value.parse().ok().map(|secs: u64| Duration::from_secs(secs.min(RETRY_LIMIT)));
            }
            _ => {}
        }
    }
    let bodyless = status == 204 || status == 304 || status < 200;
    let length = if bodyless { Length::Known(0) } else { length.unwrap_or(Length::UntilClose) };
    Ok((answer, length))
}

/// The body in chunks, and how many bytes it took.
fn unchunk(input: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let rest = input.get(at..).unwrap_or_default();
        let Some(end) = rest.windows(2).take(1024).position(|two| two == b"\r\n") else {
            return if rest.len() > 1024 {
                Err("it sends a chunk without a length".to_string())
            } else {
                Ok(None)
            };
        };
        let line = String::from_utf8_lossy(rest.get(..end).unwrap_or_default()).into_owned();
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).ok().filter(|size| *size <= BODY_LIMIT);
        let size = size.ok_or_else(|| format!("it sends a chunk of length {line:?}"))?;
        at += end + 2;
        if size == 0 {
            return Ok(trailer(input, at).map(|end| (body, end)));
        }
        let Some(chunk) = input.get(at..at + size) else { return Ok(None) };
        match input.get(at + size..at + size + 2) {
            None => return Ok(None),
            Some(b"\r\n") => {}
            Some(_) => return Err("it sends a chunk that is longer than it says".to_string()),
        }
        body.extend_from_slice(chunk);
        if body.len() > BODY_LIMIT {
            return Err(format!("its answer is longer than {BODY_LIMIT} bytes"));
        }
        at += size + 2;
    }
}

/// Where the lines behind the last chunk end.
fn trailer(input: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let rest = input.get(at..)?;
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        at += end + 2;
        if end == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse;
    use std::time::Duration;

    #[test]
    fn every_beginning_is_waited_for_and_the_whole_is_read() {
        for (text, status, body) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello"),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nt: 1\r\n\r\n",
                200,
                "hello",
            ),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n", 204, ""),
        ] {
            for end in 0..text.len() {
                assert_eq!(parse(&text.as_bytes()[..end], false), Ok(None), "{end} of {text:?}");
            }
            let answer = parse(text.as_bytes(), false).unwrap().unwrap();
            assert_eq!(
                (answer.status, answer.body.as_slice(), answer.closes),
                (status, body.as_bytes(), false)
            );
            let more = [text.as_bytes(), b"x"].concat();
            assert!(parse(&more, false).unwrap().unwrap().closes);
        }
        let text = b"HTTP/1.0 429 Slow\r\nRetry-After: 7\r\n\r\nlater";
        assert_eq!(parse(text, false), Ok(None));
        let answer = parse(text, true).unwrap().unwrap();
        assert_eq!(
            (answer.status, answer.retry_after, answer.closes),
            (429, Some(Duration::from_secs(7)), true)
        );
        assert_eq!(answer.told(), "429: later");
    }

    #[test]
    fn what_is_no_answer_is_said_and_bounded() {
        for wrong in [
            "SSH-2.0-OpenSSH\r\n",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 abc\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-encoding: br\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc\r\n",
        ] {
            assert!(parse(wrong.as_bytes(), false).is_err(), "{wrong:?}");
        }
        assert!(parse(&[b'H'; 70_000], false).is_err());
        let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(9);
        assert!(parse(interim.as_bytes(), false).is_err());
    }
}
