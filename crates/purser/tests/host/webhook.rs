// SPDX-License-Identifier: Apache-2.0
//! Real events of real containers to receivers over HTTP, in each schema.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::agent::Agent;
use crate::kafka::sinks::{caught_up, lacks, sink, stored, wait_for_sinks};
use crate::lab::{Lab, unique};
use crate::restart::execute;

const SCOPE: &str = "[scope]\ninclude = [\"container\"]\nnames = [\"purser-test-webhook-*\"]\n";
const SENT_LIMIT: Duration = Duration::from_secs(120);

/// First line and body of each request.
type Requests = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// Takes what comes below `/in` and refuses the rest.
fn receiver() -> Result<(u16, Requests)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let requests = Requests::default();
    let kept = Arc::clone(&requests);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let kept = Arc::clone(&kept);
            // A connection that the agent closes ends its thread.
            thread::spawn(move || serve(stream, &kept).unwrap_or_default());
        }
    });
    Ok((port, requests))
}

fn serve(mut stream: TcpStream, kept: &Requests) -> Result<()> {
    let (mut bytes, mut piece) = (Vec::new(), vec![0; 65_536]);
    loop {
        let count = stream.read(&mut piece)?;
        ensure!(count > 0, "closed");
        bytes.extend_from_slice(&piece[..count]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.context("a request without a length")?.parse()?;
        if bytes.len() < end + 4 + length {
            continue;
        }
        let first = head.lines().next().unwrap_or_default().to_string();
        let taken = first.starts_with("POST /in");
        let status = if taken { "200 OK" } else { "401 Unauthorized" };
        if taken {
            kept.lock().unwrap_or_else(PoisonError::into_inner).push((first, bytes[end + 4..].to_vec()));
        }
        bytes.clear();
        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")?;
    }
}

#[test]
fn events_reach_receivers_over_http_in_each_schema() -> Result<()> {
    let lab = Lab::enter()?;
    let (port, requests) = receiver()?;
    let section = |name: &str, keys: &str, path: &str| {
        format!("[sink.{name}]\n{keys}\ngzip = false\nurls = [\"http://127.0.0.1:{port}{path}\"]\n")
    };
    let hook = "type = \"webhook\"";
    let config = [
        SCOPE.to_string(),
        section("ecs", hook, "/in/ecs"),
        section("ocsf", &format!("{hook}\nschema = \"ocsf\""), "/in/ocsf"),
        section("otel", "type = \"otlp\"", "/in/otel"),
        section("shut", hook, "/shut"),
    ];
    let mut agent = Agent::start(&config.concat())?;
    execute(&lab, &unique("webhook"), 100)?;
    let sinks = wait_for_sinks(&agent, SENT_LIMIT, |sinks| {
        ["ecs", "ocsf", "otel"].iter().all(|name| caught_up(sinks, name))
            && sink(sinks, "shut")["state"] == "refused"
    })?;
    ensure!(sink(&sinks, "otel")["type"] == "otlp", "{sinks:?}");
    let told = sink(&sinks, "shut")["error"].as_str().unwrap_or_default();
    ensure!(told.contains("401; the credentials are wrong or missing"), "{told}");
    // No more events come, so the store stands still.
    agent.stop()?;
    let stored = stored(&agent)?;
    ensure!(stored.len() > 200, "only {} events", stored.len());
    let requests = requests.lock().unwrap_or_else(PoisonError::into_inner);
    let bodies = |path: &str| -> Vec<Vec<u8>> {
        let first = format!("POST {path} HTTP/1.1");
        requests.iter().filter(|(line, _)| *line == first).map(|(_, body)| body.clone()).collect()
    };
    for (path, pointer) in [("/in/ecs", "/event/sequence"), ("/in/ocsf", "/metadata/sequence")] {
        let text = bodies(path).concat();
        let documents: Result<Vec<Value>, _> =
            serde_json::Deserializer::from_slice(&text).into_iter::<Value>().collect();
        let numbers = documents?.into_iter().filter_map(|one| one.pointer(pointer)?.as_u64());
        lacks(path, &stored, numbers)?;
    }
    let records = bodies("/in/otel/v1/logs").concat();
    let count = |words: &[u8]| records.windows(words.len()).filter(|found| *found == words).count();
    ensure!(count(b"log.record.uid") == stored.len(), "{} records", count(b"log.record.uid"));
    ensure!(count(b"purser.exec") >= 100 && count(b"container.image.name") >= 1);
    Ok(())
}
