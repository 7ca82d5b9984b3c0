// SPDX-License-Identifier: Apache-2.0
//! From a client's message to a session with a warden: everything on the host that comes before the target
//! is entered, in the order in which a failure leaves nothing behind.

use super::guests::Door;
use super::{Client, End, Keeper, START_PATIENCE};
use crate::group::{Entrance, Group, clear_stale};
use crate::handover;
use crate::link::{Kind, Link, Message};
use crate::root::{Parts, StepError, step};
use crate::spec::{Failure, Kit, Spec};
use crate::target::is_over;
use crate::terminal::Saved;
use crate::warden::{self, Luggage};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::process::{DumpableBehavior, Pid, set_dumpable_behavior, setsid};
use rustix::thread::{set_name, set_thread_groups};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use sys::process::{Forked, close_inherited, fork};

/// A keeper with a warden. Without one there is nothing to keep: the client has been told, and the caller's note
/// and the failure are given back as far as there are any.
pub(super) fn begin() -> Result<Keeper, Option<(String, Failure)>> {
    let link = own_world().map_err(|_| None)?;
    let message = link.receive().ok().flatten().ok_or(None)?;
    let (note, begun) = match take_over(message) {
        Ok((spec, held)) => (Some(spec.note.clone()), with_warden(spec, held, link)),
        Err(failure) => (None, Err((link, failure))),
    };
    begun.map_err(|(link, failure)| {
        let payload = failure.payload();
        link.send(Kind::Failed, &payload, &[]).unwrap_or_default();
        note.map(|note| (note, failure))
    })
}

/// Leaves the client's session and groups, and lets nobody look in. Standard input becomes what it should be.
pub(crate) fn own_world() -> io::Result<Link> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // A directory of the host that the client's shell left open would be a way out of the session.
    close_inherited(3)?;
    set_name(c"purser-debug")?;
    setsid()?;
    set_thread_groups(&[])?;
    rustix::process::chdir("/")?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let link = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let nothing = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&nothing)?;
    rustix::stdio::dup2_stdout(&nothing)?;
    rustix::stdio::dup2_stderr(&nothing)?;
    Ok(Link::from(link))
}

/// What came with the client's message.
struct Held {
    target: OwnedFd,
    hold: Option<OwnedFd>,
    streams: [OwnedFd; 3],
}

fn take_over(message: Message) -> Result<(Spec, Held), Failure> {
    let odd = || Failure::ours("an unreadable message from the client");
    let mut descriptors = message.descriptors;
    // Of a target that only stands in: it stands as long as this is open.
    let hold = descriptors.split_off(descriptors.len().min(5)).pop();
    let [text, target, input, output, errors] = <[OwnedFd; 5]>::try_from(descriptors).map_err(|_| odd())?;
    let spec = handover::take(text).map_err(|_| odd())?;
    Ok((spec, Held { target, hold, streams: [input, output, errors] }))
}

/// What the keeper has and the warden must not have.
struct Host {
    client: Client,
    door: Door,
    group: Group,
    target: OwnedFd,
    link: Link,
    kits: Vec<OwnedFd>,
    hold: Option<OwnedFd>,
}

fn with_warden(spec: Spec, held: Held, client: Link) -> Result<Keeper, (Link, Failure)> {
    let (parts, root, saved) = match gather(&spec, &held) {
        Ok(gathered) => gathered,
        Err(failure) => return Err((client, failure)),
    };
    // The door is there before the cgroup: whoever collects knocks before it takes away.
    let door = match Door::make(&spec.directory, &spec.id) {
        Ok(door) => door,
        Err(error) => return Err((client, step("making the session's socket")(error).into())),
    };
    let give_up = |client: Client, mut door: Door, failure: Failure| {
        door.close();
        clear_stale(&spec.id);
        client.saved.into_iter().for_each(Saved::forget);
        (client.link, failure)
    };
    let client = Client { link: client, saved };
    let (group, entrance, link, its_link, target) = match inside(&spec, &held) {
        Ok(all) => all,
        Err(error) => return Err(give_up(client, door, error.into())),
    };
    let unified = entrance.unified.as_ref().and_then(|dir| dir.try_clone().ok());
    let luggage =
        Luggage { link: its_link, target: held.target, root, parts, entrance, streams: held.streams };
    let host = Host { client, door, group, target, link, kits: held_kits(&spec.kits), hold: held.hold };
    match fork(unified.as_ref().map(|dir| dir.as_fd())) {
        Ok(Forked::Child) => {
            drop(unified);
            host.leave();
            warden::run(&spec, luggage)
        }
        Ok(Forked::Parent { child }) => Ok(keeper(spec, host, child)),
        Err(error) => {
            host.group.clear();
            let hint = why_no_fork(&error);
            let doing = "starting a process for the session";
            Err(give_up(host.client, host.door, Failure::ours(format!("{doing}: {error}{hint}"))))
        }
    }
}

/// Shared locks on what must not be removed. A kit that is being removed just now is mounted already.
fn held_kits(kits: &[Kit]) -> Vec<OwnedFd> {
    let hold = |path: &PathBuf| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(path, flags, Mode::empty()).ok()?;
        flock(&directory, FlockOperation::NonBlockingLockShared).ok().map(|()| directory)
    };
    kits.iter().filter_map(|kit| kit.hold.as_ref()).filter_map(hold).collect()
}

fn why_no_fork(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(11) => "; there is no room for another process (pids.max of the caller, or the host's limit)",
        _ => "",
    }
}

impl Host {
    /// In the warden: nothing of it stays, and nothing is done to it.
    fn leave(self) {
        self.client.saved.into_iter().for_each(Saved::forget);
        self.door.leave();
        drop((self.kits, self.hold));
    }
}

fn gather(spec: &Spec, held: &Held) -> Result<(Parts, OwnedFd, Option<Saved>), Failure> {
    let parts = Parts::gather(spec)?;
    let root = format!("/proc/{}/root", spec.facts.pid);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = open(&root, flags, Mode::empty()).map_err(step("opening the target's root"))?;
    // The number in the path meant the target, and not whoever came after it.
    if is_over(held.target.as_fd()) {
        return Err(Failure::ours("the target ended while the session began"));
    }
    let saved = spec.terminal.and_then(|_| Saved::of(held.streams.first()?.try_clone().ok()?).ok());
    Ok((parts, root, saved))
}

type Inside = (Group, Entrance, Link, Link, OwnedFd);

/// The cgroup, and the warden's socket.
fn inside(spec: &Spec, held: &Held) -> Result<Inside, StepError> {
    let group = Group::make(&spec.cgroup, spec.limits).map_err(step("making the session's cgroup"))?;
    let entrance = group.entrance().map_err(step("opening the session's cgroup"))?;
    let (link, its_link) = Link::pair().map_err(step("making a pair of sockets"))?;
    let target = held.target.try_clone().map_err(step("holding the target"))?;
    Ok((group, entrance, link, its_link, target))
}

fn keeper(spec: Spec, host: Host, warden: Pid) -> Keeper {
    let limit = spec.limit_secs.and_then(|secs| Instant::now().checked_add(Duration::from_secs(secs)));
    Keeper {
        spec,
        group: host.group,
        _kits: host.kits,
        _hold: host.hold,
        door: host.door,
        target: host.target,
        warden: Some(warden),
        link: host.link,
        client: Some(host.client),
        screen: None,
        end: End {
            started: false,
            deadline: Some(Instant::now() + START_PATIENCE),
            limit,
            asked: false,
            why: None,
            code: None,
            failure: None,
        },
    }
}
