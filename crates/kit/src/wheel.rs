// SPDX-License-Identifier: Apache-2.0
//! Programs from Python wheels: pip fetches them, and what lies in their `scripts` becomes `usr/bin`.

use crate::debian;
use crate::error::{KitError, files};
use crate::tree::{Node, Tree};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Most bytes of one program.
const PROGRAM_LIMIT: u64 = 64 << 20;

/// Fetches wheels with the host's pip and adds their programs. Returns titles, as of packages.
pub(crate) fn add(
    wheels: &[String],
    scratch: &Path,
    kit: &str,
    tree: &mut Tree,
) -> Result<Vec<String>, KitError> {
    let place = scratch.join(format!("wheels-{kit}"));
    for wheel in wheels {
        let mut command = Command::new("pip3");
        command.args([
            "install",
            "--quiet",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--no-compile",
            "--ignore-installed",
        ]);
        command.arg("--prefix").arg(&place).arg(wheel);
        debian::run(&format!("fetching the wheel {wheel} for kit {kit}"), command)?;
    }
    let programs = place.join("bin");
    for entry in fs::read_dir(&programs).map_err(files("listing", &programs))? {
        let file = entry.map_err(files("listing", &programs))?.path();
        let size = fs::metadata(&file).map_err(files("looking at", &file))?.len();
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if size > PROGRAM_LIMIT || name.is_empty() {
            continue;
        }
        let bytes = fs::read(&file).map_err(files("reading", &file))?;
        tree.put(&format!("usr/bin/{name}"), Node::File { executable: true, bytes });
    }
    Ok(wheels.iter().map(|wheel| wheel.replace("==", " ")).collect())
}
