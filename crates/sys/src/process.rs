// SPDX-License-Identifier: Apache-2.0
//! Processes that go on with the program they are a copy of, and their way out.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Which of the two processes this is.
#[derive(Debug)]
pub enum Forked {
    /// The one that asked.
    Parent {
        /// The new one, as this process's pid namespace numbers it.
        child: rustix::process::Pid,
    },
    /// The new one. It owns copies of all descriptors and should close what it has no use for.
    Child,
}

/// The arguments of clone3, as of Linux 5.7 (include/uapi/linux/sched.h).
#[repr(C)]
#[derive(Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// The process that connected a unix socket, as this pid namespace numbers it; `None` when it is in another one, for
/// which rustix has no value.
pub fn peer(socket: BorrowedFd<'_>) -> Option<i32> {
    let mut who = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = libc::socklen_t::try_from(size_of::<libc::ucred>()).ok()?;
    // SAFETY: the structure and the length given for it outlive the call, and are written within that length.
    #[expect(unsafe_code, reason = "rustix takes 0 for a number that is not 0")]
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut who).cast(),
            &raw mut length,
        )
    };
    (result == 0 && who.pid > 0).then_some(who.pid)
}

/// Turns this process into a program, with signals as a program expects them. `file` is executed as it is: the C
/// library's function, and so the standard library's, hands what is no program to a shell.
pub fn execute(file: &CStr, words: &[CString], environment: &[CString]) -> io::Error {
    let list =
        |all: &[CString]| all.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>();
    let (words, environment) = (list(words), list(environment));
    heed_all_signals();
    // SAFETY: `file` and the texts behind both lists end with a zero, the lists with a null, and all outlive the call.
    #[expect(unsafe_code, reason = "rustix has no execve")]
    unsafe {
        libc::execve(file.as_ptr(), words.as_ptr(), environment.as_ptr());
    }
    io::Error::last_os_error()
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// fork(2). With `cgroup`, a directory of the v2 tree, the child is born in there: a process that is
/// moved later waits for every CPU to pass by, which takes up to 30 ms.
///
/// # Errors
/// `InvalidInput` when this process has other threads: their locks would stay locked in the child.
/// Else what the kernel says.
pub fn fork(cgroup: Option<BorrowedFd<'_>>) -> io::Result<Forked> {
    if !is_single_threaded() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a process with threads cannot be copied"));
    }
    let child = match cgroup {
        None => plain_fork(),
        Some(cgroup) => fork_into(cgroup),
    };
    match child {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        child => {
            let child = i32::try_from(child).ok().and_then(rustix::process::Pid::from_raw);
            Ok(Forked::Parent { child: child.ok_or(io::ErrorKind::InvalidData)? })
        }
    }
}

/// Gives every signal its usual effect, as far as the kernel lets. What a process ignores its programs ignore, too:
/// a shell without job control has those in the background ignore SIGINT and SIGQUIT, nohup SIGHUP, and the standard
/// library SIGPIPE.
fn heed_all_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: the default action runs no code of ours. A number that may not be set is refused.
        #[expect(unsafe_code, reason = "rustix leaves signal handlers to the C library")]
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

/// Lets every signal come and the ends of children be told, whatever whoever started this process has left it with:
/// what is blocked, and SIGCHLD when it is ignored, goes down to all that this process starts.
pub fn hear_signals() {
    // SAFETY: the set is filled before it is read and outlives both calls; the default action runs no code of ours.
    #[expect(unsafe_code, reason = "rustix leaves signals to the C library")]
    unsafe {
        let mut none = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
    }
}

fn plain_fork() -> libc::c_long {
    // SAFETY: the process has one thread, so no lock is held by a thread that the child does not have.
    #[expect(unsafe_code, reason = "rustix has no fork for programs that use a C library")]
    let child = unsafe { libc::fork() };
    libc::c_long::from(child)
}

fn fork_into(cgroup: BorrowedFd<'_>) -> libc::c_long {
    let arguments = CloneArguments {
        flags: CLONE_INTO_CGROUP,
        exit_signal: u64::from(libc::SIGCHLD.unsigned_abs()),
        cgroup: u64::from(cgroup.as_raw_fd().unsigned_abs()),
        ..CloneArguments::default()
    };
    // SAFETY: without a stack and without CLONE_VM this is a fork. The structure is of the size given and
    // outlives the call; the process has one thread, as for fork. glibc's copy of the thread's number is
    // stale in the child, which matters to recursive locks between threads only, and there are none.
    #[expect(unsafe_code, reason = "neither rustix nor the C library has clone3")]
    unsafe {
        libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArguments>())
    }
}

/// Puts this process into new namespaces for mounts, the network, System V IPC and names of the host; its children
/// are born in a new one for processes.
///
/// # Errors
/// What the kernel says.
pub fn own_namespaces() -> io::Result<()> {
    use rustix::thread::UnshareFlags;
    let flags = UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS;
    // SAFETY: these flags leave the table of descriptors as it is, which is what the function is unsafe for.
    #[expect(unsafe_code, reason = "rustix has one function for this and for what is unsafe")]
    unsafe {
        Ok(rustix::thread::unshare_unsafe(flags)?)
    }
}

/// The kernel lets a process stop sharing what only threads share when there is no other thread.
fn is_single_threaded() -> bool {
    // SAFETY: with this flag alone the call changes nothing, it only answers.
    #[expect(unsafe_code, reason = "rustix does not take this flag")]
    let answer = unsafe { libc::unshare(libc::CLONE_THREAD) };
    answer == 0
}

/// Closes what a process has got from the one that started it, from this number on: what some shell has left open is
/// nobody's business. For the very start of a program, before anything is opened.
///
/// # Errors
/// What the kernel says.
pub fn close_inherited(from: u32) -> io::Result<()> {
    // SAFETY: it takes numbers. Nothing in this process has these descriptors yet, which the caller sees to.
    #[expect(unsafe_code, reason = "rustix has no close_range")]
    let result = unsafe { libc::syscall(libc::SYS_close_range, from, libc::c_uint::MAX, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Ends this process at once, without what is done at the end of a program: a forked child shares that
/// with its parent.
pub fn exit_now(code: u8) -> ! {
    // SAFETY: it takes a number and does not come back.
    #[expect(unsafe_code, reason = "rustix offers it only to programs without a C library")]
    unsafe {
        libc::_exit(i32::from(code))
    }
}

#[cfg(test)]
mod tests {
    use super::{fork, is_single_threaded};

    #[test]
    fn threads_are_seen() {
        // The test runs on a thread of its own.
        assert!(!is_single_threaded());
        assert_eq!(fork(None).unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    }
}
