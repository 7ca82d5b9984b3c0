// SPDX-License-Identifier: Apache-2.0
//! From documents of the schema `otel` to an `ExportLogsServiceRequest`. Numbers of fields are those
//! of opentelemetry/proto/logs/v1/logs.proto, common/v1/common.proto and resource/v1/resource.proto.

use super::protobuf::Writer;
use crate::batch::Batch;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::ops::Range;

/// One document, apart.
struct Record {
    time_ns: u64,
    document: Map<String, Value>,
}

/// The request with these documents. Those of one resource keep their order.
pub(super) fn logs(batch: &Batch, range: Range<usize>) -> Vec<u8> {
    let mut groups: Vec<(Value, Vec<Record>)> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for document in range.filter_map(|index| batch.document(index)) {
        // It was rendered as an object.
        let mut fields: Map<String, Value> = serde_json::from_slice(document.json).unwrap_or_default();
        let resource = fields.remove("resource").unwrap_or_default();
        let at = *known.entry(resource.to_string()).or_insert_with(|| {
            groups.push((resource, Vec::new()));
            groups.len() - 1
        });
        if let Some((_, records)) = groups.get_mut(at) {
            records.push(Record { time_ns: document.time_ns, document: fields });
        }
    }
    let mut out = Writer::with_capacity(batch.bytes());
    for (resource, records) in &groups {
        out.message(1, |resource_logs| {
            resource_logs.message(1, |message| attributes(message, 1, resource));
            resource_logs.message(2, |scope_logs| {
                scope_logs.message(1, |scope| {
                    scope.text(1, "purser");
                    scope.text(2, env!("CARGO_PKG_VERSION"));
                });
                for record in records {
                    scope_logs.message(2, |message| log_record(message, record));
                }
            });
        });
    }
    out.finish()
}

fn log_record(out: &mut Writer, record: &Record) {
    let text = |name: &str| record.document.get(name).and_then(Value::as_str).unwrap_or_default();
    out.fixed64(1, record.time_ns);
    out.varint(2, record.document.get("severity_number").and_then(Value::as_u64).unwrap_or_default());
    out.text(3, text("severity_text"));
    if let Some(body) = record.document.get("body") {
        out.message(5, |value| any_value(value, body));
    }
    attributes(out, 6, record.document.get("attributes").unwrap_or(&Value::Null));
    // Purser sees an event when it happens: both times are the same.
    out.fixed64(11, record.time_ns);
    out.text(12, text("event_name"));
}

/// The members of an object as `KeyValue` messages in `field`.
fn attributes(out: &mut Writer, field: u64, object: &Value) {
    for (name, member) in object.as_object().into_iter().flatten() {
        out.message(field, |pair| {
            pair.text(1, name);
            pair.message(2, |value| any_value(value, member));
        });
    }
}

/// `AnyValue`: one of its fields, or none for nothing.
fn any_value(out: &mut Writer, value: &Value) {
    match value {
        Value::Null => {}
        Value::Bool(truth) => out.varint(2, u64::from(*truth)),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            // Negative numbers as their two's complement.
            (Some(integer), _) => out.varint(3, integer as u64),
            // There is no field for larger integers, and a float would lose digits.
            (None, _) if number.is_u64() => out.text(1, &number.to_string()),
            (None, float) => out.fixed64(4, float.unwrap_or_default().to_bits()),
        },
        Value::String(text) => out.text(1, text),
        Value::Array(items) => out.message(5, |list| {
            for item in items {
                list.message(1, |value| any_value(value, item));
            }
        }),
        Value::Object(_) => out.message(6, |list| attributes(list, 1, value)),
    }
}
