// SPDX-License-Identifier: Apache-2.0
//! What docker-debug asks of dockerd, in its order: look at the target and the image, make a container in the target's
//! namespaces, start it, run a program in it, and take it away again.

use super::lab::Lab;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

const SOCKET: &str = "/var/run/docker.sock";
const IMAGE: &str = "purser-bench:debug";

/// The clock of a program that a helper's container runs.
pub(crate) fn clock(lab: &Lab) -> Result<u64> {
    let target = &ask("GET", &format!("/containers/{}/json", lab.container), &Value::Null)?;
    let merged = target["GraphDriver"]["Data"]["MergedDir"].as_str().context("no merged directory")?;
    ask("GET", &format!("/images/{IMAGE}/json"), &Value::Null)?;
    let of = format!("container:{}", target["Id"].as_str().context("no id")?);
    let made = ask(
        "POST",
        "/containers/create",
        &json!({
            "Image": IMAGE,
            "Entrypoint": ["/bin/sleep", "1000000"],
            "HostConfig": {
                "NetworkMode": of, "PidMode": of, "UTSMode": "", "IpcMode": "private",
                "Binds": [format!("{merged}:/mnt/container")],
            },
        }),
    )?;
    let id = made["Id"].as_str().context("no container was made")?;
    let ran = run_in(id);
    ask("DELETE", &format!("/containers/{id}?force=true"), &Value::Null)?;
    ran
}

fn run_in(id: &str) -> Result<u64> {
    ask("POST", &format!("/containers/{id}/start"), &Value::Null)?;
    let exec = json!({ "AttachStdout": true, "AttachStderr": true, "Tty": true, "Cmd": ["/bin/clock"] });
    let exec = ask("POST", &format!("/containers/{id}/exec"), &exec)?;
    let exec = exec["Id"].as_str().context("no exec was made")?;
    let answer = say("POST", &format!("/exec/{exec}/start"), &json!({ "Detach": false, "Tty": true }))?;
    let digits: String =
        answer.chars().rev().skip_while(|c| c.is_whitespace()).take_while(char::is_ascii_digit).collect();
    digits.chars().rev().collect::<String>().parse().with_context(|| format!("no clock in {answer:?}"))
}

fn ask(method: &str, path: &str, body: &Value) -> Result<Value> {
    let answer = say(method, path, body)?;
    let start = answer.find('{').or_else(|| answer.find('['));
    Ok(start.and_then(|start| serde_json::from_str(&answer[start..]).ok()).unwrap_or_default())
}

/// The body of the answer, on a connection of its own.
fn say(method: &str, path: &str, body: &Value) -> Result<String> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut stream = UnixStream::connect(SOCKET).context("reaching dockerd")?;
    write!(
        stream,
        "{method} /v1.41{path} HTTP/1.0\r\nHost: docker\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    ensure!(status.starts_with('2'), "{method} {path}: {head}\n{body}");
    Ok(body.to_owned())
}
