// SPDX-License-Identifier: Apache-2.0
//! The stand-in's own side, two processes. The outer one is the client's child: it makes the namespaces and all
//! mounts but /proc, and then waits for the inner one, which is the first in the pid namespace and what a session
//! enters. The inner one has no directory of the host and no rights beyond a container's.

use super::{Layers, Stand, Standing, dev, floor};
use crate::keeper;
use crate::link::{Kind, Link};
use crate::root::{StepError, step};
use crate::spec::Failure;
use crate::{DIRECTORY, handover, rights};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socket_with};
use rustix::process::{
    Pid, Signal, WaitOptions, chdir, fchdir, getppid, pivot_root, set_parent_process_death_signal, wait,
    waitpid,
};
use rustix::system::sethostname;
use rustix::thread::set_name;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use sys::process::{Forked, exit_now, fork, own_namespaces};

/// The longest host name.
const NAME_LIMIT: usize = 63;

/// The main function of a stand-in, whose standard input is the client's socket. `open` gets the caller's note and
/// an empty directory in memory, and opens the layers; it is called in the stand-in's mount namespace.
pub fn stand(open: impl FnOnce(&str, BorrowedFd<'_>) -> Result<Layers, String>) -> u8 {
    let Ok(link) = keeper::own_world() else { return 1 };
    match raise(&link, open) {
        Ok(inner) => {
            // From here on the socket alone tells when it is over, and the inner one listens to it.
            set_parent_process_death_signal(None).unwrap_or_default();
            drop(link);
            waitpid(Some(inner), WaitOptions::empty()).map(drop).unwrap_or_default();
            0
        }
        Err(failure) => {
            tell(&link, &failure);
            1
        }
    }
}

fn tell(link: &Link, failure: &Failure) {
    let payload = failure.payload();
    // A client that is gone has nobody to tell.
    link.send(Kind::Failed, &payload, &[]).unwrap_or_default();
}

fn raise(
    link: &Link,
    open: impl FnOnce(&str, BorrowedFd<'_>) -> Result<Layers, String>,
) -> Result<Pid, Failure> {
    set_name(c"purser-stand").map_err(step("taking a name"))?;
    // A client that is interrupted meanwhile takes this process along.
    let parent = getppid();
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(step("watching for the client's end"))?;
    let stand = take_over(link).ok_or_else(|| Failure::ours("an unreadable message from the client"))?;
    if getppid() != parent {
        return Err(Failure::ours("the client is gone"));
    }
    own_namespaces().map_err(step("making namespaces"))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(step("cutting the mounts off from the host's"))?;
    sethostname(&host_name(&stand.name)).map_err(step("setting the host name"))?;
    loopback().map_err(step("bringing the loopback interface up"))?;
    let (root, left_out) = tree(&stand, open)?;
    dev::devices_and_system(root.as_fd())?;
    match fork(None).map_err(step("starting the first process"))? {
        Forked::Parent { child } => {
            let standing = Standing { pid: child.as_raw_nonzero().get(), left_out };
            let text = serde_json::to_vec(&standing).unwrap_or_default();
            link.send(Kind::Described, &text, &[]).map_err(step("telling the client"))?;
            Ok(child)
        }
        Forked::Child => {
            match enter(&stand, root, link) {
                Ok(ends) => stay(link, &ends),
                Err(error) => tell(link, &error.into()),
            }
            exit_now(0)
        }
    }
}

fn take_over(link: &Link) -> Option<Stand> {
    let [text] = <[OwnedFd; 1]>::try_from(link.receive().ok()??.descriptors).ok()?;
    handover::take(text).ok()
}

/// Letters, digits and hyphens of a name.
fn host_name(name: &str) -> Vec<u8> {
    let is_right = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    let name: Vec<u8> =
        name.bytes().map(|byte| if is_right(&byte) { byte } else { b'-' }).take(NAME_LIMIT).collect();
    if name.is_empty() { b"purser".to_vec() } else { name }
}

/// The root with its volumes, and those that were left out. All that is in memory goes away with the namespace.
fn tree(
    stand: &Stand,
    open: impl FnOnce(&str, BorrowedFd<'_>) -> Result<Layers, String>,
) -> Result<(OwnedFd, Vec<String>), Failure> {
    // Two, so that what was unpacked leaves the session its room.
    let unpacked = floor::Room::make(DIRECTORY.as_ref(), stand.room)?;
    let directory = unpacked.directory(c"layers")?;
    let layers = open(&stand.note, directory.as_fd()).map_err(Failure::ours)?;
    let room = floor::Room::make(DIRECTORY.as_ref(), stand.room)?;
    let root = floor::overlay(&room, &layers.from_top, stand.user_marks)?;
    let left_out = floor::volumes(root.as_fd(), &layers.volumes);
    Ok((root, left_out))
}

/// A message to the kernel (rtnetlink, the first of the protocols) that sets the flag "up" of the first interface.
fn loopback() -> io::Result<()> {
    const SET_LINK: u16 = 16;
    const REQUEST: u16 = 1;
    const UP: u32 = 1;
    let mut message = Vec::with_capacity(32);
    message.extend(32_u32.to_ne_bytes());
    message.extend(SET_LINK.to_ne_bytes());
    message.extend(REQUEST.to_ne_bytes());
    message.extend([0; 8]);
    // Family, kind; the number of the interface, its flags, and which of them are to change.
    message.extend([0; 4]);
    message.extend(1_u32.to_ne_bytes());
    message.extend(UP.to_ne_bytes());
    message.extend(UP.to_ne_bytes());
    let kernel = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    send(&kernel, &message, SendFlags::empty())?;
    Ok(())
}

/// In the first process: /proc, the new root, and only a container's rights.
fn enter(stand: &Stand, root: OwnedFd, link: &Link) -> Result<UnixStream, StepError> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(step("watching for the parent's end"))?;
    dev::processes(root.as_fd())?;
    fchdir(&root).map_err(step("entering the root"))?;
    pivot_root(".", ".").map_err(step("entering the root"))?;
    unmount(".", UnmountFlags::DETACH).map_err(step("leaving the host's root"))?;
    chdir("/").map_err(step("entering the root"))?;
    drop(root);
    // An image may name a directory that it does not have.
    chdir(&stand.work_dir).unwrap_or_default();
    let nothing = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let nothing = nothing.map_err(step("opening /dev/null"))?;
    for stream in [rustix::stdio::dup2_stdin, rustix::stdio::dup2_stdout, rustix::stdio::dup2_stderr] {
        stream(&nothing).map_err(step("opening /dev/null"))?;
    }
    let doing = || step::<io::Error>("watching for ends of processes");
    let (ends, told) = UnixStream::pair().map_err(doing())?;
    signal_hook::low_level::pipe::register(Signal::CHILD.as_raw(), told).map_err(doing())?;
    ends.set_nonblocking(true).map_err(doing())?;
    rights::limit(crate::Capabilities::of_containers(), true, true)
        .map_err(step("giving up capabilities"))?;
    link.send(Kind::Started, b"", &[]).map_err(step("telling the client"))?;
    Ok(ends)
}

/// Until nobody holds the other end any more. Takes in whoever loses a parent.
fn stay(link: &Link, mut ends: &UnixStream) {
    loop {
        let mut polled = [PollFd::new(link, PollFlags::IN), PollFd::new(ends, PollFlags::IN)];
        // An interrupted wait is one that nothing came of.
        let woken = poll(&mut polled, None).is_ok();
        let is_over =
            polled.first().is_some_and(|one| one.revents().intersects(PollFlags::HUP | PollFlags::ERR));
        if woken && is_over {
            return;
        }
        let mut bytes = [0; 64];
        while matches!(ends.read(&mut bytes), Ok(1..)) {}
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
    }
}

#[cfg(test)]
mod tests {
    use super::host_name;

    #[test]
    fn names() {
        assert_eq!(host_name("registry/app:1"), b"registry-app-1");
        assert_eq!(host_name(""), b"purser");
        assert_eq!(host_name(&"x".repeat(200)).len(), 63);
    }
}
