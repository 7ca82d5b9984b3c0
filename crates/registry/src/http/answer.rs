// SPDX-License-Identifier: Apache-2.0
//! An answer: its head, and its body, which is read while it comes.

use super::Fault;
use ::http::{Head, Heads};
use std::io::{self, BufRead, ErrorKind, Read};
use std::time::Duration;

/// A body on its way.
#[derive(Debug)]
pub(crate) struct Body<R> {
    input: R,
    rest: ::http::Body,
}

impl<R: BufRead> Body<R> {
    pub(super) fn new(input: R, rest: ::http::Body) -> Body<R> {
        Body { input, rest }
    }

    /// How long it says it is.
    pub(crate) fn length(&self) -> Option<u64> {
        self.rest.length()
    }

    /// The connection, if it can be used again.
    pub(super) fn into_rest(self) -> Option<R> {
        (self.rest.is_whole() && self.rest.keeps()).then_some(self.input)
    }
}

impl<R: BufRead> Read for Body<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while !into.is_empty() && !self.rest.is_whole() {
            let input = self.input.fill_buf()?;
            if input.is_empty() {
                return match self.rest.may_end() {
                    true => Ok(0),
                    false => Err(io::Error::new(
                        ErrorKind::UnexpectedEof,
                        "it closed the connection in the middle",
                    )),
                };
            }
            let part = input.get(..into.len()).unwrap_or(input);
            let (data, used) =
                self.rest.take(part).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            let count = data.len();
            into.get_mut(..count).unwrap_or_default().copy_from_slice(data);
            self.input.consume(used);
            if count > 0 {
                return Ok(count);
            }
        }
        Ok(0)
    }
}

/// The head of an answer to a request of that method, and the body that follows.
pub(super) fn head(input: &mut impl BufRead, method: &str) -> Result<(Head, ::http::Body), Fault> {
    let lasting = |error: ::http::HttpError| Fault::Lasting(error.to_string());
    let mut heads = Heads::default();
    loop {
        let held = match input.fill_buf() {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other.map_err(|error| fault(&error))?,
        };
        if held.is_empty() {
            return Err(Fault::Trouble("it closed the connection before its answer was there".to_string()));
        }
        let (head, used) = heads.take(held).map_err(lasting)?;
        input.consume(used);
        if let Some(head) = head {
            let body = head.body(method).map_err(lasting)?;
            return Ok((head, body));
        }
    }
}

fn fault(error: &io::Error) -> Fault {
    match error.kind() {
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
    use std::io::{BufReader, Read};

    fn read(text: &str) -> Result<(u16, String, bool), String> {
        let mut input = BufReader::with_capacity(7, text.as_bytes());
        let (head, rest) = head(&mut input, "GET").map_err(|fault| match fault {
            Fault::Lasting(why) | Fault::Trouble(why) | Fault::NoTls(why) => why,
        })?;
        let mut body = Body::new(input, rest);
        let mut text = String::new();
        body.read_to_string(&mut text).map_err(|error| error.to_string())?;
        Ok((head.status, text, body.into_rest().is_some()))
    }

    #[test]
    fn answers() {
        let ok = |text: &str, kept: bool| Ok((200, text.to_string(), kept));
        assert_eq!(read("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef"), ok("abc", true));
        assert_eq!(read("HTTP/1.1 200\r\nConnection: close\r\n\r\nabc"), ok("abc", false));
        assert_eq!(read("HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), ok("", true));
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(read(&format!("{chunked}3;x\r\nabc\r\n1\r\nd\r\n0\r\nx: y\r\n\r\n")), ok("abcd", true));
        for (wrong, says) in [
            (format!("{chunked}3\r\nabcd\r\n0\r\n\r\n"), "longer than it says"),
            (format!("{chunked}3\r\nab"), "in the middle"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab".to_string(), "in the middle"),
            ("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n".to_string(), "nobody asked for"),
            ("SSH-2.0-x\r\n".to_string(), "does not speak HTTP"),
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
