// SPDX-License-Identifier: Apache-2.0
//! What the kernel side handed over, as values. The meaning of the fields is in bpf/wire.h.

/// Who a record is about, and where it comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// CPU the record was made on.
    pub cpu: u16,
    /// Number of the record on that CPU; 0 in snapshots.
    pub sequence: u64,
    /// `CLOCK_BOOTTIME`, nanoseconds.
    pub boot_ns: u64,
    /// Key of the cgroup, for [`crate::Probe::cgroup`].
    pub cgroup: u64,
    /// Thread group id in the host's namespace.
    pub pid: u32,
    /// The same in the innermost namespace.
    pub namespace_pid: u32,
    /// Boot clock at the fork, nanoseconds.
    pub start: u64,
    /// The parent's thread group id.
    pub parent_pid: u32,
    /// The parent's start.
    pub parent_start: u64,
    /// The nearest ancestor with a record of its own; 0 when there is none.
    pub ancestor_pid: u32,
    /// That ancestor's start.
    pub ancestor_start: u64,
    /// Real user id.
    pub uid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Login uid, `u32::MAX` for none.
    pub login_uid: u32,
    /// Session id.
    pub session: u32,
    /// Effective capabilities.
    pub capabilities: u64,
    /// Controlling terminal, major and minor.
    pub tty: Option<(u32, u32)>,
    /// `FLAG_*` bits.
    pub flags: u32,
}

/// One record with all that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who and where.
    pub head: Head,
    /// What.
    pub body: Body,
}

/// What a record tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A program was started.
    Exec(Exec),
    /// A process that already ran.
    Running(Exec),
    /// A refused start.
    Failed(Failed),
    /// A process ended.
    Exit(Exit),
}

/// A started program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exec {
    /// Path of the loaded file.
    pub executable: Vec<u8>,
    /// Current directory.
    pub directory: Vec<u8>,
    /// The path given to `execve`; empty in snapshots.
    pub filename: Vec<u8>,
    /// A script's interpreter, else empty.
    pub interpreter: Vec<u8>,
    /// Arguments with their terminators, as they stood in memory.
    pub args: Vec<u8>,
    /// Number of arguments; `u32::MAX` when the kernel does not tell (snapshots).
    pub argc: u32,
    /// Length of all arguments in memory.
    pub args_bytes: u32,
    /// Variables that may be wanted, each ended by NUL.
    pub env: Vec<u8>,
    /// Inodes of mount, pid, network, uts, ipc, user and cgroup namespaces.
    pub namespaces: [u32; 7],
    /// Records of lane B that belong to this one.
    pub bulk_parts: u32,
}

/// A refused start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failed {
    /// Positive error number.
    pub errno: u32,
    /// The path given to `execve`.
    pub filename: Vec<u8>,
    /// The first arguments, each ended by NUL.
    pub args: Vec<u8>,
    /// How many were read; `u16::MAX` when there are more.
    pub argc: u16,
}

/// The end of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// As `wait(2)` gives it.
    pub status: u32,
    /// Path of what it ran, cut at 247 bytes.
    pub executable: Vec<u8>,
    /// Boot clock of its last exec.
    pub exec_boot_ns: u64,
    /// CPU time, nanoseconds.
    pub cpu_ns: u64,
    /// Largest resident size, bytes.
    pub peak_rss: u64,
}

/// A piece of arguments from lane B.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bulk {
    /// CPU it was made on.
    pub cpu: u16,
    /// Number of the record it belongs to.
    pub sequence: u64,
    /// Its place among the pieces.
    pub part: u32,
    /// The bytes.
    pub data: Vec<u8>,
}
