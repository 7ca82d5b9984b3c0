// SPDX-License-Identifier: Apache-2.0
//! Documents with the names of OpenTelemetry's log data model and semantic conventions. They are
//! made from those of [`super::write`]: a field that the conventions do not know keeps its name.

use super::leaves::{command_line, leaves};
use super::{Context, rfc3339, tree, uuid};
use crate::{Body, Container, Event};
use serde_json::{Map, Value, json};

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
enum To {
    /// An attribute of this name.
    Name(&'static str),
    /// The same, as a number.
    Number(&'static str),
    /// An attribute of the resource.
    Resource(&'static str),
    /// Something else says it.
    Nothing,
}

/// What fields are called, ordered by ours.
const NAMES: [(&str, To); 26] = [
    ("@timestamp", To::Nothing),
    ("agent.type", To::Nothing),
    ("container.id", To::Resource("container.id")),
    ("container.name", To::Resource("container.name")),
    ("container.runtime", To::Resource("container.runtime.name")),
    ("error.code", To::Name("error.type")),
    ("event.action", To::Nothing),
    ("event.id", To::Name("log.record.uid")),
    ("host.boot.id", To::Resource("host.boot.id")),
    ("host.name", To::Resource("host.name")),
    ("orchestrator.namespace", To::Resource("k8s.namespace.name")),
    ("orchestrator.resource.id", To::Resource("k8s.pod.uid")),
    ("orchestrator.resource.name", To::Resource("k8s.pod.name")),
    ("orchestrator.resource.type", To::Nothing),
    ("orchestrator.type", To::Nothing),
    ("process.args", To::Name("process.command_args")),
    ("process.executable", To::Name("process.executable.path")),
    ("process.exit_code", To::Name("process.exit.code")),
    ("process.name", To::Name("process.executable.name")),
    ("process.parent.pid", To::Name("process.parent_pid")),
    ("process.start", To::Nothing),
    ("purser.namespace_pid", To::Name("process.vpid")),
    ("purser.script", To::Name("process.entrypoint")),
    ("stream", To::Name("log.iostream")),
    ("user.effective.id", To::Number("process.user.id")),
    ("user.id", To::Number("process.real_user.id")),
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
    let body = body(event, &mut leaves);
    let action = leaves.get("event.action").and_then(Value::as_str).unwrap_or_default();
    let event_name = format!("purser.{action}");
    let time = rfc3339(event.moment_ns());
    let mut resource = Map::new();
    resource.insert("service.name".to_string(), "purser".into());
    resource.insert("service.instance.id".to_string(), uuid(&context.store_id).into());
    let mut attributes = times(event);
    for (name, value) in leaves {
        match find(&name) {
            // A line can bring a time of its own.
            Some(To::Nothing) if name == "@timestamp" && value != time.as_str() => {
                attributes.insert(name, value);
            }
            Some(To::Nothing) => {}
            Some(To::Name(other)) => drop(attributes.insert(other.to_string(), value)),
            Some(To::Number(other)) => drop(attributes.insert(other.to_string(), number(value))),
            Some(To::Resource(other)) => drop(resource.insert(other.to_string(), value)),
            None => other(name, value, &mut resource, &mut attributes),
        }
    }
    complete(&mut attributes);
    let (severity_number, severity_text) = severity(event);
    let document = json!({
        "timestamp": time, "severity_number": severity_number, "severity_text": severity_text,
        "event_name": event_name, "body": body, "resource": resource, "attributes": attributes,
    });
    serde_json::to_writer(out, &document).expect("strings and numbers always serialise");
}

fn find(name: &str) -> Option<To> {
    let at = NAMES.binary_search_by_key(&name, |(ours, _)| ours).ok()?;
    NAMES.get(at).map(|(_, to)| *to)
}

/// The numbers of the log data model.
fn severity(event: &Event) -> (u8, &'static str) {
    match event.body {
        Body::ExecFailed(_) => (13, "WARN"),
        Body::Gap(_) => (17, "ERROR"),
        _ => (9, "INFO"),
    }
}

/// One line for people.
fn body(event: &Event, leaves: &mut super::leaves::Leaves) -> Value {
    if let Some(message) = leaves.remove("message") {
        return message;
    }
    let text = |name: &str| leaves.get(name).and_then(Value::as_str).unwrap_or_default();
    match &event.body {
        Body::Exec(_) | Body::Running(_) | Body::ExecFailed(_) => {
            command_line(leaves.get("process.args").unwrap_or(&Value::Null)).into()
        }
        Body::Exit(_) => {
            let code = leaves.get("process.exit_code").and_then(Value::as_u64).unwrap_or_default();
            format!("{} ended with {code}", text("process.executable")).into()
        }
        Body::Gap(gap) => format!("{} events are missing: {}", gap.count, gap.cause.word()).into(),
        Body::Session(session) => format!("{} in {}", text("event.action"), session.target).into(),
        Body::Agent(_) | Body::Line(_) | Body::Tty(_) => text("event.action").into(),
    }
}

/// Moments that documents with the names of ECS leave to other fields.
fn times(event: &Event) -> Map<String, Value> {
    let mut times = Map::new();
    if let Some(process) = event.process() {
        let booted = event.time_ns.wrapping_sub(event.boot_ns);
        let created = rfc3339(process.key.start_boot_ns.wrapping_add(booted));
        times.insert("process.creation.time".to_string(), created.into());
    }
    if let Body::Exit(_) = event.body {
        times.insert("process.exit.time".to_string(), rfc3339(event.time_ns).into());
    }
    times
}

/// Fields with names in them, and those the conventions do not know.
fn other(name: String, value: Value, resource: &mut Map<String, Value>, attributes: &mut Map<String, Value>) {
    if let Some(label) = name.strip_prefix("container.labels.") {
        resource.insert(format!("container.label.{label}"), value);
    } else if name == "container.image.name" {
        image(value.as_str().unwrap_or_default(), resource);
    } else if name == "process.env_vars" {
        for variable in value.as_array().into_iter().flatten().filter_map(Value::as_str) {
            let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
            attributes.insert(format!("process.environment_variable.{name}"), value.into());
        }
    } else {
        attributes.insert(name, value);
    }
}

/// `NAME:TAG` or `NAME@DIGEST`.
fn image(image: &str, resource: &mut Map<String, Value>) {
    let name = match (image.split_once('@'), image.rsplit_once(':')) {
        (Some((name, _)), _) => {
            resource.insert("container.image.repo_digests".to_string(), json!([image]));
            name
        }
        // Behind the last colon may also stand a port and a path.
        (None, Some((name, tag))) if !tag.contains('/') => {
            resource.insert("container.image.tags".to_string(), json!([tag]));
            name
        }
        _ => image,
    };
    resource.insert("container.image.name".to_string(), name.into());
}

/// What is absent in documents with the names of ECS because another field says it.
fn complete(attributes: &mut Map<String, Value>) {
    if let Some(real) = attributes.get("process.real_user.id").cloned() {
        attributes.entry("process.user.id").or_insert(real);
    }
    let first = attributes.get("process.command_args").and_then(|args| args.get(0)).cloned();
    if let Some(first) = first {
        attributes.insert("process.command".to_string(), first);
    }
}

fn number(value: Value) -> Value {
    let number = value.as_str().and_then(|text| text.parse::<u64>().ok());
    number.map_or(value, Value::from)
}

#[cfg(test)]
mod tests {
    use super::{NAMES, image};
    use serde_json::{Map, Value, json};

    #[test]
    fn the_table_can_be_searched() {
        assert!(NAMES.is_sorted_by_key(|(ours, _)| *ours));
    }

    #[test]
    fn an_image_has_a_name_and_a_tag_or_a_digest() {
        let parts = |text: &str| {
            let mut found = Map::new();
            image(text, &mut found);
            Value::Object(found)
        };
        let named = |name: &str| json!({ "container.image.name": name });
        assert_eq!(parts("web"), named("web"));
        assert_eq!(parts("host:5000/web"), named("host:5000/web"));
        let tagged = json!({"container.image.name": "host:5000/web", "container.image.tags": ["1.2"]});
        assert_eq!(parts("host:5000/web:1.2"), tagged);
        let fixed = json!({"container.image.name": "web", "container.image.repo_digests": ["web@sha256:ab"]});
        assert_eq!(parts("web@sha256:ab"), fixed);
    }
}
