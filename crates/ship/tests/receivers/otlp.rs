// SPDX-License-Identifier: Apache-2.0
//! OTLP against receivers that decode with the messages generated from OpenTelemetry's definition.

use crate::harness::{fill, finish, line, trouble};
use crate::inbox::{self, Got, Reply};
use crate::webhook::{dead, http};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;
use ship::{OtlpSettings, Schema, Secret, State, Target};
use std::path::Path;
use std::sync::{Arc, Mutex};

fn settings(port: u16) -> OtlpSettings {
    OtlpSettings { http: http(port), poison_statuses: Vec::new() }
}

fn decode(got: &Got) -> ExportLogsServiceRequest {
    assert_eq!(got.first, "POST /v1/logs HTTP/1.1");
    assert_eq!(got.headers["content-type"], "application/x-protobuf");
    ExportLogsServiceRequest::decode(got.body.as_slice()).unwrap()
}

fn records(request: &ExportLogsServiceRequest) -> Vec<LogRecord> {
    let scopes = request.resource_logs.iter().flat_map(|logs| &logs.scope_logs);
    scopes.flat_map(|scope| scope.log_records.clone()).collect()
}

fn attribute(attributes: &[KeyValue], name: &str) -> Option<Value> {
    attributes.iter().find(|pair| pair.key == name)?.value.clone()?.value
}

fn number(record: &LogRecord) -> u64 {
    match attribute(&record.attributes, "event.sequence") {
        Some(Value::IntValue(number)) => number as u64,
        other => panic!("{other:?}"),
    }
}

fn numbers(got: &Got) -> Vec<u64> {
    records(&decode(got)).iter().map(number).collect()
}

fn partial(rejected: i64, message: &str) -> Reply {
    let partial =
        ExportLogsPartialSuccess { rejected_log_records: rejected, error_message: message.to_string() };
    let answer = ExportLogsServiceResponse { partial_success: Some(partial) };
    Reply::Say("200 OK", "content-type: application/x-protobuf\r\n", answer.encode_to_vec())
}

fn text(text: &str) -> Option<Value> {
    Some(Value::StringValue(text.to_string()))
}

#[test]
fn records_are_what_the_definition_says() {
    let seen: Arc<Mutex<Vec<Got>>> = Arc::default();
    let keep = Arc::clone(&seen);
    let port = inbox::start(move |got| {
        keep.lock().unwrap().push(got.clone());
        Reply::status("200 OK")
    });
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 100, |_| 5);
    let mut settings = settings(port);
    settings.http.secret_headers = vec![("x-api-key".to_string(), Secret::new(b"opensesame".to_vec()))];
    let (mut line, status) = line(dir.path(), &Target::Otlp(Box::new(settings)), 100, 100, Schema::Otel);
    finish(&mut line, &status, 100, |_| ());
    let [got] = &seen.lock().unwrap()[..] else { panic!("one request") };
    assert_eq!(
        (got.headers["x-api-key"].as_str(), got.headers["content-encoding"].as_str()),
        ("opensesame", "gzip")
    );
    let request = decode(got);
    let [logs] = request.resource_logs.as_slice() else { panic!("one resource") };
    let resource = |name: &str| attribute(&logs.resource.as_ref().unwrap().attributes, name);
    assert_eq!(resource("service.name"), text("purser"));
    assert_eq!(resource("host.name"), text("host-1"));
    assert_eq!(resource("container.id"), text("c1"));
    assert_eq!(resource("container.image.name"), text("registry/web"));
    assert_eq!(resource("container.label.app.tier"), text("front"));
    assert_eq!(logs.scope_logs[0].scope.as_ref().unwrap().name, "purser");
    let records = records(&request);
    assert_eq!(records.iter().map(number).collect::<Vec<u64>>(), (1..=100).collect::<Vec<u64>>());
    let record = &records[6];
    assert_eq!(record.time_unix_nano, 1_760_000_000_000_007_000);
    assert_eq!((record.severity_number, record.severity_text.as_str()), (9, "INFO"));
    assert_eq!(record.event_name, "purser.exec");
    assert_eq!(record.body, Some(AnyValue { value: text("/bin/test number-7") }));
    let of = |name: &str| attribute(&record.attributes, name);
    assert_eq!(of("process.executable.path"), text("/bin/test"));
    assert_eq!(of("process.real_user.id"), Some(Value::IntValue(5)));
    let Some(Value::ArrayValue(args)) = of("process.command_args") else { panic!("arguments") };
    assert_eq!(args.values[1].value, text("number-7"));
}

#[test]
fn nothing_is_lost_by_a_receiver_that_misbehaves() {
    const COUNT: u64 = 3_000;
    let taken: Arc<Mutex<Vec<u64>>> = Arc::default();
    let keep = Arc::clone(&taken);
    let port = inbox::start(move |got| match got.number % 6 {
        0 => Reply::Say("429 Too Many Requests", "retry-after: 1\r\n", Vec::new()),
        1 => Reply::Say("503 Service Unavailable", "retry-after: 1\r\n", Vec::new()),
        2 => Reply::Cut,
        // A warning, which is no refusal.
        3 => {
            keep.lock().unwrap().extend(numbers(got));
            partial(0, "use the new endpoint")
        }
        4 => Reply::status("502 Bad Gateway"),
        _ => {
            keep.lock().unwrap().extend(numbers(got));
            Reply::Slowly("200 OK")
        }
    });
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), COUNT, |_| 0);
    let (mut line, status) =
        line(dir.path(), &Target::Otlp(Box::new(settings(port))), COUNT, 250, Schema::Otel);
    let status = finish(&mut line, &status, COUNT, |_| ());
    assert_eq!((status.acked, status.dead, status.rejected), (COUNT, 0, 0));
    assert!(status.retried > 10);
    // What this receiver took it also acknowledged.
    assert_eq!(*taken.lock().unwrap(), (1..=COUNT).collect::<Vec<u64>>());
}

#[test]
fn what_is_rejected_is_set_aside_when_it_is_clear_which_and_told_otherwise() {
    let port = inbox::start(|got| match got.number {
        0 => partial(3, "too old"),
        1 => partial(10, "no such tenant"),
        _ => partial(0, ""),
    });
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 30, |_| 0);
    let (mut line, status) = line(dir.path(), &Target::Otlp(Box::new(settings(port))), 30, 10, Schema::Otel);
    let status = finish(&mut line, &status, 30, |_| ());
    assert_eq!((status.acked, status.dead, status.rejected), (17, 10, 3));
    assert_eq!(dead(dir.path()), (11..=20).collect::<Vec<u64>>());
    let letters = std::fs::read_to_string(Path::new(dir.path()).join("sinks/test/dead.jsonl")).unwrap();
    assert!(letters.contains("no such tenant") && letters.contains("purser.exec"), "{letters}");
}

#[test]
fn too_much_is_halved_and_a_refusal_is_told_with_its_reason() {
    // google.rpc.Status { code: 3, message: "no tenant" }
    let status_message = b"\x08\x03\x12\x09no tenant".to_vec();
    let open = Arc::new(Mutex::new(false));
    let (let_in, taken) = (Arc::clone(&open), Arc::new(Mutex::new(Vec::new())));
    let keep = Arc::clone(&taken);
    let port = inbox::start(move |got| {
        if !*let_in.lock().unwrap() {
            let kind = "content-type: application/x-protobuf\r\n";
            return Reply::Say("400 Bad Request", kind, status_message.clone());
        }
        let numbers = numbers(got);
        if numbers.len() > 100 || numbers.contains(&50) {
            return Reply::status("413 Content Too Large");
        }
        keep.lock().unwrap().extend(numbers);
        Reply::status("200 OK")
    });
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 400, |_| 0);
    let (mut line, status) =
        line(dir.path(), &Target::Otlp(Box::new(settings(port))), 400, 400, Schema::Otel);
    let (state, error) = trouble(&mut line, &status);
    assert!(state == State::Refused && error.ends_with("400: no tenant"), "{error}");
    *open.lock().unwrap() = true;
    let status = finish(&mut line, &status, 400, |_| ());
    assert_eq!((status.acked, status.dead), (399, 1));
    assert_eq!(dead(dir.path()), [50]);
    assert_eq!(*taken.lock().unwrap(), (1..=400).filter(|number| *number != 50).collect::<Vec<u64>>());
}

#[test]
fn a_page_of_another_server_is_no_acknowledgement() {
    let port = inbox::start(|got| match got.number {
        0 => Reply::Say("200 OK", "content-type: text/html\r\n", b"<html>welcome</html>".to_vec()),
        _ => Reply::Say("200 OK", "content-type: application/json\r\n", b"{}".to_vec()),
    });
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 5, |_| 0);
    let (mut line, status) = line(dir.path(), &Target::Otlp(Box::new(settings(port))), 5, 5, Schema::Otel);
    let (state, error) = trouble(&mut line, &status);
    assert!(state == State::Refused && error.contains("no protobuf"), "{error}");
    assert_eq!(finish(&mut line, &status, 5, |_| ()).acked, 5);
}
