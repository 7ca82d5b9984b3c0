// SPDX-License-Identifier: Apache-2.0
//! Debian packages: which are needed for what, which are missing, and how they get here.
//!
//! Installing never starts a service: a machine on which tests run must not begin to audit itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::process::{output, program, run, succeeds};

/// To build: C compilers for the kernel's side (clang) and for libbpf, zstd and librdkafka (gcc, g++), and
/// what they link.
pub(crate) const BUILD: &[&str] =
    &["clang", "g++", "gcc", "libc6-dev", "libelf-dev", "libssl-dev", "make", "pkg-config", "zlib1g-dev"];

/// To start the demo container.
pub(crate) const RUN: &[&str] = &["busybox-static", "docker.io", "iptables"];

/// To test: other runtimes and kernels, Docker without root, a systemd to boot, execsnoop as a rival, curl to speak
/// CRI, an SSH server to go through, bpftool to look at what is in the kernel, gdb and debuginfod for what is remote,
/// musl for programs to debug, and Go, Maven, Java and pip for the
/// receivers of sinks.
pub(crate) const TESTS: &[&str] = &[
    "bpftool",
    "cpio",
    "crun",
    "curl",
    "debootstrap",
    "debuginfod",
    "gdb",
    "golang-go",
    "iproute2",
    "libbpf-tools",
    "lxc",
    "maven",
    "musl-tools",
    "openjdk-17-jdk-headless",
    "openssh-server",
    "openssl",
    "podman",
    "python3",
    "python3-pip",
    "qemu-system-x86",
    "rootlesskit",
    "rsyslog",
    "rsyslog-openssl",
    "runc",
    "slirp4netns",
    "strace",
    "systemd",
    "systemd-container",
    "uidmap",
    "xz-utils",
];

/// To compare speed with what the distribution has.
pub(crate) const BENCH: &[&str] = &["auditd", "kcat", "rsyslog", "rsyslog-kafka"];

const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs those of `wanted` that are missing; asks only dpkg when none is.
pub(crate) fn install(wanted: &[&str]) -> Result<()> {
    let missing = missing(wanted)?;
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("setup: installing {}", missing.join(" "));
    require_root()?;
    update()?;
    let _policy = Policy::forbid_starts()?;
    let mut apt = program("apt-get", ["install", "-y", "-q", "--no-install-recommends"]);
    apt.args(["-o", "Dpkg::Use-Pty=0", "-o", "Acquire::Retries=3"]).args(&missing);
    run(apt.env("DEBIAN_FRONTEND", "noninteractive")).context(
        "install packages: see apt's message above; is the network there, is another apt running?",
    )?;
    disable_services(&missing)
}

/// Refreshes apt's lists.
pub(crate) fn update() -> Result<()> {
    require_root()?;
    eprintln!("setup: apt-get update");
    let mut apt = program("apt-get", ["update", "-q", "-o", "Acquire::Retries=3"]);
    run(apt.env("DEBIAN_FRONTEND", "noninteractive"))
        .context("refresh the package lists: is the network there?")
}

/// Those of `wanted` that dpkg does not call installed.
fn missing<'a>(wanted: &[&'a str]) -> Result<Vec<&'a str>> {
    if !Path::new("/usr/bin/dpkg-query").exists() {
        bail!("this is not Debian (no dpkg-query): install the equivalents of {}", wanted.join(" "));
    }
    // dpkg-query fails as soon as it does not know one of the names, and prints the others all the same.
    let mut query = program("dpkg-query", ["-W", "-f", "${Package} ${db:Status-Status}\n"]);
    let output = query.args(wanted).output().context("start dpkg-query")?;
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(not_installed(wanted, &listed))
}

/// `listed` has a line `NAME STATUS` for each package dpkg knows.
fn not_installed<'a>(wanted: &[&'a str], listed: &str) -> Vec<&'a str> {
    let installed = |name: &str| listed.lines().any(|line| line.split_once(' ') == Some((name, "installed")));
    wanted.iter().copied().filter(|name| !installed(name)).collect()
}

/// Fails with what to do when we are not root.
pub(crate) fn require_root() -> Result<()> {
    if output(&mut program("id", ["-u"]))?.trim() != "0" {
        bail!("this needs root: run it again with sudo, or install the packages yourself");
    }
    Ok(())
}

/// The rule that keeps package scripts from starting services, for as long as this lives.
#[derive(Debug)]
struct Policy {
    ours: bool,
}

impl Policy {
    /// Leaves a rule that is there already as it is.
    fn forbid_starts() -> Result<Policy> {
        if Path::new(POLICY).exists() {
            return Ok(Policy { ours: false });
        }
        fs::write(POLICY, "#!/bin/sh\nexit 101\n").with_context(|| format!("write {POLICY}"))?;
        fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("make {POLICY} executable"))?;
        Ok(Policy { ours: true })
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if self.ours && fs::remove_file(POLICY).is_err() {
            eprintln!(
                "setup: {POLICY} could not be removed: packages will not start their services until it is"
            );
        }
    }
}

/// Packages enable their services for the next boot whatever the rule says; those of tests must not be.
fn disable_services(installed: &[&str]) -> Result<()> {
    for (package, service) in [("auditd", "auditd"), ("openssh-server", "ssh")] {
        if !installed.contains(&package) || !Path::new("/usr/bin/systemctl").exists() {
            continue;
        }
        if !succeeds(&mut program("systemctl", ["disable", service])) {
            bail!("{package} was installed but cannot be disabled: try `systemctl disable {service}`");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::not_installed;

    #[test]
    fn a_removed_or_unknown_package_is_missing() {
        let listed = "make installed\ngcc config-files\nmaker not-installed\n";
        assert_eq!(not_installed(&["make", "gcc", "lxc"], listed), ["gcc", "lxc"]);
        assert!(not_installed(&["make"], listed).is_empty());
    }
}
