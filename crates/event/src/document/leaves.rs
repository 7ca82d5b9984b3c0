// SPDX-License-Identifier: Apache-2.0
//! A document as values with dotted names, and back: what schemas with other names start from.

use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Values by dotted name. A list is one value.
pub(super) type Leaves = BTreeMap<String, Value>;

/// Objects that stay whole, because others chose the names in them.
const WHOLE: [&str; 1] = ["json"];

/// Takes `document` apart. Of two fields with one dotted name the second is put below `json`.
pub(super) fn leaves(document: Value) -> Leaves {
    let mut found = Leaves::new();
    collect(String::new(), document, &mut found);
    found
}

fn collect(path: String, value: Value, found: &mut Leaves) {
    match value {
        Value::Object(members) if !members.is_empty() && !WHOLE.contains(&path.as_str()) => {
            for (name, value) in members {
                let path = if path.is_empty() { name } else { format!("{path}.{name}") };
                collect(path, value, found);
            }
        }
        value => {
            let mut path = path;
            while found.contains_key(&path) {
                path.insert_str(0, "json.");
            }
            found.insert(path, value);
        }
    }
}

/// Puts `value` at the dotted `path`, whose objects are made where they are missing.
pub(super) fn put(into: &mut Map<String, Value>, path: &str, value: impl Into<Value>) {
    match path.split_once('.') {
        None => {
            into.insert(path.to_string(), value.into());
        }
        Some((head, rest)) => {
            let member = into.entry(head).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(member) = member {
                put(member, rest, value);
            }
        }
    }
}

/// Arguments as a shell would be given them, so that each can be told from the next.
pub(super) fn command_line(args: &Value) -> String {
    let mut line = String::new();
    for arg in args.as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !line.is_empty() {
            line.push(' ');
        }
        let plain = |c: char| c.is_alphanumeric() || "%+,-./:=@_^".contains(c);
        if !arg.is_empty() && arg.chars().all(plain) {
            line.push_str(arg);
        } else {
            line.push('\'');
            line.push_str(&arg.replace('\'', r"'\''"));
            line.push('\'');
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::{command_line, leaves, put};
    use serde_json::{Map, json};

    #[test]
    fn a_document_is_taken_apart_and_nothing_is_lost() {
        let found = leaves(json!({
            "a": {"b": {"c": 1}, "d": [{"e": 2}]}, "a.b.c": 3, "json": {"x": {"y": 4}}, "none": {}
        }));
        assert_eq!(found["a.b.c"], 1);
        assert_eq!(found["json.a.b.c"], 3);
        assert_eq!(found["a.d"], json!([{"e": 2}]));
        assert_eq!(found["json"], json!({"x": {"y": 4}}));
        assert_eq!(found["none"], json!({}));
    }

    #[test]
    fn values_are_put_into_objects() {
        let mut into = Map::new();
        put(&mut into, "a.b", 1);
        put(&mut into, "a.c.d", "x");
        put(&mut into, "a.b.c", "no place");
        assert_eq!(json!(into), json!({"a": {"b": 1, "c": {"d": "x"}}}));
    }

    #[test]
    fn arguments_can_be_told_apart() {
        assert_eq!(command_line(&json!(["ls", "-l", "", "it's", "a b"])), r"ls -l '' 'it'\''s' 'a b'");
        assert_eq!(command_line(&json!(null)), "");
    }
}
