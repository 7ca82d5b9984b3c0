// SPDX-License-Identifier: Apache-2.0
//! From the store to a real OpenSearch by `_bulk`, and beside it a load that does nothing but send
//! requests that are ready: what OpenSearch takes at most.

use crate::broker::{Mine, free_port};
use crate::kafka::{Took, tell};
use crate::usage::{cpu_secs_of, load_average};
use crate::{documents, sample, way};
use ship::{ElasticSettings, HttpAuth, HttpSettings, Limits, SetUp, Target, TlsSettings, Url};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const JARS: &str = "/var/cache/purser-tests/opensearch-2.19.1.0";
const START_LIMIT: Duration = Duration::from_secs(120);
/// Documents a request of the plain load holds.
const PART: usize = 5_000;
const ROUNDS: u32 = 3;

/// A node; its files go with it.
#[derive(Debug)]
struct Node {
    process: Mine,
    port: u16,
    _dir: TempDir,
}

impl Node {
    fn start() -> Node {
        assert!(Path::new(JARS).is_dir(), "no OpenSearch in {JARS}: cargo xtask setup --bench fetches it");
        let dir = TempDir::with_prefix("purser-bench-search-").unwrap();
        let (port, transport) = (free_port(), free_port());
        let main = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/receivers/Node.java");
        let mut java = Command::new("java");
        java.args(["-Xmx2g", "-cp", &format!("{JARS}/*")]).arg(main).arg(dir.path());
        java.args([port.to_string(), transport.to_string()]);
        java.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let node = Node { process: Mine(java.spawn().unwrap()), port, _dir: dir };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < START_LIMIT, "OpenSearch does not start");
            sleep(Duration::from_millis(200));
        }
        node
    }

    fn set_up(&self, stream: &str) -> ElasticSettings {
        let settings = settings(self.port, stream);
        let start = Instant::now();
        let mut set_up = loop {
            match SetUp::plan(&settings, 30) {
                Ok(set_up) => break set_up,
                Err(error) => assert!(start.elapsed() < START_LIMIT, "{error}"),
            }
            sleep(Duration::from_millis(200));
        };
        for step in set_up.steps().to_vec().iter().filter(|step| !step.optional) {
            set_up.run(step).unwrap();
        }
        settings
    }
}

fn settings(port: u16, stream: &str) -> ElasticSettings {
    let http = HttpSettings {
        urls: vec![Url::parse(&format!("http://127.0.0.1:{port}")).unwrap()],
        auth: HttpAuth::None,
        headers: Vec::new(),
        secret_headers: Vec::new(),
        tls: TlsSettings::default(),
        gzip: true,
        patience: Duration::from_secs(60),
    };
    ElasticSettings { http, data_stream: stream.to_string(), pipeline: None }
}

pub(crate) fn measure(count: u64) {
    let dir = TempDir::with_prefix("purser-bench-").unwrap();
    let store = dir.path().join("store");
    sample::fill(&store, count);
    let node = Node::start();
    // Its code is compiled while it works: the first of these is for that.
    plain(&node, &store, count, "logs-purser.exec-first", 2);
    // As configured, and with batches as large as those of the plain load.
    let large = Limits { events: 16_384, bytes: 4 << 20 };
    for round in 1..=ROUNDS {
        println!("round {round} of {ROUNDS}, load average {}", load_average());
        let stream = |what: &str| format!("logs-purser.exec-{what}-{round}");
        ours(&node, &store, count, &stream("ours"), Limits::default());
        ours(&node, &store, count, &stream("large"), large);
        plain(&node, &store, count, &stream("plain1"), 1);
        plain(&node, &store, count, &stream("plain2"), 2);
    }
}

fn ours(node: &Node, store: &Path, count: u64, stream: &str, limits: Limits) {
    let target = Target::Elastic(Box::new(node.set_up(stream)));
    let (mut line, status) = way::line(store, stream, &target, count, limits);
    let server = cpu_secs_of(node.process.0.id());
    let took = Took::by(|| way::finish(&mut line, &status, count));
    tell(
        &format!("purser to _bulk, gzip, {} KiB at once", limits.bytes >> 10),
        count,
        took,
        &of_server(node, server, count),
    );
}

fn of_server(node: &Node, before: f64, count: u64) -> String {
    let micros = (cpu_secs_of(node.process.0.id()) - before) / count as f64 * 1e6;
    format!("OpenSearch's CPU: {micros:.1} us each")
}

/// Requests that are ready, over `connections` at once.
fn plain(node: &Node, store: &Path, count: u64, stream: &str, connections: usize) {
    node.set_up(stream);
    let (mut requests, mut body, mut inside) = (Vec::new(), Vec::new(), 0);
    let mut close = |body: &mut Vec<u8>| requests.push(std::mem::take(body));
    documents::each(store, count, |batch| {
        for document in batch.documents() {
            let mut head = String::new();
            writeln!(head, "{{\"create\":{{\"_id\":\"{}\"}}}}", document.id()).unwrap();
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(document.json);
            body.push(b'\n');
            inside += 1;
            if inside == PART {
                inside = 0;
                close(&mut body);
            }
        }
    });
    if !body.is_empty() {
        close(&mut body);
    }
    let requests = Mutex::new(requests);
    let server = cpu_secs_of(node.process.0.id());
    let took = Took::by(|| {
        scope(|scope| {
            for _ in 0..connections {
                scope.spawn(|| post_all(node, stream, &requests));
            }
        });
    });
    let what = format!("plain load, {connections} connections");
    tell(&what, count, took, &of_server(node, server, count));
}

fn post_all(node: &Node, stream: &str, requests: &Mutex<Vec<Vec<u8>>>) {
    let mut connection = BufReader::new(TcpStream::connect(("127.0.0.1", node.port)).unwrap());
    loop {
        let Some(body) = requests.lock().unwrap().pop() else { return };
        post(&mut connection, &format!("/{stream}/_bulk"), &body);
    }
}

fn post(connection: &mut BufReader<TcpStream>, path: &str, body: &[u8]) {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    connection
        .get_mut()
        .write_all(head.as_bytes())
        .and_then(|()| connection.get_mut().write_all(body))
        .unwrap();
    let (mut line, mut length) = (String::new(), 0);
    connection.read_line(&mut line).unwrap();
    assert!(line.contains(" 200 "), "{line}");
    loop {
        line.clear();
        connection.read_line(&mut line).unwrap();
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut answer = vec![0; length];
    connection.read_exact(&mut answer).unwrap();
    assert!(answer.windows(15).take(200).any(|part| part == b"\"errors\":false,"), "{answer:.300?}");
}
