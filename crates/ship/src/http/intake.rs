// SPDX-License-Identifier: Apache-2.0
//! Takes an answer in pieces as they come, and keeps no more of its body than its limit.

use super::answer::Answer;
use ::http::{Body, Head, Heads};
use std::time::Duration;

/// Longest wait that a receiver can ask for.
const RETRY_LIMIT: u64 = 600;

/// An answer of which more may come.
#[derive(Debug)]
pub(super) struct Intake {
    heads: Heads,
    /// What follows the head, once that is there.
    rest: Option<Body>,
    answer: Answer,
    /// Longest body.
    limit: usize,
    /// Whether there was a byte at all.
    heard: bool,
}

impl Intake {
    /// For an answer of which at most `limit` bytes of the body are wanted.
    pub(super) fn new(limit: usize) -> Intake {
        Intake { heads: Heads::default(), rest: None, answer: Answer::default(), limit, heard: false }
    }

    /// Whether the receiver has said anything.
    pub(super) fn has_heard(&self) -> bool {
        self.heard
    }

    /// How long the body is so far.
    pub(super) fn kept(&self) -> usize {
        self.answer.body.len()
    }

    /// Takes what came; gives the answer when it is whole, or as long as it may be.
    pub(super) fn take(&mut self, mut input: &[u8]) -> Result<Option<Answer>, String> {
        self.heard |= !input.is_empty();
        while !input.is_empty() && !self.is_done() {
            let used = match &mut self.rest {
                None => {
                    let (head, used) = self.heads.take(input).map_err(|error| error.to_string())?;
                    if let Some(head) = head {
                        // No request of ours is answered without a body because of its method.
                        let rest = head.body("GET").map_err(|error| error.to_string())?;
                        self.answer = Answer { closes: !rest.keeps(), ..begun(&head) };
                        self.rest = Some(rest);
                    }
                    used
                }
                Some(rest) => {
                    let (data, used) = rest.take(input).map_err(|error| error.to_string())?;
                    let room = self.limit - self.answer.body.len();
                    self.answer.body.extend_from_slice(data.get(..room).unwrap_or(data));
                    self.answer.cut = data.len() > room;
                    used
                }
            };
            input = input.get(used..).unwrap_or_default();
        }
        if !self.is_done() {
            return Ok(None);
        }
        // What follows belongs to no request: such a connection cannot be trusted any more.
        self.answer.closes |= !input.is_empty() || self.answer.cut;
        Ok(Some(std::mem::take(&mut self.answer)))
    }

    fn is_done(&self) -> bool {
        self.answer.cut || self.rest.as_ref().is_some_and(Body::is_whole)
    }

    /// The receiver has closed the connection, which may be the end of its answer.
    pub(super) fn end(&mut self) -> Option<Answer> {
        self.rest.as_ref().is_some_and(Body::may_end).then(|| std::mem::take(&mut self.answer))
    }
}

/// What the head says of an answer.
fn begun(head: &Head) -> Answer {
    let wait = head.get("retry-after").and_then(|value| value.parse().ok());
    let redirects = (300..400).contains(&head.status);
    Answer {
        status: head.status,
        location: head.get("location").filter(|_| redirects).map(str::to_owned),
        retry_after: wait.map(|secs: u64| Duration::from_secs(secs.min(RETRY_LIMIT))),
        ..Answer::default()
    }
}

/// The answer at the start of `input`; `None` when it is not whole yet.
#[cfg(any(test, feature = "answers"))]
pub(crate) fn parse(input: &[u8], closed: bool) -> Result<Option<Answer>, String> {
    let mut intake = Intake::new(1 << 20);
    let answer = intake.take(input)?;
    Ok(if closed { answer.or_else(|| intake.end()) } else { answer })
}

#[cfg(test)]
mod tests {
    use super::{Intake, parse};
    use std::time::Duration;

    #[test]
    fn every_beginning_is_waited_for_and_the_whole_is_read() {
        for (text, status, body) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, ""),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nt: 1\r\n\r\n",
                200,
                "hello",
            ),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n", 204, ""),
        ] {
            let mut bytewise = Intake::new(100);
            for end in 0..text.len() {
                assert_eq!(parse(&text.as_bytes()[..end], false), Ok(None), "{end} of {text:?}");
                if end > 0 {
                    assert_eq!(bytewise.take(&text.as_bytes()[end - 1..end]), Ok(None), "{end} of {text:?}");
                }
            }
            let answer = parse(text.as_bytes(), false).unwrap().unwrap();
            assert_eq!(bytewise.take(&text.as_bytes()[text.len() - 1..]), Ok(Some(answer.clone())));
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
    fn no_more_is_kept_than_wanted() {
        for text in [
            "HTTP/1.1 500 X\r\ncontent-length: 11\r\n\r\nhello",
            "HTTP/1.1 500 X\r\ntransfer-encoding: chunked\r\n\r\nb\r\nhello",
            "HTTP/1.1 500 X\r\n\r\nhello",
        ] {
            let mut intake = Intake::new(5);
            assert_eq!(intake.take(text.as_bytes()), Ok(None), "{text:?}");
            let answer = intake.take(b" world").unwrap().unwrap();
            assert_eq!((answer.body.as_slice(), answer.closes), (b"hello".as_slice(), true));
            assert_eq!(answer.whole(), Err("its answer is longer than 5 bytes".to_string()));
        }
    }

    #[test]
    fn what_is_no_answer_is_said() {
        for wrong in [
            "SSH-2.0-OpenSSH\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        ] {
            assert!(parse(wrong.as_bytes(), false).is_err(), "{wrong:?}");
        }
    }
}
