// SPDX-License-Identifier: Apache-2.0
//! An event as outsiders see it: nested JSON with Elastic Common Schema names.
//!
//! The structures here are the public contract, described in docs/events.md and
//! docs/event.schema.json. What ECS has no name for stands under `purser`.
//!
//! A document is written millions of times: what is the same in nearly all of them, or said by
//! another field, is left out.

mod build;
mod leaves;
mod merge;
mod ocsf;
mod otel;
mod short;
mod time;

pub use ocsf::write as write_ocsf;
pub use otel::write as write_otel;
pub use time::rfc3339;

use crate::{Body, Container, Event, line_flags};
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use short::Short;
use std::borrow::Cow;

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
    let mut out = Vec::with_capacity(1024);
    write(context, sequence, event, container, &mut out);
    String::from_utf8(out).expect("JSON is UTF-8")
}

/// Appends to `out` what [`render`] gives: a buffer that is used again makes no garbage.
pub fn write(
    context: &Context,
    sequence: u64,
    event: &Event,
    container: Option<&Container>,
    out: &mut Vec<u8>,
) {
    if is_under_root(event) {
        put(&tree(context, sequence, event, container), out);
    } else {
        put(&build::document(context, sequence, event, container), out);
    }
}

/// The same with the container's part as it was made before.
pub fn write_prepared(
    context: &Context,
    sequence: u64,
    event: &Event,
    container: &Container,
    prepared: &Prepared,
    out: &mut Vec<u8>,
) {
    if event.container != container.id || is_under_root(event) {
        return write(context, sequence, event, Some(container), out);
    }
    let mut document = build::document(context, sequence, event, None);
    document.container = Some(ContainerPart::Ready(&prepared.0));
    document.orchestrator = build::orchestrator_fields(container);
    put(&document, out);
}

fn is_under_root(event: &Event) -> bool {
    matches!(&event.body, Body::Line(line) if line.flags & line_flags::UNDER_ROOT != 0 && !line.json.is_empty())
}

fn put(document: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, document).expect("strings and numbers always serialise");
}

/// What all documents of one container say of it.
#[derive(Clone, Debug)]
pub struct Prepared(Box<RawValue>);

impl Prepared {
    /// The part that names `container`.
    pub fn new(container: &Container) -> Prepared {
        let fields = build::container_fields(&container.id, Some(container));
        Prepared(to_raw_value(&fields).expect("strings and numbers always serialise"))
    }
}

/// The document as a tree: what the documents of other schemas are made of.
fn tree(context: &Context, sequence: u64, event: &Event, container: Option<&Container>) -> Value {
    let document = build::document(context, sequence, event, container);
    let document = serde_json::to_value(&document).expect("strings and numbers always serialise");
    match &event.body {
        Body::Line(line) if line.flags & line_flags::UNDER_ROOT != 0 => match build::json(line) {
            Some(fields) => merge::under_root(document, fields, line.flags & line_flags::OVERWRITE != 0),
            None => document,
        },
        _ => document,
    }
}

/// Bytes as text: valid UTF-8 as it is, other bytes as `\xNN`, so that nothing is lost to a
/// replacement character.
pub fn text(bytes: &[u8]) -> String {
    text_of(bytes).into_owned()
}

/// The same without a copy where the bytes are text as they are.
fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    Cow::Owned(text)
}

/// Bytes that are written as text, piece by piece.
#[derive(Clone, Copy, Default, PartialEq)]
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&text_of(self.0))
    }
}

/// Lists of them.
#[derive(Clone, Copy, PartialEq)]
struct Texts<'a>(&'a [Vec<u8>]);

impl Texts<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Texts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|bytes| Bytes(bytes)))
    }
}

/// Lists of bytes in base64.
struct Raw<'a>(&'a [Vec<u8>]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|bytes| crate::base64::encode(bytes)))
    }
}

/// Labels by name; of two with one name the last counts.
struct Labels<'a>(&'a [(String, String)]);

impl Labels<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Labels<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let labels: std::collections::BTreeMap<&str, &str> =
            self.0.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        serializer.collect_map(labels)
    }
}

/// A UUID's 16 bytes in its usual form.
pub fn uuid(bytes: &[u8; 16]) -> String {
    short_uuid(bytes).as_str().to_string()
}

fn short_uuid(bytes: &[u8; 16]) -> Short {
    let [first, second, third, fourth, last] =
        [&bytes[..4], &bytes[4..6], &bytes[6..8], &bytes[8..10], &bytes[10..]];
    let half = Short::new().hex_bytes(first).byte(b'-').hex_bytes(second).byte(b'-').hex_bytes(third);
    half.byte(b'-').hex_bytes(fourth).byte(b'-').hex_bytes(last)
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "@timestamp")]
    timestamp: Short,
    event: EventFields<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<ProcessFields<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserFields<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<ContainerPart<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    orchestrator: Option<OrchestratorFields<'a>>,
    host: HostFields<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorFields<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<LogFields<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<AgentFields<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Bytes<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    json: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "PurserFields::is_empty")]
    purser: PurserFields<'a>,
}

#[derive(Serialize)]
struct EventFields<'a> {
    action: &'a str,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<Short>,
    sequence: u64,
    id: Short,
}

#[derive(Serialize)]
struct ProcessFields<'a> {
    pid: u32,
    entity_id: Short,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<Short>,
    #[serde(skip_serializing_if = "Bytes::is_empty")]
    executable: Bytes<'a>,
    #[serde(skip_serializing_if = "Bytes::is_empty")]
    name: Bytes<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<Texts<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args_raw: Option<Raw<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args_count: Option<u32>,
    #[serde(skip_serializing_if = "Bytes::is_empty")]
    working_directory: Bytes<'a>,
    #[serde(skip_serializing_if = "Texts::is_empty")]
    env_vars: Texts<'a>,
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
    entity_id: Short,
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
struct UserFields<'a> {
    id: Short,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<IdFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    effective: Option<EffectiveFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audit: Option<IdFields>,
}

#[derive(Serialize)]
struct EffectiveFields {
    id: Short,
    group: IdFields,
}

#[derive(Serialize)]
struct IdFields {
    id: Short,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ContainerPart<'a> {
    Fields(ContainerFields<'a>),
    Ready(&'a RawValue),
}

#[derive(Serialize)]
struct ContainerFields<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    runtime: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<NameFields<'a>>,
    #[serde(skip_serializing_if = "Labels::is_empty")]
    labels: Labels<'a>,
}

#[derive(Serialize)]
struct NameFields<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct OrchestratorFields<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    namespace: &'a str,
    resource: ResourceFields<'a>,
}

#[derive(Serialize)]
struct ResourceFields<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
}

#[derive(Serialize)]
struct HostFields<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    boot: IdFields,
}

#[derive(Serialize)]
struct ErrorFields<'a> {
    #[serde(skip_serializing_if = "String::is_empty")]
    code: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
}

#[derive(Serialize)]
struct LogFields<'a> {
    file: LogFileFields<'a>,
    offset: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    flags: Vec<&'static str>,
}

#[derive(Serialize)]
struct LogFileFields<'a> {
    path: Bytes<'a>,
    device_id: Short,
    inode: Short,
    fingerprint: Short,
}

#[derive(Serialize)]
struct AgentFields<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    version: &'a str,
}

#[derive(Default, PartialEq, Serialize)]
struct PurserFields<'a> {
    #[serde(skip_serializing_if = "Bytes::is_empty")]
    filename: Bytes<'a>,
    #[serde(skip_serializing_if = "Bytes::is_empty")]
    interpreter: Bytes<'a>,
    #[serde(skip_serializing_if = "Bytes::is_empty")]
    script: Bytes<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args_bytes: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    flags: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redacted: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace_pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ancestor_entity_id: Option<Short>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<Short>,
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
    gap: Option<GapFields<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<SessionFields<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    screen: Option<ScreenFields<'a>>,
}

impl PurserFields<'_> {
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
struct GapFields<'a> {
    cause: &'static str,
    count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<u64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
}

#[derive(PartialEq, Serialize)]
struct SessionFields<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    target: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    from: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    kits: &'a [String],
    #[serde(skip_serializing_if = "Texts::is_empty")]
    command: Texts<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<u32>,
}

#[derive(PartialEq, Serialize)]
struct ScreenFields<'a> {
    elapsed_ns: u64,
    text: Bytes<'a>,
    columns: u32,
    rows: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped_bytes: Option<u64>,
}
