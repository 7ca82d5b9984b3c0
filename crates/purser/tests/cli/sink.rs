// SPDX-License-Identifier: Apache-2.0
//! `purser sink test` for sinks that speak HTTP, against a receiver of a few lines.

use crate::program::{bad, good, purser};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;
use std::sync::mpsc::{Receiver, channel};

/// A receiver that takes each request with `status` and gives its head.
fn receiver(status: &'static str) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, heads) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut bytes, mut piece) = (stream.unwrap(), Vec::new(), [0; 4096]);
            loop {
                let count = stream.read(&mut piece).unwrap();
                bytes.extend_from_slice(&piece[..count]);
                let text = String::from_utf8_lossy(&bytes);
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if count == 0 || body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                    sender.send(head.to_string()).unwrap_or_default();
                    break;
                }
            }
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").unwrap();
        }
    });
    (port, heads)
}

fn sink_test(dir: &Path, keys: &str) -> Output {
    let path = dir.join("purser.toml");
    fs::write(&path, format!("[sink.s]\n{keys}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let mut command = purser();
    command
        .args(["sink", "test", "s", "-o", "json", "--config"])
        .arg(path)
        .arg("--store")
        .arg(dir.join("none"));
    command.output().unwrap()
}

/// Name of each step, and whether it went well.
fn steps(output: &Output) -> Vec<(String, bool)> {
    let text = String::from_utf8_lossy(&output.stdout);
    let steps = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    steps.map(|step| (step["step"].as_str().unwrap().to_string(), step["ok"].as_bool().unwrap())).collect()
}

#[test]
fn a_test_goes_step_by_step_for_each_form() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, "opensesame\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let secret = secret.display();
    let (good_port, heads) = receiver("200 OK");
    let (bad_port, _) = receiver("404 Not Found");
    for (keys, first, header) in [
        (
            format!("type = \"webhook\"\nhmac = {{ secret_file = \"{secret}\" }}"),
            "POST / HTTP/1.1",
            "x-purser-signature: sha256=",
        ),
        (
            format!("type = \"webhook\"\npreset = \"loki\"\nauth = {{ token_file = \"{secret}\" }}"),
            "POST /loki/api/v1/push HTTP/1.1",
            "authorization: Bearer opensesame",
        ),
        (
            "type = \"webhook\"\npreset = \"clickhouse\"\nschema = \"ocsf\"".to_string(),
            "POST /?query=INSERT%20INTO%20%60default%60.%60purser%60%20FORMAT%20JSONEachRow&",
            "content-type: application/x-ndjson",
        ),
        (
            format!("type = \"otlp\"\nheader_files = {{ x-api-key = \"{secret}\" }}"),
            "POST /v1/logs HTTP/1.1",
            "x-api-key: opensesame",
        ),
    ] {
        let at = |port: u16| format!("{keys}\nurls = [\"http://127.0.0.1:{port}\"]");
        let output = sink_test(dir.path(), &at(good_port));
        assert!(good(&output).contains("taken after"), "{keys}");
        assert!(
            steps(&output).len() >= 2 && steps(&output).iter().all(|(_, ok)| *ok),
            "{:?}",
            steps(&output)
        );
        let head = heads.recv().unwrap();
        assert!(head.starts_with(first) && head.contains(header), "{head}");
        let output = sink_test(dir.path(), &at(bad_port));
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(steps(&output).last().unwrap(), &("send a canary".to_string(), false));
        assert!(String::from_utf8_lossy(&output.stdout).contains("404"), "{output:?}");
    }
}

#[test]
fn a_header_from_a_file_that_others_can_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, "opensesame").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let keys = format!(
        "type = \"otlp\"\nurls = [\"http://127.0.0.1:1\"]\nheader_files = {{ x-api-key = \"{}\" }}",
        secret.display()
    );
    let said = bad(&sink_test(dir.path(), &keys), 1);
    assert!(said.contains("mode 0644 lets others read it") && !said.contains("opensesame"), "{said}");
}
