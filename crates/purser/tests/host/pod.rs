// SPDX-License-Identifier: Apache-2.0
//! A pod as a kubelet has it made, by containerd's real CRI plug-in: events carry the names of the
//! container and of its pod, for the first process, for one that a probe or `kubectl exec` starts, and for
//! their ends.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::agent::Agent;
use crate::cri::{self, Containerd, Message};
use crate::group::Group;
use crate::lab::{Lab, unique};
use crate::record::{is, number, strings, text};

const SEEN_LIMIT: Duration = Duration::from_secs(30);

/// What a kubelet knows of a pod.
pub(crate) struct Pod<'a> {
    containerd: &'a Containerd,
    pub(crate) name: String,
    uid: String,
    /// The id of its sandbox.
    id: String,
    config: Message,
    /// The kubelet makes and removes the pod's cgroup.
    _group: Group,
}

#[test]
fn a_pod_of_containerd_has_its_names() -> Result<()> {
    let lab = Lab::enter()?;
    let containerd = Containerd::start(&lab)?;
    let mut agent = Agent::start(&format!(
        "[scope]\ninclude = [\"container\"]\ncgroups = [\"/kubepods/besteffort/pod*\"]\nids = [\"none\"]\n{}",
        containerd.config()
    ))?;
    let pod = Pod::run(&containerd)?;
    let tag = unique("pod");
    let container =
        pod.start("worker", &["/bin/sh", "-c", "/bin/load-target $0 1; exec /bin/sleep 1000", &tag])?;
    let probe = Message::default().bytes(1, &container).bytes(2, "/bin/sh").bytes(2, "-c");
    containerd.call("ExecSync", &probe.bytes(2, format!("/bin/load-target {tag} 2; exit 3")))?;
    pod.remove()?;

    let of = |documents: &[Value], args: &[&str]| -> Vec<Value> {
        let ours = |document: &&Value| {
            strings(document, "/process/args") == args
                && text(document, "/orchestrator/resource/id") == pod.uid
        };
        documents.iter().filter(ours).cloned().collect()
    };
    let wanted: [(&str, &str, Vec<&str>, u64); 4] = [
        (&container, "worker", vec!["/bin/load-target", &tag, "1"], 0),
        (&container, "worker", vec!["/bin/load-target", &tag, "2"], 0),
        (&container, "worker", vec!["/bin/sleep", "1000"], 137),
        (&pod.id, &pod.name, vec!["/bin/sleep", "100000"], 137),
    ];
    let ended = |documents: &[Value]| {
        wanted.iter().all(|wanted| of(documents, &wanted.2).iter().any(|exec| end(documents, exec).is_some()))
    };
    let documents = agent.wait_for(&[], SEEN_LIMIT, ended)?;
    for (id, container, args, code) in &wanted {
        let [exec] = &of(&documents, args)[..] else { anyhow::bail!("{args:?} is not there once") };
        let exit = end(&documents, exec).context("no exit")?;
        for document in [exec, exit] {
            ensure!(text(document, "/container/id") == *id, "not of {id}: {document:#}");
            ensure!(text(document, "/container/name") == *container, "not of {container}: {document:#}");
            ensure!(text(document, "/container/runtime") == "containerd", "{document:#}");
            ensure!(text(document, "/container/image/name") == containerd.image(), "{document:#}");
            ensure!(text(document, "/orchestrator/namespace") == "purser-test", "{document:#}");
            ensure!(text(document, "/orchestrator/resource/name") == pod.name, "{document:#}");
        }
        ensure!(number(exit, "/process/exit_code") == Some(*code), "not {code}: {exit:#}");
    }
    let by_name = agent.log(&["--container", "worker", "--kind", "exec"])?;
    ensure!(by_name.iter().any(|exec| strings(exec, "/process/args") == wanted[0].2), "not found by name");
    agent.verify()?;
    agent.stop()
}

fn end<'a>(documents: &'a [Value], exec: &Value) -> Option<&'a Value> {
    let id = text(exec, "/process/entity_id");
    documents.iter().find(|document| is(document, "exit") && text(document, "/process/entity_id") == id)
}

impl<'a> Pod<'a> {
    pub(crate) fn run(containerd: &'a Containerd) -> Result<Pod<'a>> {
        let name = unique("shop");
        let uid = format!("7d3c6d2e-1111-4a5b-9c8d-{:012}", std::process::id());
        let path = PathBuf::from(format!("kubepods/besteffort/pod{uid}"));
        let group = Group::make(&path)?;
        let metadata = Message::default().bytes(1, &name).bytes(2, &uid).bytes(3, "purser-test");
        let security = Message::default().message(1, &Message::host_network());
        let parent = Path::new("/").join(&path);
        let linux = Message::default().bytes(1, parent.as_os_str().as_encoded_bytes()).message(2, &security);
        let config = Message::default().message(1, &metadata).pair(6, "app", "shop").message(8, &linux);
        let id = cri::id(&containerd.call("RunPodSandbox", &Message::default().message(1, &config))?)?;
        Ok(Pod { containerd, name, uid, id, config, _group: group })
    }

    /// Starts a container in it and gives its id.
    pub(crate) fn start(&self, name: &str, command: &[&str]) -> Result<String> {
        self.start_again(name, 0, command)
    }

    /// The same when there was one of this name before.
    pub(crate) fn start_again(&self, name: &str, attempt: u8, command: &[&str]) -> Result<String> {
        let mut config = Message::default()
            .message(1, &Message::default().bytes(1, name).number(2, attempt))
            .message(2, &Message::default().bytes(1, self.containerd.image()));
        for word in command {
            config = config.bytes(3, word);
        }
        let security = Message::default().message(3, &Message::host_network());
        let config = config.message(15, &Message::default().message(2, &security));
        let request = Message::default().bytes(1, &self.id).message(2, &config).message(3, &self.config);
        let id = cri::id(&self.containerd.call("CreateContainer", &request)?)?;
        self.containerd.call("StartContainer", &Message::default().bytes(1, &id))?;
        Ok(id)
    }

    pub(crate) fn remove(&self) -> Result<()> {
        let request = Message::default().bytes(1, &self.id);
        self.containerd.call("StopPodSandbox", &request)?;
        self.containerd.call("RemovePodSandbox", &request).map(drop)
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        // Of a test that failed. What is gone already is no error of CRI.
        drop(self.remove());
    }
}
