// SPDX-License-Identifier: Apache-2.0
//! The words of the domain: what happened on a host, as typed values.
//!
//! `codec` keeps an event as a few dozen bytes in the store, `document` renders it for
//! outsiders. This room knows neither the kernel's records nor files, sockets or clocks.

mod base64;
pub mod codec;
pub mod document;
mod line;
pub mod names;
mod session;

pub use line::{FileKey, Line, line_flags};
pub use session::{Screen, Session, SessionAction};

/// One thing that happened, on one boot of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `/proc/sys/kernel/random/boot_id` as 16 bytes.
    pub boot_id: [u8; 16],
    /// Wall clock, nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// `CLOCK_BOOTTIME` of the same moment, nanoseconds. Never steps, unlike `time_ns`.
    pub boot_ns: u64,
    /// The container's id, empty for the host and for events about the agent itself.
    pub container: String,
    /// What happened.
    pub body: Body,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A program was started by `execve` or `execveat`.
    Exec(Box<Exec>),
    /// A process that already ran when recording began.
    Running(Box<Exec>),
    /// An `execve` or `execveat` that the kernel refused.
    ExecFailed(Box<ExecFailed>),
    /// A process ended.
    Exit(Exit),
    /// Events that happened and are not in the record.
    Gap(Gap),
    /// Something the agent itself did.
    Agent(Agent),
    /// A line that a program wrote into a log file.
    Line(Box<Line>),
    /// Somebody began, ended or was refused a session in a container.
    Session(Box<Session>),
    /// What a session's terminal showed.
    Tty(Box<Screen>),
}

/// The kind of an event: the number kept in the store's filters and the word in documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// [`Body::Exec`].
    Exec = 0,
    /// [`Body::ExecFailed`].
    ExecFailed = 1,
    /// [`Body::Exit`].
    Exit = 2,
    /// [`Body::Running`].
    Running = 3,
    /// [`Body::Gap`].
    Gap = 4,
    /// [`Body::Agent`]; documents use the verb inside, such as `agent_start`.
    Agent = 5,
    /// [`Body::Line`].
    Line = 6,
    /// [`Body::Session`]; documents say `session_start`, `session_end` or `session_refused`.
    Session = 7,
    /// [`Body::Tty`].
    Tty = 8,
}

impl Kind {
    /// Every kind, in the order of its number.
    pub const ALL: [Kind; 9] = [
        Kind::Exec,
        Kind::ExecFailed,
        Kind::Exit,
        Kind::Running,
        Kind::Gap,
        Kind::Agent,
        Kind::Line,
        Kind::Session,
        Kind::Tty,
    ];

    /// The word for this kind on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Exec => "exec",
            Kind::ExecFailed => "exec_failed",
            Kind::Exit => "exit",
            Kind::Running => "process_running",
            Kind::Gap => "gap",
            Kind::Agent => "agent",
            Kind::Line => "line",
            Kind::Session => "session",
            Kind::Tty => "tty",
        }
    }

    /// The kind of this word.
    pub fn from_word(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

impl Event {
    /// The kind of this event.
    pub fn kind(&self) -> Kind {
        match self.body {
            Body::Exec(_) => Kind::Exec,
            Body::Running(_) => Kind::Running,
            Body::ExecFailed(_) => Kind::ExecFailed,
            Body::Exit(_) => Kind::Exit,
            Body::Gap(_) => Kind::Gap,
            Body::Agent(_) => Kind::Agent,
            Body::Line(_) => Kind::Line,
            Body::Session(_) => Kind::Session,
            Body::Tty(_) => Kind::Tty,
        }
    }

    /// When it happened, nanoseconds since the Unix epoch: for a line that tells when it was written, that
    /// moment, and not the one at which it was read.
    pub fn moment_ns(&self) -> u64 {
        match &self.body {
            Body::Line(line) if line.written_ns != 0 => line.written_ns,
            _ => self.time_ns,
        }
    }

    /// The process this event is about, if it is about one.
    pub fn process(&self) -> Option<&Process> {
        match &self.body {
            Body::Exec(exec) | Body::Running(exec) => Some(&exec.process),
            Body::ExecFailed(failed) => Some(&failed.process),
            Body::Exit(exit) => Some(&exit.process),
            Body::Gap(_) | Body::Agent(_) | Body::Line(_) | Body::Session(_) | Body::Tty(_) => None,
        }
    }
}

/// A process for ever: a pid is used again, a pid with its start time is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProcessKey {
    /// Thread group id in the host's pid namespace.
    pub pid: u32,
    /// `CLOCK_BOOTTIME` at the fork, nanoseconds.
    pub start_boot_ns: u64,
}

impl ProcessKey {
    /// The key as documents carry it: boot id, start and pid, in that order.
    pub fn entity_id(&self, boot_id: &[u8; 16]) -> String {
        let boot = u64::from_be_bytes([
            boot_id[0], boot_id[1], boot_id[2], boot_id[3], boot_id[4], boot_id[5], boot_id[6], boot_id[7],
        ]);
        format!("{boot:016x}-{:x}-{:x}", self.start_boot_ns, self.pid)
    }
}

/// Who a process is, whose child, and with which rights it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// The process itself.
    pub key: ProcessKey,
    /// The process that is its parent at the moment of the event.
    pub parent: ProcessKey,
    /// The nearest ancestor that executed a program, kept across forks that did not.
    pub ancestor: ProcessKey,
    /// The pid inside the innermost pid namespace.
    pub namespace_pid: u32,
    /// Real user id, in the host's user namespace.
    pub uid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Effective group id.
    pub egid: u32,
    /// The login uid set by PAM; `u32::MAX` when none was.
    pub login_uid: u32,
    /// Effective capabilities, one bit each.
    pub capabilities: u64,
    /// Session id, in the host's pid namespace.
    pub session: u32,
    /// Controlling terminal.
    pub tty: Option<Tty>,
}

/// A terminal device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tty {
    /// Device major number; 136 for pseudo-terminals.
    pub major: u32,
    /// Device minor number: the N of `/dev/pts/N`.
    pub minor: u32,
}

/// Inode numbers of the namespaces a process is in; 0 when unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Mount namespace.
    pub mount: u32,
    /// Process id namespace.
    pub pid: u32,
    /// Network namespace.
    pub network: u32,
    /// Hostname namespace.
    pub uts: u32,
    /// System V IPC namespace.
    pub ipc: u32,
    /// User namespace.
    pub user: u32,
    /// Control-group namespace.
    pub cgroup: u32,
}

/// A program that was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exec {
    /// Who started it: the process keeps its key across `execve`.
    pub process: Process,
    /// Absolute path of the file the kernel loaded, inside the process's own root.
    pub executable: Vec<u8>,
    /// The path given to `execve`.
    pub filename: Vec<u8>,
    /// The interpreter named by a script's first line, else empty.
    pub interpreter: Vec<u8>,
    /// Current directory.
    pub working_directory: Vec<u8>,
    /// Arguments, byte for byte.
    pub args: Vec<Vec<u8>>,
    /// Number of arguments the kernel saw; more than `args.len()` when cut.
    pub args_count: u32,
    /// Length in bytes of all arguments with their terminators.
    pub args_bytes: u32,
    /// Chosen environment variables, `NAME=value`.
    pub env: Vec<Vec<u8>>,
    /// Namespaces.
    pub namespaces: Namespaces,
    /// A set of [`flags`].
    pub flags: u32,
    /// How many secrets were replaced by markers.
    pub redacted: u32,
}

/// Bits of [`Exec::flags`].
pub mod flags {
    /// The file lives in memory only (`memfd_create`).
    pub const MEMFD: u32 = 1;
    /// The file had no name left in any directory.
    pub const DELETED: u32 = 1 << 1;
    /// The file is in the writable layer of an overlay: it did not come with the image.
    pub const UPPER_LAYER: u32 = 1 << 2;
    /// Set-uid, set-gid or file capabilities raised the rights.
    pub const RAISED: u32 = 1 << 3;
    /// A thread other than the leader executed.
    pub const FROM_THREAD: u32 = 1 << 4;
    /// Not all of the arguments could be read or kept.
    pub const ARGS_CUT: u32 = 1 << 5;
    /// Not all of the environment was looked through.
    pub const ENV_CUT: u32 = 1 << 6;
    /// A container runtime setting up a container.
    pub const RUNTIME_INIT: u32 = 1 << 7;
    /// The path or the current directory is longer than what was read.
    pub const PATH_CUT: u32 = 1 << 8;
    /// A 32-bit program on a 64-bit kernel.
    pub const COMPAT: u32 = 1 << 9;

    /// Every flag with its word in documents.
    pub const WORDS: [(u32, &str); 10] = [
        (MEMFD, "memfd"),
        (DELETED, "deleted"),
        (UPPER_LAYER, "upper_layer"),
        (RAISED, "raised"),
        (FROM_THREAD, "from_thread"),
        (ARGS_CUT, "args_cut"),
        (ENV_CUT, "env_cut"),
        (RUNTIME_INIT, "runtime_init"),
        (PATH_CUT, "path_cut"),
        (COMPAT, "compat"),
    ];
}

/// A refused start of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecFailed {
    /// Who tried.
    pub process: Process,
    /// The path given to `execve`, as it stood in memory when the call returned.
    pub filename: Vec<u8>,
    /// The first arguments, as they stood in memory when the call returned.
    pub args: Vec<Vec<u8>>,
    /// Number of arguments; more than `args.len()` when cut.
    pub args_count: u32,
    /// The kernel's error number, positive.
    pub errno: u32,
    /// How many secrets were replaced by markers.
    pub redacted: u32,
}

/// The end of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// Who ended.
    pub process: Process,
    /// Exit code 0 to 255; 0 when a signal ended it.
    pub code: u8,
    /// The signal that ended it, or 0.
    pub signal: u8,
    /// A core was dumped.
    pub core_dumped: bool,
    /// Nanoseconds since the process last executed a program.
    pub duration_ns: u64,
    /// CPU time of all its threads, nanoseconds.
    pub cpu_ns: u64,
    /// Largest resident size, bytes.
    pub peak_rss_bytes: u64,
    /// The program's path, as the exec event had it.
    pub executable: Vec<u8>,
}

/// Events that happened and are not in the record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gap {
    /// Why.
    pub cause: GapCause,
    /// How many.
    pub count: u64,
    /// The CPU whose sequence has the hole; `u32::MAX` when it is not one CPU's.
    pub cpu: u32,
    /// First missing number of that CPU's sequence, when numbers are missing.
    pub first: u64,
    /// Last missing number.
    pub last: u64,
    /// The BPF program or the store file concerned, else empty.
    pub detail: String,
}

/// Why events are missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum GapCause {
    /// The ring to user space was full.
    #[default]
    RingFull = 0,
    /// The kernel refused to run a BPF program inside another one.
    Recursion = 1,
    /// The store could not take them: disk full, policy `drop_oldest`.
    StoreFull = 2,
    /// The store lost them: torn or damaged files at start.
    StoreDamaged = 3,
    /// A record that could not be decoded.
    BadRecord = 4,
    /// The programs were not loaded: the time between a stop and a start.
    NotRecording = 5,
    /// Arguments or environment of an event were lost, the event itself was not.
    BulkFull = 6,
    /// They left the store before a sink could send them.
    Unsent = 7,
}

impl GapCause {
    /// Every cause, in the order of its number.
    pub const ALL: [GapCause; 8] = [
        GapCause::RingFull,
        GapCause::Recursion,
        GapCause::StoreFull,
        GapCause::StoreDamaged,
        GapCause::BadRecord,
        GapCause::NotRecording,
        GapCause::BulkFull,
        GapCause::Unsent,
    ];

    /// The word for it in documents.
    pub fn word(self) -> &'static str {
        match self {
            GapCause::RingFull => "ring_full",
            GapCause::Recursion => "recursion",
            GapCause::StoreFull => "store_full",
            GapCause::StoreDamaged => "store_damaged",
            GapCause::BadRecord => "bad_record",
            GapCause::NotRecording => "not_recording",
            GapCause::BulkFull => "bulk_full",
            GapCause::Unsent => "unsent",
        }
    }
}

/// Something the agent itself did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agent {
    /// `agent_start`, `agent_stop`, `config_reload`, `rule_add`, `rule_remove` …
    pub action: String,
    /// A sentence for people.
    pub message: String,
    /// The program's version.
    pub version: String,
}

/// What is known of a container besides its id. Kept beside each block of events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// The id, 64 hexadecimal digits with most runtimes.
    pub id: String,
    /// `docker`, `containerd`, `podman` …
    pub runtime: String,
    /// The name people gave it.
    pub name: String,
    /// The image's name and tag.
    pub image: String,
    /// Labels, in the runtime's order.
    pub labels: Vec<(String, String)>,
    /// Kubernetes pod name, else empty.
    pub pod_name: String,
    /// Kubernetes namespace, else empty.
    pub pod_namespace: String,
    /// Kubernetes pod uid, else empty.
    pub pod_uid: String,
}
