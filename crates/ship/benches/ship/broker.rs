// SPDX-License-Identifier: Apache-2.0
//! A Kafka of one node on loopback, for measuring: no security, no more than it needs.

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::fs::{self, File};
use std::future::Future;
use std::net::TcpListener;
use std::path::Path;
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::task::{Context, Poll, Waker};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Where xtask puts the jars.
const JARS: &str = "/var/cache/purser-tests/kafka-4.1.0";
const START_LIMIT: Duration = Duration::from_secs(90);
const PATIENCE: Duration = Duration::from_secs(60);

/// Its files go with it.
#[derive(Debug)]
pub(crate) struct Broker {
    process: Mine,
    dir: TempDir,
    port: u16,
}

impl Broker {
    /// Starts one with nothing in it and waits until it answers.
    pub(crate) fn start(heap: &str) -> Broker {
        assert!(Path::new(JARS).is_dir(), "no Kafka in {JARS}: cargo xtask setup --bench fetches it");
        let dir = TempDir::with_prefix("purser-bench-kafka-").unwrap();
        let (port, controller) = (free_port(), free_port());
        let properties = dir.path().join("server.properties");
        fs::write(&properties, settings(port, controller, dir.path())).unwrap();
        let java = |class: &str| {
            let mut java = Command::new("java");
            java.args([&format!("-Xmx{heap}"), "-cp", &format!("{JARS}/*"), class]).stdin(Stdio::null());
            java
        };
        let mut format = java("kafka.tools.StorageTool");
        format.args(["format", "--standalone", "-t", "4L6g3nShT-eMCtK--X86sw", "-c"]).arg(&properties);
        assert!(format.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
        let log = File::create(dir.path().join("log")).unwrap();
        let mut server = java("kafka.Kafka");
        server.arg(&properties).stdout(log.try_clone().unwrap()).stderr(log);
        let mut process = Mine(server.spawn().unwrap());
        let start = Instant::now();
        let log = || fs::read_to_string(dir.path().join("log")).unwrap();
        while !log().contains("Kafka Server started") {
            let lives = process.0.try_wait().unwrap().is_none() && start.elapsed() < START_LIMIT;
            assert!(lives, "Kafka does not start: {}", log());
            sleep(Duration::from_millis(50));
        }
        Broker { process, dir, port }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    pub(crate) fn create(&self, topic: &str, partitions: i32) {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", self.address()).create().unwrap();
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        for made in block_on(admin.create_topics([&new], &options)).unwrap() {
            made.unwrap();
        }
    }

    /// Records in `topic`, with those that end transactions.
    pub(crate) fn records(&self, topic: &str) -> u64 {
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", self.address()).create().unwrap();
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
        let partitions = metadata.topics().iter().flat_map(rdkafka::metadata::MetadataTopic::partitions);
        let ends = partitions.map(|partition| consumer.fetch_watermarks(topic, partition.id(), PATIENCE));
        ends.map(|ends| ends.unwrap().1 as u64).sum()
    }

    /// Bytes of `topic` on disk.
    pub(crate) fn bytes(&self, topic: &str) -> u64 {
        let mut bytes = 0;
        for partition in fs::read_dir(self.dir.path().join("data")).unwrap() {
            let partition = partition.unwrap();
            let name = partition.file_name().to_string_lossy().into_owned();
            if name.rsplit_once('-').is_some_and(|(of, _)| of == topic) {
                let files = fs::read_dir(partition.path()).unwrap().map(Result::unwrap);
                let logs = files.filter(|file| file.path().extension().is_some_and(|kind| kind == "log"));
                bytes += logs.map(|file| file.metadata().unwrap().len()).sum::<u64>();
            }
        }
        bytes
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn settings(port: u16, controller: u16, dir: &Path) -> String {
    format!(
        "process.roles=broker,controller\nnode.id=1\n\
         controller.quorum.bootstrap.servers=127.0.0.1:{controller}\n\
         listeners=PLAIN://127.0.0.1:{port},CTRL://127.0.0.1:{controller}\n\
         advertised.listeners=PLAIN://127.0.0.1:{port}\n\
         listener.security.protocol.map=PLAIN:PLAINTEXT,CTRL:PLAINTEXT\n\
         inter.broker.listener.name=PLAIN\ncontroller.listener.names=CTRL\n\
         auto.create.topics.enable=false\nlog.retention.ms=-1\noffsets.topic.replication.factor=1\n\
         offsets.topic.num.partitions=1\n\
         transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
         transaction.state.log.num.partitions=8\nlog.dirs={}/data\n",
        dir.display()
    )
}

/// The library's admin calls are futures; one look each ten milliseconds is enough here.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => return output,
            Poll::Pending => sleep(Duration::from_millis(10)),
        }
    }
}

/// A program of ours that ends with its owner.
#[derive(Debug)]
pub(crate) struct Mine(pub(crate) Child);

impl Drop for Mine {
    fn drop(&mut self) {
        // It may have ended already.
        self.0.kill().unwrap_or_default();
        drop(self.0.wait());
    }
}
