// SPDX-License-Identifier: Apache-2.0
//! What a receiver of OTLP answers: how many records it refused, and why it refused a request.

use super::protobuf::{Reader, Value};
use super::refusal;
use crate::http::{Answer, Mask};
use crate::sink::Rejected;

/// What an `ExportLogsServiceResponse` says of records that were refused. Receivers that answer with
/// JSON, against the specification, are understood, too.
pub(crate) fn rejected(answer: &Answer) -> Result<Option<Rejected>, String> {
    let (body, mask) = (answer.whole()?, &answer.mask);
    if body.trim_ascii_start().starts_with(b"{") {
        return rejected_in_json(body, mask);
    }
    let (mut count, mut reason) = (0, String::new());
    let mut reader = Reader::new(body);
    while let Some((field, value)) = reader.next()? {
        let (1, Value::Bytes(partial)) = (field, value) else { continue };
        let mut partial = Reader::new(partial);
        while let Some(field) = partial.next()? {
            match field {
                (1, Value::Number(number)) => count = positive(number as i64),
                (2, Value::Bytes(text)) => reason = mask.tell(text),
                _ => {}
            }
        }
    }
    Ok(refusal(count, &reason))
}

fn rejected_in_json(body: &[u8], mask: &Mask) -> Result<Option<Rejected>, String> {
    let whole: serde_json::Value = serde_json::from_slice(body)
        .map_err(|error| format!("its answer is neither protobuf nor JSON: {error}"))?;
    let Some(partial) = whole.get("partialSuccess") else { return Ok(None) };
    // The JSON of protobuf writes integers of 64 bits as texts.
    let count = partial.get("rejectedLogRecords");
    let count = count.and_then(|count| count.as_i64().or_else(|| count.as_str()?.parse().ok()));
    let reason = partial.get("errorMessage").and_then(serde_json::Value::as_str).unwrap_or_default();
    Ok(refusal(positive(count.unwrap_or_default()), &mask.tell(reason.as_bytes())))
}

fn positive(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// The message of a `google.rpc.Status`, or the text itself.
pub(super) fn reason(answer: &Answer) -> String {
    let mut reader = Reader::new(&answer.body);
    loop {
        match reader.next() {
            Ok(Some((2, Value::Bytes(text)))) => return answer.mask.tell(text),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return answer.excerpt(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{reason, rejected};
    use crate::http::{Answer, Mask};
    use crate::otlp::protobuf::Writer;
    use ::tls::Secret;

    fn said(body: &[u8]) -> Answer {
        Answer { body: body.to_vec(), ..Answer::default() }
    }

    #[test]
    fn an_answer_says_how_many_were_refused() {
        let answer = |count: i64, text: &str| {
            let mut writer = Writer::default();
            writer.message(1, |partial| {
                partial.varint(1, count as u64);
                partial.text(2, text);
            });
            rejected(&said(&writer.finish())).unwrap().map(|rejected| (rejected.count, rejected.reason))
        };
        assert_eq!(rejected(&said(b"")), Ok(None));
        assert_eq!(answer(0, "a warning"), None);
        assert_eq!(answer(-3, "nonsense"), None);
        assert_eq!(answer(3, "too old"), Some((3, "too old".to_string())));
        assert_eq!(answer(3, "").unwrap().1, "the receiver does not say why");
        let json = br#"{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"no"}}"#;
        assert_eq!(rejected(&said(json)).unwrap().unwrap().count, 2);
        assert_eq!(rejected(&said(b"{}")), Ok(None));
        assert!(rejected(&said(b"<html>no collector</html>")).is_err());
        assert!(rejected(&said(b"{")).is_err());
    }

    #[test]
    fn a_secret_that_comes_back_is_not_told() {
        let mut writer = Writer::default();
        writer.text(2, "you sent hunter2");
        let mut answer = said(&writer.finish());
        answer.mask = Mask::new([Secret::new(b"hunter2".to_vec())]);
        assert_eq!(reason(&answer), "you sent ***");
        answer.body =
            br#"{"partialSuccess":{"rejectedLogRecords":1,"errorMessage":"hunter\u0032"}}"#.to_vec();
        assert_eq!(rejected(&answer).unwrap().unwrap().reason, "***");
    }

    #[test]
    fn a_refusal_has_a_reason() {
        let mut writer = Writer::default();
        writer.varint(1, 3);
        writer.text(2, "no such tenant");
        assert_eq!(reason(&said(&writer.finish())), "no such tenant");
        assert_eq!(reason(&said(b"plain text")), "plain text");
        assert_eq!(reason(&said(b"")), "");
    }
}
