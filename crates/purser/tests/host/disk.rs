// SPDX-License-Identifier: Apache-2.0
//! Small disks of memory for one test, and how to fill them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::lab::{output, run};

/// A tmpfs, unmounted when this is dropped.
pub(crate) struct Disk {
    at: PathBuf,
}

impl Disk {
    pub(crate) fn mount(at: &Path, options: &str) -> Result<Disk> {
        fs::create_dir_all(at)?;
        run(Command::new("mount").args(["-t", "tmpfs", "-o", options, "purser-test"]).arg(at))?;
        Ok(Disk { at: at.to_path_buf() })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(output(Command::new("umount").arg("-l").arg(&self.at)));
    }
}

/// Writes until nothing more fits.
pub(crate) fn fill(path: &Path) -> Result<()> {
    let mut file = fs::File::create(path)?;
    while file.write(&[0; 4096]).is_ok() {}
    Ok(())
}
