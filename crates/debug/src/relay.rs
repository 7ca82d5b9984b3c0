// SPDX-License-Identifier: Apache-2.0
//! What a session's program gets for its streams. Whoever in the target may look into the program can open its
//! descriptors anew, for writing too, as far as the file's owner is root there. So only pipes and sockets are handed
//! over as they are; for a file or a terminal of the host the program gets a pipe, and this process passes on.

use rustix::fs::{FileType, fstat};
use rustix::pipe::{PipeFlags, pipe_with};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::{self, JoinHandle};

/// As much as a pipe holds.
const BUFFER: usize = 64 << 10;

/// The three streams, and who passes on to those of the host.
#[derive(Debug)]
pub(crate) struct Relays {
    pub(crate) streams: [OwnedFd; 3],
    outputs: Vec<JoinHandle<()>>,
}

impl Relays {
    /// For a program that is not given a terminal.
    pub(crate) fn start() -> io::Result<Relays> {
        let mut outputs = Vec::new();
        let input = match is_safe(rustix::stdio::stdin()) {
            true => rustix::stdio::stdin().try_clone_to_owned()?,
            false => {
                let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC)?;
                let from = File::from(rustix::stdio::stdin().try_clone_to_owned()?);
                // It may wait for input for ever, and ends with this process.
                pass("input", from, File::from(ours))?;
                theirs
            }
        };
        let mut output = |stream: BorrowedFd<'_>| -> io::Result<OwnedFd> {
            let own = stream.try_clone_to_owned()?;
            if is_safe(stream) {
                return Ok(own);
            }
            let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
            outputs.push(pass("output", File::from(ours), File::from(own))?);
            Ok(theirs)
        };
        let out = output(rustix::stdio::stdout())?;
        // With both in one place, one pipe keeps the order in which the program wrote.
        let errors = match !is_safe(rustix::stdio::stdout()) && are_one() {
            true => out.try_clone()?,
            false => output(rustix::stdio::stderr())?,
        };
        Ok(Relays { streams: [input, out, errors], outputs })
    }

    /// Waits until all that was written has been passed on.
    pub(crate) fn finish(self) {
        drop(self.streams);
        for output in self.outputs {
            // One that panicked has passed on what it could.
            output.join().unwrap_or_default();
        }
    }
}

/// Whether output and errors go to one file or terminal.
fn are_one() -> bool {
    match (fstat(rustix::stdio::stdout()), fstat(rustix::stdio::stderr())) {
        (Ok(out), Ok(errors)) => (out.st_dev, out.st_ino) == (errors.st_dev, errors.st_ino),
        _ => false,
    }
}

/// Whether opening it anew leads to no file of the host: pipes, sockets, and the device that holds nothing.
fn is_safe(stream: BorrowedFd<'_>) -> bool {
    let Ok(stat) = fstat(stream.as_fd()) else { return false };
    let is_null = || rustix::fs::stat("/dev/null").is_ok_and(|null| null.st_rdev == stat.st_rdev);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo | FileType::Socket => true,
        FileType::CharacterDevice => is_null(),
        _ => false,
    }
}

fn pass(name: &str, mut from: File, mut to: File) -> io::Result<JoinHandle<()>> {
    // An end of one side ends the other; there is nobody to tell of anything else.
    thread::Builder::new().name(name.to_owned()).spawn(move || drop(copy(&mut from, &mut to)))
}

/// Reads and writes, and does not splice as `io::copy` does: a splice takes the place in the file before it waits for
/// bytes, and so writes over what others have written to the file meanwhile.
fn copy(from: &mut File, to: &mut File) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        to.write_all(buffer.get(..count).unwrap_or_default())?;
    }
}
