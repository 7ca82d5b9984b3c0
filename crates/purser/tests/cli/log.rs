// SPDX-License-Identifier: Apache-2.0
//! `purser log` on a store: tables, filters, formats, following.

use crate::program::{bad, good, on, purser};
use crate::record::{DEMO, Record};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

/// Printed lines without their times.
fn lines(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| line.get(25..).unwrap_or(line).split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

#[test]
fn the_table_joins_an_exec_and_its_end() {
    let text = good(&on(&Record::sample(), &["log"]));
    assert_eq!(
        text,
        "\
2026-01-31 07:02:11.000  demo-1   sh -c 'ls /etc | wc -l'           uid 0   ok 3.1ms
2026-01-31 07:02:11.002  demo-1   └ ls /etc                         uid 0   ok 0.8ms
2026-01-31 07:02:11.003  demo-1   └ wc -l                           uid 0   exit 3 0.9ms
2026-01-31 07:02:11.005  demo-1   └ /bin/gone --now                 uid 0   ENOENT
2026-01-31 07:02:11.007  web-1    nginx $'\\x1b[31mred\\n'            uid 1000  end not seen
2026-01-31 07:02:11.008  -        GAP 12 events lost: ring full on cpu 1
"
    );
}

#[test]
fn a_limit_holds_while_events_arrive() {
    let mut record = Record::sample();
    let dir = record.dir();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut ms = 100;
            while !over.load(Ordering::Relaxed) {
                record.exec(ms, DEMO, 1_000, 1, &[b"ls"]);
                record.commit();
                ms += 1;
            }
        });
        for format in ["table", "json"] {
            for _ in 0..10 {
                let mut log = purser();
                log.args(["log", "--limit", "3", "-o", format, "--store"]).arg(&dir);
                let text = good(&log.output().unwrap());
                assert_eq!(text.lines().count(), 3, "{format}:\n{text}");
            }
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn filters_narrow_the_table_and_keep_the_ends() {
    let record = Record::sample();
    let log = |arguments: &[&str]| lines(&good(&on(&record, &[&["log"], arguments].concat())));
    assert_eq!(log(&["--grep", "wc -l", "--kind", "exec"]).len(), 2);
    assert_eq!(
        log(&["--grep", "s /et"]),
        ["demo-1 sh -c 'ls /etc | wc -l' uid 0 ok 3.1ms", "demo-1 └ ls /etc uid 0 ok 0.8ms"]
    );
    assert_eq!(log(&["--grep", "/bin/wc"]), ["demo-1 wc -l uid 0 exit 3 0.9ms"]);
    assert_eq!(log(&["--exe", "wc"]), ["demo-1 wc -l uid 0 exit 3 0.9ms"]);
    assert_eq!(log(&["--exe", "/bin/wc"]), ["demo-1 wc -l uid 0 exit 3 0.9ms"]);
    assert_eq!(log(&["--exe", "/bin/gone"]), ["demo-1 /bin/gone --now uid 0 ENOENT"]);
    assert_eq!(log(&["--user", "1000"]), ["web-1 nginx $'\\x1b[31mred\\n' uid 1000 end not seen"]);
    assert_eq!(log(&["--pid", "11"]), ["demo-1 ls /etc uid 0 ok 0.8ms"]);
    assert_eq!(log(&["--kind", "gap"]).len(), 1);
    assert_eq!(log(&["--kind", "exit"]).len(), 3);
    assert_eq!(log(&["--kind", "exec,exec_failed"]).len(), 5);
    assert_eq!(log(&["--limit", "2"]).len(), 2);
    assert_eq!(log(&["--limit", "2", "--grep", "ls"]).len(), 2);
    assert_eq!(log(&["--since", "2026-01-31 07:02:11.005"]).len(), 3);
    // The end lies behind --until and is told all the same.
    assert_eq!(
        log(&["--until", "2026-01-31T07:02:11.001Z"]),
        ["demo-1 sh -c 'ls /etc | wc -l' uid 0 ok 3.1ms"]
    );
    assert!(log(&["--since", "now"]).is_empty());
}

#[test]
fn containers_are_found_by_name_glob_and_id() {
    let record = Record::sample();
    let log = |container: &str| lines(&good(&on(&record, &["log", "--container", container]))).len();
    assert_eq!(log("demo-1"), 4);
    assert_eq!(log("web-*"), 1);
    assert_eq!(log("*-1"), 5);
    assert_eq!(log(DEMO), 4);
    assert_eq!(log("c0ffee1"), 1);
    let said = bad(&on(&record, &["log", "--container", "c0ffee"]), 2);
    assert!(
        said.contains("is the start of 2 container ids") && said.contains("demo-1") && said.contains("web-1"),
        "{said}"
    );
    let said = bad(&on(&record, &["log", "--container", "demo-2"]), 2);
    assert!(said.contains("did you mean \"demo-1\"?"), "{said}");
}

#[test]
fn json_is_one_document_an_event_and_raw_is_bytes() {
    let record = Record::sample();
    let text = good(&on(&record, &["log", "-o", "json"]));
    let documents: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(documents.len(), 9);
    assert_eq!(documents[0]["process"]["args"][2], "ls /etc | wc -l");
    assert_eq!(documents[0]["container"]["name"], "demo-1");
    assert_eq!(documents[8]["event"]["action"], "gap");
    let output = on(&record, &["log", "-o", "raw"]);
    assert_eq!(output.stdout, b"sh -c ls /etc | wc -l\nls /etc\nwc -l\ngone --now\nnginx \x1b[31mred\n\n");
}

#[test]
fn an_end_far_away_has_a_line_of_its_own() {
    let mut record = Record::new();
    record.exec(0, DEMO, 9, 1, &[b"server"]);
    for pid in 100..6_100 {
        record.exec(1, DEMO, pid, 9, &[b"quick"]);
        record.exit(1, DEMO, pid, 0, 1_000_000);
    }
    record.exit(2_000, DEMO, 9, 0, 2_000_000_000);
    record.commit();
    let found = lines(&good(&on(&record, &["log"])));
    assert_eq!(found.len(), 6_002);
    assert_eq!(found[0], "demo-1 server uid 0");
    assert!(found[1..6_001].iter().all(|line| line == "demo-1 └ quick uid 0 ok 1.0ms"));
    assert_eq!(found[6_001], "demo-1 … server ended ok after 2.0s");
    // Alone it is no burden to hold.
    assert_eq!(lines(&good(&on(&record, &["log", "--grep", "serv"]))), ["demo-1 server uid 0 ok 2.0s"]);
}

#[test]
fn following_shows_what_comes() {
    let mut record = Record::sample();
    let mut child = purser()
        .args(["log", "--follow", "--since", "2026-01-31 07:02:11.007", "--kind", "exec", "--store"])
        .arg(record.dir())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = || {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        lines(&line).concat()
    };
    // The past comes first; only then is the rest the present.
    assert_eq!(line(), "web-1 nginx $'\\x1b[31mred\\n' uid 1000");
    record.exec(20, DEMO, 30, 1, &[b"true"]);
    record.exit(21, DEMO, 30, 0, 1_000_000);
    record.commit();
    assert_eq!(line(), "demo-1 true uid 0 ok 1.0ms");
    record.exec(22, DEMO, 31, 1, &[b"sleep", b"2"]);
    record.commit();
    assert_eq!(line(), "demo-1 sleep 2 uid 0");
    record.exit(2_022, DEMO, 31, 0, 2_000_000_000);
    record.commit();
    assert_eq!(line(), "demo-1 … sleep 2 ended ok after 2.0s");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut record = Record::new();
    for pid in 2..20_000 {
        record.exec(1, DEMO, pid, 1, &[b"echo", b"a rather long argument to fill the pipe"]);
    }
    record.commit();
    for format in ["table", "json", "raw"] {
        let mut child = purser()
            .args(["log", "-o", format, "--store"])
            .arg(record.dir())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = [0u8; 10];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{format}");
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
