// SPDX-License-Identifier: Apache-2.0
//! Where a store's kernel side is pinned, and unloading it without an agent.

use anyhow::{Context, bail};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Where BPF objects are pinned, one directory a store.
const BPFFS: &str = "/sys/fs/bpf";
/// The file in the store that its writer holds a lock on.
const LOCK_NAME: &str = "lock";

/// The directory of this store's pins. The same store has the same one after every restart, also
/// when its directory is gone, and two stores never share one.
pub(crate) fn pins_of(store: &Path) -> anyhow::Result<PathBuf> {
    const BPF_FS_MAGIC: u64 = 0xcafe_4a11;
    let kind = rustix::fs::statfs(BPFFS).with_context(|| format!("looking at {BPFFS}"))?;
    if kind.f_type as u64 != BPF_FS_MAGIC {
        bail!("{BPFFS} is not a bpf file system: mount it with: mount -t bpf bpf {BPFFS}");
    }
    let real = real(store).with_context(|| format!("looking at {}", store.display()))?;
    // FNV-1a of the path: only a name.
    let hash = real.as_os_str().as_encoded_bytes().iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Ok(Path::new(BPFFS).join(format!("purser-{hash:016x}")))
}

/// The path without links. What is not there any more had none: the agent made it as a directory.
fn real(path: &Path) -> std::io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let absolute = std::path::absolute(path)?;
            match (absolute.parent(), absolute.file_name()) {
                (Some(above), Some(name)) => Ok(real(above)?.join(name)),
                _ => Err(error),
            }
        }
        result => result,
    }
}

/// Whether a kernel side is pinned for this store.
pub(crate) fn is_loaded(store: &Path) -> bool {
    pins_of(store).is_ok_and(|pins| pins.exists())
}

/// The pins of all stores of this host.
pub(crate) fn all_pins() -> Vec<PathBuf> {
    let entries = fs::read_dir(BPFFS).into_iter().flatten().flatten().map(|entry| entry.path());
    let ours =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"purser-"));
    entries.filter(ours).collect()
}

/// Unloads what an agent that is gone left in the kernel: where that was, or `None` when there was
/// nothing.
pub(crate) fn unload(store: &Path) -> anyhow::Result<Option<PathBuf>> {
    if let Ok(lock) = fs::File::open(store.join(LOCK_NAME))
        && rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            == Err(rustix::io::Errno::WOULDBLOCK)
    {
        bail!(
            "a process holds the store {} although it does not answer on its socket; end that one first",
            store.display()
        );
    }
    let pins = pins_of(store)?;
    let entries = match fs::read_dir(&pins) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        result => result.with_context(|| format!("listing {}", pins.display()))?,
    };
    for entry in entries {
        let path = entry.with_context(|| format!("listing {}", pins.display()))?.path();
        fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    }
    fs::remove_dir(&pins).with_context(|| format!("removing {}", pins.display()))?;
    Ok(Some(pins))
}

#[cfg(test)]
mod tests {
    use super::real;

    #[test]
    fn a_directory_that_is_gone_keeps_its_name() {
        let root = tempfile::tempdir().unwrap();
        let store = root.path().join("a/store");
        std::fs::create_dir_all(&store).unwrap();
        std::os::unix::fs::symlink(root.path().join("a"), root.path().join("link")).unwrap();
        let before = real(&root.path().join("link/store")).unwrap();
        std::fs::remove_dir(&store).unwrap();
        assert_eq!(real(&root.path().join("link/store")).unwrap(), before);
        assert_eq!(real(&store).unwrap(), before);
    }
}
