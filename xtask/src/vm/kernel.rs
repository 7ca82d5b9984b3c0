// SPDX-License-Identifier: Apache-2.0
//! Debian's kernels, unpacked and not installed. The archive keeps only a few builds of a series, so
//! none is named here: the newest one that is there is taken, and kept.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::process::{output, program, run};
use crate::{packages, place};

/// The series we test on: the distribution's own and its back-port.
const SERIES: [&str; 2] = ["6.1", "6.12"];
const IMAGE: &str = "vmlinuz";
const OVERLAY: &str = "overlay.ko";
/// In the unpacked package: leaves the image and the module, which the newer series compresses.
const PICK: &str = "\
    dpkg-deb -x ./*.deb . && mv boot/vmlinuz-* vmlinuz && \
    mv lib/modules/*/kernel/fs/overlayfs/overlay.ko* . && \
    if [ -e overlay.ko.xz ]; then xz -d overlay.ko.xz; fi && rm ./*.deb";

/// A kernel and what it loads.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) image: PathBuf,
    /// The overlay file system, which is a module.
    pub(super) overlay: PathBuf,
}

/// The kernel of `series`, downloaded when it is not here yet.
pub(super) fn get(series: &str) -> Result<Kernel> {
    if !SERIES.contains(&series) {
        bail!("no kernel {series}; there are: {}", SERIES.join(", "));
    }
    // Not `kernels`: that has kernels without modules where older sources were checked out.
    let home = place::scratch().join("guest-kernels").join(series);
    let kernel = Kernel { image: home.join(IMAGE), overlay: home.join(OVERLAY) };
    if !kernel.image.exists() {
        download(series, &home)?;
    }
    Ok(kernel)
}

/// Unpacks beside `home` first, so that `home` is never half a kernel.
fn download(series: &str, home: &Path) -> Result<()> {
    let package = newest_package(series)?;
    eprintln!("vm: downloading {package}");
    let part = home.with_extension(format!("{}.part", std::process::id()));
    fs::create_dir_all(&part).with_context(|| format!("create {}", part.display()))?;
    let mut apt = program("apt-get", ["download", "-q", "-o", "APT::Sandbox::User=root", &package]);
    output(apt.current_dir(&part)).with_context(|| format!("download {package}"))?;
    run(program("sh", ["-c", PICK]).current_dir(&part)).with_context(|| format!("unpack {package}"))?;
    for spare in ["boot", "lib", "usr"] {
        let spare = part.join(spare);
        if spare.exists() {
            fs::remove_dir_all(&spare).with_context(|| format!("remove {}", spare.display()))?;
        }
    }
    if fs::rename(&part, home).is_err() && !home.join(IMAGE).exists() {
        bail!("{} cannot be moved to {}", part.display(), home.display());
    }
    if part.exists() {
        fs::remove_dir_all(&part).with_context(|| format!("remove {}", part.display()))?;
    }
    Ok(())
}

fn newest_package(series: &str) -> Result<String> {
    let known = || output(&mut program("apt-cache", ["pkgnames", &format!("linux-image-{series}.")]));
    let found = newest(series, &known()?);
    if let Some(package) = found {
        return Ok(package);
    }
    packages::update()?;
    newest(series, &known()?).with_context(|| {
        format!("apt knows no cloud kernel {series}: is this Debian 12 with its security archive?")
    })
}

/// Of one name a line, the cloud kernel of `series` with the highest numbers.
fn newest(series: &str, names: &str) -> Option<String> {
    let of_series = |name: &&str| {
        name.strip_prefix(&format!("linux-image-{series}.")).is_some()
            && name.ends_with("-cloud-amd64-unsigned")
            && !name.contains("-rt-")
    };
    names.lines().filter(of_series).max_by_key(|name| numbers(name)).map(str::to_owned)
}

fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::newest;

    #[test]
    fn the_newest_of_the_series_wins() {
        let names = "linux-image-6.1.0-9-cloud-amd64-unsigned\nlinux-image-6.1.0-56-cloud-amd64-unsigned\n\
                     linux-image-6.1.0-60-amd64-unsigned\nlinux-image-6.12.99+deb12-cloud-amd64-unsigned\n\
                     linux-image-6.12.117+deb12-cloud-amd64-unsigned\n";
        assert_eq!(newest("6.1", names).unwrap(), "linux-image-6.1.0-56-cloud-amd64-unsigned");
        assert_eq!(newest("6.12", names).unwrap(), "linux-image-6.12.117+deb12-cloud-amd64-unsigned");
        assert_eq!(newest("6.6", names), None);
    }
}
