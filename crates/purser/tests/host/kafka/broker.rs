// SPDX-License-Identifier: Apache-2.0
//! A Kafka of one node with a listener for each way in, on loopback and on ports that are free.
//! `cargo xtask setup` fetches its jars.

use std::fs::{self, File, Permissions};
use std::future::Future;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::task::{Context as TaskContext, Poll, Waker};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use tempfile::TempDir;

use super::gate::Gate;
use crate::lab::{kill9, run, temporary, terminate};
use crate::trial::Receiver;

/// Where xtask puts the jars.
const JARS: &str = "/var/cache/purser-tests/kafka-4.1.0";
const START_LIMIT: Duration = Duration::from_secs(90);
const STOP_LIMIT: Duration = Duration::from_secs(60);
const STORE_PASSWORD: &str = "storepass";
/// Of user `u2` with SCRAM; long enough to be found nowhere by chance.
pub(crate) const SCRAM_PASSWORD: &str = "pw2-of-the-broker-7421";

pub(crate) struct Broker {
    dir: TempDir,
    ports: [u16; 6],
    /// The way to the last listener, which is advertised under the gate's port.
    pub(crate) gate: Gate,
    child: Option<Child>,
}

impl Broker {
    /// Starts one with nothing in it and waits until it answers.
    pub(crate) fn start() -> Result<Broker> {
        let lib = Path::new(JARS);
        ensure!(lib.is_dir(), "no Kafka in {JARS}: cargo xtask setup fetches it");
        let dir = TempDir::with_prefix_in("kafka-", temporary())?;
        let ports = free_ports()?;
        let mut broker = Broker { dir, ports, gate: Gate::open(ports[5])?, child: None };
        broker.make_certificates()?;
        fs::write(broker.path("server.properties"), broker.properties())?;
        let mut format = broker.java("kafka.tools.StorageTool");
        format.args(["format", "--standalone", "-t", "4L6g3nShT-eMCtK--X86sw", "-c"]);
        format.arg(broker.path("server.properties"));
        for mechanism in ["SCRAM-SHA-512", "SCRAM-SHA-256"] {
            format.args(["--add-scram", &format!("{mechanism}=[name=u2,password={SCRAM_PASSWORD}]")]);
        }
        run(&mut format)?;
        broker.start_again()?;
        Ok(broker)
    }

    pub(crate) fn plain(&self) -> String {
        self.address(0)
    }

    pub(crate) fn sasl(&self) -> String {
        self.address(1)
    }

    pub(crate) fn tls(&self) -> String {
        self.address(2)
    }

    pub(crate) fn token(&self) -> String {
        self.address(3)
    }

    fn address(&self, index: usize) -> String {
        format!("127.0.0.1:{}", self.ports[index])
    }

    /// The authority, and a client's certificate and key.
    pub(crate) fn certificates(&self) -> (PathBuf, PathBuf, PathBuf) {
        (self.path("ca.pem"), self.path("client.pem"), self.path("client.key"))
    }

    /// A file that only its owner can read.
    pub(crate) fn secret(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(path)
    }

    pub(crate) fn create(&self, topic: &str, partitions: i32) -> Result<()> {
        self.create_with(topic, partitions, &[])
    }

    pub(crate) fn create_with(&self, topic: &str, partitions: i32, config: &[(&str, &str)]) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", self.plain()).create()?;
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        for (name, value) in config {
            new = new.set(name, value);
        }
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)));
        for made in block_on(admin.create_topics([&new], &options))? {
            made.map_err(|(topic, code)| anyhow::anyhow!("creating {topic}: {code}"))?;
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn java(&self, class: &str) -> Command {
        let mut java = Command::new("java");
        java.args(["-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp"]).arg(format!("{JARS}/*")).arg(class);
        java
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(10).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// A self-signed certificate for the broker, which is its own authority, and one for a client.
    fn make_certificates(&self) -> Result<()> {
        let keystore = self.path("server.p12");
        let common = ["-storepass", STORE_PASSWORD, "-keystore"];
        run(Command::new("keytool")
            .args(["-genkeypair", "-alias", "server", "-keyalg", "EC", "-dname", "CN=127.0.0.1"])
            .args(["-ext", "san=ip:127.0.0.1", "-validity", "3650", "-storetype", "PKCS12"])
            .args(common)
            .arg(&keystore))?;
        let export = Command::new("keytool")
            .args(["-exportcert", "-rfc", "-alias", "server"])
            .args(common)
            .arg(&keystore)
            .output()?;
        fs::write(self.path("ca.pem"), export.stdout)?;
        run(Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
            .args(["-days", "3650", "-subj", "/CN=purser", "-keyout"])
            .arg(self.path("client.key"))
            .arg("-out")
            .arg(self.path("client.pem")))?;
        run(Command::new("keytool")
            .args(["-importcert", "-noprompt", "-alias", "client", "-file"])
            .arg(self.path("client.pem"))
            .args(["-storetype", "PKCS12"])
            .args(common)
            .arg(self.path("trust.p12")))
        .map(drop)
    }

    fn properties(&self) -> String {
        let [plain, sasl, tls, token, controller, gated] = self.ports;
        let dir = self.dir.path().display();
        let named = |names: &[(&str, u16)]| {
            let each: Vec<String> =
                names.iter().map(|(name, port)| format!("{name}://127.0.0.1:{port}")).collect();
            each.join(",")
        };
        let ways =
            |gated| [("PLAIN", plain), ("SASL", sasl), ("TLS", tls), ("TOKEN", token), ("GATED", gated)];
        let modules = "org.apache.kafka.common.security";
        format!(
            "process.roles=broker,controller\nnode.id=1\n\
             controller.quorum.bootstrap.servers=127.0.0.1:{controller}\n\
             listeners={},CTRL://127.0.0.1:{controller}\nadvertised.listeners={}\n\
             listener.security.protocol.map=PLAIN:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL,TOKEN:SASL_PLAINTEXT,\
             GATED:PLAINTEXT,CTRL:PLAINTEXT\n\
             inter.broker.listener.name=PLAIN\ncontroller.listener.names=CTRL\n\
             listener.name.sasl.sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256,PLAIN\n\
             listener.name.sasl.plain.sasl.jaas.config={modules}.plain.PlainLoginModule required user_u1=\"pw1\" \
             user_u4=\"pw4\";\n\
             listener.name.sasl.scram-sha-512.sasl.jaas.config={modules}.scram.ScramLoginModule required;\n\
             listener.name.sasl.scram-sha-256.sasl.jaas.config={modules}.scram.ScramLoginModule required;\n\
             listener.name.token.sasl.enabled.mechanisms=OAUTHBEARER\n\
             listener.name.token.oauthbearer.sasl.jaas.config={modules}.oauthbearer.OAuthBearerLoginModule required \
             unsecuredLoginStringClaim_sub=\"broker\";\n\
             listener.name.tls.ssl.keystore.location={dir}/server.p12\n\
             listener.name.tls.ssl.keystore.password={STORE_PASSWORD}\n\
             listener.name.tls.ssl.truststore.location={dir}/trust.p12\n\
             listener.name.tls.ssl.truststore.password={STORE_PASSWORD}\n\
             listener.name.tls.ssl.client.auth=required\n\
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
             super.users=User:ANONYMOUS;User:u1;User:u2;User:u3;User:CN=purser\n\
             auto.create.topics.enable=false\noffsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
             transaction.state.log.num.partitions=1\ngroup.initial.rebalance.delay.ms=0\nlog.dirs={dir}/data\n",
            named(&ways(gated)),
            named(&ways(self.gate.port)),
        )
    }
}

impl Receiver for Broker {
    fn start_again(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "the broker still runs");
        let log = File::create(self.path("log"))?;
        let mut java = self.java("kafka.Kafka");
        java.arg(self.path("server.properties")).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.child = Some(java.spawn().context("starting java (package default-jre-headless)")?);
        let start = Instant::now();
        while !fs::read_to_string(self.path("log"))?.contains("Kafka Server started") {
            ensure!(start.elapsed() < START_LIMIT, "Kafka does not start: {}", self.last_words());
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                bail!("Kafka ended with {status}: {}", self.last_words());
            }
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        terminate(self.child.take().context("the broker does not run")?, STOP_LIMIT)
    }

    fn kill9(&mut self) -> Result<()> {
        kill9(self.child.take().context("the broker does not run")?)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Nothing of it is needed any more, and its directory goes with it.
            drop(child.kill().and_then(|()| child.wait()));
        }
    }
}

/// Ports nobody listens on; they are held together, so that they differ.
fn free_ports() -> Result<[u16; 6]> {
    let held: Vec<TcpListener> =
        (0..6).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let mut ports = [0; 6];
    for (port, listener) in ports.iter_mut().zip(&held) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

/// The library's admin calls are futures; one look each ten milliseconds is enough here.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())) {
            Poll::Ready(output) => return output,
            Poll::Pending => sleep(Duration::from_millis(10)),
        }
    }
}
