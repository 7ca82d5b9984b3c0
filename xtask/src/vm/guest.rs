// SPDX-License-Identifier: Apache-2.0
//! The guest's whole file system: busybox, an init, the overlay module, the command and the files of the plan.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Plan;
use super::kernel::Kernel;
use crate::process::{program, run};

const INIT: &str = include_str!("init.sh");
const BUSYBOX: &str = "/bin/busybox";

/// Writes the initramfs below `work` and returns its path.
pub(super) fn pack(plan: &Plan, kernel: &Kernel, work: &Path) -> Result<PathBuf> {
    let root = work.join("root");
    copy(Path::new(BUSYBOX), &root, "/bin/busybox")?;
    copy(&kernel.overlay, &root, "/lib/modules/overlay.ko")?;
    for (host, guest) in &plan.files {
        copy(host, &root, guest)?;
    }
    write(&root.join("init"), INIT)?;
    write(&root.join("command"), &format!("exec {}\n", quoted(&plan.command)))?;
    let archive = work.join("initramfs.cpio");
    let script = "cd \"$0\" && find . | cpio --create --format=newc --owner=0:0 --quiet >\"$1\"";
    run(program("sh", ["-c", script]).arg(&root).arg(&archive)).context("pack the initramfs")?;
    Ok(archive)
}

fn copy(host: &Path, root: &Path, guest: &str) -> Result<()> {
    if guest.split('/').any(|part| part == "..") {
        bail!("{guest}: a path in the guest must not climb");
    }
    let to = root.join(guest.trim_start_matches('/'));
    let folder = to.parent().with_context(|| format!("{guest} has no folder"))?;
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    fs::copy(host, &to).with_context(|| format!("copy {} into the guest", host.display()))?;
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(path, mode).with_context(|| format!("make {} executable", path.display()))
}

/// The words as one line of shell that means exactly them.
fn quoted(words: &[String]) -> String {
    let one = |word: &String| format!("'{}'", word.replace('\'', r"'\''"));
    words.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn quotes_for_the_shell() {
        assert_eq!(
            quoted(&["sh".into(), "-c".into(), "echo 'a' $b".into()]),
            r"'sh' '-c' 'echo '\''a'\'' $b'"
        );
    }
}
