// SPDX-License-Identifier: Apache-2.0
//! Bytes of the rings into records. Pure: any bytes give a record or an error, never a panic.

use crate::record::{Body, Bulk, Exec, Exit, Failed, Head, Record};
#[allow(clippy::wildcard_imports, reason = "the names of wire.h are a vocabulary of their own")]
use crate::wire::*;

/// Why bytes are not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Shorter than its own fields say.
    #[error("a kernel record of {length} bytes ends inside its {part}")]
    Short {
        /// Length of what arrived.
        length: usize,
        /// What was being read.
        part: &'static str,
    },
    /// Of a version this program does not read.
    #[error("a kernel record of version {0}; this purser reads version {WIRE_VERSION}")]
    Version(u8),
    /// Of no known kind.
    #[error("a kernel record of unknown kind {0}")]
    Kind(u8),
}

/// Decodes a record of lane A or of a snapshot.
pub fn decode(bytes: &[u8]) -> Result<Record, DecodeError> {
    let kind = check(bytes)?;
    let head = head(bytes).ok_or(short(bytes, "head"))?;
    let body = match usize::from(kind) {
        KIND_EXEC => exec(bytes).map(Body::Exec).ok_or(short(bytes, "exec"))?,
        KIND_RUNNING => exec(bytes).map(Body::Running).ok_or(short(bytes, "running process"))?,
        KIND_EXEC_FAILED => failed(bytes).map(Body::Failed).ok_or(short(bytes, "failed exec"))?,
        KIND_EXIT => exit(bytes).map(Body::Exit).ok_or(short(bytes, "exit"))?,
        _ => return Err(DecodeError::Kind(kind)),
    };
    Ok(Record { head, body })
}

/// Decodes a record of lane B.
pub fn decode_bulk(bytes: &[u8]) -> Result<Bulk, DecodeError> {
    let kind = check(bytes)?;
    if usize::from(kind) != KIND_BULK {
        return Err(DecodeError::Kind(kind));
    }
    let bulk = || {
        Some(Bulk {
            cpu: u16_at(bytes, OFF_CPU)?,
            sequence: u64_at(bytes, OFF_SEQUENCE)?,
            part: u32_at(bytes, OFF_PART)?,
            data: bytes.get(OFF_BULK_DATA..)?.to_vec(),
        })
    };
    bulk().ok_or(short(bytes, "bulk"))
}

/// The kind of a record of our version.
fn check(bytes: &[u8]) -> Result<u8, DecodeError> {
    let (Some(&kind), Some(&version)) = (bytes.get(OFF_KIND), bytes.get(OFF_VERSION)) else {
        return Err(short(bytes, "kind"));
    };
    if usize::from(version) != WIRE_VERSION {
        return Err(DecodeError::Version(version));
    }
    Ok(kind)
}

fn short(bytes: &[u8], part: &'static str) -> DecodeError {
    DecodeError::Short { length: bytes.len(), part }
}

fn head(bytes: &[u8]) -> Option<Head> {
    let tty = u32_at(bytes, OFF_TTY)?;
    Some(Head {
        cpu: u16_at(bytes, OFF_CPU)?,
        sequence: u64_at(bytes, OFF_SEQUENCE)?,
        boot_ns: u64_at(bytes, OFF_BOOT_NS)?,
        cgroup: u64_at(bytes, OFF_CGROUP)?,
        pid: u32_at(bytes, OFF_PID)?,
        namespace_pid: u32_at(bytes, OFF_NAMESPACE_PID)?,
        start: u64_at(bytes, OFF_START)?,
        parent_pid: u32_at(bytes, OFF_PARENT_PID)?,
        parent_start: u64_at(bytes, OFF_PARENT_START)?,
        ancestor_pid: u32_at(bytes, OFF_ANCESTOR_PID)?,
        ancestor_start: u64_at(bytes, OFF_ANCESTOR_START)?,
        uid: u32_at(bytes, OFF_UID)?,
        gid: u32_at(bytes, OFF_GID)?,
        euid: u32_at(bytes, OFF_EUID)?,
        egid: u32_at(bytes, OFF_EGID)?,
        login_uid: u32_at(bytes, OFF_LOGIN_UID)?,
        session: u32_at(bytes, OFF_SESSION)?,
        capabilities: u64_at(bytes, OFF_CAPABILITIES)?,
        tty: (tty != 0).then_some((tty >> 20, tty & 0xf_ffff)),
        flags: u32_at(bytes, OFF_FLAGS)?,
    })
}

fn exec(bytes: &[u8]) -> Option<Exec> {
    let mut data = Data { rest: bytes.get(OFF_EXEC_DATA..)? };
    let length16 = |at| u16_at(bytes, at).map(usize::from);
    let length32 = |at| u32_at(bytes, at).map(|length| length as usize);
    let mut namespaces = [0; 7];
    for (place, inode) in namespaces.iter_mut().enumerate() {
        *inode = u32_at(bytes, OFF_NAMESPACES + 4 * place)?;
    }
    Some(Exec {
        executable: path(data.take(length16(OFF_EXECUTABLE_LENGTH)?)?),
        directory: path(data.take(length16(OFF_DIRECTORY_LENGTH)?)?),
        filename: data.take(length16(OFF_FILENAME_LENGTH)?)?.to_vec(),
        interpreter: data.take(length16(OFF_INTERPRETER_LENGTH)?)?.to_vec(),
        args: data.take(length32(OFF_ARGS_LENGTH)?)?.to_vec(),
        env: data.take(length32(OFF_ENV_LENGTH)?)?.to_vec(),
        argc: u32_at(bytes, OFF_ARGC)?,
        args_bytes: u32_at(bytes, OFF_ARGS_BYTES)?,
        namespaces,
        bulk_parts: u32_at(bytes, OFF_BULK_PARTS)?,
    })
}

fn failed(bytes: &[u8]) -> Option<Failed> {
    let mut data = Data { rest: bytes.get(OFF_FAILED_DATA..)? };
    Some(Failed {
        errno: u32_at(bytes, OFF_ERRNO)?,
        filename: data.take(u16_at(bytes, OFF_FAILED_FILENAME_LENGTH)?.into())?.to_vec(),
        args: data.take(u32_at(bytes, OFF_FAILED_ARGS_LENGTH)? as usize)?.to_vec(),
        argc: u16_at(bytes, OFF_FAILED_ARGC)?,
    })
}

fn exit(bytes: &[u8]) -> Option<Exit> {
    let mut data = Data { rest: bytes.get(OFF_EXIT_DATA..)? };
    Some(Exit {
        status: u32_at(bytes, OFF_STATUS)?,
        executable: path(data.take(u32_at(bytes, OFF_EXIT_EXECUTABLE_LENGTH)? as usize)?),
        exec_boot_ns: u64_at(bytes, OFF_EXEC_BOOT_NS)?,
        cpu_ns: u64_at(bytes, OFF_CPU_NS)?,
        peak_rss: u64_at(bytes, OFF_PEAK_RSS)?,
    })
}

/// Takes pieces off the front.
struct Data<'a> {
    rest: &'a [u8],
}

impl<'a> Data<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (piece, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(piece)
    }
}

/// Names from the last to the first, each ended by NUL, as an absolute path.
pub(crate) fn path(names: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(names.len() + 1);
    for name in names.strip_suffix(&[0]).unwrap_or(names).rsplit(|&byte| byte == 0) {
        if !name.is_empty() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
    }
    if path.is_empty() {
        path.push(b'/');
    }
    path
}

#[cfg(test)]
mod tests {
    use super::{DecodeError, decode, decode_bulk, path};
    use crate::wire::WIRE_VERSION;

    const VERSION: u8 = WIRE_VERSION as u8;

    #[test]
    fn joins_names_from_the_root() {
        assert_eq!(path(b"ls\0bin\0usr\0"), b"/usr/bin/ls");
        assert_eq!(path(b"memfd:x\0"), b"/memfd:x");
        assert_eq!(path(b""), b"/");
        assert_eq!(path(b"\0\0"), b"/");
        assert_eq!(path(b"cut"), b"/cut");
    }

    #[test]
    fn refuses_what_is_no_record() {
        assert_eq!(decode(&[]), Err(DecodeError::Short { length: 0, part: "kind" }));
        assert_eq!(decode(&[1, 9]), Err(DecodeError::Version(9)));
        assert_eq!(decode(&[1, VERSION, 0]), Err(DecodeError::Short { length: 3, part: "head" }));
        assert_eq!(decode(&[77; 2]), Err(DecodeError::Version(77)));
        let mut unknown = [0; 200];
        (unknown[0], unknown[1]) = (77, VERSION);
        assert_eq!(decode(&unknown), Err(DecodeError::Kind(77)));
        assert_eq!(decode_bulk(&unknown), Err(DecodeError::Kind(77)));
    }

    #[test]
    fn lengths_past_the_end_are_errors() {
        for kind in 1..=4 {
            let mut bytes = [0xff; 256];
            (bytes[0], bytes[1]) = (kind, VERSION);
            assert!(matches!(decode(&bytes), Err(DecodeError::Short { length: 256, .. })));
        }
    }
}
