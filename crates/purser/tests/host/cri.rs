// SPDX-License-Identifier: Apache-2.0
//! A containerd of our own and what a kubelet tells it over CRI: curl speaks HTTP/2, the messages are
//! written field by field, numbered as in `runtime/v1/api.proto`.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::lab::{Lab, output, run, temporary, unique, wait_limited};

const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// `NamespaceMode.NODE`: the host's network, which needs no plug-in.
const NODE: u8 = 2;

/// A daemon; stopped when this is dropped.
pub(crate) struct Containerd {
    dir: TempDir,
    child: Child,
    /// The image of pods and of containers.
    image: String,
}

/// Bytes of a message under construction.
#[derive(Clone, Default)]
pub(crate) struct Message(Vec<u8>);

impl Containerd {
    pub(crate) fn start(lab: &Lab) -> Result<Containerd> {
        let dir = TempDir::with_prefix_in("containerd-", temporary())?;
        let image = format!("docker.io/library/{}:1", unique("purser-test-pod"));
        let at = |name: &str| dir.path().join(name);
        let config = format!(
            "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"{image}\"\n\
             restrict_oom_score_adj = true\ndisable_apparmor = true\n\
             [plugins.\"io.containerd.internal.v1.opt\"]\npath = \"{}\"\n",
            at("opt").display()
        );
        fs::write(at("config.toml"), config)?;
        let said = fs::File::create(at("said"))?;
        let mut command = Command::new("containerd");
        command.arg("--config").arg(at("config.toml")).arg("--address").arg(at("socket"));
        command.arg("--root").arg(at("root")).arg("--state").arg(at("state"));
        command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        let child = command.spawn().context("starting containerd (package containerd)")?;
        let daemon = Containerd { dir, child, image };
        let start = Instant::now();
        while !output(daemon.ctr().arg("version"))?.status.success() {
            if start.elapsed() > START_LIMIT {
                bail!("containerd does not answer\n{}", fs::read_to_string(daemon.at("said"))?);
            }
            sleep(Duration::from_millis(50));
        }
        daemon.import(lab)?;
        Ok(daemon)
    }

    pub(crate) fn image(&self) -> &str {
        &self.image
    }

    /// Where an agent finds it.
    pub(crate) fn config(&self) -> String {
        let (state, socket) = (self.at("state"), self.at("socket"));
        format!("[runtimes]\ncontainerd_states = [{state:?}]\ncontainerd_sockets = [{socket:?}]\n")
    }

    /// One call of the runtime service, such as `RunPodSandbox`.
    pub(crate) fn call(&self, method: &str, request: &Message) -> Result<Vec<u8>> {
        let length = u32::try_from(request.0.len())?.to_be_bytes();
        fs::write(self.at("request"), [&[0], length.as_slice(), request.0.as_slice()].concat())?;
        let mut curl = Command::new("curl");
        curl.args([
            "-sS",
            "--http2-prior-knowledge",
            "--max-time",
            "60",
            "-H",
            "content-type: application/grpc",
        ]);
        curl.args(["-H", "te: trailers", "--unix-socket"]).arg(self.at("socket"));
        curl.arg("--data-binary").arg(format!("@{}", self.at("request").display()));
        curl.arg("-D").arg(self.at("headers")).arg("-o").arg(self.at("answer"));
        run(curl.arg(format!("http://localhost/runtime.v1.RuntimeService/{method}")))?;
        let headers = fs::read_to_string(self.at("headers"))?;
        ensure!(headers.lines().any(|line| line.trim_end() == "grpc-status: 0"), "{method}: {headers}");
        Ok(fs::read(self.at("answer"))?.get(5..).unwrap_or_default().to_vec())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its files are.
    pub(crate) fn root(&self) -> PathBuf {
        self.at("root")
    }

    /// Ends it; its files are there as long as what is given back.
    pub(crate) fn end(mut self) -> Result<Containerd> {
        crate::lab::signal(self.child.id(), "TERM")?;
        ensure!(wait_limited(&mut self.child, STOP_LIMIT)?.is_some(), "containerd does not end");
        Ok(self)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn ctr(&self) -> Command {
        let mut ctr = Command::new("ctr");
        ctr.arg("-a").arg(self.at("socket")).args(["-n", "k8s.io"]);
        ctr
    }

    /// Whether there is a task of a container.
    pub(crate) fn runs(&self, id: &str) -> Result<bool> {
        Ok(run(self.ctr().args(["tasks", "ls", "-q"]))?.lines().any(|line| line == id))
    }

    /// The lab's root as an image whose own command waits, as that of a pod does.
    fn import(&self, lab: &Lab) -> Result<()> {
        let (root, image) = (self.at("root.tar"), self.at("image.tar"));
        run(Command::new("tar").arg("-C").arg(lab.root()).arg("-cf").arg(&root).arg("."))?;
        let waits = "CMD [\"/bin/sleep\",\"100000\"]";
        run(Command::new("docker").args(["import", "--change", waits]).arg(&root).arg(&self.image))?;
        let saved = run(Command::new("docker").args(["save", &self.image, "-o"]).arg(&image));
        run(Command::new("docker").args(["rmi", &self.image]))?;
        saved?;
        run(self.ctr().args(["images", "import"]).arg(&image)).map(drop)
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        // Its number may be another process's by now.
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // SIGTERM, so that it clears up after itself; best effort on the way out.
        drop(crate::lab::signal(self.child.id(), "TERM"));
        if !matches!(wait_limited(&mut self.child, STOP_LIMIT), Ok(Some(_))) {
            drop(self.child.kill().and_then(|()| self.child.wait()));
        }
    }
}

impl Message {
    pub(crate) fn bytes(mut self, field: u8, value: impl AsRef<[u8]>) -> Message {
        self.0.push(field << 3 | 2);
        let mut length = value.as_ref().len();
        while length > 127 {
            self.0.push(length.to_le_bytes()[0] | 128);
            length >>= 7;
        }
        self.0.push(length.to_le_bytes()[0]);
        self.0.extend_from_slice(value.as_ref());
        self
    }

    /// One below 128.
    pub(crate) fn number(mut self, field: u8, value: u8) -> Message {
        self.0.extend([field << 3, value]);
        self
    }

    pub(crate) fn message(self, field: u8, value: &Message) -> Message {
        self.bytes(field, &value.0)
    }

    pub(crate) fn pair(self, field: u8, key: &str, value: &str) -> Message {
        self.message(field, &Message::default().bytes(1, key).bytes(2, value))
    }

    /// `NamespaceOption` with the host's network.
    pub(crate) fn host_network() -> Message {
        Message(vec![1 << 3, NODE])
    }
}

/// The only field of an answer that is an id.
pub(crate) fn id(answer: &[u8]) -> Result<String> {
    let id = answer.strip_prefix(&[1 << 3 | 2, 64]).context("an answer without an id of 64 digits")?;
    Ok(String::from_utf8(id.to_vec())?)
}
