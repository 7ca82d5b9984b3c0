// SPDX-License-Identifier: Apache-2.0
//! The golden documents against docs/event.schema.json, and the schema against docs/events.md.
//! Understands the part of JSON Schema that ours uses, and refuses every other word.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Words that say nothing a document could break.
const SILENT: [&str; 5] = ["$schema", "title", "description", "format", "properties"];
/// What goes wrong in this file when the schema or a golden file has another shape.
const SHAPE: &str = "the shape that this test knows";
/// The actions that *processes* stands for in the page.
const PROCESSES: [&str; 4] = ["exec", "process_running", "exec_failed", "exit"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: PathBuf) -> String {
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn schema() -> Value {
    serde_json::from_str(&read(root().join("docs/event.schema.json"))).expect("the schema is JSON")
}

/// Every golden document, by the name of its file, which is its action.
fn golden() -> BTreeMap<String, Value> {
    let folder = root().join("crates/event/tests/golden");
    let documents: BTreeMap<String, Value> = std::fs::read_dir(folder)
        .expect(SHAPE)
        .map(|entry| entry.expect(SHAPE).path())
        .map(|path| {
            let name = path.file_stem().expect(SHAPE).to_str().expect(SHAPE).to_string();
            (name, serde_json::from_str(&read(path)).expect(SHAPE))
        })
        .collect();
    assert!(documents.len() >= 6, "{} golden documents", documents.len());
    documents
}

/// What of `value` breaks `schema`, each with the place in the document.
fn faults(schema: &Value, value: &Value, place: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (word, rule) in schema.as_object().expect(SHAPE) {
        match word.as_str() {
            "type" if !is_of_type(value, rule.as_str().expect(SHAPE)) => {
                found.push(format!("{place}: not {rule}"))
            }
            "enum" if !rule.as_array().expect(SHAPE).contains(value) => {
                found.push(format!("{place}: {value} is none of {rule}"));
            }
            "minimum" if value.as_f64().is_some_and(|number| Some(number) < rule.as_f64()) => {
                found.push(format!("{place}: below {rule}"))
            }
            "required" => {
                let missing = |name: &&Value| value.get(name.as_str().expect(SHAPE)).is_none();
                found.extend(
                    rule.as_array()
                        .expect(SHAPE)
                        .iter()
                        .filter(missing)
                        .map(|name| format!("{place}: no {name}")),
                );
            }
            "items" => {
                let items = value.as_array().into_iter().flatten();
                found.extend(items.flat_map(|item| faults(rule, item, &format!("{place}[]"))));
            }
            "additionalProperties" => found.extend(members(schema, rule, value, place)),
            "type" | "enum" | "minimum" => {}
            silent => assert!(SILENT.contains(&silent), "{place}: the test does not know the word {word}"),
        }
    }
    found
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        _ => panic!("the test does not know the type {name}"),
    }
}

/// Each member against its property, or against what is said of all others.
fn members(schema: &Value, others: &Value, value: &Value, place: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (name, member) in value.as_object().into_iter().flatten() {
        let place = format!("{place}.{name}");
        match (schema.get("properties").and_then(|properties| properties.get(name)), others) {
            (Some(property), _) => found.extend(faults(property, member, &place)),
            (None, Value::Bool(false)) => found.push(format!("{place}: not in the schema")),
            (None, rule) => found.extend(faults(rule, member, &place)),
        }
    }
    found
}

/// The fields of a schema: what has no properties of its own.
fn fields(schema: &Value, path: &str, into: &mut BTreeSet<String>) {
    match schema.get("properties").and_then(Value::as_object) {
        Some(properties) => {
            // Without this the members would not be looked at.
            assert!(schema.get("additionalProperties").is_some(), "{path}: says nothing of other members");
            for (name, property) in properties {
                fields(property, &join(path, name), into);
            }
        }
        None => drop(into.insert(path.to_string())),
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_string() } else { format!("{path}.{name}") }
}

fn schema_fields() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    fields(&schema(), "", &mut all);
    all
}

/// The fields in the tables of the page, with the cell that names the actions.
fn page_fields() -> BTreeMap<String, String> {
    let page = read(root().join("docs/events.md"));
    let (_, rest) = page.split_once("\n## Fields\n").expect("the page has fields");
    let (section, _) = rest.split_once("\n## ").expect("another section follows");
    let rows = section.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let field = cells.next()?.strip_suffix('`')?.to_string();
        Some((field, cells.nth(1)?.to_string()))
    });
    rows.collect()
}

/// The fields of the schema that stand in a document.
fn present(document: &Value, all: &BTreeSet<String>) -> BTreeSet<String> {
    let has = |path: &&String| path.split('.').try_fold(document, |value, name| value.get(name)).is_some();
    all.iter().filter(has).cloned().collect()
}

#[test]
fn golden_documents_fit_the_schema() {
    let schema = schema();
    for (name, document) in golden() {
        assert_eq!(faults(&schema, &document, ""), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn the_schema_refuses_what_is_wrong() {
    let schema = schema();
    let good = golden().remove("exec").unwrap();
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut document = good.clone();
        change(&mut document);
        faults(&schema, &document, "").join("; ")
    };
    assert_eq!(refused(&|_| ()), "");
    assert_eq!(refused(&|document| document["event"]["new"] = 1.into()), ".event.new: not in the schema");
    assert_eq!(refused(&|document| document["process"]["pid"] = "7".into()), ".process.pid: not \"integer\"");
    assert_eq!(refused(&|document| document["process"]["pid"] = (-7).into()), ".process.pid: below 0");
    assert_eq!(
        refused(&|document| document["container"]["labels"]["tier"] = 1.into()),
        ".container.labels.tier: not \"string\""
    );
    assert_eq!(refused(&|document| drop(document.as_object_mut().unwrap().remove("host"))), ": no \"host\"");
    assert!(refused(&|document| document["purser"]["flags"][0] = "new".into()).contains("is none of"));
}

#[test]
fn page_and_schema_name_the_same_fields() {
    let page: BTreeSet<String> = page_fields().into_keys().collect();
    let schema = schema_fields();
    let only = |left: &BTreeSet<String>, right: &BTreeSet<String>| -> Vec<String> {
        left.difference(right).cloned().collect()
    };
    assert_eq!(only(&page, &schema), Vec::<String>::new(), "only in docs/events.md");
    assert_eq!(only(&schema, &page), Vec::<String>::new(), "only in docs/event.schema.json");
}

#[test]
fn every_field_stands_in_a_golden_document_and_the_page_says_in_which() {
    let (all, page) = (schema_fields(), page_fields());
    let mut seen = BTreeSet::new();
    for (action, document) in golden() {
        for field in present(&document, &all) {
            let is_meant = page[&field].split(", ").any(|word| match word {
                "all" => true,
                "processes" => PROCESSES.contains(&action.as_str()),
                "agent" => action.starts_with("agent_"),
                word => word == action,
            });
            assert!(is_meant, "{field} is in {action}, and docs/events.md says {:?}", page[&field]);
            seen.insert(field);
        }
    }
    assert_eq!(all.difference(&seen).collect::<Vec<_>>(), Vec::<&String>::new(), "in no golden document");
}
