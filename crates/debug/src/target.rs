// SPDX-License-Identifier: Apache-2.0
//! The process whose container is entered: held from the first look to the last step, so that its number
//! cannot come to mean another process meanwhile.

use crate::DebugError;
use crate::rights::Capabilities;
use crate::stand::Hold;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxFlags, fstat, openat2, statx};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::thread::ThreadNameSpaceType;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

/// Time for the target's file systems to say whether a program is there.
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest environment looked at.
const ENVIRONMENT_LIMIT: usize = 1 << 20;
/// The longest PATH taken over.
const PATH_LIMIT: usize = 4096;

/// Namespaces that can be joined: the name in /proc and the flag.
const NAMESPACES: [(&str, ThreadNameSpaceType); 8] = [
    ("user", ThreadNameSpaceType::USER),
    ("mnt", ThreadNameSpaceType::MOUNT),
    ("pid", ThreadNameSpaceType::PROCESS_ID),
    ("net", ThreadNameSpaceType::NETWORK),
    ("ipc", ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION),
    ("uts", ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME),
    ("cgroup", ThreadNameSpaceType::CONTROL_GROUP),
    ("time", ThreadNameSpaceType::TIME),
];

/// A process, held by descriptor, and what it was like when it was opened.
#[derive(Debug)]
pub struct Target {
    pub(crate) fd: OwnedFd,
    pub(crate) facts: Facts,
    /// Of one that stands in for what does not run.
    pub(crate) hold: Option<Hold>,
    /// Of the same: places whose volumes are not there any more.
    pub(crate) left_out: Vec<String>,
}

/// What /proc tells of the target.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Facts {
    /// Its number on the host.
    pub(crate) pid: i32,
    /// Its number in its own pid namespace.
    pub(crate) inner_pid: i32,
    /// The namespaces that are not ours, as flags of setns.
    pub(crate) namespaces: u32,
    /// Its effective user, as the host numbers it.
    pub(crate) user: u32,
    pub(crate) capabilities: Capabilities,
    /// What it and its children can come to have.
    pub(crate) bounding: Capabilities,
    /// The letter of its state.
    pub(crate) state: char,
    /// Its PATH.
    pub(crate) path: Option<String>,
    /// Its current directory, in its own root.
    pub(crate) work_dir: PathBuf,
    /// The name of its program, at most 15 bytes.
    pub(crate) command: String,
}

impl Target {
    /// Takes hold of the process with this number.
    ///
    /// # Errors
    /// When it is gone, or /proc cannot be read.
    pub fn open(pid: i32) -> Result<Target, DebugError> {
        let gone = || DebugError::Gone { pid };
        let number = Some(pid).filter(|pid| *pid > 0).and_then(Pid::from_raw).ok_or_else(gone)?;
        let fd = pidfd_open(number, PidfdFlags::empty()).map_err(|_| gone())?;
        let facts = facts(pid)?;
        let target = Target { fd, facts, hold: None, left_out: Vec::new() };
        if target.facts.state == 'Z' {
            return Err(DebugError::Zombie { pid });
        }
        // What was read is the process's only if it is still there now.
        if target.is_over() { Err(gone()) } else { Ok(target) }
    }

    /// Whether the process has ended.
    pub fn is_over(&self) -> bool {
        is_over(self.fd.as_fd())
    }

    /// Lets go of a target that only stood in, when no session has it, and waits until nothing is left.
    pub fn finish(self) {
        self.hold.into_iter().for_each(Hold::finish);
    }

    /// Places of what does not run whose volumes are not there any more; the first ones, if there are many.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// What was read of it.
    pub fn facts(&self) -> Facts {
        self.facts.clone()
    }

    /// Its number on the host.
    pub fn pid(&self) -> i32 {
        self.facts.pid
    }

    /// The capabilities its process has.
    pub fn capabilities(&self) -> Capabilities {
        self.facts.capabilities
    }

    /// Whether its process runs as root of the host.
    pub fn is_root(&self) -> bool {
        self.facts.user == 0
    }

    /// Whether somebody has stopped it, by a signal or a debugger.
    pub fn is_stopped(&self) -> bool {
        matches!(self.facts.state, 'T' | 't')
    }

    /// Whether it lives in a user namespace of its own.
    pub fn has_user_namespace(&self) -> bool {
        ThreadNameSpaceType::from_bits_retain(self.facts.namespaces).contains(ThreadNameSpaceType::USER)
    }

    /// Whether it works with the host's own files, as no process of a container does: it sees the mounts that we see, or
    /// its root is the host's, as in a service with mounts of its own. Where its cgroup says otherwise, somebody has put
    /// it there who may do that, and who need not be root.
    pub fn is_of_host(&self) -> bool {
        if self.has_user_namespace() {
            return false;
        }
        let has_our_mounts = !ThreadNameSpaceType::from_bits_retain(self.facts.namespaces)
            .contains(ThreadNameSpaceType::MOUNT);
        // What is known of it without asking, for a file system of the target may not answer.
        let place = |root: &str| {
            let stat = statx(CWD, root, AtFlags::STATX_DONT_SYNC, StatxFlags::INO).ok()?;
            Some((stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino))
        };
        let own = place(&format!("/proc/{}/root", self.facts.pid));
        // One that cannot be looked at is none of a container, as far as we know.
        has_our_mounts || own.is_none() || ["/", "/proc/1/root"].iter().any(|host| place(host) == own)
    }

    /// The user who made its user namespace.
    ///
    /// # Errors
    /// When it has ended, or the kernel does not tell.
    pub fn user_namespace_owner(&self) -> io::Result<u32> {
        let namespace = fs::File::open(format!("/proc/{}/ns/user", self.facts.pid))?;
        let owner = sys::namespaces::owner(namespace.as_fd())?;
        // The number in the path meant the target, and not whoever came after it.
        if self.is_over() { Err(io::ErrorKind::NotFound.into()) } else { Ok(owner) }
    }

    /// Whether a program of this name is where the target's process looks for programs. A file system of the target that
    /// does not answer has none.
    pub fn has_program(&self, name: &OsStr) -> bool {
        let root = format!("/proc/{}/root", self.facts.pid);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(root) = rustix::fs::open(&root, flags, Mode::empty()) else { return false };
        let path = self.facts.path.as_deref().unwrap_or(crate::program::USUAL_PATH).to_owned();
        let name = name.to_owned();
        let (answer, answered) = sync_channel(1);
        let look = move || {
            let dirs = path.split(':').filter(|dir| dir.starts_with('/'));
            let found = dirs.into_iter().any(|dir| is_file(root.as_fd(), &Path::new(dir).join(&name)));
            // Whoever asked may have gone on.
            answer.send(found).unwrap_or_default();
        };
        let thread = thread::Builder::new().name("look".to_owned()).spawn(look);
        thread.is_ok() && answered.recv_timeout(PATIENCE).unwrap_or_default()
    }

    /// The name of its program, at most 15 bytes.
    pub fn command(&self) -> &str {
        &self.facts.command
    }
}

/// Whether a regular file is at a path of a root, links and all.
fn is_file(root: BorrowedFd<'_>, path: &Path) -> bool {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve);
    let stat = file.and_then(|file| fstat(&file));
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
}

/// Whether the process behind a descriptor has ended.
pub(crate) fn is_over(process: BorrowedFd<'_>) -> bool {
    is_over_within(process, Duration::ZERO)
}

/// Whether it has ended, or does within this time.
pub(crate) fn is_over_within(process: BorrowedFd<'_>, time: Duration) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(process, PollFlags::IN)];
    let time = Timespec::try_from(time).unwrap_or_default();
    poll(&mut polled, Some(&time)).is_ok_and(|ready| ready > 0)
}

fn facts(pid: i32) -> Result<Facts, DebugError> {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let read = |name: &str| {
        let path = proc.join(name);
        fs::read(&path).map_err(|source| unreadable(pid, path, source))
    };
    let status = String::from_utf8_lossy(&read("status")?).into_owned();
    let field = |name: &str| field(&status, name);
    let number = |name: &str, column: usize| field(name)?.split_whitespace().nth(column)?.parse().ok();
    let capabilities = |name: &str| {
        let bits = field(name).and_then(|hex| u64::from_str_radix(hex, 16).ok());
        Capabilities::from_bits(bits.unwrap_or(0))
    };
    let work_dir = match fs::read_link(proc.join("cwd")) {
        // A directory deeper than any path keeps nobody out.
        Err(source) if source.raw_os_error() == Some(Errno::NAMETOOLONG.raw_os_error()) => "/".into(),
        found => found.map_err(|source| unreadable(pid, proc.join("cwd"), source))?,
    };
    Ok(Facts {
        pid,
        inner_pid: field("NSpid")
            .and_then(|all| all.split_whitespace().next_back()?.parse().ok())
            .unwrap_or(pid),
        namespaces: differing(&proc)?,
        user: number("Uid", 1).unwrap_or(u32::MAX),
        capabilities: capabilities("CapPrm"),
        bounding: capabilities("CapBnd"),
        state: field("State").and_then(|state| state.chars().next()).unwrap_or('?'),
        path: read("environ").ok().and_then(|text| search_path(&text)),
        work_dir,
        command: field("Name").unwrap_or_default().to_owned(),
    })
}

fn unreadable(pid: i32, path: PathBuf, source: io::Error) -> DebugError {
    match source.raw_os_error() {
        // A process that ends takes its files along: no such file, no such process.
        Some(2 | 3) => DebugError::Gone { pid },
        _ => DebugError::Read { path, source },
    }
}

/// `Name:\tvalue`, the value.
pub(crate) fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// The namespaces in which the process is and we are not.
fn differing(proc: &Path) -> Result<u32, DebugError> {
    let mut flags = ThreadNameSpaceType::empty();
    for (name, flag) in NAMESPACES {
        let (theirs, ours) = (proc.join("ns").join(name), Path::new("/proc/self/ns").join(name));
        // A kernel without this kind has no such file.
        let Ok(ours) = fs::read_link(&ours) else { continue };
        match fs::read_link(&theirs) {
            Ok(theirs) if theirs.as_os_str().as_bytes() != ours.as_os_str().as_bytes() => flags |= flag,
            Ok(_) => {}
            Err(source) => return Err(DebugError::Read { path: theirs, source }),
        }
    }
    Ok(flags.bits())
}

fn search_path(environment: &[u8]) -> Option<String> {
    let environment = environment.get(..environment.len().min(ENVIRONMENT_LIMIT))?;
    let found = environment.split(|&byte| byte == 0).find_map(|line| line.strip_prefix(b"PATH="))?;
    let path = std::str::from_utf8(found).ok()?;
    (!path.is_empty() && path.len() <= PATH_LIMIT).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Target, field, search_path};
    use crate::DebugError;

    #[test]
    fn own_process() {
        let target = Target::open(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(!target.is_over());
        assert_eq!(target.facts.namespaces, 0);
        assert_eq!(target.facts.work_dir, std::env::current_dir().unwrap());
        assert!(target.has_program("sh".as_ref()) && !target.has_program("no-such".as_ref()));
    }

    #[test]
    fn a_process_that_is_gone() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let target = Target::open(i32::try_from(child.id()).unwrap()).unwrap();
        child.kill().unwrap();
        let zombie = loop {
            if target.is_over() {
                break Target::open(target.pid());
            }
        };
        assert!(matches!(zombie, Err(DebugError::Zombie { .. } | DebugError::Gone { .. })));
        child.wait().unwrap();
        assert!(matches!(Target::open(target.pid()), Err(DebugError::Gone { .. })));
        assert!(matches!(Target::open(0), Err(DebugError::Gone { .. })));
        assert!(matches!(Target::open(-1), Err(DebugError::Gone { .. })));
    }

    #[test]
    fn parsers() {
        assert_eq!(field("Name:\tsh\nCapPrm:\t00ff\n", "CapPrm"), Some("00ff"));
        assert_eq!(search_path(b"A=1\0PATH=/bin:/x\0"), Some("/bin:/x".to_owned()));
        assert_eq!(search_path(b"XPATH=/bin\0PATH=\xff\0"), None);
    }
}
