// SPDX-License-Identifier: Apache-2.0
//! Puts the fields of a line of JSON beside those of its document.
//!
//! Whoever writes a log must not be able to say that another container on another host did it: the
//! fields that say where a document comes from take nothing from the line. What finds no place
//! there stays below `json`, so nothing is lost.

use serde_json::{Map, Value};

/// Top-level fields that only purser writes.
const OURS: [&str; 6] = ["agent", "container", "host", "json", "orchestrator", "purser"];
/// Fields of which only purser's own members are kept, and others may stand beside them.
const SHARED: [&str; 2] = ["event", "log"];

/// `overwrite`: the line's fields replace the others of the document, such as `@timestamp` and `message`.
pub(super) fn under_root(document: Value, fields: Map<String, Value>, overwrite: bool) -> Value {
    let Value::Object(mut document) = document else { return document };
    let mut left = Map::new();
    for (name, value) in fields {
        let head = name.split('.').next().unwrap_or_default();
        if OURS.contains(&head) {
            left.insert(name, value);
            continue;
        }
        let overwrite = overwrite && !SHARED.contains(&head);
        if SHARED.contains(&head) && name.contains('.') && has(&document, &name) {
            left.insert(name, value);
            continue;
        }
        if let Some(rest) = put(&mut document, name.clone(), value, overwrite) {
            left.insert(name, rest);
        }
    }
    if !left.is_empty() {
        document.insert("json".to_string(), Value::Object(left));
    }
    Value::Object(document)
}

/// Whether the document has the field of this dotted name, or one around or below it.
fn has(document: &Map<String, Value>, dotted: &str) -> bool {
    let mut names = dotted.split('.');
    let mut value = names.next().and_then(|name| document.get(name));
    for name in names {
        match value {
            Some(Value::Object(members)) => value = members.get(name),
            Some(_) => return true,
            None => return false,
        }
    }
    value.is_some()
}

/// What of `value` found no place.
fn put(into: &mut Map<String, Value>, name: String, value: Value, overwrite: bool) -> Option<Value> {
    match (into.get_mut(&name), value) {
        (None, value) => {
            into.insert(name, value);
            None
        }
        (Some(Value::Object(ours)), Value::Object(theirs)) => {
            let mut left = Map::new();
            for (name, value) in theirs {
                if let Some(rest) = put(ours, name.clone(), value, overwrite) {
                    left.insert(name, rest);
                }
            }
            (!left.is_empty()).then_some(Value::Object(left))
        }
        (Some(ours), value) if overwrite => {
            *ours = value;
            None
        }
        (Some(_), value) => Some(value),
    }
}

#[cfg(test)]
mod tests {
    use super::under_root;
    use serde_json::{Value, json};

    fn merged(fields: Value, overwrite: bool) -> Value {
        let document = json!({
            "@timestamp": "t", "message": "m", "event": {"id": "1", "action": "line"},
            "host": {"name": "h"}, "log": {"offset": 3}
        });
        let Value::Object(fields) = fields else { panic!("an object") };
        under_root(document, fields, overwrite)
    }

    #[test]
    fn own_fields_stay_and_the_others_stand_beside_them() {
        let fields = json!({"message": "x", "level": "warn", "event": {"dataset": "d", "id": "9"}});
        let document = merged(fields, false);
        assert_eq!(document["message"], "m");
        assert_eq!(document["level"], "warn");
        assert_eq!(document["event"], json!({"id": "1", "action": "line", "dataset": "d"}));
        assert_eq!(document["json"], json!({"message": "x", "event": {"id": "9"}}));
    }

    #[test]
    fn overwriting_does_not_reach_what_says_where_a_document_comes_from() {
        let fields = json!({
            "@timestamp": "forged-by-wish", "message": "x", "host": {"name": "other"}, "container.id": "c",
            "event": {"id": "9"}, "event.id": "8", "log": {"offset": 0, "level": "warn"}, "log.logger": "l"
        });
        let document = merged(fields, true);
        assert_eq!(document["@timestamp"], "forged-by-wish");
        assert_eq!(document["message"], "x");
        assert_eq!(document["host"]["name"], "h");
        assert_eq!(document.get("container.id"), None);
        assert_eq!(document["event"]["id"], "1");
        assert_eq!(document.get("event.id"), None);
        assert_eq!(document["log"], json!({"offset": 3, "level": "warn"}));
        assert_eq!(document["log.logger"], "l");
        assert_eq!(document["json"]["host"]["name"], "other");
        assert_eq!(document["json"]["event"]["id"], "9");
    }
}
