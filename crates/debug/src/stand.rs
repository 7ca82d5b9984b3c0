// SPDX-License-Identifier: Apache-2.0
//! A target for what does not run: a *stand-in*, a process of ours that is the first of new namespaces and whose
//! root is an overlay of the caller's directories. A session enters it as it enters any other target.
//!
//! Nothing below the overlay changes: what the session writes is in a file system in memory that nobody else
//! sees. The stand-in lives as long as somebody holds the other end of its socket, which is the client and then
//! the keeper; the kernel ends with it all processes of its pid namespace and takes away its mounts.

mod dev;
mod floor;
mod inside;

use crate::error::host;
use crate::link::{Kind, Link};
use crate::rights::Capabilities;
use crate::spec::Failure;
use crate::target::Target;
use crate::{DIRECTORY, DebugError, exe, handover};
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

pub use inside::stand;

/// What a container gets from Docker, and so do Podman's and containerd's for the most part.
const USUAL: [&str; 13] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SYS_CHROOT",
    "AUDIT_WRITE",
    "SETFCAP",
];

/// What a stand-in is to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stand {
    /// The host name inside.
    pub name: String,
    /// The PATH of its environment.
    pub path: Option<String>,
    /// Its current directory; `/` when there is no such one.
    pub work_dir: PathBuf,
    /// Bytes of memory for what is changed, and as many again for what `note` has unpacked.
    pub room: u64,
    /// Whether the layers' marks are attributes of users, as in stores of rootless engines.
    pub user_marks: bool,
    /// What the caller wants handed to the function that opens the layers.
    pub note: String,
}

/// What a stand-in's root is made of.
#[derive(Debug, Default)]
pub struct Layers {
    /// The directories, the highest first. They are only read.
    pub from_top: Vec<OwnedFd>,
    /// Directories and files of the host to be mounted in there, read-only: where from, and where.
    pub volumes: Vec<(PathBuf, PathBuf)>,
}

/// What a stand-in says when it is about to stand.
#[derive(Debug, Serialize, Deserialize)]
struct Standing {
    /// Its number on the host.
    pid: i32,
    /// Places in it whose volumes are not there any more.
    left_out: Vec<String>,
}

/// The client's hold on a stand-in.
#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) link: Link,
    child: Child,
}

impl Capabilities {
    /// Those of a container that asks for nothing.
    #[must_use]
    pub fn of_containers() -> Capabilities {
        let all = USUAL.iter().filter_map(|name| name.parse().ok());
        all.fold(Capabilities::default(), |all, one: Capabilities| all.and(one))
    }
}

/// Starts a stand-in, which is the target then. `arguments` are those that make this program call [`stand`].
///
/// # Errors
/// When it cannot be; nothing of it is left.
pub fn stand_in(arguments: &[&str], stand: &Stand) -> Result<Target, DebugError> {
    let exe = exe::unwritable(DIRECTORY.as_ref()).map_err(host("taking hold of this program's file"))?;
    let (link, its_link) = Link::pair().map_err(host("making a pair of sockets"))?;
    let mut command = Command::new(format!("/proc/self/fd/{}", exe.as_raw_fd()));
    // The only thing of a container's environment that a session takes over.
    command.arg0("purser").args(arguments).env_clear().envs(stand.path.iter().map(|path| ("PATH", path)));
    command.stdin(Stdio::from(OwnedFd::from(its_link))).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().map_err(host("starting a process to stand in for the target"))?;
    // It holds the other end, whose closing is how a killed child is heard of.
    drop(command);
    let mut hold = Hold { link, child };
    match wait(&hold.link, stand) {
        Ok(Standing { pid, left_out }) => match Target::open(pid) {
            Ok(target) => Ok(Target { hold: Some(hold), left_out, ..target }),
            Err(error) => {
                hold.finish();
                Err(error)
            }
        },
        Err(error) => {
            // It may be unpacking, and hear nothing.
            hold.child.kill().unwrap_or_default();
            hold.finish();
            Err(error)
        }
    }
}

/// Hands everything over and waits until it stands.
fn wait(link: &Link, stand: &Stand) -> Result<Standing, DebugError> {
    let text = handover::put(stand)?;
    link.send(Kind::Start, b"", &[text.as_fd()]).map_err(host("handing over what the target is to be"))?;
    // One process tells what it is and the next that it stands, in whatever order they get to it.
    let (mut standing, mut stands) = (None, false);
    loop {
        let message = link.receive().map_err(host("waiting for the target to stand"))?;
        let gone = || DebugError::Failed(Failure::ours("what was to stand in for the target was killed"));
        let message = message.ok_or_else(gone)?;
        match message.kind {
            Kind::Described => {
                let told = serde_json::from_slice(&message.payload).map_err(|_| DebugError::Message)?;
                standing = Some(told);
            }
            Kind::Started => stands = true,
            Kind::Failed => {
                let failure = serde_json::from_slice(&message.payload);
                return Err(failure.map_or(DebugError::Message, DebugError::Failed));
            }
            _ => return Err(DebugError::Message),
        }
        if stands && let Some(standing) = standing.take() {
            return Ok(standing);
        }
    }
}

impl Hold {
    /// Lets go, and waits until nothing is left of it.
    pub(crate) fn finish(self) {
        let Hold { link, mut child } = self;
        drop(link);
        // A child that nobody can wait for has been waited for.
        child.wait().map(drop).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::{Stand, Standing, wait};
    use crate::DebugError;
    use crate::link::{Kind, Link};

    fn heard(messages: &[(Kind, &[u8])]) -> Result<Standing, DebugError> {
        let (one, other) = Link::pair().unwrap();
        for (kind, payload) in messages {
            other.send(*kind, payload, &[]).unwrap();
        }
        let stand = Stand {
            name: String::new(),
            path: None,
            work_dir: "/".into(),
            room: 0,
            user_marks: false,
            note: String::new(),
        };
        // Ours is heard, and then its end is closed.
        let heard = std::thread::spawn(move || drop((other.receive(), other)));
        let waited = wait(&one, &stand);
        heard.join().unwrap();
        waited
    }

    #[test]
    fn whoever_comes_first() {
        let described: (Kind, &[u8]) = (Kind::Described, br#"{"pid":7,"left_out":[]}"#);
        let started: (Kind, &[u8]) = (Kind::Started, b"");
        for messages in [[described, started], [started, described]] {
            assert_eq!(heard(&messages).unwrap().pid, 7);
        }
        for messages in [[started, started], [described, described]] {
            assert!(heard(&messages).unwrap_err().to_string().contains("was killed"));
        }
        let odd: (Kind, &[u8]) = (Kind::Described, b"{");
        assert!(matches!(heard(&[odd, started]), Err(DebugError::Message)));
        assert!(matches!(heard(&[(Kind::Exited, b"")]), Err(DebugError::Message)));
    }
}
