// SPDX-License-Identifier: Apache-2.0
//! Documents in the other schemas: golden files that people read, what OCSF asks for, and the table
//! of docs/events.md. `UPDATE=1 cargo test -p event` rewrites the golden files.

use crate::{container, every_kind};
use event::document::{Context, Prepared, write, write_ocsf, write_otel, write_prepared};
use event::{Body, Container, Event, Exec, Line, line_flags};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

type Write = fn(&Context, u64, &Event, Option<&Container>, &mut Vec<u8>);

fn rendered(write: Write, event: &Event) -> Value {
    let context = Context { store_id: [0xab; 16], host_name: "host-1".to_string() };
    let known = (!event.container.is_empty()).then(container);
    let mut out = Vec::new();
    write(&context, 42, event, known.as_ref(), &mut out);
    serde_json::from_slice(&out).expect("a document is JSON")
}

#[test]
fn documents_are_as_their_golden_files_show() {
    for (schema, write) in [("otel", write_otel as Write), ("ocsf", write_ocsf)] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden-{schema}"));
        for (name, event) in every_kind() {
            let pretty = serde_json::to_string_pretty(&rendered(write, &event)).unwrap() + "\n";
            let file = folder.join(format!("{name}.json"));
            if std::env::var_os("UPDATE").is_some() {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&file, &pretty).unwrap();
            }
            assert_eq!(std::fs::read_to_string(&file).unwrap(), pretty, "{}", file.display());
        }
    }
}

#[test]
fn a_container_prepared_before_changes_no_byte() {
    let context = Context { store_id: [0xab; 16], host_name: "host-1".to_string() };
    let known = container();
    let prepared = Prepared::new(&known);
    for (name, mut event) in every_kind() {
        for id in [known.id.clone(), "cd".repeat(32), String::new()] {
            event.container = id;
            let (mut plain, mut quick) = (Vec::new(), Vec::new());
            write(&context, 42, &event, Some(&known), &mut plain);
            write_prepared(&context, 42, &event, &known, &prepared, &mut quick);
            assert_eq!(quick, plain, "{name} of {:?}", event.container);
        }
    }
}

/// Required attributes of OCSF 1.8.0, by object; of those behind `|` one is enough.
const REQUIRED: [(&str, &[&str]); 19] = [
    ("", &["activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid"]),
    ("actor", &["process|user"]),
    ("actor.process", &["pid|uid"]),
    ("actor.user", &["name|uid"]),
    ("device", &["type_id", "hostname|uid"]),
    ("device.container", &["uid|name"]),
    ("device.container.image", &["uid"]),
    ("device.os", &["name", "type_id"]),
    ("metadata", &["product", "version"]),
    ("metadata.product", &["name|uid"]),
    ("process", &["pid|uid"]),
    ("process.container", &["uid|name"]),
    ("process.container.image", &["uid"]),
    ("process.container.tags[]", &["name", "value|values"]),
    ("process.environment_variables[]", &["name", "value"]),
    ("process.file", &["name", "type_id"]),
    ("process.group", &["name|uid"]),
    ("process.parent_process", &["pid|uid"]),
    ("process.user", &["name|uid"]),
];

/// What Process Activity asks for besides.
const PROCESS_ACTIVITY: [&str; 3] = ["actor", "device", "process"];

/// Attributes that these objects have in OCSF 1.8.0 with the profiles container, datetime, host and
/// linux/linux_users, as far as they are used.
const KNOWN: [(&str, &[&str]); 14] = [
    (
        "",
        &[
            "activity_id",
            "activity_name",
            "actor",
            "category_uid",
            "class_name",
            "class_uid",
            "device",
            "duration",
            "exit_code",
            "launch_type",
            "launch_type_id",
            "message",
            "metadata",
            "process",
            "severity_id",
            "status",
            "status_code",
            "status_detail",
            "status_id",
            "time",
            "time_dt",
            "type_uid",
            "unmapped",
        ],
    ),
    ("actor", &["process", "user"]),
    ("device", &["boot_uid", "container", "hostname", "os", "type_id"]),
    ("device.os", &["name", "type_id"]),
    (
        "metadata",
        &["event_code", "log_name", "log_source", "product", "profiles", "sequence", "uid", "version"],
    ),
    ("metadata.product", &["name", "vendor_name", "version"]),
    (
        "process",
        &[
            "auid",
            "cmd_line",
            "container",
            "created_time",
            "created_time_dt",
            "egid",
            "environment_variables",
            "euid",
            "file",
            "group",
            "name",
            "namespace_pid",
            "parent_process",
            "pid",
            "session",
            "terminated_time",
            "uid",
            "user",
            "working_directory",
        ],
    ),
    ("process.container", &["image", "name", "orchestrator", "pod_uuid", "runtime", "tags", "uid"]),
    ("process.container.image", &["name", "uid"]),
    ("process.file", &["name", "path", "type_id"]),
    ("process.group", &["uid"]),
    ("process.parent_process", &["pid", "uid"]),
    ("process.session", &["terminal", "uid"]),
    ("process.user", &["uid"]),
];

/// What of `value`, which stands at `place`, OCSF would refuse.
fn faults(value: &Value, place: &str, found: &mut Vec<String>) {
    let Value::Object(members) = value else { return };
    let has = |name: &str| members.get(name).is_some_and(|value| !value.is_null());
    for (_, names) in REQUIRED.iter().filter(|(path, _)| *path == place) {
        let missing = names.iter().filter(|names| !names.split('|').any(has));
        found.extend(missing.map(|name| format!("{place}: no {name}")));
    }
    for (_, known) in KNOWN.iter().filter(|(path, _)| *path == place) {
        let unknown = members.keys().filter(|name| !known.contains(&name.as_str()));
        found.extend(unknown.map(|name| format!("{place}: {name} is no attribute")));
    }
    for (name, member) in members.iter().filter(|(name, _)| *name != "unmapped") {
        let path = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
        faults(member, &path, found);
        member.as_array().into_iter().flatten().for_each(|item| faults(item, &format!("{path}[]"), found));
    }
}

/// The whole of what OCSF says of a document, as far as it concerns ours.
fn ocsf_faults(document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    faults(document, "", &mut found);
    let number = |name: &str| document[name].as_u64();
    if number("class_uid") == Some(1007) {
        let missing = PROCESS_ACTIVITY.iter().filter(|name| document.get(**name).is_none());
        found.extend(missing.map(|name| format!("no {name}")));
    }
    let type_uid =
        number("class_uid").zip(number("activity_id")).map(|(class, activity)| class * 100 + activity);
    if type_uid != number("type_uid") {
        found.push("type_uid is not class_uid and activity_id".to_string());
    }
    for (name, most) in [("severity_id", 6), ("status_id", 2), ("launch_type_id", 3)] {
        if number(name).is_some_and(|value| value > most) {
            found.push(format!("{name} is out of its range"));
        }
    }
    if document["activity_id"] == 99 && document["activity_name"].as_str().is_none_or(str::is_empty) {
        found.push("another activity without a name".to_string());
    }
    found
}

#[test]
fn documents_have_what_ocsf_asks_for() {
    for (name, event) in every_kind() {
        assert_eq!(ocsf_faults(&rendered(write_ocsf, &event)), Vec::<String>::new(), "{name}");
    }
    let poor = Event {
        boot_id: [0; 16],
        time_ns: 0,
        boot_ns: 0,
        container: String::new(),
        body: Body::Exec(Box::default()),
    };
    let mut document = rendered(write_ocsf, &poor);
    assert_eq!(ocsf_faults(&document), Vec::<String>::new());
    document["process"].as_object_mut().unwrap().clear();
    document["metadata"]["made_up"] = 1.into();
    assert_eq!(ocsf_faults(&document), ["metadata: made_up is no attribute", "process: no pid|uid"]);
}

#[test]
fn what_happened_has_the_activity_of_ocsf() {
    let of = |wanted: &str| {
        let (_, event) = every_kind().into_iter().find(|(name, _)| *name == wanted).unwrap();
        let document = rendered(write_ocsf, &event);
        ["class_uid", "activity_id", "status_id"].map(|name| document[name].as_u64().unwrap_or(9))
    };
    assert_eq!(of("exec"), [1007, 1, 1]);
    assert_eq!(of("exec_failed"), [1007, 1, 2]);
    assert_eq!(of("exit"), [1007, 2, 1]);
    assert_eq!(of("process_running"), [1007, 99, 1]);
    assert_eq!(of("gap"), [0, 99, 9]);
}

fn leaves(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) if path != "json" && path != "container.labels" => {
            for (name, member) in members {
                leaves(member, &if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, into);
            }
        }
        _ => drop(into.insert(path.to_string())),
    }
}

/// Rows of the table in docs/events.md: ours, OpenTelemetry's and OCSF's names.
fn rows() -> Vec<[Vec<String>; 3]> {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/events.md"));
    let page = page.expect("docs/events.md");
    let (_, section) = page.split_once("\n## Other schemas\n").expect("the page has other schemas");
    let names = |cell: &str| -> Vec<String> {
        let quoted = cell.split('`').skip(1).step_by(2);
        quoted.filter(|name| !name.is_empty()).map(str::to_string).collect()
    };
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")).map(|line| format!("`{line}"));
    rows.map(|line| {
        let cells: Vec<&str> = line.split(" | ").collect();
        [names(cells[0]), names(cells[1]), names(cells[2])]
    })
    .collect()
}

/// Every field stands where the page says, in both schemas.
#[test]
fn the_page_says_where_each_field_is() {
    let rows = rows();
    let mut seen = BTreeSet::new();
    for (action, event) in every_kind() {
        let (ours, otel, ocsf) =
            (rendered(write, &event), rendered(write_otel, &event), rendered(write_ocsf, &event));
        let mut fields = BTreeSet::new();
        leaves(&ours, "", &mut fields);
        for field in fields {
            let row = rows.iter().find(|[names, ..]| names.contains(&field));
            let (in_otel, in_ocsf) = match row {
                Some([_, otel, ocsf]) => (otel.clone(), ocsf.clone()),
                None => (vec![field.clone()], vec![format!("unmapped.{field}")]),
            };
            seen.insert(field.clone());
            for name in in_otel {
                let name = name.replace("NAME", if name.contains("label") { "tier" } else { "LD_PRELOAD" });
                let there = ["attributes", "resource"].iter().any(|part| otel[part].get(&name).is_some());
                assert!(there || otel.get(&name).is_some(), "{action}: {name} is not in {otel:#}");
            }
            for name in in_ocsf {
                let there = match name.strip_prefix("unmapped.") {
                    Some(name) => ocsf["unmapped"].get(name),
                    None => name.split('.').try_fold(&ocsf, |value, part| value.get(part)),
                };
                // What only processes have a place for is unmapped elsewhere, and so is a container.
                let other = name.replace("process.container", "device.container");
                let other = other.split('.').try_fold(&ocsf, |value, part| value.get(part));
                let unmapped = ocsf["class_uid"] == 0 && ocsf["unmapped"].get(&field).is_some();
                assert!(there.or(other).is_some() || unmapped, "{action}: {field} is not in {ocsf:#}");
            }
        }
    }
    let listed: BTreeSet<String> = rows.into_iter().flat_map(|[names, ..]| names).collect();
    assert_eq!(listed.difference(&seen).collect::<Vec<_>>(), Vec::<&String>::new(), "no field of ours");
}

#[test]
fn fields_of_a_line_cannot_pass_for_ours() {
    let json = r#"{"process":{"pid":"x"},"user":{"id":[1]},"@timestamp":7,"message":{"a":1},"service.name":"evil","exit_code":3}"#;
    let flags = line_flags::UNDER_ROOT | line_flags::OVERWRITE;
    let line = Line { json: json.to_string(), flags, ..Line::default() };
    let event = Event { body: Body::Line(Box::new(line)), ..every_kind().remove(0).1 };
    let otel = rendered(write_otel, &event);
    assert_eq!(otel["timestamp"], "2025-12-31T23:59:59.123456789Z");
    assert_eq!(otel["attributes"]["@timestamp"], 7);
    assert_eq!(otel["resource"]["service.name"], "purser");
    assert_eq!(otel["attributes"]["service.name"], "evil");
    let ocsf = rendered(write_ocsf, &event);
    assert_eq!(ocsf_faults(&ocsf), Vec::<String>::new());
    assert_eq!(ocsf["unmapped"]["process.pid"], "x");
    assert_eq!(ocsf["unmapped"]["@timestamp"], 7);
    assert_eq!(ocsf["unmapped"]["message.a"], 1);
}

#[test]
fn arguments_that_are_no_text_do_not_break_the_command_line() {
    let exec = Exec { args: vec![b"a b".to_vec(), b"\xff".to_vec()], args_count: 2, ..Exec::default() };
    let event = Event { body: Body::Exec(Box::new(exec)), ..every_kind().remove(0).1 };
    assert_eq!(rendered(write_otel, &event)["body"], r"'a b' '\xff'");
    assert_eq!(rendered(write_ocsf, &event)["process"]["cmd_line"], r"'a b' '\xff'");
}
