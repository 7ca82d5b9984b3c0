// SPDX-License-Identifier: Apache-2.0
//! How a search cluster is to store the documents: types of fields, and how long they are kept.

use serde_json::{Value, json};

/// Longest text that is searchable as a whole: Lucene takes 32,766 bytes, a character has up to 4.
const KEYWORD_LIMIT: u32 = 8191;
/// Size of an index at which the next one is begun.
const ROLL_OVER_SIZE: &str = "50gb";
/// Age at which it is, at the latest.
const ROLL_OVER_AGE: &str = "7d";

/// The index template for `stream`. What is not named here is a keyword when it is text.
pub(super) fn index(stream: &str, policy: &str, is_opensearch: bool) -> Value {
    // Labels come from outside: two of them, `a` and `a.b`, do not fit into one mapping of objects.
    // So do the keys of other people's lines.
    let free = json!({ "type": if is_opensearch { "flat_object" } else { "flattened" } });
    let keyword = json!({ "type": "keyword", "ignore_above": KEYWORD_LIMIT });
    let mut settings = json!({ "index.mapping.total_fields.limit": 2000, "index.mapping.ignore_malformed": true, "index.codec": "best_compression" });
    if !is_opensearch && let Some(settings) = settings.as_object_mut() {
        settings.insert("index.lifecycle.name".to_string(), json!(policy));
    }
    json!({
        "index_patterns": [stream],
        "data_stream": {},
        "priority": 500,
        "template": {
            "settings": settings,
            "mappings": {
                // A text that looks like a date in one line need not in the next.
                "date_detection": false,
                "dynamic_templates": [
                    { "texts": { "match_mapping_type": "string", "mapping": keyword } },
                ],
                "properties": {
                    "@timestamp": { "type": "date_nanos" },
                    "message": { "type": "text" },
                    "container": { "properties": { "labels": free } },
                    "json": free,
                    "process": { "properties": {
                        "pid": { "type": "long" },
                        "args": keyword,
                        "args_raw": { "type": "keyword", "index": false, "doc_values": false },
                        "start": { "type": "date_nanos" },
                        "end": { "type": "date_nanos" },
                    } },
                    "event": { "properties": {
                        "sequence": { "type": "long" },
                        "duration": { "type": "long" },
                        "created": { "type": "date_nanos" },
                    } },
                },
            },
        },
        "_meta": { "by": "purser" },
    })
}

/// Elasticsearch's policy: a new index by size or age, and deletion `days` later.
pub(super) fn ilm(days: u32) -> Value {
    json!({ "policy": { "phases": {
        "hot": { "actions": { "rollover": { "max_primary_shard_size": ROLL_OVER_SIZE, "max_age": ROLL_OVER_AGE } } },
        "delete": { "min_age": format!("{days}d"), "actions": { "delete": {} } },
    } } })
}

/// OpenSearch's policy, which says itself what it is for: it knows the indices of a data stream by the stream's
/// name. A pattern with more in it would be at odds with the policies of other streams.
pub(super) fn ism(stream: &str, days: u32) -> Value {
    json!({ "policy": {
        "description": "made by purser",
        "default_state": "hot",
        "states": [
            {
                "name": "hot",
                "actions": [{ "rollover": { "min_primary_shard_size": ROLL_OVER_SIZE, "min_index_age": ROLL_OVER_AGE } }],
                "transitions": [{ "state_name": "delete", "conditions": { "min_rollover_age": format!("{days}d") } }],
            },
            { "name": "delete", "actions": [{ "delete": {} }], "transitions": [] },
        ],
        "ism_template": [{ "index_patterns": [stream], "priority": 500 }],
    } })
}
