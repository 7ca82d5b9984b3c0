// SPDX-License-Identifier: Apache-2.0
//! Prints the time redacting takes for command lines and lines of logs as they come, with and without
//! a secret.

#![allow(clippy::print_stdout, reason = "the figures are what this program is for")]

use redact::{Redactor, Rules};
use std::hint::black_box;
use std::time::Instant;

const LINES: &[(&str, &[&str])] = &[
    ("ls", &["ls", "-la", "/etc"]),
    ("cp", &["/bin/cp", "-p", "/etc/hosts", "/tmp/hosts"]),
    ("sleep", &["sleep", "5"]),
    ("shell pipe", &["sh", "-c", "ls /etc | wc -l"]),
    ("git", &["git", "rev-parse", "--verify", "--quiet", "HEAD"]),
    ("nginx", &["nginx", "-g", "daemon off;"]),
    ("docker run", &["docker", "run", "-d", "-p", "8080:80", "--name", "web", "nginx:1.27"]),
    ("java", &["java", "-Xmx1g", "-cp", "/app/lib/a.jar:/app/lib/b.jar", "com.example.Main", "--port=8080"]),
    ("curl, nothing secret", &["curl", "-fsSL", "https://example.com/a/b.tar.gz", "-o", "/tmp/b.tar.gz"]),
    (
        "script with names, nothing secret",
        &["sh", "-c", "mysql -h $DB -p\"$DB_PASSWORD\" -e 'select 1' || exit 1"],
    ),
    ("mysql with a password", &["mysql", "-uroot", "-psecret1", "shop"]),
    ("curl with a bearer", &["curl", "-H", "Authorization: Bearer abcdef0123456789", "https://example.com"]),
];

const LOGS: &[(&str, &str)] = &[
    (
        "log: access",
        "10.0.0.1 - - [31/Jan/2026:07:00:00 +0000] \"GET /index.html HTTP/1.1\" 200 512 \"-\" \"curl/8.0\"",
    ),
    (
        "log: logfmt",
        "time=2026-01-31T07:00:00Z level=info msg=\"request served\" status=200 took=3ms path=/v1/items",
    ),
    (
        "log: JSON",
        "{\"level\":\"info\",\"msg\":\"served\",\"token_ttl\":300,\"bytes\":17,\"path\":\"/v1/items\"}",
    ),
    ("log: logfmt with a password", "time=2026-01-31T07:00:00Z level=info user=app password=hunter2 host=db"),
    ("log: a bearer", "-> GET /v1/me Authorization: Bearer abcdef0123456789 200 OK in 3 ms"),
];

fn main() {
    let started = Instant::now();
    let Ok(redactor) = Redactor::new(&Rules::default()) else { return };
    println!("{:<36} {:>9} us", "building the rules", started.elapsed().as_micros());
    for (name, line) in LINES {
        let args: Vec<Vec<u8>> = line.iter().map(|word| word.as_bytes().to_vec()).collect();
        println!("{name:<36} {:>9.0} ns", nanos(&redactor, &args));
    }
    for (name, line) in LOGS {
        println!("{name:<36} {:>9.0} ns", line_nanos(&redactor, line.as_bytes()));
    }
    let large = vec![b"app".to_vec(), b"some words of text, ".repeat((2 << 20) / 20)];
    let started = Instant::now();
    black_box(redactor.args(b"", &mut large.clone()));
    println!("{:<36} {:>9} us", "one argument of 2 MiB", started.elapsed().as_micros());
    let mut many = vec![b"/usr/bin/some-file".to_vec(); 100_000];
    let started = Instant::now();
    black_box(redactor.args(b"", &mut many));
    println!("{:<36} {:>9} us", "100,000 arguments", started.elapsed().as_micros());
}

/// The best of several rounds, with the copy of the line.
fn line_nanos(redactor: &Redactor, line: &[u8]) -> f64 {
    const ROUNDS: usize = 7;
    const RUNS: u32 = 20_000;
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        for _ in 0..RUNS {
            black_box(redactor.line(black_box(&mut line.to_vec())));
        }
        best = best.min(started.elapsed().as_secs_f64() * 1e9 / f64::from(RUNS));
    }
    best
}

/// The best of several rounds. Lines with a secret are copied each time, as they change.
fn nanos(redactor: &Redactor, args: &[Vec<u8>]) -> f64 {
    const ROUNDS: usize = 7;
    const RUNS: u32 = 20_000;
    let mut scratch = args.to_vec();
    let changes = redactor.args(b"", &mut scratch) > 0;
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let mut scratch = args.to_vec();
        let started = Instant::now();
        for _ in 0..RUNS {
            if changes {
                scratch = args.to_vec();
            }
            black_box(redactor.args(black_box(b"/usr/bin/x"), black_box(&mut scratch)));
        }
        best = best.min(started.elapsed().as_secs_f64() * 1e9 / f64::from(RUNS));
    }
    best
}
