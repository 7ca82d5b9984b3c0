// SPDX-License-Identifier: Apache-2.0
//! Documents in the Open Cybersecurity Schema Framework: what processes do as Process Activity, all
//! else as Base Event. They are made from those of [`super::write`]: a field that has no place in
//! OCSF stands below `unmapped` under its dotted name.

use super::leaves::{Leaves, command_line, leaves, put};
use super::{Context, rfc3339, tree};
use crate::{Body, Container, Event, SessionAction};
use serde_json::{Map, Value, json};

/// The version whose attributes are used.
pub(super) const VERSION: &str = "1.8.0";
/// Process Activity, in the category System Activity.
const PROCESS_ACTIVITY: u32 = 1007;
const SYSTEM_ACTIVITY: u32 = 1;
/// `os.type_id` of Linux.
const LINUX: u32 = 200;
/// `file.type_id` of a regular file.
const REGULAR: u32 = 1;
/// Device number of pseudo-terminals.
const PTS: u64 = 136;

/// Where fields go, whatever the class. Those without a place are said by something else.
const PLACES: [(&str, Option<&str>); 27] = [
    ("@timestamp", Some("time_dt")),
    ("agent.type", None),
    ("agent.version", Some("metadata.product.version")),
    ("error.code", Some("status_code")),
    ("error.message", Some("status_detail")),
    ("event.action", Some("metadata.event_code")),
    ("event.category", None),
    ("event.id", Some("metadata.uid")),
    ("event.kind", None),
    ("event.sequence", Some("metadata.sequence")),
    ("event.type", None),
    ("host.boot.id", Some("device.boot_uid")),
    ("host.name", Some("device.hostname")),
    ("log.file.path", Some("metadata.log_source")),
    ("message", Some("message")),
    ("process.entity_id", Some("process.uid")),
    ("process.executable", Some("process.file.path")),
    ("process.exit_code", Some("exit_code")),
    ("process.name", Some("process.name")),
    ("process.parent.entity_id", Some("process.parent_process.uid")),
    ("process.parent.pid", Some("process.parent_process.pid")),
    ("process.pid", Some("process.pid")),
    ("process.start", None),
    ("process.working_directory", Some("process.working_directory")),
    ("purser.namespace_pid", Some("process.namespace_pid")),
    ("purser.source", Some("metadata.log_name")),
    ("user.id", Some("process.user.uid")),
];

/// Where fields of a container go, below the container.
const CONTAINER: [(&str, &str); 6] = [
    ("container.id", "uid"),
    ("container.image.name", "image.name"),
    ("container.name", "name"),
    ("container.runtime", "runtime"),
    ("orchestrator.resource.id", "pod_uuid"),
    ("orchestrator.type", "orchestrator"),
];

/// Appends the document of `event` to `out`, as [`super::write`] does with the names of ECS.
pub fn write(
    context: &Context,
    sequence: u64,
    event: &Event,
    container: Option<&Container>,
    out: &mut Vec<u8>,
) {
    let mut leaves = leaves(tree(context, sequence, event, container));
    let mut document = class(event);
    let into = &mut document;
    put(into, "time", millis(event.moment_ns()));
    put(into, "metadata.version", VERSION);
    put(into, "metadata.product.name", "purser");
    put(into, "metadata.product.vendor_name", "purser");
    put(into, "metadata.profiles", json!(["container", "datetime", "host", "linux/linux_users"]));
    put(into, "device.type_id", 0);
    put(into, "device.os", json!({ "name": "Linux", "type_id": LINUX }));
    put(into, "device.hostname", "unknown");
    let is_process = event.process().is_some();
    if is_process {
        add_process(into, event, &mut leaves);
    }
    add_container(into, if is_process { "process.container" } else { "device.container" }, &mut leaves);
    let mut unmapped = Map::new();
    for (name, value) in leaves {
        match PLACES.binary_search_by_key(&name.as_str(), |(ours, _)| ours).map(|at| PLACES.get(at)) {
            Ok(Some((_, Some(place)))) if fits(place, &value, is_process) => put(into, place, value),
            Ok(Some((_, None))) if is_process => {}
            Ok(Some((_, None))) if name == "agent.type" || name == "process.start" => {}
            _ => drop(unmapped.insert(name, value)),
        }
    }
    if is_process {
        add_actor(into, event);
    }
    if !unmapped.is_empty() {
        put(into, "unmapped", unmapped);
    }
    serde_json::to_writer(out, &document).expect("strings and numbers always serialise");
}

/// A line of a log can bring fields of any name and kind.
fn fits(place: &str, value: &Value, is_process: bool) -> bool {
    let ours = ["metadata.", "device."].iter().any(|start| place.starts_with(start));
    is_process || ours || (value.is_string() && !place.starts_with("process.") && place != "exit_code")
}

/// What OCSF calls the event, and how it went.
fn class(event: &Event) -> Map<String, Value> {
    let word = event.kind().word();
    let (class, activity, name, severity) = match &event.body {
        Body::Exec(_) => (PROCESS_ACTIVITY, 1, "Launch", 1),
        Body::ExecFailed(_) => (PROCESS_ACTIVITY, 1, "Launch", 2),
        Body::Exit(_) => (PROCESS_ACTIVITY, 2, "Terminate", 1),
        Body::Running(_) => (PROCESS_ACTIVITY, 99, word, 1),
        Body::Gap(_) => (0, 99, word, 3),
        Body::Agent(agent) => (0, 99, agent.action.as_str(), 1),
        Body::Session(session) if session.action == SessionAction::Refused => {
            (0, 99, session.action.word(), 3)
        }
        Body::Session(session) => (0, 99, session.action.word(), 1),
        Body::Line(_) | Body::Tty(_) => (0, 99, word, 1),
    };
    let is_process = class == PROCESS_ACTIVITY;
    let failed = matches!(event.body, Body::ExecFailed(_));
    let mut document = Map::new();
    let into = &mut document;
    put(into, "class_uid", class);
    put(into, "class_name", if is_process { "Process Activity" } else { "Base Event" });
    put(into, "category_uid", if is_process { SYSTEM_ACTIVITY } else { 0 });
    put(into, "activity_id", activity);
    put(into, "activity_name", name);
    put(into, "type_uid", class * 100 + activity);
    put(into, "severity_id", severity);
    if is_process {
        put(into, "status_id", if failed { 2 } else { 1 });
        put(into, "status", if failed { "Failure" } else { "Success" });
    }
    if matches!(event.body, Body::Exec(_) | Body::ExecFailed(_)) {
        put(into, "launch_type_id", 3);
        put(into, "launch_type", "Exec");
    }
    if let Body::Gap(gap) = &event.body {
        put(into, "message", format!("{} events are missing: {}", gap.count, gap.cause.word()));
    }
    document
}

/// What takes more than another name.
fn add_process(into: &mut Map<String, Value>, event: &Event, leaves: &mut Leaves) {
    if let Some(process) = event.process() {
        let created = process.key.start_boot_ns.wrapping_add(event.time_ns.wrapping_sub(event.boot_ns));
        put(into, "process.created_time", millis(created));
        put(into, "process.created_time_dt", rfc3339(created));
        if process.session != 0 {
            put(into, "process.session.uid", process.session.to_string());
            leaves.remove("process.session_leader.pid");
        }
        put(into, "process.group.uid", process.gid.to_string());
        put(into, "process.euid", process.euid);
        put(into, "process.egid", process.egid);
        if process.login_uid != u32::MAX {
            put(into, "process.auid", process.login_uid);
        }
        for name in ["audit.id", "effective.id", "effective.group.id", "group.id"] {
            leaves.remove(&format!("user.{name}"));
        }
    }
    if let Some(args) = leaves.remove("process.args") {
        put(into, "process.cmd_line", command_line(&args));
    }
    if leaves.contains_key("process.executable") {
        let name = leaves.get("process.name").cloned().unwrap_or_default();
        put(into, "process.file", json!({ "name": name, "type_id": REGULAR }));
    }
    if let Some(variables) = leaves.remove("process.env_vars") {
        let pairs = variables.as_array().into_iter().flatten().filter_map(Value::as_str).map(|text| {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            json!({ "name": name, "value": value })
        });
        put(into, "process.environment_variables", pairs.collect::<Vec<Value>>());
    }
    let tty = |name: &str| leaves.get(&format!("process.tty.char_device.{name}")).and_then(Value::as_u64);
    if let (Some(PTS), Some(minor)) = (tty("major"), tty("minor")) {
        put(into, "process.session.terminal", format!("pts/{minor}"));
        leaves.retain(|name, _| !name.starts_with("process.tty."));
    }
    if let Body::Exit(exit) = &event.body {
        put(into, "process.terminated_time", millis(event.time_ns));
        put(into, "duration", exit.duration_ns / 1_000_000);
    }
    // For other ends than a refusal it says more than that the event took place.
    if matches!(event.body, Body::ExecFailed(_)) {
        leaves.remove("event.outcome");
    }
}

fn add_container(into: &mut Map<String, Value>, place: &str, leaves: &mut Leaves) {
    if !leaves.contains_key("container.id") {
        return;
    }
    for (name, member) in CONTAINER {
        if let Some(value) = leaves.remove(name) {
            // The runtime's id of the image is not recorded, and OCSF wants one.
            if member == "image.name" {
                put(into, &format!("{place}.image.uid"), value.clone());
            }
            put(into, &format!("{place}.{member}"), value);
        }
    }
    let labels = leaves.extract_if(.., |name, _| name.starts_with(LABELS));
    let tags: Vec<Value> = labels
        .map(|(name, value)| json!({ "name": name.strip_prefix(LABELS).unwrap_or(&name), "value": value }))
        .collect();
    if !tags.is_empty() {
        put(into, &format!("{place}.tags"), tags);
    }
}

/// How the names of labels begin.
const LABELS: &str = "container.labels.";

/// Who did it: the parent starts a process, and a process ends itself, as far as one can see.
fn add_actor(into: &mut Map<String, Value>, event: &Event) {
    let Some(process) = into.get("process") else { return };
    let ended = matches!(event.body, Body::Exit(_));
    let actor = if ended { process } else { process.get("parent_process").unwrap_or(process) };
    let actor = json!({
        "process": { "pid": actor.get("pid"), "uid": actor.get("uid") },
        "user": process.get("user"),
    });
    put(into, "actor", actor);
}

fn millis(time_ns: u64) -> u64 {
    time_ns / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::PLACES;

    #[test]
    fn the_table_can_be_searched() {
        assert!(PLACES.is_sorted_by_key(|(ours, _)| *ours));
    }
}
