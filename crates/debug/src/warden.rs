// SPDX-License-Identifier: Apache-2.0
//! The process that stands in the target's namespaces for the session: it builds the root, starts the program,
//! takes in whoever loses a parent, and at the end leaves nobody behind. What it ends it also reaps, so that
//! no zombie falls to the target's first process.
//!
//! It is born in the target's pid namespace when all of that is done but for the program: a root in the target can
//! see it, and may trace it when it may trace everything. So nobody is ever seen there who holds anything that is
//! worth that: no directory of the host, no right that the session's program does not have, but those to become
//! its user and to send signals. A parent outside of the namespace makes everything ready and then only waits.

use crate::group::{Entrance, Members};
use crate::link::{Kind, Link, Received};
use crate::program::{self, Streams};
use crate::root::{self, Parts, StepError, step};
use crate::spec::{Failure, Spec};
use crate::traced::{self, Traced};
use crate::{rights, terminal, users};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Gid, Pid, Signal, Uid, WaitOptions, getpid, kill_process, kill_process_group, set_child_subreaper, wait,
    waitpid,
};
use rustix::thread::{
    ThreadNameSpaceType, move_into_thread_name_spaces, set_name, set_thread_res_gid, set_thread_res_uid,
};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use sys::process::{Forked, exit_now, fork};

/// Rounds of killing whoever is left.
const ROUNDS: usize = 64;
/// Time after each for the killed to end; all rounds, and the time for debuggers, are shorter than the keeper's patience.
/// On a busy host it takes a while until somebody who was killed gets the CPU to end.
const ROUND: Duration = Duration::from_millis(40);
/// Time for debuggers to take their breakpoints back, and between two looks at them.
const GRACE: Duration = Duration::from_secs(2);
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
/// The longest message from a program that could not be started.
const STATUS_LIMIT: u64 = 16 << 10;

/// What the warden brings along from the host.
#[derive(Debug)]
pub(crate) struct Luggage {
    pub(crate) link: Link,
    pub(crate) target: OwnedFd,
    /// The root of the target's process.
    pub(crate) root: OwnedFd,
    pub(crate) parts: Parts,
    pub(crate) entrance: Entrance,
    pub(crate) streams: [OwnedFd; 3],
}

/// Does everything; the process ends with it.
pub(crate) fn run(spec: &Spec, luggage: Luggage) -> ! {
    let Luggage { link, target, root, parts, entrance, streams } = luggage;
    let ready = set_up(spec, &link, (target, root, parts), &entrance, streams);
    // The files by which a process enters a cgroup are the host's.
    let Entrance { members, unified, tasks } = entrance;
    drop((unified, tasks));
    let forked = ready.and_then(|streams| {
        let forked = fork(None).map_err(step("starting a process in the target's pid namespace"))?;
        Ok((streams, forked))
    });
    match forked {
        Ok((streams, Forked::Child)) => stand(spec, &link, members, streams),
        Ok((streams, Forked::Parent { child })) => {
            // Whoever waits for the end of the link hears the warden's.
            drop((link, streams, members));
            waitpid(Some(child), WaitOptions::empty()).unwrap_or_default();
        }
        Err(failure) => tell_failure(&link, &failure),
    }
    exit_now(0)
}

/// The warden itself.
fn stand(spec: &Spec, link: &Link, members: Members, streams: Streams) {
    // A name in lists of processes; one that cannot be had is no loss.
    set_name(c"purser-warden").unwrap_or_default();
    match Warden::start(spec, members, streams) {
        Ok(mut warden) => warden.watch(link),
        Err(failure) => tell_failure(link, &failure),
    }
}

fn tell_failure(link: &Link, failure: &Failure) {
    let payload = failure.payload();
    // A keeper that is gone has nobody to tell.
    link.send(Kind::Failed, &payload, &[]).unwrap_or_default();
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Failure {
        let hint = match error.source.raw_os_error() {
            Some(3) => "; the target has ended",
            Some(28) => "; something is full, or at its limit of mounts, terminals or memory",
            Some(38) => "; this kernel is too old: Linux 5.12 is needed",
            _ => "",
        };
        Failure::ours(format!("{error}{hint}"))
    }
}

fn set_up(
    spec: &Spec,
    link: &Link,
    (target, old_root, parts): (OwnedFd, OwnedFd, Parts),
    entrance: &Entrance,
    streams: [OwnedFd; 3],
) -> Result<Streams, Failure> {
    // First of all, so that whatever is made from here on counts for the session.
    entrance.enter().map_err(step("entering the session's cgroup"))?;
    let all = ThreadNameSpaceType::from_bits_retain(spec.facts.namespaces);
    if !all.is_empty() {
        // As for the pid namespace, children are born in it and this process stays where it is.
        move_into_thread_name_spaces(target.as_fd(), all).map_err(entering)?;
    }
    if all.contains(ThreadNameSpaceType::USER) {
        become_inner_root().map_err(step("becoming root of the target's user namespace"))?;
    }
    root::build(old_root.as_fd(), parts, spec.way, spec.privileged)?;
    let streams = connect(spec, link, streams)?;
    rights::confine(spec.capabilities.and(spec.granted)).map_err(step("giving up capabilities"))?;
    Ok(streams)
}

fn entering(error: rustix::io::Errno) -> Failure {
    let hint = match error {
        rustix::io::Errno::NOMEM | rustix::io::Errno::INVAL => {
            "; has the target's first process ended? then its pid namespace is over"
        }
        _ => "",
    };
    Failure::ours(format!("entering the target's namespaces: {error}{hint}"))
}

/// The client's streams, or a terminal of the target's.
fn connect(spec: &Spec, link: &Link, streams: [OwnedFd; 3]) -> Result<Streams, Failure> {
    let Some(window) = spec.terminal else { return Ok(Streams::Own(streams)) };
    let owner = users::identity(spec.user.as_deref()).map_err(Failure::ours)?.user;
    let terminal = terminal::new(window, spec.utf8, owner)?;
    link.send(Kind::Master, b"", &[terminal.master.as_fd()]).map_err(step("handing the terminal over"))?;
    Ok(Streams::Terminal(terminal.slave))
}

/// The host's root is nobody in there, and what nobody makes belongs to nobody.
fn become_inner_root() -> rustix::io::Result<()> {
    let (user, group) = (Uid::ROOT, Gid::ROOT);
    // Where neither is mapped, every capability is there all the same.
    match set_thread_res_gid(group, group, group).and_then(|()| set_thread_res_uid(user, user, user)) {
        Err(rustix::io::Errno::INVAL) => Ok(()),
        result => result,
    }
}

/// The session's processes, seen from inside.
struct Warden {
    program: Pid,
    /// The end of the pipe on which a failed start is told; closed by a start.
    status: Option<UnixStream>,
    /// A byte comes whenever a child ends.
    ends: UnixStream,
    members: Members,
    exit: Option<u8>,
    /// Whether it had no child when it looked last.
    is_alone: bool,
}

impl Warden {
    fn start(spec: &Spec, members: Members, streams: Streams) -> Result<Warden, Failure> {
        let own = getpid();
        let who = users::identity(spec.user.as_deref()).map_err(Failure::ours)?;
        set_child_subreaper(Some(own)).map_err(step("taking in orphans"))?;
        let (ends, told) = UnixStream::pair().map_err(step("making a pair of sockets"))?;
        signal_hook::low_level::pipe::register(rustix::process::Signal::CHILD.as_raw(), told)
            .map_err(step("watching for ends of processes"))?;
        let (status, mut its_status) = UnixStream::pair().map_err(step("making a pair of sockets"))?;
        match fork(None).map_err(step("starting a process in the target"))? {
            Forked::Child => {
                let failure = program::become_program(spec, who, streams, own);
                let payload = failure.payload();
                its_status.write_all(&payload).unwrap_or_default();
                exit_now(failure.code)
            }
            Forked::Parent { child } => {
                let mut warden = Warden {
                    program: child,
                    status: Some(status),
                    ends,
                    members,
                    exit: None,
                    is_alone: false,
                };
                drop((streams, its_status));
                if let Err(error) = rights::only_signals().and_then(|()| warden.ends.set_nonblocking(true)) {
                    warden.clear();
                    return Err(step("giving up capabilities")(error).into());
                }
                Ok(warden)
            }
        }
    }

    /// Until the program has ended or the session is to end.
    fn watch(&mut self, link: &Link) {
        loop {
            let ready = self.wait_for_news(link);
            if ready.status && self.take_status(link) {
                break;
            }
            if ready.ends && self.reap() {
                // Its last words come before its end.
                if self.status.is_some() && self.take_status(link) {
                    break;
                }
                let code = self.exit.unwrap_or_default();
                link.send(Kind::Exited, &[code], &[]).unwrap_or_default();
                break;
            }
            if ready.link && self.obey(link) {
                break;
            }
        }
        self.clear();
    }

    fn wait_for_news(&self, link: &Link) -> News {
        let mut polled = vec![PollFd::new(link, PollFlags::IN), PollFd::new(&self.ends, PollFlags::IN)];
        polled.extend(self.status.iter().map(|status| PollFd::new(status, PollFlags::IN)));
        // An interrupted wait is one that nothing came of.
        let woken = poll(&mut polled, None).is_ok();
        let is = |at: usize| woken && polled.get(at).is_some_and(|one| !one.revents().is_empty());
        News { link: is(0), ends: is(1), status: is(2) }
    }

    /// Whether the start has failed.
    fn take_status(&mut self, link: &Link) -> bool {
        let Some(status) = self.status.take() else { return false };
        let mut text = Vec::new();
        // Nothing but the end of it: the program runs.
        status.take(STATUS_LIMIT).read_to_end(&mut text).unwrap_or_default();
        match serde_json::from_slice::<Failure>(&text) {
            Ok(failure) => {
                tell_failure(link, &failure);
                true
            }
            Err(_) => {
                link.send(Kind::Started, b"", &[]).unwrap_or_default();
                false
            }
        }
    }

    /// Takes whoever has ended; true when the program is among them.
    fn reap(&mut self) -> bool {
        let mut bytes = [0; 64];
        while matches!(self.ends.read(&mut bytes), Ok(1..)) {}
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.program => {
                    let code = status.exit_status().or_else(|| Some(128 + status.terminating_signal()?));
                    self.exit = Some(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(255));
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => {
                    self.is_alone = true;
                    break;
                }
            }
        }
        self.exit.is_some()
    }

    /// Takes those who were killed, until nobody is left or the time is over.
    fn reap_killed(&mut self) {
        let over = Instant::now() + ROUND;
        self.is_alone = false;
        loop {
            self.reap();
            let left = over.saturating_duration_since(Instant::now());
            if self.is_alone || left.is_zero() {
                return;
            }
            let mut ended = [PollFd::new(&self.ends, PollFlags::IN)];
            poll(&mut ended, Some(&Timespec::try_from(left).unwrap_or_default())).unwrap_or_default();
        }
    }

    /// Whether the session is to end.
    fn obey(&mut self, link: &Link) -> bool {
        match link.take() {
            Received::Nothing => false,
            Received::Closed => true,
            Received::Message(message) => match (message.kind, message.payload.as_slice()) {
                (Kind::Signal, &[number]) => {
                    if let Some(signal) = Signal::from_named_raw(i32::from(number)) {
                        // It may have ended.
                        kill_process_group(self.program, signal).unwrap_or_default();
                    }
                    false
                }
                (Kind::End, _) => true,
                _ => false,
            },
        }
    }

    /// Everybody in the session but this process.
    fn others(&mut self) -> Vec<Pid> {
        self.reap();
        let own = getpid();
        self.members.look().unwrap_or_default().into_iter().filter(|pid| *pid != own).collect()
    }

    /// Has those who trace somebody let go by themselves. A breakpoint is an instruction in the program, and one that is
    /// left behind kills whoever comes by it. Those who were traced are given back: a tracer may end and leave them stopped.
    fn ask_tracers(&mut self) -> Vec<Traced> {
        let begun = Instant::now();
        let mut asked: Vec<Pid> = Vec::new();
        let mut seen: Vec<Traced> = Vec::new();
        // Once: there are not many looks.
        let others = self.others();
        while begun.elapsed() < GRACE {
            let traced = traced::by(&others);
            if traced.is_empty() {
                break;
            }
            for Traced { pid, tracer } in traced {
                if !seen.iter().any(|one| one.pid == pid) {
                    seen.push(Traced { pid, tracer });
                }
                if !asked.contains(&tracer) {
                    asked.push(tracer);
                    kill_process(tracer, Signal::TERM).unwrap_or_default();
                    // One that is stopped hears nothing.
                    kill_process(tracer, Signal::CONT).unwrap_or_default();
                }
            }
            let mut ended = [PollFd::new(&self.ends, PollFlags::IN)];
            poll(&mut ended, Some(&LOOK)).unwrap_or_default();
            self.reap();
        }
        seen
    }

    /// Ends and reaps everybody who is left.
    fn clear(&mut self) {
        let mut traced = self.ask_tracers();
        for _ in 0..ROUNDS {
            let others = self.others();
            if others.is_empty() {
                break;
            }
            traced.extend(traced::by(&others));
            for pid in others {
                kill_process(pid, Signal::KILL).unwrap_or_default();
            }
            self.reap_killed();
        }
        self.reap();
        traced::let_go(&traced);
    }
}

/// What there is to look at.
struct News {
    link: bool,
    ends: bool,
    status: bool,
}
