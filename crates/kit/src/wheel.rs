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
    // What an earlier kit of that name was made of is not in this one.
    fs::remove_dir_all(&place).or_else(debian::absent).map_err(files("removing", &place))?;
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
        // A name that is no text belongs to no command of a recipe.
        let Some(name) = file.file_name().and_then(|name| name.to_str()) else { continue };
        if size > PROGRAM_LIMIT {
            return Err(KitError::Build {
                kit: kit.to_string(),
                at: format!("usr/bin/{name}"),
                why: format!("has {size} bytes; a program of a wheel has at most {PROGRAM_LIMIT}"),
            });
        }
        let bytes = fs::read(&file).map_err(files("reading", &file))?;
        tree.put(&format!("usr/bin/{name}"), Node::File { executable: true, bytes });
    }
    Ok(wheels.iter().map(|wheel| wheel.replace("==", " ")).collect())
}
