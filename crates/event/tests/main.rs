// SPDX-License-Identifier: Apache-2.0
//! Events through the codec and into documents, against golden files that people read.
//! `UPDATE=1 cargo test -p event` rewrites the golden files.

mod schema;
mod schemas;

use event::codec::{decode, decode_container, encode, encode_container};
use event::document::{Context, render};
use event::{
    Agent, Body, Container, Event, Exec, ExecFailed, Exit, FileKey, Gap, GapCause, Line, Namespaces, Process,
    ProcessKey, Screen, Session, SessionAction, Tty, flags, line_flags,
};
use std::path::Path;

fn process() -> Process {
    Process {
        key: ProcessKey { pid: 4711, start_boot_ns: 99_000_000_000 },
        parent: ProcessKey { pid: 4000, start_boot_ns: 90_000_000_000 },
        ancestor: ProcessKey { pid: 3999, start_boot_ns: 89_000_000_000 },
        namespace_pid: 7,
        uid: 1000,
        gid: 1001,
        euid: 0,
        egid: 1001,
        login_uid: 1002,
        capabilities: 0xa804_25fb,
        session: 4000,
        tty: Some(Tty { major: 136, minor: 3 }),
    }
}

fn exec() -> Exec {
    Exec {
        process: process(),
        executable: b"/usr/bin/dash".to_vec(),
        filename: b"./run.sh".to_vec(),
        interpreter: b"/bin/sh".to_vec(),
        working_directory: b"/srv/\xff".to_vec(),
        args: vec![b"/bin/sh".to_vec(), b"".to_vec(), b"a\nb\x1b[31m".to_vec(), b"\xfe\x80z".to_vec()],
        args_count: 9,
        args_bytes: 1234,
        env: vec![b"LD_PRELOAD=/tmp/x.so".to_vec()],
        namespaces: Namespaces { mount: 1, pid: 2, network: 3, uts: 4, ipc: 5, user: 6, cgroup: 7 },
        flags: flags::MEMFD | flags::ARGS_CUT | flags::COMPAT,
        redacted: 2,
    }
}

fn event(body: Body) -> Event {
    Event {
        boot_id: *b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef",
        time_ns: 1_767_225_599_123_456_789,
        boot_ns: 100_000_000_000,
        container: "ab".repeat(32),
        body,
    }
}

fn session() -> Session {
    Session {
        action: SessionAction::End,
        id: "5e55ab1e".to_string(),
        uid: 1000,
        user: "ann".to_string(),
        from: "pts/3 ssh 192.0.2.7".to_string(),
        target: "web".to_string(),
        kits: vec!["gdb@sha256:0f1e".to_string(), "base".to_string()],
        capabilities: 0x80000,
        command: vec![b"gdb".to_vec(), b"-p".to_vec(), b"1".to_vec()],
        reason: "case 7".to_string(),
        detail: "the program ended".to_string(),
        code: 137,
        duration_ns: 61_000_000_000,
    }
}

fn screen() -> Screen {
    Screen {
        session: "5e55ab1e".to_string(),
        elapsed_ns: 1_500_000_000,
        bytes: b"# ls\r\n\x1b[1mbin\xff\x1b[0m".to_vec(),
        columns: 120,
        rows: 40,
        dropped: 4096,
        redacted: 1,
    }
}

/// One event of every kind, every field of it set.
fn every_kind() -> Vec<(&'static str, Event)> {
    let failed = ExecFailed {
        process: process(),
        filename: b"/no/such".to_vec(),
        args: vec![b"such".to_vec()],
        args_count: 1,
        errno: 2,
        redacted: 1,
    };
    let exit = Exit {
        process: process(),
        code: 0,
        signal: 11,
        core_dumped: true,
        duration_ns: 1_000_000,
        cpu_ns: 500_000,
        peak_rss_bytes: 4096,
        executable: b"/bin/ls".to_vec(),
    };
    let gap = Gap {
        cause: GapCause::RingFull,
        count: 3,
        cpu: 1,
        first: 100,
        last: 102,
        detail: "exec".to_string(),
    };
    let agent = Agent {
        action: "agent_start".to_string(),
        message: "recording containers".to_string(),
        version: "0.1.0".to_string(),
    };
    let line = Line {
        source: "app".to_string(),
        path: b"/var/log/app\xff.log".to_vec(),
        file: FileKey { device: 66306, inode: 1_048_579, fingerprint: 0x00ab_cdef_0123_4567 },
        offset: 4096,
        bytes: 90,
        message: b"no\xfe such order".to_vec(),
        json: r#"{"level":"warn","order":{"id":7}}"#.to_string(),
        error: "key log is no text".to_string(),
        flags: line_flags::CUT | line_flags::MULTILINE | line_flags::STDERR,
        written_ns: 1_769_842_799_987_654_321,
        redacted: 2,
    };
    let host = Event { container: String::new(), ..event(Body::Agent(agent)) };
    vec![
        ("exec", event(Body::Exec(Box::new(exec())))),
        ("process_running", event(Body::Running(Box::new(exec())))),
        ("exec_failed", event(Body::ExecFailed(Box::new(failed)))),
        ("exit", event(Body::Exit(exit))),
        ("gap", Event { container: "web.1".to_string(), ..event(Body::Gap(gap)) }),
        ("agent_start", host),
        ("line", event(Body::Line(Box::new(line)))),
        ("session_end", event(Body::Session(Box::new(session())))),
        ("tty", event(Body::Tty(Box::new(screen())))),
    ]
}

fn container() -> Container {
    Container {
        id: "ab".repeat(32),
        runtime: "containerd".to_string(),
        name: "web".to_string(),
        image: "registry.example/web:1".to_string(),
        labels: vec![("tier".to_string(), "front".to_string()), ("empty".to_string(), String::new())],
        pod_name: "web-7c9".to_string(),
        pod_namespace: "prod".to_string(),
        pod_uid: "0f1e".to_string(),
    }
}

#[test]
fn every_event_comes_back_from_the_codec_as_it_was() {
    for (name, event) in every_kind() {
        let mut bytes = Vec::new();
        encode(&event, &mut bytes);
        assert_eq!(decode(&bytes), Ok(event), "{name}");
    }
    assert_eq!(decode_container(&encode_container(&container())), Ok(container()));
}

#[test]
fn events_of_nothing_but_zeros_come_back_too() {
    for body in [
        Body::Exec(Box::default()),
        Body::Exit(Exit::default()),
        Body::ExecFailed(Box::default()),
        Body::Gap(Gap::default()),
        Body::Agent(Agent::default()),
        Body::Line(Box::default()),
        Body::Session(Box::default()),
        Body::Tty(Box::default()),
    ] {
        let event = Event { boot_id: [0; 16], time_ns: 0, boot_ns: 0, container: String::new(), body };
        let mut bytes = Vec::new();
        encode(&event, &mut bytes);
        assert_eq!(decode(&bytes), Ok(event));
    }
}

#[test]
fn no_cut_or_changed_byte_makes_the_decoder_panic() {
    for (_, event) in every_kind() {
        let mut bytes = Vec::new();
        encode(&event, &mut bytes);
        for place in 0..bytes.len() {
            drop(decode(&bytes[..place]));
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[place] ^= 1 << bit;
                if let Ok(event) = decode(&changed) {
                    render(&Context::default(), 1, &event, None);
                }
            }
        }
    }
}

#[test]
fn unknown_kind_is_named() {
    assert_eq!(
        decode(&[]).unwrap_err().to_string(),
        "event kind 18446744073709551615 is unknown to this version of purser"
    );
    assert_eq!(decode(&[2, 100]), Err(event::codec::CodecError::Kind(99)));
}

/// `sh -c 'ls /etc'` in a container of Docker's: what is written millions of times.
#[test]
fn a_short_program_has_a_short_document() {
    let process = Process {
        key: ProcessKey { pid: 3366, start_boot_ns: 6_715_000_000_000 },
        parent: ProcessKey { pid: 3280, start_boot_ns: 6_710_000_000_000 },
        ancestor: ProcessKey { pid: 3280, start_boot_ns: 6_710_000_000_000 },
        namespace_pid: 7,
        login_uid: u32::MAX,
        capabilities: 0xa804_25fb,
        session: 3280,
        ..Process::default()
    };
    let exec = Exec {
        process: process.clone(),
        executable: b"/bin/ls".to_vec(),
        filename: b"/bin/ls".to_vec(),
        working_directory: b"/".to_vec(),
        args: vec![b"ls".to_vec(), b"/etc".to_vec()],
        args_count: 2,
        namespaces: Namespaces {
            mount: 0xf000_0101,
            pid: 0xf000_0104,
            network: 0xf000_0106,
            uts: 0xf000_0102,
            ipc: 0xf000_0103,
            user: 0xefff_fffd,
            cgroup: 0xf000_0105,
        },
        ..Exec::default()
    };
    let exit = Exit {
        process,
        duration_ns: 812_345,
        cpu_ns: 700_123,
        peak_rss_bytes: 1_105_920,
        executable: b"/bin/ls".to_vec(),
        ..Exit::default()
    };
    let known = Container {
        name: "demo".to_string(),
        image: "busybox:1".to_string(),
        runtime: "docker".to_string(),
        ..Container::default()
    };
    let context = Context { store_id: [0xab; 16], host_name: "host-1".to_string() };
    let bytes = |body| render(&context, 1_000_000, &event(body), Some(&known)).len();
    let (exec, exit) = (bytes(Body::Exec(Box::new(exec))), bytes(Body::Exit(exit)));
    assert!(exec <= 870 && exit <= 740, "{exec} and {exit} bytes");
}

#[test]
fn documents_are_as_the_golden_files_show() {
    let context = Context { store_id: [0xab; 16], host_name: "host-1".to_string() };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for (name, event) in every_kind() {
        let known = (!event.container.is_empty()).then(container);
        let line = render(&context, 42, &event, known.as_ref());
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        let pretty = serde_json::to_string_pretty(&value).unwrap() + "\n";
        let file = folder.join(format!("{name}.json"));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&file, &pretty).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), pretty, "{}", file.display());
    }
}
