// SPDX-License-Identifier: Apache-2.0
//! Cores that are compressed: unpacked to a file that the caller has made, or only their beginnings. One that is not
//! compressed is copied in the same way.
//!
//! zstd is done here; for the others there are programs on most hosts, which get the file as standard input and
//! nothing else.

use crate::CoreError;
use crate::elf::{Bytes, up_to};
use rustix::fs::fstatvfs;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::process::{Child, Command, Stdio};

/// What is left free in the file system that is unpacked to.
const RESERVE: u64 = 64 << 20;
/// The most bytes of an unpacked core, zeros included, which take no room.
const LENGTH_LIMIT: u64 = 4 << 40;
/// How much is looked at at a time for being zeros only, and written.
const BLOCK: usize = 128 << 10;
/// How often the room is looked at.
const LOOK_EVERY: u64 = 32 << 20;

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// By zstd, as systemd does it now.
    Zstd,
    /// By lz4, as it did before.
    Lz4,
    /// By xz, as it did before that.
    Xz,
    /// By people.
    Gzip,
}

impl Packing {
    /// The program that unpacks it.
    fn program(self) -> &'static str {
        match self {
            Packing::Zstd => "zstd",
            Packing::Lz4 => "lz4",
            Packing::Xz => "xz",
            Packing::Gzip => "gzip",
        }
    }
}

/// Whether a file is compressed, by its first bytes.
///
/// # Errors
/// When it cannot be read.
pub fn packing(file: &dyn Bytes) -> io::Result<Option<Packing>> {
    Ok(match up_to(file, 0, 6)?.as_slice() {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Packing::Zstd),
        [0x04, 0x22, 0x4d, 0x18, ..] => Some(Packing::Lz4),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Some(Packing::Xz),
        [0x1f, 0x8b, ..] => Some(Packing::Gzip),
        _ => None,
    })
}

/// Where a core is unpacked to.
#[derive(Debug)]
pub struct Room<'a> {
    /// An empty file.
    pub file: &'a File,
    /// What its directory is called, for messages.
    pub place: &'a str,
}

/// Unpacks all of `file`, or copies it, and says how long that is. `told` gets to know now and then how much is done.
///
/// # Errors
/// When it is damaged, or has no room, or there is no program to unpack it.
pub fn unpack(
    file: &File,
    packing: Option<Packing>,
    room: &Room<'_>,
    told: &mut dyn FnMut(u64),
) -> Result<u64, CoreError> {
    let mut out = room.file;
    let (mut len, mut looked) = (0_u64, 0_u64);
    let mut left = free(room.file)?;
    let mut stream = Stream::open(file, packing)?;
    let mut block = vec![0; BLOCK];
    loop {
        let filled = fill(&mut stream, &mut block).map_err(damaged)?;
        let Some(filled) = block.get(..filled).filter(|filled| !filled.is_empty()) else { break };
        len += filled.len() as u64;
        if filled.iter().all(|byte| *byte == 0) {
            out.seek(SeekFrom::Current(i64::try_from(filled.len()).unwrap_or_default()))?;
        } else {
            left = left.checked_sub(filled.len() as u64).ok_or_else(|| no_room(room, len))?;
            out.write_all(filled).map_err(|error| match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => no_room(room, len),
                _ => error.into(),
            })?;
        }
        if len > LENGTH_LIMIT {
            return Err(no_room(room, len));
        }
        if len - looked >= LOOK_EVERY {
            looked = len;
            // Somebody else may be writing there, too.
            left = left.min(free(room.file)?);
            told(len);
        }
    }
    stream.end()?;
    room.file.set_len(len)?;
    Ok(len)
}

/// The first bytes of a compressed file when it is unpacked, at most `most`.
///
/// # Errors
/// When it is damaged, or there is no program to unpack it.
pub fn head(file: &File, packing: Packing, most: usize) -> Result<Vec<u8>, CoreError> {
    let mut stream = Stream::open(file, Some(packing))?;
    let mut bytes = Vec::new();
    match (&mut stream).take(most as u64).read_to_end(&mut bytes) {
        Err(error) if bytes.is_empty() => Err(damaged(error)),
        _ => Ok(bytes),
    }
}

fn free(file: &File) -> io::Result<u64> {
    let system = fstatvfs(file)?;
    Ok(system.f_bavail.saturating_mul(system.f_frsize).saturating_sub(RESERVE))
}

fn no_room(room: &Room<'_>, len: u64) -> CoreError {
    CoreError::NoRoom { room: len, place: room.place.to_owned() }
}

fn damaged(error: io::Error) -> CoreError {
    CoreError::Damaged { why: error.to_string() }
}

/// As many bytes as there is room for, unless the end comes before.
fn fill(stream: &mut Stream, block: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while let Some(room) = block.get_mut(done..).filter(|room| !room.is_empty()) {
        match stream.read(room) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Unpacked bytes.
enum Stream {
    Plain(File),
    Own(Box<zstd::Decoder<'static, io::BufReader<File>>>),
    Program(Child, &'static str),
}

impl Stream {
    fn open(file: &File, packing: Option<Packing>) -> Result<Stream, CoreError> {
        // The place in the file belongs to all who share it.
        let mut file = file.try_clone()?;
        file.rewind()?;
        let Some(packing) = packing else { return Ok(Stream::Plain(file)) };
        if packing == Packing::Zstd {
            return Ok(Stream::Own(Box::new(zstd::Decoder::new(file)?)));
        }
        let program = packing.program();
        let mut command = Command::new(program);
        command.args(["-d", "-c"]).env_remove("LZ4_CLEVEL").env_remove("XZ_OPT").env_remove("GZIP");
        let child = command.stdin(file).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        match child {
            Ok(child) => Ok(Stream::Program(child, program)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(CoreError::NoProgram { program }),
            Err(error) => Err(CoreError::Damaged { why: format!("starting {program}: {error}") }),
        }
    }

    /// What the one who unpacks says at the end.
    fn end(mut self) -> Result<(), CoreError> {
        if let Stream::Program(child, program) = &mut self {
            let status = child.wait()?;
            if !status.success() {
                return Err(CoreError::Damaged { why: format!("{program}: {status}") });
            }
        }
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(file) => file.read(into),
            Stream::Own(decoder) => decoder.read(into),
            Stream::Program(child, _) => child.stdout.as_mut().map_or(Ok(0), |out| out.read(into)),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Stream::Program(child, _) = self {
            // It may have ended, and then both say so.
            child.kill().unwrap_or_default();
            child.wait().map(drop).unwrap_or_default();
        }
    }
}
