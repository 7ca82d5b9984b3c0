// SPDX-License-Identifier: Apache-2.0
//! What the kernel side keeps in maps, read as values: cgroups, lanes, settings.

use crate::decode::path;
#[allow(clippy::wildcard_imports, reason = "the names of wire.h are a vocabulary of their own")]
use crate::wire::*;

/// What user space tells the programs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// cgroup v1 or hybrid: containers are told apart by the v1 controllers.
    pub v1: bool,
    /// Report refused execs.
    pub failed: bool,
    /// Names of the environment variables to keep; the first 16 count.
    pub env: Vec<String>,
}

impl Settings {
    /// The value of the map. Names are matched by their first 8 bytes there.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; SETTINGS_SIZE];
        put(&mut bytes, OFF_SET_V1, &u32::from(self.v1).to_ne_bytes());
        put(&mut bytes, OFF_SET_FAILED, &u32::from(self.failed).to_ne_bytes());
        let names = self.env.iter().take(ENV_NAMES);
        put(&mut bytes, OFF_SET_ENV_COUNT, &(names.len() as u32).to_ne_bytes());
        for (index, name) in names.enumerate() {
            let (mut prefix, mut mask) = ([0; 8], [0; 8]);
            for (place, byte) in name.bytes().chain([b'=']).take(8).enumerate() {
                (prefix[place], mask[place]) = (byte, 0xff);
            }
            put(&mut bytes, OFF_SET_ENV_PREFIX + 8 * index, &prefix);
            put(&mut bytes, OFF_SET_ENV_MASK + 8 * index, &mask);
        }
        bytes
    }
}

/// Whether a cgroup's events are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Not decided: events come.
    Unknown,
    /// Wanted.
    In,
    /// Not wanted: the programs return at once.
    Out,
}

/// A cgroup in which something happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cgroup {
    /// Absolute path from the hierarchy's root; cut at the outer end when very long.
    pub path: Vec<u8>,
    /// The first task seen was in a pid namespace of its own.
    pub own_pid_namespace: bool,
    /// Boot clock of its removal, nanoseconds; 0 while it exists.
    pub gone_ns: u64,
    /// Programs started.
    pub execs: u64,
    /// Recorded processes that ended.
    pub exits: u64,
    /// Refused starts.
    pub failed: u64,
    /// Bytes of records.
    pub bytes: u64,
    /// Records that did not fit the ring.
    pub lost: u64,
    /// Events kept out by rules.
    pub suppressed: u64,
}

impl Cgroup {
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Cgroup> {
        let hints = u32_at(bytes, OFF_CG_HINTS)? as usize;
        let length = u32_at(bytes, OFF_CG_PATH_LENGTH)? as usize;
        Some(Cgroup {
            path: path(bytes.get(OFF_CG_PATH..)?.get(..length)?),
            own_pid_namespace: hints & HINT_PID_NS != 0,
            gone_ns: u64_at(bytes, OFF_CG_GONE_NS)?,
            execs: u64_at(bytes, OFF_CG_EXECS)?,
            exits: u64_at(bytes, OFF_CG_EXITS)?,
            failed: u64_at(bytes, OFF_CG_FAILED)?,
            bytes: u64_at(bytes, OFF_CG_BYTES)?,
            lost: u64_at(bytes, OFF_CG_LOST)?,
            suppressed: u64_at(bytes, OFF_CG_SUPPRESSED)?,
        })
    }
}

/// Counters of one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lane {
    /// The last number given to a record.
    pub sequence: u64,
    /// Records that did not fit the ring.
    pub lost: u64,
    /// Records whose arguments did not fit lane B.
    pub bulk_lost: u64,
    /// Events that found no program.
    pub missed: u64,
    /// Processes or cgroups there was no memory to remember.
    pub no_state: u64,
}

impl Lane {
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Lane> {
        if bytes.len() < LANE_SIZE {
            return None;
        }
        Some(Lane {
            sequence: u64_at(bytes, OFF_LANE_SEQUENCE)?,
            lost: u64_at(bytes, OFF_LANE_LOST)?,
            bulk_lost: u64_at(bytes, OFF_LANE_BULK_LOST)?,
            missed: u64_at(bytes, OFF_LANE_MISSED)?,
            no_state: u64_at(bytes, OFF_LANE_NO_STATE)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Cgroup, Settings};
    use crate::wire::{OFF_CG_PATH, OFF_CG_PATH_LENGTH, OFF_SET_ENV_MASK, OFF_SET_ENV_PREFIX};

    #[test]
    fn names_become_eight_bytes_and_their_mask() {
        let env = vec!["A".to_string(), "LD_PRELOAD".to_string()];
        let bytes = Settings { env, ..Settings::default() }.to_bytes();
        assert_eq!(&bytes[OFF_SET_ENV_PREFIX..][..16], b"A=\0\0\0\0\0\0LD_PRELO");
        assert_eq!(&bytes[OFF_SET_ENV_MASK..][..16], b"\xff\xff\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff");
    }

    #[test]
    fn a_cgroup_that_claims_too_long_a_path_is_none() {
        let mut bytes = vec![0; 584];
        bytes[OFF_CG_PATH..OFF_CG_PATH + 4].copy_from_slice(b"b\0a\0");
        bytes[OFF_CG_PATH_LENGTH] = 4;
        assert_eq!(Cgroup::from_bytes(&bytes).map(|cgroup| cgroup.path), Some(b"/a/b".to_vec()));
        bytes[OFF_CG_PATH_LENGTH + 3] = 0xff;
        assert_eq!(Cgroup::from_bytes(&bytes), None);
        assert_eq!(Cgroup::from_bytes(&bytes[..90]), None);
    }
}
