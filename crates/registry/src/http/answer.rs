// SPDX-License-Identifier: Apache-2.0
//! An answer: its head, which has a limit, and its body, which is read while it comes.

use super::Fault;
use std::io::{self, BufRead, ErrorKind, Read};
use std::time::Duration;

/// Longest head: status line and headers.
const HEAD_LIMIT: u64 = 64 << 10;
/// Longest line before a chunk, and all lines behind the last one.
const LINE_LIMIT: u64 = 4 << 10;
/// Most interim answers before the real one.
const INTERIM_LIMIT: usize = 8;

/// The headers of an answer: names in lower case.
#[derive(Debug, Default)]
pub(crate) struct Headers(Vec<(String, String)>);

impl Headers {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// How a body comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// So many bytes; whether the connection can be used again after them.
    Known(u64, bool),
    UntilClose,
    /// In chunks, of the present one so many bytes; whether there was one before.
    Chunked {
        left: u64,
        begun: bool,
        kept: bool,
    },
    /// All was read; whether the connection can be used again.
    Over(bool),
}

/// A body on its way.
#[derive(Debug)]
pub(crate) struct Body<R> {
    input: R,
    framing: Framing,
}

impl<R: BufRead> Body<R> {
    pub(super) fn new(input: R, framing: Framing) -> Body<R> {
        Body {
            input,
            framing: if framing == Framing::Known(0, true) { Framing::Over(true) } else { framing },
        }
    }

    /// How long it says it is.
    pub(crate) fn length(&self) -> Option<u64> {
        match self.framing {
            Framing::Known(length, _) => Some(length),
            Framing::Over(_) => Some(0),
            _ => None,
        }
    }

    /// The connection, if it can be used again.
    pub(super) fn into_rest(self) -> Option<R> {
        (self.framing == Framing::Over(true)).then_some(self.input)
    }

    fn piece(&mut self, into: &mut [u8], left: u64) -> io::Result<u64> {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(into.len());
        let count = self.input.read(into.get_mut(..most).unwrap_or_default())?;
        if count == 0 && most > 0 {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "it closed the connection in the middle"));
        }
        Ok(count as u64)
    }

    /// The length of the next chunk; the lines behind the last one are passed over.
    fn chunk(&mut self, begun: bool) -> io::Result<u64> {
        let mut left = LINE_LIMIT;
        if begun && !line(&mut self.input, &mut left)?.is_empty() {
            return Err(invalid("it sends a chunk that is longer than it says"));
        }
        let size = line(&mut self.input, &mut left)?;
        let size = size.split(';').next().unwrap_or_default().trim();
        let plain = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit());
        let size = Some(size).filter(|_| plain).and_then(|size| u64::from_str_radix(size, 16).ok());
        let size = size.ok_or_else(|| invalid("it sends a chunk without a length"))?;
        if size == 0 {
            while !line(&mut self.input, &mut left)?.is_empty() {}
        }
        Ok(size)
    }
}

impl<R: BufRead> Read for Body<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        let count = match self.framing {
            Framing::Over(_) => 0,
            Framing::UntilClose => self.input.read(into)? as u64,
            Framing::Known(left, kept) => {
                let count = self.piece(into, left)?;
                self.framing =
                    if count == left { Framing::Over(kept) } else { Framing::Known(left - count, kept) };
                count
            }
            Framing::Chunked { left: 0, begun, kept } => match self.chunk(begun)? {
                0 => {
                    self.framing = Framing::Over(kept);
                    0
                }
                left => {
                    self.framing = Framing::Chunked { left, begun: true, kept };
                    return self.read(into);
                }
            },
            Framing::Chunked { left, begun, kept } => {
                let count = self.piece(into, left)?;
                self.framing = Framing::Chunked { left: left - count, begun, kept };
                count
            }
        };
        Ok(usize::try_from(count).unwrap_or_default())
    }
}

/// Status, headers, and how the body comes.
pub(super) fn head(input: &mut impl BufRead, method: &str) -> Result<(u16, Headers, Framing), Fault> {
    for _ in 0..INTERIM_LIMIT {
        let mut left = HEAD_LIMIT;
        let mut read = || line(input, &mut left).map_err(|error| fault(&error));
        let first = read()?;
        let mut words = first.splitn(3, ' ');
        let version = words.next().unwrap_or_default();
        let status = words.next().and_then(|word| word.parse::<u16>().ok());
        let status = status.filter(|status| (100..1000).contains(status) && version.starts_with("HTTP/1."));
        let Some(status) = status else {
            return Err(Fault::Lasting("it does not speak HTTP/1.1".to_string()));
        };
        let mut headers = Headers::default();
        loop {
            let line = read()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| Fault::Lasting("it sends a header without a colon".to_string()))?;
            headers.0.push((name.to_ascii_lowercase(), value.trim().to_string()));
        }
        if status >= 200 {
            let framing = framing(status, version, &headers, method).map_err(Fault::Lasting)?;
            return Ok((status, headers, framing));
        }
    }
    Err(Fault::Lasting("it sends interim answers without end".to_string()))
}

fn framing(status: u16, version: &str, headers: &Headers, method: &str) -> Result<Framing, String> {
    let closes = headers.get("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    let kept = version == "HTTP/1.1" && !closes;
    if let Some(coding) = headers.get("content-encoding").filter(|it| !it.eq_ignore_ascii_case("identity")) {
        return Err(format!("it compresses its answer with {coding:?}, which nobody asked for"));
    }
    if method == "HEAD" || status == 204 || status == 304 {
        return Ok(Framing::Over(kept));
    }
    match headers.get("transfer-encoding") {
        Some(coding) if coding.eq_ignore_ascii_case("chunked") => {
            return Ok(Framing::Chunked { left: 0, begun: false, kept });
        }
        Some(coding) => return Err(format!("it sends its answer as {coding:?}, which nobody asked for")),
        None => {}
    }
    let mut lengths = headers.all("content-length");
    let Some(length) = lengths.next() else { return Ok(Framing::UntilClose) };
    let number = length.parse::<u64>().ok().filter(|_| length.bytes().all(|byte| byte.is_ascii_digit()));
    match number.filter(|_| lengths.all(|other| other == length)) {
        Some(0) => Ok(Framing::Over(kept)),
        Some(length) => Ok(Framing::Known(length, kept)),
        None => Err(format!("it announces an answer of {length:?} bytes")),
    }
}

/// One line without its end, from at most `left` bytes.
fn line(input: &mut impl BufRead, left: &mut u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    let count = input.by_ref().take(*left).read_until(b'\n', &mut bytes)?;
    *left -= count as u64;
    if bytes.pop() != Some(b'\n') {
        return Err(match *left {
            0 => invalid("it sends lines without end"),
            _ => io::Error::new(
                ErrorKind::UnexpectedEof,
                "it closed the connection before its answer was there",
            ),
        });
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

fn fault(error: &io::Error) -> Fault {
    match error.kind() {
        ErrorKind::InvalidData => Fault::Lasting(error.to_string()),
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            Fault::Trouble("it did not answer in time".to_string())
        }
        _ => Fault::Trouble(error.to_string()),
    }
}

/// An error of a connection in words.
pub(crate) fn told(error: &io::Error, patience: Duration) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            format!("nothing, or too little, came within {} s", patience.as_secs())
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Body, Fault, head};
    use proptest::prelude::{any, proptest};
    use std::io::Read;

    fn read(text: &str) -> Result<(u16, String, bool), String> {
        let mut input = text.as_bytes();
        let (status, _, framing) = head(&mut input, "GET").map_err(|fault| match fault {
            Fault::Lasting(why) | Fault::Trouble(why) | Fault::NoTls(why) => why,
        })?;
        let mut body = Body::new(input, framing);
        let mut text = String::new();
        body.read_to_string(&mut text).map_err(|error| error.to_string())?;
        Ok((status, text, body.into_rest().is_some()))
    }

    #[test]
    fn answers() {
        let ok = |text: &str, kept: bool| Ok((200, text.to_string(), kept));
        assert_eq!(read("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef"), ok("abc", true));
        assert_eq!(read("HTTP/1.0 200 OK\nContent-Length: 3\n\nabc"), ok("abc", false));
        assert_eq!(read("HTTP/1.1 200\r\nConnection: close\r\n\r\nabc"), ok("abc", false));
        assert_eq!(read("HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), ok("", true));
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(read(&format!("{chunked}3;x\r\nabc\r\n1\r\nd\r\n0\r\nx: y\r\n\r\n")), ok("abcd", true));
        for (wrong, says) in [
            (format!("{chunked}3\r\nabcd\r\n0\r\n\r\n"), "longer than it says"),
            (format!("{chunked}+3\r\nabc\r\n0\r\n\r\n"), "without a length"),
            (format!("{chunked}3\r\nab"), "in the middle"),
            (format!("{chunked}{}", "0".repeat(5000)), "lines without end"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab".to_string(), "in the middle"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\ncontent-length: 4\r\n\r\nabc".to_string(), "announces"),
            ("HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nabc".to_string(), "announces"),
            ("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n".to_string(), "nobody asked for"),
            ("HTTP/1.1 200 OK\r\nnonsense\r\n\r\n".to_string(), "without a colon"),
            ("SSH-2.0-x\r\n".to_string(), "does not speak HTTP"),
            (format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(70_000)), "lines without end"),
            ("HTTP/1.1 100 Go\r\n\r\n".repeat(9), "interim"),
            (String::new(), "before its answer"),
        ] {
            let said = read(&wrong).unwrap_err();
            assert!(said.contains(says), "{wrong:?}: {said}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(text in any::<String>(), tail in "[0-9a-f;\r\n]{0,40}") {
            read(&text).map(drop).unwrap_or_default();
            read(&format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{tail}")).map(drop).unwrap_or_default();
        }
    }
}
