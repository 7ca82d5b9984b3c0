// SPDX-License-Identifier: Apache-2.0
//! `purser stop --keep` of a service: the init system ends the agent, and our unit's own calls in between
//! have to know that the kernel side is to stay. They look for a lock that is held meanwhile, so that
//! nothing is left behind by a command that is killed.

use anyhow::Context;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Where the locks are, gone with the host like what they are about.
const LOCKS: &str = "/run";

/// The lock; dropping it ends the wish.
#[derive(Debug)]
pub(super) struct Kept {
    path: PathBuf,
    _lock: File,
}

/// Says that the kernel side of `service` is to stay, as long as the value lives.
pub(super) fn keep(service: &str) -> anyhow::Result<Kept> {
    keep_in(Path::new(LOCKS), service)
}

fn keep_in(dir: &Path, service: &str) -> anyhow::Result<Kept> {
    let path = path(dir, service);
    let about = || format!("locking {}", path.display());
    let lock = File::create(&path).with_context(about)?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).with_context(about)?;
    Ok(Kept { path, _lock: lock })
}

/// Whether somebody says so now.
pub(super) fn is_kept(service: &str) -> bool {
    is_kept_in(Path::new(LOCKS), service)
}

fn is_kept_in(dir: &Path, service: &str) -> bool {
    let Ok(file) = File::open(path(dir, service)) else { return false };
    flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
}

fn path(dir: &Path, service: &str) -> PathBuf {
    dir.join(format!("purser-keep-{service}"))
}

impl Drop for Kept {
    fn drop(&mut self) {
        // What stays of it says nothing without the lock.
        fs::remove_file(&self.path).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::{is_kept_in, keep_in, path};

    #[test]
    fn the_wish_ends_with_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_kept_in(dir.path(), "a"));
        let kept = keep_in(dir.path(), "a").unwrap();
        assert!(is_kept_in(dir.path(), "a") && !is_kept_in(dir.path(), "b"));
        assert!(keep_in(dir.path(), "a").is_err(), "two at once");
        drop(kept);
        assert!(!is_kept_in(dir.path(), "a"));
        std::fs::write(path(dir.path(), "a"), "").unwrap();
        assert!(!is_kept_in(dir.path(), "a"), "left by one that was killed");
    }
}
