// SPDX-License-Identifier: Apache-2.0
//! An event as outsiders see it: nested JSON with Elastic Common Schema names.
//!
//! The structures here are the public contract, described in docs/events.md and
//! docs/event.schema.json. What ECS has no name for stands under `purser`.
//!
//! A document is written millions of times: what is the same in nearly all of them, or said by
//! another field, is left out.

mod build;
mod merge;
mod time;

pub use time::rfc3339;

use crate::{Body, Container, Event, line_flags};
use serde::Serialize;
use serde_json::{Map, Value};

/// What a document needs besides the event.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// Names the store, so that `event.id` is unique across hosts.
    pub store_id: [u8; 16],
    /// Host name.
    pub host_name: String,
}

/// Renders `event`, the `sequence`th of its store, as one line of JSON without a line end.
pub fn render(context: &Context, sequence: u64, event: &Event, container: Option<&Container>) -> String {
    let document = build::document(context, sequence, event, container);
    if let Body::Line(line) = &event.body
        && line.flags & line_flags::UNDER_ROOT != 0
        && let Some(fields) = build::json(line)
    {
        let overwrite = line.flags & line_flags::OVERWRITE != 0;
        let document = serde_json::to_value(&document).expect("strings and numbers always serialise");
        return merge::under_root(document, fields, overwrite).to_string();
    }
    serde_json::to_string(&document).expect("strings and numbers always serialise")
}

/// Bytes as text: valid UTF-8 as it is, other bytes as `\xNN`, so that nothing is lost to a
/// replacement character.
pub fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// A UUID's 16 bytes in its usual form.
pub fn uuid(bytes: &[u8; 16]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[derive(Serialize)]
struct Document {
    #[serde(rename = "@timestamp")]
    timestamp: String,
    event: EventFields,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<ProcessFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<ContainerFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    orchestrator: Option<OrchestratorFields>,
    host: HostFields,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<LogFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<AgentFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    json: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "PurserFields::is_empty")]
    purser: PurserFields,
}

#[derive(Serialize)]
struct EventFields {
    action: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    category: &'static [&'static str],
    #[serde(rename = "type")]
    kinds: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<u64>,
    sequence: u64,
    id: String,
}

#[derive(Default, Serialize)]
struct ProcessFields {
    pid: u32,
    entity_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    executable: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args_raw: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args_count: Option<u32>,
    #[serde(skip_serializing_if = "String::is_empty")]
    working_directory: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    env_vars: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<u32>,
    parent: ParentFields,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_leader: Option<PidFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tty: Option<TtyFields>,
}

#[derive(Default, Serialize)]
struct ParentFields {
    pid: u32,
    entity_id: String,
}

#[derive(Serialize)]
struct PidFields {
    pid: u32,
}

#[derive(Serialize)]
struct TtyFields {
    char_device: CharDeviceFields,
}

#[derive(Serialize)]
struct CharDeviceFields {
    major: u32,
    minor: u32,
}

#[derive(Serialize)]
struct UserFields {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<IdFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    effective: Option<EffectiveFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audit: Option<IdFields>,
}

#[derive(Serialize)]
struct EffectiveFields {
    id: String,
    group: IdFields,
}

#[derive(Serialize)]
struct IdFields {
    id: String,
}

#[derive(Serialize)]
struct ContainerFields {
    id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    runtime: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<NameFields>,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    labels: std::collections::BTreeMap<String, String>,
}

#[derive(Serialize)]
struct NameFields {
    name: String,
}

#[derive(Serialize)]
struct OrchestratorFields {
    #[serde(rename = "type")]
    kind: &'static str,
    namespace: String,
    resource: ResourceFields,
}

#[derive(Serialize)]
struct ResourceFields {
    #[serde(rename = "type")]
    kind: &'static str,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    id: String,
}

#[derive(Serialize)]
struct HostFields {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    boot: IdFields,
}

#[derive(Serialize)]
struct ErrorFields {
    #[serde(skip_serializing_if = "String::is_empty")]
    code: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
}

#[derive(Serialize)]
struct LogFields {
    file: LogFileFields,
    offset: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    flags: Vec<&'static str>,
}

#[derive(Serialize)]
struct LogFileFields {
    path: String,
    device_id: String,
    inode: String,
    fingerprint: String,
}

#[derive(Serialize)]
struct AgentFields {
    #[serde(rename = "type")]
    kind: &'static str,
    version: String,
}

#[derive(Default, PartialEq, Serialize)]
struct PurserFields {
    #[serde(skip_serializing_if = "String::is_empty")]
    filename: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    interpreter: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    script: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    args_bytes: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    flags: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redacted: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace_pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ancestor_entity_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespaces: Option<NamespaceFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    core_dumped: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_rss_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gap: Option<GapFields>,
    #[serde(skip_serializing_if = "String::is_empty")]
    source: String,
}

impl PurserFields {
    fn is_empty(&self) -> bool {
        *self == PurserFields::default()
    }
}

#[derive(Default, PartialEq, Serialize)]
struct NamespaceFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    mount: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipc: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup: Option<u32>,
}

#[derive(PartialEq, Serialize)]
struct GapFields {
    cause: &'static str,
    count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<u64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
}
