// SPDX-License-Identifier: Apache-2.0
//! Opens the configuration file, and refuses one that somebody else could have written.
//! All checks are made on the opened descriptor, so nothing can be exchanged in between.

use super::error::ConfigError;
use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, open};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Longest configuration file, in bytes.
pub const FILE_LIMIT: usize = 1 << 20;

/// The text of the file at `path`, or `None` when there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<String>, ConfigError> {
    let failed = |source: io::Error| ConfigError::Read { path: path.to_path_buf(), source };
    // Without O_NONBLOCK a named pipe in place of the file would hang us.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let descriptor = match open(path, flags, Mode::empty()) {
        Ok(descriptor) => descriptor,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(failed(errno.into())),
    };
    let stat = fstat(&descriptor).map_err(|errno| failed(errno.into()))?;
    if let Some(reason) = distrust(&stat, rustix::process::geteuid().as_raw()) {
        return Err(ConfigError::Unsafe { path: path.to_path_buf(), reason });
    }
    let mut bytes = Vec::new();
    let most = FILE_LIMIT as u64 + 1;
    File::from(descriptor).take(most).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > FILE_LIMIT {
        return Err(ConfigError::TooLong { origin: path.display().to_string(), limit: FILE_LIMIT });
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let head = String::from_utf8_lossy(&error.as_bytes()[..good]).into_owned();
            let (line, column) = super::spots::place(&head, head.len());
            let message = "the text is not UTF-8 from here on".to_string();
            Err(ConfigError::Wrong { origin: path.display().to_string(), line, column, message })
        }
    }
}

fn distrust(stat: &Stat, euid: u32) -> Option<String> {
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Some("it is not a regular file".to_string());
    }
    if stat.st_uid != 0 && stat.st_uid != euid {
        return Some(format!("it belongs to uid {}, not to root; run chown root on it", stat.st_uid));
    }
    let mode = stat.st_mode & 0o7777;
    if mode & 0o022 != 0 {
        return Some(format!("its mode {mode:04o} lets others write to it; run chmod go-w on it"));
    }
    None
}
