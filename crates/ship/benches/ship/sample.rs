// SPDX-License-Identifier: Apache-2.0
//! A store with what a host of ten containers records: executions and their exits in turn.

use event::{Body, Container, Event, Exec, Exit, Namespaces, Process, ProcessKey, codec};
use std::path::Path;
use store::{Keys, Options, Writer};

const START_NS: u64 = 1_760_000_000_000_000_000;
const STEP_NS: u64 = 500_000;
const COMMIT: u64 = 256;
const TOOLS: [&str; 8] = [
    "/usr/bin/bash",
    "/usr/bin/grep",
    "/usr/bin/sed",
    "/usr/bin/curl",
    "/usr/bin/cat",
    "/usr/sbin/nginx",
    "/usr/local/bin/python3",
    "/usr/bin/git",
];

fn container_id(number: u64) -> String {
    format!("{:016x}", (number % 10 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)).repeat(4)
}

fn process(number: u64) -> Process {
    let key = |of: u64| ProcessKey { pid: (1000 + of % 30_000) as u32, start_boot_ns: of * STEP_NS };
    let (own, parent) = (key(number / 2 + 100), key(number % 10));
    Process {
        key: own,
        parent,
        ancestor: parent,
        namespace_pid: own.pid % 700,
        uid: 1000,
        gid: 1000,
        euid: 1000,
        egid: 1000,
        login_uid: u32::MAX,
        session: parent.pid,
        ..Process::default()
    }
}

/// The `number`th event: an exec when it is odd, else the exit of the one before.
pub(crate) fn event(number: u64) -> Event {
    let pair = number.div_ceil(2);
    let tool = TOOLS[(pair.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 61) as usize];
    let executable = tool.as_bytes().to_vec();
    let process = process(pair * 2);
    let body = if number.is_multiple_of(2) {
        let (duration_ns, cpu_ns) = (2_000_000 + pair % 9973, 900_000 + pair % 997);
        Body::Exit(Exit {
            process,
            duration_ns,
            cpu_ns,
            peak_rss_bytes: 3 << 20,
            executable,
            ..Exit::default()
        })
    } else {
        let name = tool.rsplit('/').next().unwrap_or_default();
        let path = format!("/var/lib/data/{:05}", pair.wrapping_mul(7919) % 20_000);
        let args = [name, "--config=/etc/service/main.conf", &path, &format!("job-{pair}")];
        let args: Vec<Vec<u8>> = args.iter().map(|arg| arg.as_bytes().to_vec()).collect();
        let first = 4_026_532_000 + (pair % 10) as u32 * 5;
        let namespaces = Namespaces {
            mount: first,
            pid: first + 1,
            network: first + 2,
            uts: first + 3,
            ipc: first + 4,
            ..Namespaces::default()
        };
        Body::Exec(Box::new(Exec {
            process,
            filename: executable.clone(),
            executable,
            working_directory: b"/srv/application/current".to_vec(),
            args_count: 4,
            args_bytes: args.iter().map(|arg| arg.len() as u32 + 1).sum(),
            args,
            namespaces,
            ..Exec::default()
        }))
    };
    let boot_ns = number * STEP_NS;
    Event { boot_id: [3; 16], time_ns: START_NS + boot_ns, boot_ns, container: container_id(pair), body }
}

fn container(number: u64) -> Container {
    let label = |name: &str, value: &str| (name.to_string(), value.to_string());
    Container {
        id: container_id(number),
        name: format!("shop-web-{number}"),
        runtime: "docker".to_string(),
        image: "registry.example/shop/web:4.2.1".to_string(),
        labels: vec![label("app", "shop"), label("tier", "front")],
        ..Container::default()
    }
}

/// Fills a store in `dir` with `count` events; its id.
pub(crate) fn fill(dir: &Path, count: u64) -> [u8; 16] {
    let (mut writer, _) = Writer::open(dir, [3; 16], 1, Options::default()).unwrap();
    for number in 0..10 {
        writer.attach(container_id(number).as_bytes(), &codec::encode_container(&container(number)));
    }
    let mut bytes = Vec::new();
    for number in 1..=count {
        let event = event(number);
        bytes.clear();
        codec::encode(&event, &mut bytes);
        let executable = TOOLS[0].as_bytes();
        let subject = event.container.as_bytes();
        let keys = Keys {
            time_ns: event.time_ns,
            kind: event.kind() as u8,
            subject,
            user: 1000,
            executable,
            text: &[],
        };
        writer.append(&bytes, &keys).unwrap();
        if number % COMMIT == 0 || number == count {
            writer.commit(b"").unwrap();
        }
    }
    let id = writer.store_id();
    writer.close(2).unwrap();
    id
}
