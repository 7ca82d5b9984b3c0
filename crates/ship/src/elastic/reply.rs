// SPDX-License-Identifier: Apache-2.0
//! What `_bulk` says of each document, and what that means for it.

use crate::http::{Answer, Mask};
use serde::Deserialize;
use serde_json::Value;

/// Errors that lie in the document: it will never be taken.
const DOCUMENT_ERRORS: [&str; 7] = [
    "document_parsing_exception",
    "illegal_argument_exception",
    "mapper_exception",
    "mapper_parsing_exception",
    "max_bytes_length_exceeded_exception",
    "parsing_exception",
    "strict_dynamic_mapping_exception",
];
/// How an illegal argument begins that lies in the cluster's set-up instead. What a container chose
/// can stand further behind, as the name of a field or a value, and must not look like one of these.
const SET_UPS: [&str; 7] = [
    "Alias [",
    "Validation Failed: 1: this action would add [",
    "alias [",
    "cannot create index with name [",
    "no write index is defined for alias [",
    "only write ops with an op_type of create are allowed in data streams",
    "pipeline with id [",
];

/// What becomes of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is stored, now or before.
    Safe,
    /// It can be stored in a while.
    Later,
    /// It is not stored before somebody changes something.
    Refused,
    /// It will never be stored.
    Poison,
}

/// One document's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(super) fate: Fate,
    pub(crate) reason: String,
}

#[derive(Deserialize)]
struct Reply {
    items: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    /// What was asked for; some that are like a search cluster call it otherwise.
    #[serde(alias = "index")]
    create: Raw,
}

#[derive(Deserialize)]
struct Raw {
    status: u16,
    error: Option<Box<Failure>>,
}

/// Of an error only what is looked at: nothing is built of the rest.
#[derive(Deserialize)]
struct Failure {
    #[serde(rename = "type")]
    kind: Option<String>,
    reason: Option<String>,
    caused_by: Option<Box<Failure>>,
}

/// Reads the answer to a request of `count` documents.
pub(crate) fn read(answer: &Answer, count: usize) -> Result<Vec<Item>, String> {
    let mask = &answer.mask;
    let reply: Reply = serde_json::from_slice(answer.whole()?).map_err(|error| {
        // It quotes what it did not expect.
        let error = mask.tell(error.to_string().as_bytes());
        format!("its answer is not one to _bulk ({error}); is this a search cluster?")
    })?;
    if reply.items.len() != count {
        return Err(format!("its answer speaks of {} documents, and {count} were sent", reply.items.len()));
    }
    // Documents of one request go the same way: where one is taken, the set-up is not what is wrong.
    let one_is_taken = reply.items.iter().any(|entry| is_safe(entry.create.status));
    Ok(reply.items.iter().map(|entry| judge(&entry.create, one_is_taken, mask)).collect())
}

fn is_safe(status: u16) -> bool {
    matches!(status, 200..=299 | 409)
}

fn judge(raw: &Raw, one_is_taken: bool, mask: &Mask) -> Item {
    let error = raw.error.as_deref();
    let kind = error.and_then(|error| error.kind.as_deref()).unwrap_or_default();
    let fate = match raw.status {
        status if is_safe(status) => return Item { fate: Fate::Safe, reason: String::new() },
        429 | 500..=599 => Fate::Later,
        400 if kind == "illegal_argument_exception" && !one_is_taken && error.is_some_and(is_set_up) => {
            Fate::Refused
        }
        400 if DOCUMENT_ERRORS.contains(&kind) => Fate::Poison,
        _ => Fate::Refused,
    };
    Item { fate, reason: mask.tell(format!("{}: {}", raw.status, reason(error)).as_bytes()) }
}

fn is_set_up(error: &Failure) -> bool {
    let reason = error.reason.as_deref().unwrap_or_default();
    SET_UPS.iter().any(|begin| reason.starts_with(begin))
}

/// Type and reason of an error, and of what caused it.
fn reason(error: Option<&Failure>) -> String {
    let Some(error) = error else { return "it does not say why".to_string() };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut said = format!("{}: {}", text(&error.kind), text(&error.reason));
    let mut cause = error.caused_by.as_deref();
    for _ in 0..4 {
        let Some(inner) = cause else { break };
        said.push_str(&format!("; caused by {}", text(&inner.reason)));
        cause = inner.caused_by.as_deref();
    }
    said
}

/// Which of both it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Product {
    pub(super) is_opensearch: bool,
    version: String,
}

impl std::fmt::Display for Product {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = if self.is_opensearch { "OpenSearch" } else { "Elasticsearch" };
        write!(f, "{name} {}", self.version)
    }
}

/// Reads the answer to `GET /`.
pub(super) fn product(answer: &Answer) -> Result<Product, String> {
    match answer.status {
        200 => {}
        401 => return Err(format!("{}; the credentials are wrong or missing", answer.told())),
        _ => return Err(answer.told()),
    }
    let whole: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let version = whole.get("version").and_then(|version| version.get("number")).and_then(Value::as_str);
    let version = version.ok_or_else(|| format!("it is no search cluster: {}", answer.excerpt()))?;
    let distribution = whole.get("version").and_then(|version| version.get("distribution"));
    let is_opensearch = distribution.and_then(Value::as_str) == Some("opensearch");
    Ok(Product { is_opensearch, version: answer.mask.tell(version.as_bytes()).chars().take(40).collect() })
}

/// Reads the answer to a question for a data stream: whether it is there. OpenSearch answers 200 with none where
/// an ordinary index has the name.
pub(super) fn has_stream(answer: &Answer) -> bool {
    let whole: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let is_none = whole.get("data_streams").and_then(Value::as_array).is_some_and(Vec::is_empty);
    answer.is_good() && !is_none
}

/// Whether a good answer tells of failures in its body, as that to giving a policy to indices does.
pub(super) fn has_failures(answer: &Answer) -> bool {
    let whole: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    whole.get("failures").and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::{Fate, Item, has_failures};
    use crate::http::{Answer, Mask};
    use ::tls::Secret;

    #[test]
    fn a_good_status_may_hold_failures() {
        let has = |body: &str| has_failures(&Answer { status: 200, body: body.into(), ..Answer::default() });
        assert!(has(r#"{"updated_indices":0,"failures":true,"failed_indices":[{"reason":"in use"}]}"#));
        assert!(!has(r#"{"updated_indices":1,"failures":false,"failed_indices":[]}"#));
        assert!(!has(r#"{"acknowledged":true}"#) && !has("") && !has("[]"));
    }

    fn read(body: &[u8], count: usize) -> Result<Vec<Item>, String> {
        super::read(&Answer { body: body.to_vec(), ..Answer::default() }, count)
    }

    fn fate(status: u16, kind: &str, reason: &str) -> Fate {
        let body = format!(
            r#"{{"errors":true,"items":[{{"create":{{"status":{status},"error":{{"type":"{kind}","reason":"{reason}"}}}}}}]}}"#
        );
        read(body.as_bytes(), 1).unwrap()[0].fate
    }

    #[test]
    fn each_item_is_judged_by_itself() {
        assert_eq!(fate(201, "", ""), Fate::Safe);
        assert_eq!(fate(409, "version_conflict_engine_exception", "exists"), Fate::Safe);
        assert_eq!(fate(429, "es_rejected_execution_exception", "full"), Fate::Later);
        assert_eq!(fate(503, "unavailable_shards_exception", ""), Fate::Later);
        assert_eq!(fate(400, "mapper_parsing_exception", "failed to parse"), Fate::Poison);
        assert_eq!(fate(400, "illegal_argument_exception", "Limit of total fields [1000]"), Fate::Poison);
        for set_up in [
            "no write index is defined for alias [x]. The write index may be explicitly disabled",
            "pipeline with id [x] does not exist",
            "Validation Failed: 1: this action would add [2] shards, but this cluster currently has [1000]/[1000] \
             maximum normal shards open;",
        ] {
            assert_eq!(fate(400, "illegal_argument_exception", set_up), Fate::Refused, "{set_up}");
        }
        assert_eq!(fate(400, "invalid_index_name_exception", "x"), Fate::Refused);
        assert_eq!(fate(403, "security_exception", "no rights"), Fate::Refused);
        assert_eq!(fate(404, "index_not_found_exception", "x"), Fate::Refused);
    }

    #[test]
    fn a_secret_that_comes_back_is_not_told() {
        for body in [
            r#"{"items":[{"create":{"status":400,"error":{"type":"x","reason":"you sent hunter\/2"}}}]}"#,
            r#"{"items":[{"create":{"status":"hunter\/2"}}]}"#,
        ] {
            let mask = Mask::new([Secret::new(b"hunter/2".to_vec())]);
            let answer = Answer { body: body.as_bytes().to_vec(), mask, ..Answer::default() };
            let told = super::read(&answer, 1).map_or_else(|why| why, |items| items[0].reason.clone());
            assert!(told.contains("***") && !told.contains("hunter"), "{told}");
        }
    }

    /// Otherwise one container could hold up all events for ever.
    #[test]
    fn what_a_container_wrote_does_not_look_like_the_set_up() {
        for reason in [
            "Document contains at least one immense term in field='alias' (whose UTF8 encoding is longer",
            "mapper [data stream.pipeline with id [x]] cannot be changed from type [keyword] to [long]",
        ] {
            assert_eq!(fate(400, "illegal_argument_exception", reason), Fate::Poison, "{reason}");
        }
        let error = r#"{"type":"illegal_argument_exception","reason":"pipeline with id [x] does not exist"}"#;
        let body = |first: u16| {
            format!(
                r#"{{"items":[{{"create":{{"status":{first},"error":{error}}}}},{{"create":{{"status":400,"error":{error}}}}}]}}"#
            )
        };
        let fates =
            |first| read(body(first).as_bytes(), 2).unwrap().iter().map(|item| item.fate).collect::<Vec<_>>();
        assert_eq!(fates(201), [Fate::Safe, Fate::Poison]);
        assert_eq!(fates(400), [Fate::Refused, Fate::Refused]);
    }

    #[test]
    fn an_answer_that_does_not_fit_is_no_answer() {
        assert!(read(b"<html>", 1).unwrap_err().contains("search cluster"));
        assert!(read(br#"{"items":[]}"#, 1).unwrap_err().contains("0 documents, and 1 were sent"));
        assert!(read(br#"{"items":[{}]}"#, 1).is_err());
        assert!(read(br#"{"took":1}"#, 0).is_err());
    }

    /// A tree of the rest would take fifty times the memory of the text; one so deep is never built.
    #[test]
    fn what_nobody_looks_at_is_not_built() {
        let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
        let error = format!(r#"{{"type":"x","reason":null,"more":{deep},"caused_by":{{"reason":"y"}}}}"#);
        let body = |error: &str| format!(r#"{{"items":[{{"create":{{"status":400,"error":{error}}}}}]}}"#);
        assert_eq!(read(body(&error).as_bytes(), 1).unwrap()[0].reason, "400: x: ; caused by y");
        assert!(read(body("[0,0,0]").as_bytes(), 1).unwrap_err().contains("not one to _bulk"));
    }
}
