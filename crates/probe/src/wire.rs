// SPDX-License-Identifier: Apache-2.0
//! The numbers of bpf/wire.h that user space needs. A test reads that file and compares.

/// One number of wire.h under the name it has there.
macro_rules! wire {
    ($($name:ident = $value:expr;)*) => {
        $(pub(crate) const $name: usize = $value;)*
        #[cfg(test)]
        const ALL: &[(&str, usize)] = &[$((stringify!($name), $value)),*];
    };
}

wire! {
    WIRE_VERSION = 2;
    OFF_KIND = 0;
    OFF_VERSION = 1;
    OFF_CPU = 2;
    OFF_LENGTH = 4;
    OFF_SEQUENCE = 8;
    OFF_BOOT_NS = 16;
    OFF_CGROUP = 24;
    OFF_PID = 32;
    OFF_NAMESPACE_PID = 36;
    OFF_START = 40;
    OFF_PARENT_PID = 48;
    OFF_ANCESTOR_PID = 52;
    OFF_PARENT_START = 56;
    OFF_ANCESTOR_START = 64;
    OFF_UID = 72;
    OFF_GID = 76;
    OFF_EUID = 80;
    OFF_EGID = 84;
    OFF_LOGIN_UID = 88;
    OFF_SESSION = 92;
    OFF_CAPABILITIES = 96;
    OFF_TTY = 104;
    OFF_FLAGS = 108;
    OFF_ARGC = 112;
    OFF_ARGS_BYTES = 116;
    OFF_BULK_PARTS = 120;
    OFF_NAMESPACES = 124;
    OFF_EXECUTABLE_LENGTH = 152;
    OFF_DIRECTORY_LENGTH = 154;
    OFF_FILENAME_LENGTH = 156;
    OFF_INTERPRETER_LENGTH = 158;
    OFF_ARGS_LENGTH = 160;
    OFF_ENV_LENGTH = 164;
    OFF_EXEC_DATA = 168;
    OFF_ERRNO = 112;
    OFF_FAILED_FILENAME_LENGTH = 116;
    OFF_FAILED_ARGC = 118;
    OFF_FAILED_ARGS_LENGTH = 120;
    OFF_FAILED_DATA = 128;
    OFF_STATUS = 112;
    OFF_EXIT_EXECUTABLE_LENGTH = 116;
    OFF_EXEC_BOOT_NS = 120;
    OFF_CPU_NS = 128;
    OFF_PEAK_RSS = 136;
    OFF_EXIT_DATA = 144;
    OFF_PART = 16;
    OFF_BULK_DATA = 24;
    ENV_NAMES = 16;
    RULE_TEXT = 248;
    RULES = 64;
    OFF_SET_V1 = 0;
    OFF_SET_FAILED = 4;
    OFF_SET_ENV_COUNT = 8;
    OFF_SET_ENV_PREFIX = 16;
    OFF_SET_ENV_MASK = 144;
    SETTINGS_SIZE = 272;
    OFF_CG_HINTS = 4;
    OFF_CG_GONE_NS = 8;
    OFF_CG_EXECS = 16;
    OFF_CG_EXITS = 24;
    OFF_CG_FAILED = 32;
    OFF_CG_BYTES = 40;
    OFF_CG_LOST = 48;
    OFF_CG_SUPPRESSED = 56;
    OFF_CG_PATH_LENGTH = 64;
    OFF_CG_PATH = 72;
    HINT_PID_NS = 1;
    SCOPE_IN = 1;
    SCOPE_OUT = 2;
    OFF_LANE_SEQUENCE = 0;
    OFF_LANE_LOST = 8;
    OFF_LANE_BULK_LOST = 16;
    OFF_LANE_MISSED = 24;
    OFF_LANE_NO_STATE = 32;
    LANE_SIZE = 40;
    OFF_RULE_MASK = 0;
    OFF_RULE_ANY = 8;
    OFF_RULE_COUNT = 48;
    OFF_RULE_IGNORE = 56;
    OFF_RULE_BASE = 64;
    RULE_KEY_SIZE = 256;
    RULE_VALUE_SIZE = 72;
    KIND_EXEC = 1;
    KIND_RUNNING = 2;
    KIND_EXEC_FAILED = 3;
    KIND_EXIT = 4;
    KIND_BULK = 5;
    RULE_HEADER = 0;
    RULE_CGROUP = 1;
    RULE_UID = 2;
    RULE_EXECUTABLE = 3;
    RULE_ARGV0 = 4;
    RULE_PARENT = 5;
    FLAG_ARGS_CUT = 1 << 5;
}

/// A number at `at`, or `None` past the end.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// A number at `at`, or `None` past the end.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// A number at `at`, or `None` past the end.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// Writes `number` at `at` of a value that is long enough by construction.
pub(crate) fn put(bytes: &mut [u8], at: usize, number: &[u8]) {
    bytes[at..at + number.len()].copy_from_slice(number);
}

#[cfg(test)]
mod tests {
    use super::ALL;

    /// The value of `#define NAME n` or of `NAME = n,` in an enum, or `FLAG (1u << n)`.
    fn in_header(name: &str) -> Option<usize> {
        let header = include_str!("../bpf/wire.h");
        for line in header.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["#define", found, "(1u", "<<", bit, ..] if *found == name => {
                    return Some(1 << bit.trim_end_matches(')').parse::<usize>().ok()?);
                }
                ["#define", found, value, ..] if *found == name => return value.parse().ok(),
                [found, "=", value] if *found == name => return value.trim_end_matches(',').parse().ok(),
                _ => {}
            }
        }
        None
    }

    #[test]
    fn agrees_with_the_header_the_programs_are_built_from() {
        for (name, value) in ALL {
            assert_eq!(in_header(name), Some(*value), "{name} in bpf/wire.h");
        }
    }
}
