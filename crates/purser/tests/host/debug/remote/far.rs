// SPDX-License-Identifier: Apache-2.0
//! Another host, on this machine: mounts, processes, `/run` and `/etc` of its own, in which a dockerd and an sshd of
//! our own run. They listen on loopback. All of it ends with the first process in there.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::debug::{kits, marks, status, wait_until};
use crate::lab::{Lab, output, run, signal, temporary, unique, wait_limited};

const READY: Duration = Duration::from_secs(60);
/// Time for a session whose client is gone without a word.
const GONE: Duration = Duration::from_secs(40);

/// The first program on that host. Arguments: our directory, the port of TLS, the port of SSH, options of dockerd. A user
/// there has numbers of others to give to containers.
const FIRST: &str = r#"
set -eu
mount -t tmpfs none /run
mkdir -p /run/upper /run/work /run/sshd
mount -t overlay -o lowerdir=/etc,upperdir=/run/upper,workdir=/run/work none /etc
hostname far
mkdir -p /etc/purser
echo 'far:x:45700:45700::/nonexistent:/bin/false' >> /etc/passwd
echo 'far:x:45700:' >> /etc/group
echo 'far:700000:65536' | tee -a /etc/subuid >> /etc/subgid
/usr/sbin/sshd -f "$1/sshd_config" -p "$3" -E "$1/sshd.log"
dir=$1 tls=$2
shift 3
# A dockerd without a bridge takes away that of the machine's, in whose network it is.
exec unshare --net -- sh -c 'ip link set lo up && exec dockerd "$@"' dockerd \
  --host unix:///run/docker.sock --host "unix://$dir/docker.sock" --host "tcp://127.0.0.1:$tls" \
  --tlsverify --tlscacert "$dir/ca.pem" --tlscert "$dir/server/cert.pem" --tlskey "$dir/server/key.pem" \
  --data-root "$dir/data" --exec-root /run/docker --pidfile /run/docker.pid --bridge=none --iptables=false "$@"
"#;

/// The host, until it is dropped.
pub(crate) struct Far {
    pub(crate) dir: PathBuf,
    unshare: Child,
    /// dockerd, as this host numbers it: the first process of that host.
    pub(super) dockerd: u32,
    tls: u16,
    ssh: u16,
    marks: BTreeSet<String>,
}

impl Far {
    /// With a container `web` of the lab's image, which sleeps.
    pub(super) fn start(lab: &Lab) -> Result<Far> {
        Far::start_with(lab, &[])
    }

    /// The same, with options of its dockerd.
    pub(crate) fn start_with(lab: &Lab, options: &[&str]) -> Result<Far> {
        // Short, for paths of sockets; on a real file system, for overlays.
        let dir = temporary().join(unique("far"));
        fs::create_dir_all(&dir)?;
        certificates(&dir)?;
        keys(&dir)?;
        let (tls, ssh) = (free_port()?, free_port()?);
        let log = fs::File::create(dir.join("log"))?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--uts", "--"]);
        command
            .args(["sh", "-c", FIRST, "far"])
            .arg(&dir)
            .args([tls.to_string(), ssh.to_string()])
            .args(options);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        let unshare = command.spawn().context("starting unshare")?;
        let mut far = Far { dir, unshare, dockerd: 0, tls, ssh, marks: marks() };
        far.wait_ready()?;
        lead_into(far.dockerd, tls)?;
        let archive = far.dir.join("root.tar");
        run(Command::new("tar").arg("-C").arg(lab.root()).arg("-cf").arg(&archive).arg("."))?;
        run(far.docker(&["import"]).arg(&archive).arg("lab"))?;
        far.container("web", &[])?;
        Ok(far)
    }

    fn wait_ready(&mut self) -> Result<()> {
        let start = Instant::now();
        while !output(&mut self.docker(&["version"]))?.status.success() {
            let log = || fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            ensure!(start.elapsed() < READY, "dockerd is not ready: {}", log());
            ensure!(self.unshare.try_wait()?.is_none(), "dockerd has ended: {}", log());
            sleep(Duration::from_millis(50));
        }
        let id = self.unshare.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        self.dockerd = children.trim().parse().context("the first process of the far host")?;
        Ok(())
    }

    /// `docker` for that host.
    pub(crate) fn docker(&self, words: &[&str]) -> Command {
        let mut docker = Command::new("docker");
        docker.arg("-H").arg(self.unix()).args(words);
        docker
    }

    /// A container of that host that sleeps.
    pub(crate) fn container(&self, name: &str, options: &[&str]) -> Result<()> {
        let mut start = self.docker(&["run", "-d", "--network", "none", "--name", name]);
        run(start.args(options).args(["lab", "sleep", "100000"])).map(drop)
    }

    pub(crate) fn unix(&self) -> String {
        format!("unix://{}", self.dir.join("docker.sock").display())
    }

    pub(crate) fn tcp(&self, name: &str) -> String {
        format!("tcp://{name}:{}", self.tls)
    }

    pub(super) fn ssh(&self) -> String {
        format!("ssh://root@127.0.0.1:{}", self.ssh)
    }

    /// `purser debug --host HOST OPTIONS TARGET -- COMMAND`, with the ssh of our own.
    pub(crate) fn debug(
        &self,
        host: &str,
        options: &[&str],
        target: &str,
        command: &[&str],
    ) -> Result<Command> {
        let mut debug = crate::agent::purser();
        debug
            .args(["debug", "--host", host, "--kits"])
            .arg(kits()?)
            .args(options)
            .arg(target)
            .arg("--")
            .args(command);
        debug.env("PURSER_SSH", format!("ssh -F {}", self.dir.join("ssh_config").display()));
        debug.env_remove("DOCKER_HOST");
        Ok(debug)
    }

    /// A command on that host, as if somebody were logged in there.
    pub(crate) fn there(&self, command: &Command) -> Command {
        let mut there = Command::new("nsenter");
        there.args(["--target", &self.dockerd.to_string(), "--mount", "--pid", "--"]);
        there.arg(command.get_program()).args(command.get_args());
        there
    }

    /// A container's id, and its first process as this host numbers it.
    pub(crate) fn process(&self, name: &str) -> Result<(String, i32)> {
        let id = run(&mut self.docker(&["inspect", "-f", "{{.Id}}", name]))?.trim().to_owned();
        let mut found = None;
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
                continue;
            };
            let group = fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
            let is_first =
                || status(pid, "NSpid").is_some_and(|pids| pids.split_whitespace().next_back() == Some("1"));
            if group.contains(&id) && is_first() {
                found = Some(pid);
            }
        }
        Ok((id, found.context("no process of the container")?))
    }

    /// A file of that host.
    pub(super) fn file(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.dockerd))
    }

    /// Waits until nothing of any session is on that host: no container but ours, process, mount, cgroup or socket.
    pub(crate) fn is_clean(&self, containers: &[&str]) -> Result<()> {
        let start = Instant::now();
        loop {
            let left = self.left(containers)?;
            if left.is_empty() {
                return Ok(());
            }
            ensure!(start.elapsed() < GONE, "left on the far host: {left:?}");
            sleep(Duration::from_millis(50));
        }
    }

    fn left(&self, containers: &[&str]) -> Result<Vec<String>> {
        // Sessions in other containers of this machine are other people's.
        let ids = run(&mut self.docker(&["ps", "-aq", "--no-trunc"]))?;
        let is_ours = |mark: &&String| ids.lines().any(|id| mark.contains(id));
        let mut left: Vec<String> = marks().difference(&self.marks).filter(is_ours).cloned().collect();
        let names = run(&mut self.docker(&["ps", "-a", "--format", "{{.Names}}"]))?;
        left.extend(
            names.lines().filter(|name| !containers.contains(name)).map(|name| format!("container {name}")),
        );
        let sockets = fs::read_dir(self.file("/run/purser/debug")).into_iter().flatten().flatten();
        let sockets = sockets.map(|entry| entry.path().display().to_string());
        left.extend(sockets.filter(|path| path.ends_with(".sock")));
        let own = fs::read_link(format!("/proc/{}/ns/pid", self.dockerd))?;
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let is_there = || fs::read_link(format!("/proc/{pid}/ns/pid")).is_ok_and(|theirs| theirs == own);
            if (line.contains("purser") && is_there()) || line.contains("sleep\x004711") {
                left.push(format!("process {pid} {}", line.replace('\0', " ")));
            }
        }
        let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", self.dockerd))?;
        left.extend(
            mounts
                .lines()
                .filter(|line| line.contains("/dev/shm") && line.contains("overlay"))
                .map(str::to_owned),
        );
        Ok(left)
    }

    /// Waits until a process of a session runs in there, known by its argument.
    pub(super) fn runs(&self, argument: &str) -> Result<()> {
        wait_until(&format!("a process has the argument {argument}"), || {
            let wanted = format!("sleep\0{argument}\0");
            let all = fs::read_dir("/proc")?.flatten();
            Ok(all.into_iter().any(|entry| {
                fs::read_to_string(entry.path().join("cmdline")).is_ok_and(|line| line == wanted)
            }))
        })
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        if self.dockerd != 0 {
            drop(signal(self.dockerd, "CONT"));
            // Their cgroups go with the containers only.
            let names =
                output(&mut self.docker(&["ps", "-aq"])).map(|output| output.stdout).unwrap_or_default();
            let names = String::from_utf8_lossy(&names).into_owned();
            if !names.trim().is_empty() {
                drop(output(self.docker(&["rm", "-f"]).args(names.split_whitespace())));
            }
            drop(signal(self.dockerd, "TERM"));
        }
        if !matches!(wait_limited(&mut self.unshare, Duration::from_secs(20)), Ok(Some(_))) {
            drop(self.unshare.kill());
            drop(self.unshare.wait());
        }
        drop(fs::remove_dir_all(&self.dir));
    }
}

/// A port of this machine's loopback address that leads to the same one in the network of a process, until that is gone.
fn lead_into(pid: u32, port: u16) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let network = fs::File::open(format!("/proc/{pid}/ns/net"))?;
    std::thread::spawn(move || {
        for here in listener.incoming().map_while(Result::ok) {
            let Ok(network) = network.try_clone() else { return };
            std::thread::spawn(move || pass_on(here, &network, port));
        }
    });
    Ok(())
}

/// On a thread of its own, which stays in that network.
fn pass_on(here: TcpStream, network: &fs::File, port: u16) -> Result<()> {
    let kind = Some(rustix::thread::LinkNameSpaceType::Network);
    rustix::thread::move_into_link_name_space(network.as_fd(), kind)?;
    let there = TcpStream::connect(("127.0.0.1", port))?;
    let (from, to) = (here.try_clone()?, there.try_clone()?);
    let back = std::thread::spawn(move || copy(there, here));
    copy(from, to);
    drop(back.join());
    Ok(())
}

/// To the end of either side, which the other one hears.
fn copy(mut from: TcpStream, mut to: TcpStream) {
    if std::io::copy(&mut from, &mut to).is_err() {
        drop(from.shutdown(Shutdown::Both));
    }
    drop(to.shutdown(Shutdown::Write));
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Two authorities. The first has made a certificate of the server, for its address only, and `client`; the second has
/// made `stranger`, and `unknown` is `client` with the second authority's certificate to check the server by.
fn certificates(dir: &Path) -> Result<()> {
    let script = r#"
set -eu
cd "$1"
authority() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1-key.pem" -out "$1.pem" -days 2 -subj "/CN=$1"
}
signed() {
  mkdir -p "$1"
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1/key.pem" -out "$1/csr.pem" -subj "/CN=$1"
  printf '%s\n' "$3" > "$1/ext"
  openssl x509 -req -in "$1/csr.pem" -CA "$2.pem" -CAkey "$2-key.pem" -CAcreateserial -days 2 -extfile "$1/ext" -out "$1/cert.pem"
}
authority ca
authority other
signed server ca 'subjectAltName=IP:127.0.0.1'
signed client ca 'extendedKeyUsage=clientAuth'
signed stranger other 'extendedKeyUsage=clientAuth'
cp ca.pem client/ca.pem
cp ca.pem stranger/ca.pem
mkdir -p unknown
cp client/cert.pem client/key.pem unknown/
cp other.pem unknown/ca.pem
"#;
    run(Command::new("sh").args(["-c", script, "certificates"]).arg(dir)).map(drop)
}

/// Keys of SSH, and what server and client are told of them.
fn keys(dir: &Path) -> Result<()> {
    for name in ["host_key", "user_key", "stranger_key"] {
        run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(dir.join(name)))?;
    }
    fs::copy(dir.join("user_key.pub"), dir.join("authorized_keys"))?;
    let host_key = fs::read_to_string(dir.join("host_key.pub"))?;
    let host_key: Vec<&str> = host_key.split_whitespace().take(2).collect();
    fs::write(dir.join("known_hosts"), format!("far {}\n", host_key.join(" ")))?;
    fs::write(dir.join("unknown_hosts"), "")?;
    let at = |name: &str| dir.join(name).display().to_string();
    let server = format!(
        "ListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\n\
         PasswordAuthentication no\nPermitRootLogin prohibit-password\n",
        at("host_key"),
        at("authorized_keys")
    );
    fs::write(dir.join("sshd_config"), server)?;
    for (name, key, hosts) in [
        ("ssh_config", "user_key", "known_hosts"),
        ("stranger_config", "stranger_key", "known_hosts"),
        ("unknown_config", "user_key", "unknown_hosts"),
    ] {
        let client = format!(
            "HostKeyAlias far\nIdentityFile {}\nIdentitiesOnly yes\nIdentityAgent none\nUserKnownHostsFile {}\n\
             GlobalKnownHostsFile none\nStrictHostKeyChecking yes\n",
            at(key),
            at(hosts)
        );
        fs::write(dir.join(name), client)?;
    }
    Ok(())
}
