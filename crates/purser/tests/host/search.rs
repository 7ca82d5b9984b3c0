// SPDX-License-Identifier: Apache-2.0
//! Events to a real OpenSearch by `_bulk`, through kills of the agent and of the node: read back by
//! searching, each event of the store is there once.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kafka::sinks::{caught_up, lacks, sink, wait_for_sinks};
use crate::lab::{Lab, kill9, run, temporary, terminate};
use crate::trial::{Receiver, Trial};

/// Where xtask puts the jars.
const JARS: &str = "/var/cache/purser-tests/opensearch-2.19.1.0";
const START_LIMIT: Duration = Duration::from_secs(120);
const STOP_LIMIT: Duration = Duration::from_secs(60);
const STREAM: &str = "logs-purser.exec-trial";
/// Buckets of one answer.
const PAGE: usize = 10_000;

/// A node on loopback.
struct Node {
    dir: TempDir,
    port: u16,
    transport: u16,
    child: Option<Child>,
}

impl Node {
    fn start() -> Result<Node> {
        ensure!(Path::new(JARS).is_dir(), "no OpenSearch in {JARS}: cargo xtask setup fetches it");
        let (one, two) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
        let (port, transport) = (one.local_addr()?.port(), two.local_addr()?.port());
        drop((one, two));
        let dir = TempDir::with_prefix_in("search-", temporary())?;
        let mut node = Node { dir, port, transport, child: None };
        node.start_again()?;
        Ok(node)
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let file = self.dir.path().join("question.json");
        fs::write(&file, body.to_string())?;
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-X", method, "-H", "content-type: application/json", "-d"]);
        let told = run(curl.arg(format!("@{}", file.display())).arg(self.url() + path))?;
        serde_json::from_str(&told).with_context(|| format!("{method} {path} answered {told:.300}"))
    }

    /// The sequence of each document, as often as it is there.
    fn sequences(&self) -> Result<Vec<u64>> {
        self.ask("POST", &format!("/{STREAM}/_refresh"), &json!({}))?;
        let (mut found, mut after) = (Vec::new(), Value::Null);
        loop {
            let source = json!([{ "number": { "terms": { "field": "event.sequence" } } }]);
            let mut composite = json!({ "size": PAGE, "sources": source });
            if !after.is_null() {
                composite["after"] = after;
            }
            let query = json!({ "size": 0, "aggs": { "numbers": { "composite": composite } } });
            let told = self.ask("POST", &format!("/{STREAM}/_search"), &query)?;
            let numbers = &told["aggregations"]["numbers"];
            for bucket in numbers["buckets"].as_array().with_context(|| format!("no buckets: {told:.300}"))? {
                let number = bucket["key"]["number"].as_u64().context("a bucket without a number")?;
                let times = bucket["doc_count"].as_u64().context("a bucket without a count")?;
                found.extend((0..times).map(|_| number));
            }
            after = numbers["after_key"].clone();
            if after.is_null() {
                return Ok(found);
            }
        }
    }
}

impl Receiver for Node {
    fn stop(&mut self) -> Result<()> {
        terminate(self.child.take().context("the node does not run")?, STOP_LIMIT)
    }

    fn kill9(&mut self) -> Result<()> {
        kill9(self.child.take().context("the node does not run")?)
    }

    fn start_again(&mut self) -> Result<()> {
        let main = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ship/tests/receivers/Node.java");
        let mut java = Command::new("java");
        java.args(["-Xmx1g", "-XX:TieredStopAtLevel=1", "-cp", &format!("{JARS}/*")]).arg(main);
        java.arg(self.dir.path()).args([self.port.to_string(), self.transport.to_string()]);
        java.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(java.spawn().context("starting java (package default-jre-headless)")?);
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                bail!("OpenSearch ended with {status}");
            }
            ensure!(start.elapsed() < START_LIMIT, "OpenSearch does not start");
            sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Nothing of it is needed any more, and its directory goes with it.
            drop(child.kill().and_then(|()| child.wait()));
        }
    }
}

#[test]
fn bulk_stores_each_event_once_through_kills_of_agent_and_node() -> Result<()> {
    let lab = Lab::enter()?;
    let mut node = Node::start()?;
    let config = format!(
        "[scope]\ninclude = [\"container\"]\nnames = [\"purser-test-search-*\"]\n\
         [sink.search]\ntype = \"elasticsearch\"\nurls = [\"{}\"]\ndata_stream = \"{STREAM}\"\n\
         batch_events = 500\n",
        node.url()
    );
    // Before the first document comes: on OpenSearch that would make an ordinary index.
    let path = node.dir.path().join("purser.toml");
    fs::write(&path, &config)?;
    let start = Instant::now();
    // It listens before it answers.
    let set_up =
        || run(crate::agent::purser().args(["sink", "setup", "search", "--yes", "--config"]).arg(&path));
    while let Err(error) = set_up() {
        ensure!(start.elapsed() < START_LIMIT, "{error:#}");
        sleep(Duration::from_millis(500));
    }
    let mut trial = Trial::start(&lab, "search-trial", &config)?;
    let first = |sinks: &[Value]| sink(sinks, "search")["acked"].as_u64() > Some(0);
    wait_for_sinks(&trial.agent, trial.patience(), first)?;
    let tally = trial.run(&mut node)?;
    wait_for_sinks(&trial.agent, trial.patience(), |sinks| caught_up(sinks, "search"))?;
    let stored = trial.end(&tally)?;
    lacks("OpenSearch", &stored, node.sequences()?.into_iter())
}
