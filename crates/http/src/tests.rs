// SPDX-License-Identifier: Apache-2.0
//! Answers in pieces of any size, whole ones and wrong ones.

use super::{Heads, HttpError};
use proptest::prelude::{any, proptest};

/// Status, body, whether it is whole or may end here, whether the connection can be used again, and what follows.
type Said = (u16, String, bool, bool, String);

/// What comes of bytes that arrive in pieces of this size.
fn said(bytes: &[u8], size: usize) -> Result<Option<Said>, HttpError> {
    let (mut heads, mut body, mut status) = (Heads::default(), None, 0);
    let (mut out, mut rest) = (Vec::new(), Vec::new());
    for mut piece in bytes.chunks(size) {
        if body.is_none() {
            let (head, used) = heads.take(piece)?;
            piece = &piece[used..];
            let Some(head) = head else {
                assert!(piece.is_empty());
                continue;
            };
            (status, body) = (head.status, Some(head.body("GET")?));
        }
        let body = body.as_mut().unwrap();
        while !piece.is_empty() && !body.is_whole() {
            let (data, used) = body.take(piece)?;
            assert!(used > 0 && used >= data.len());
            out.extend_from_slice(data);
            piece = &piece[used..];
        }
        rest.extend_from_slice(piece);
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(body.map(|body| (status, text(out), body.may_end(), body.keeps(), text(rest))))
}

#[test]
fn answers_are_the_same_in_whatever_pieces() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (text, status, body, ends, keeps) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_owned(), 200, "hello", true, true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(), 200, "", true, true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello".to_owned(), 200, "hello", false, true),
        ("HTTP/1.0 200 OK\nContent-Length: 3\ncontent-length: 3\n\nabc".to_owned(), 200, "abc", true, false),
        ("HTTP/1.1 404\r\nConnection: Close\r\n\r\nhello".to_owned(), 404, "hello", true, false),
        ("HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 204 No\r\n\r\n".to_owned(), 204, "", true, true),
        ("HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n".to_owned(), 101, "", true, true),
        (format!("{chunked}3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nt: 1\r\n\r\n"), 200, "hello", true, true),
        (format!("{chunked}3 \nhel\n0\n\n"), 200, "hel", true, true),
        (format!("{chunked}3\r\nhel\r\n0\r\n"), 200, "hel", false, true),
    ] {
        for size in [1, 2, 3, 7, 1000] {
            let wanted = (status, body.to_owned(), ends, keeps, String::new());
            assert_eq!(said(text.as_bytes(), size), Ok(Some(wanted)), "{text:?} by {size}");
        }
        // Nothing that follows is taken.
        if ends && body.len() < 5 || text.contains("Length: 5") {
            let more = said(format!("{text}HTTP/1.1").as_bytes(), 1000).unwrap().unwrap();
            assert_eq!((more.1.as_str(), more.4.as_str()), (body, "HTTP/1.1"), "{text:?}");
        }
    }
    assert_eq!(said(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", 3), Ok(None));
}

#[test]
fn what_is_no_answer_is_said_and_bounded() {
    let ok = "HTTP/1.1 200 OK\r\n";
    let chunked = format!("{ok}transfer-encoding: chunked\r\n\r\n");
    for (wrong, why) in [
        ("SSH-2.0-x\r\n".to_owned(), HttpError::NotHttp),
        ("HTTP/2 200\r\n\r\n".to_owned(), HttpError::NotHttp),
        ("\r\0\nHTTP/1.0 200 OK\n\r\n".to_owned(), HttpError::NotHttp),
        ("\nHTTP/1.1 200 OK\r\n\r\n".to_owned(), HttpError::NotHttp),
        ("HTTP/1.1 abc\r\n\r\n".to_owned(), HttpError::NotHttp),
        ("HTTP/1.1 20\r\n\r\n".to_owned(), HttpError::NotHttp),
        ("HTTP/1.1 099 x\r\n\r\n".to_owned(), HttpError::NotHttp),
        ("HTTP/1.1200 OK\r\n\r\n".to_owned(), HttpError::NotHttp),
        (format!("{ok}no colon\r\n\r\n"), HttpError::Header),
        (format!("{ok}a: b\r\n c\r\n\r\n"), HttpError::Header),
        (format!("{ok}{}", "x".repeat(70_000)), HttpError::LongHead),
        (format!("{ok}{}\r\n", "a: b\r\n".repeat(129)), HttpError::LongHead),
        ("HTTP/1.1 100 Go\r\n\r\n".repeat(9), HttpError::Interim),
        (format!("{ok}content-length: -1\r\n\r\n"), HttpError::Length),
        (format!("{ok}content-length: +1\r\n\r\n"), HttpError::Length),
        (format!("{ok}content-length: 99999999999999999999\r\n\r\n"), HttpError::Length),
        (format!("{ok}content-length: 1\r\ncontent-length: 2\r\n\r\n"), HttpError::Length),
        (format!("{ok}transfer-encoding: gzip\r\n\r\n"), HttpError::Coding),
        (format!("{ok}transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n"), HttpError::Coding),
        (format!("{ok}content-encoding: br\r\n\r\n"), HttpError::Coding),
        (format!("{chunked}zz\r\n"), HttpError::ChunkSize),
        (format!("{chunked}+1\r\n"), HttpError::ChunkSize),
        (format!("{chunked}\r\n"), HttpError::ChunkSize),
        (format!("{chunked}fffffffffffffffff\r\n"), HttpError::ChunkSize),
        (format!("{chunked}1\r\nabc\r\n"), HttpError::LongChunk),
        (format!("{chunked}1\r\na\r\r\n"), HttpError::LongChunk),
        (format!("{chunked}{}", "1".repeat(5_000)), HttpError::LongLine),
        (format!("{chunked}0\r\n{}", "a: b\r\n".repeat(100)), HttpError::LongLine),
    ] {
        for size in [1, 1000] {
            assert_eq!(said(wrong.as_bytes(), size), Err(why), "{wrong:.80?} by {size}");
        }
    }
}

proptest! {
    #[test]
    fn pieces_make_no_difference(
        any in any::<Vec<u8>>(),
        tail in "[0-9a-f;\r\n]{0,40}",
        size in 1..20_usize,
    ) {
        let chunked = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{tail}");
        for bytes in [any.as_slice(), &[b"HTTP/1.1 200 OK\r\n", any.as_slice()].concat(), chunked.as_bytes()] {
            assert_eq!(said(bytes, size), said(bytes, bytes.len().max(1)));
        }
    }
}
