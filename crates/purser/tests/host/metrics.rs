// SPDX-License-Identifier: Apache-2.0
//! What monitoring sees: numbers that follow what runs, and an answer although others dawdle.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::agent::{Agent, OWN_CONTAINERS};
use crate::lab::{Lab, run, unique};

const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(100);

#[test]
fn numbers_follow_what_runs() -> Result<()> {
    let lab = Lab::enter()?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut agent = Agent::start(&format!("{OWN_CONTAINERS}[metrics]\nlisten = \"{address}\"\n"))?;
    // Half a request each, and more of them than are served at a time: all are let go in the end.
    let mut silent = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"GET /metrics HT")?;
        silent.push(stream);
    }
    let (code, health) = patient(address, "/healthz")?;
    ensure!(code == 200 && health.contains("\"ok\""), "{code}: {health}");
    let before = value(address, "purser_captured_events_total")?;
    run(&mut lab.docker(
        &unique("purser-test-metrics"),
        &[],
        &["sh", "-c", "/bin/ls /etc >/dev/null; true"],
    ))?;
    let since = Instant::now();
    // sh and its ls, and the ends of both. By its path: the shell runs its own applets without an exec.
    loop {
        let counted = value(address, "purser_captured_events_total")? - before;
        if counted >= 4.0 {
            break;
        }
        ensure!(since.elapsed() < PATIENCE, "{counted} events were counted, asked at least 4");
        sleep(PAUSE);
    }
    ensure!(value(address, "purser_lost_events_total{cause=\"ring_full\"}")? == 0.0);
    ensure!(value(address, "process_resident_memory_bytes")? > 1e6);
    ensure!(get(address, "/etc/passwd")?.0 == 404);
    agent.stop()?;
    ensure!(get(address, "/healthz").is_err(), "somebody answers for an agent that is gone");
    Ok(())
}

/// The same as [`get`] while the silent ones are still in the way.
fn patient(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let since = Instant::now();
    loop {
        match get(address, path) {
            Ok(answer) => return Ok(answer),
            Err(error) if since.elapsed() > PATIENCE => return Err(error.context("nobody answers")),
            Err(_) => sleep(PAUSE),
        }
    }
}

fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: purser\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("no answer: {answer:?}"))?;
    let code = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((code, body.to_string()))
}

fn value(address: SocketAddr, name: &str) -> Result<f64> {
    let (_, page) = patient(address, "/metrics")?;
    for line in page.lines() {
        if let Some((found, value)) = line.rsplit_once(' ')
            && found == name
        {
            return Ok(value.parse()?);
        }
    }
    bail!("{name} is not in\n{page}")
}
