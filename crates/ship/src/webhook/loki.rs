// SPDX-License-Identifier: Apache-2.0
//! Loki's push API: documents as lines of streams. A stream is a set of labels, and Loki holds an
//! open chunk for each, so that only fields with few values may be labels.

use crate::batch::Batch;
use crate::http::Answer;
use crate::template::Template;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::ops::Range;

/// Where the API is below a URL.
pub(super) const PATH: &str = "/loki/api/v1/push";
/// Longest value of a label, in characters.
const VALUE_LIMIT: usize = 256;
/// Fields with a new value for each container or start of the host.
const TOO_MANY: [&str; 2] = ["{container.id}", "{host.boot.id}"];
/// What Loki says of an entry that it will never take.
const ENTRY_ERRORS: [&str; 4] =
    ["timestamp too old", "too far behind", "entry out of order", "max entry size"];

pub(super) fn check_label(name: &str, value: &Template) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !first || name.len() > 64 || !name.chars().all(good) || name.starts_with("__") {
        return Err(format!("{name:?} is no label: write letters, digits and _, at most 64"));
    }
    let text = value.to_string();
    match TOO_MANY.iter().find(|field| text.contains(**field)) {
        Some(field) => Err(format!("a label with {field} makes a stream of each; search for it in the line")),
        None => Ok(()),
    }
}

/// Whether the answer says that entries will never be taken. Loki has stored the others.
pub(super) fn blames_an_entry(answer: &Answer) -> bool {
    let said = String::from_utf8_lossy(&answer.body).to_ascii_lowercase();
    answer.status == 400 && ENTRY_ERRORS.iter().any(|words| said.contains(words))
}

/// `{"streams":[{"stream":{…},"values":[["NANOSECONDS","LINE"],…]},…]}`, each stream in order of time.
pub(super) fn body(batch: &Batch, range: Range<usize>, labels: &[(String, Template)]) -> Vec<u8> {
    let mut streams: BTreeMap<String, Vec<(u64, &[u8])>> = BTreeMap::new();
    for document in range.filter_map(|index| batch.document(index)) {
        let mut stream = Map::new();
        for (name, template) in labels {
            let mut value = String::new();
            template.render(&document, |c| !c.is_control(), &mut value);
            let value: String = value.chars().take(VALUE_LIMIT).collect();
            stream.insert(name.clone(), Value::String(value));
        }
        let stream = Value::Object(stream).to_string();
        streams.entry(stream).or_default().push((document.time_ns, document.json));
    }
    let mut body = Vec::with_capacity(batch.bytes() + batch.bytes() / 4);
    body.extend_from_slice(b"{\"streams\":[");
    for (at, (stream, mut entries)) in streams.into_iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        body.extend_from_slice(format!("{comma}{{\"stream\":{stream},\"values\":[").as_bytes());
        entries.sort_by_key(|(time_ns, _)| *time_ns);
        for (at, (time_ns, line)) in entries.into_iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let line = Value::from(String::from_utf8_lossy(line));
            body.extend_from_slice(format!("{comma}[\"{time_ns}\",{line}]").as_bytes());
        }
        body.extend_from_slice(b"]}");
    }
    body.extend_from_slice(b"]}");
    body
}

#[cfg(test)]
mod tests {
    use super::{blames_an_entry, body, check_label};
    use crate::batch::sample;
    use crate::http::Answer;
    use crate::template::Template;
    use serde_json::{Value, json};

    #[test]
    fn documents_are_lines_of_streams() {
        let batch = sample::batch(3);
        let label = |name: &str, text: &str| (name.to_string(), Template::new(text).unwrap());
        let labels = [label("host", "{host.name}"), label("tier", "{container.labels.tier}")];
        let body: Value = serde_json::from_slice(&body(&batch, 1..3, &labels)).unwrap();
        let [stream] = body["streams"].as_array().unwrap().as_slice() else { panic!("{body}") };
        assert_eq!(stream["stream"], json!({"host": "host-1", "tier": "front"}));
        assert_eq!(stream["values"][0][0], "2000");
        let line: Value = serde_json::from_str(stream["values"][1][1].as_str().unwrap()).unwrap();
        assert_eq!(line["event"]["sequence"], 3);
    }

    #[test]
    fn labels_have_few_values() {
        let told = |name: &str, text: &str| check_label(name, &Template::new(text).unwrap());
        assert_eq!(told("host", "{host.name}"), Ok(()));
        assert!(told("0host", "x").unwrap_err().contains("no label"));
        assert!(told("__host", "x").unwrap_err().contains("no label"));
        assert!(told("id", "x-{container.id}").unwrap_err().contains("makes a stream of each"));
    }

    #[test]
    fn only_what_lies_in_an_entry_is_its_fault() {
        let answer =
            |status, text: &str| Answer { status, body: text.as_bytes().to_vec(), ..Answer::default() };
        assert!(blames_an_entry(&answer(400, "entry for stream '{}' has timestamp too old: 2020-01-01")));
        assert!(blames_an_entry(&answer(400, "Max entry size '262144' bytes exceeded for stream")));
        assert!(!blames_an_entry(&answer(400, "entry for stream '{}' has timestamp too new: 2030-01-01")));
        assert!(!blames_an_entry(&answer(400, "error at least one label pair is required per stream")));
        assert!(!blames_an_entry(&answer(500, "timestamp too old")));
    }
}
