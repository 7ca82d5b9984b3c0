// SPDX-License-Identifier: Apache-2.0
//! Where things lie: the repository, cargo's output, our own files in it.

use std::env;
use std::path::{Path, PathBuf};

/// The only target: `.cargo/config.toml` links glibc in for it.
pub(crate) const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let room = Path::new(env!("CARGO_MANIFEST_DIR"));
    room.parent().unwrap_or(room).to_path_buf()
}

/// Cargo's output directory, `CARGO_TARGET_DIR` respected.
pub(crate) fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Our own files that may be deleted at any time: logs, downloaded kernels, demo images.
pub(crate) fn scratch() -> PathBuf {
    target().join("xtask")
}

/// A program that cargo built in `profile` (`debug` or `release`).
pub(crate) fn built(profile: &str, name: &str) -> PathBuf {
    target().join(TARGET).join(profile).join(name)
}
