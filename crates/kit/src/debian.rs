// SPDX-License-Identifier: Apache-2.0
//! Debian packages, fetched by the host's apt into a directory of their own: nothing of the host's packages is
//! read or changed, and no root is needed. apt resolves what packages depend on and checks every signature.

use crate::error::{KitError, files};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Keys of the distribution, from the package `debian-archive-keyring`.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Suites that have no repository of security updates.
const WITHOUT_SECURITY: [&str; 3] = ["sid", "unstable", "experimental"];

/// Where packages come from.
#[derive(Clone, Debug, Default)]
pub struct Mirror {
    /// The address of a mirror; without one, the one that this host's apt uses.
    pub address: Option<String>,
    /// Whether lists of packages that are past their date are good enough: a mirror that stands still has no
    /// others. Signatures are checked all the same.
    pub accepts_expired: bool,
}

/// A package as it was fetched.
#[derive(Debug)]
pub(crate) struct Package {
    /// `name version`.
    pub(crate) title: String,
    /// Its file.
    pub(crate) file: PathBuf,
}

/// Fetches packages and what they depend on; keeps lists and packages in `scratch`.
pub(crate) fn fetch(
    mirror: &Mirror,
    suite: &str,
    packages: &[String],
    scratch: &Path,
    kit: &str,
) -> Result<Vec<Package>, KitError> {
    let place = scratch.join(suite);
    let archives = scratch.join(format!("packages-{kit}"));
    for directory in ["state/lists/partial", "etc/preferences.d", "cache"] {
        let directory = place.join(directory);
        fs::create_dir_all(&directory).map_err(files("making the directory", &directory))?;
    }
    // What an earlier kit of that name was made of is not in this one.
    fs::remove_dir_all(&archives).or_else(absent).map_err(files("removing", &archives))?;
    let partial = archives.join("partial");
    fs::create_dir_all(&partial).map_err(files("making the directory", &partial))?;
    let config = place.join("apt.conf");
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.arg("-qq").arg("-o").arg(format!("Dir::Cache::archives={}", archives.display()));
        command.args(arguments).env("APT_CONFIG", &config).env("LC_ALL", "C");
        command
    };
    if !config.exists() {
        configure(mirror, suite, &place)?;
        let updated = run(&format!("fetching the lists of {suite}"), apt(&["update", "--error-on=any"]));
        // Half a list is none: the next try starts anew.
        updated.inspect_err(|_| fs::remove_file(&config).unwrap_or_default())?;
    }
    let mut install = apt(&["install", "--download-only", "--yes", "--no-install-recommends"]);
    install.args(packages);
    run(&format!("fetching packages of {suite} for kit {kit}"), install)?;
    found(&archives)
}

/// As a removal, the absence of what was to go is as good.
pub(crate) fn absent(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// All that was fetched, in the order of names.
fn found(archives: &Path) -> Result<Vec<Package>, KitError> {
    let mut packages = Vec::new();
    for entry in fs::read_dir(archives).map_err(files("listing", archives))? {
        let file = entry.map_err(files("listing", archives))?.path();
        let Some(stem) = file.file_name().and_then(|name| name.to_str()?.strip_suffix(".deb")) else {
            continue;
        };
        // name_version_architecture, with the colon of an epoch escaped.
        let mut parts = stem.split('_');
        let (name, version) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        packages.push(Package { title: format!("{name} {}", version.replace("%3a", ":")), file });
    }
    packages.sort_by(|left, right| left.title.cmp(&right.title));
    Ok(packages)
}

/// An apt that knows this suite only, and an empty system.
fn configure(mirror: &Mirror, suite: &str, place: &Path) -> Result<(), KitError> {
    let write = |name: &str, text: &str| {
        let path = place.join(name);
        // For nobody else: a proxy of this host may want a password.
        let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(files("writing", &path))
    };
    if !Path::new(KEYS).exists() {
        return Err(KitError::Fetch {
            doing: "looking for the distribution's keys".to_string(),
            said: format!("there is no {KEYS}; install the package debian-archive-keyring"),
        });
    }
    write("etc/debian.sources", &sources(mirror, suite)?)?;
    write("status", "")?;
    let settings = run("reading apt's settings", {
        let mut command = Command::new("apt-config");
        command.arg("dump").env("LC_ALL", "C");
        command
    })?;
    let settings = String::from_utf8_lossy(&settings.stdout).into_owned();
    // The way to a mirror is the host's: proxies, credentials, retries.
    let acquire = settings.lines().filter(|line| line.starts_with("Acquire::"));
    let mut config: String = acquire.flat_map(|line| [line, "\n"]).collect();
    let at = place.display();
    config.push_str(&format!(
        "Dir::State \"{at}/state\";\nDir::State::status \"{at}/status\";\nDir::Cache \"{at}/cache\";\n\
         Dir::Etc \"{at}/etc\";\nDir::Etc::sourcelist \"{at}/etc/debian.sources\";\n\
         Dir::Etc::sourceparts \"/dev/null\";\nDir::Etc::parts \"/dev/null\";\nDir::Etc::main \"/dev/null\";\n\
         Dir::Etc::netrc \"/etc/apt/auth.conf\";\nDir::Etc::netrcparts \"/etc/apt/auth.conf.d\";\n\
         APT::Architecture \"{arch}\";\nAPT::Architectures \"{arch}\";\nAPT::Sandbox::User \"root\";\n\
         Acquire::Languages \"none\";\n",
        arch = architecture(),
    ));
    if mirror.accepts_expired {
        config.push_str("Acquire::Check-Valid-Until \"false\";\n");
    }
    write("apt.conf", &config)
}

/// As Debian calls this processor.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn sources(mirror: &Mirror, suite: &str) -> Result<String, KitError> {
    let hosts = if mirror.address.is_some() { Vec::new() } else { hosts_repositories()? };
    let of = |label: &str| hosts.iter().find(|(known, _)| known == label).map(|(_, address)| address.clone());
    let address = mirror.address.clone().or_else(|| of("Debian")).ok_or_else(|| KitError::Fetch {
        doing: "looking for a mirror of Debian".to_string(),
        said:
            "this host's apt knows none, or has no lists yet; name one with --mirror, or run: apt-get update"
                .to_string(),
    })?;
    let source = |address: &str, suite: &str| {
        format!("Types: deb\nURIs: {address}\nSuites: {suite}\nComponents: main\nSigned-By: {KEYS}\n\n")
    };
    let mut text = source(&address, suite);
    if let Some(security) = of("Debian-Security").filter(|_| !WITHOUT_SECURITY.contains(&suite)) {
        text.push_str(&source(&security, &format!("{suite}-security")));
    }
    Ok(text)
}

/// The repositories of this host's apt: label and address.
fn hosts_repositories() -> Result<Vec<(String, String)>, KitError> {
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", "$(LABEL)|$(REPO_URI)", "Created-By: Packages"]);
    let output = run("asking apt for its mirrors", command)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text
        .lines()
        .filter_map(|line| line.split_once('|'))
        .map(|(l, a)| (l.to_string(), a.to_string()))
        .collect())
}

/// Runs a program to its end; what it says is told when it fails.
pub(crate) fn run(doing: &str, mut command: Command) -> Result<Output, KitError> {
    let program = match command.get_program().to_str() {
        Some("apt-config") => "apt-config",
        Some("dpkg-deb") => "dpkg-deb",
        Some("pip3") => "pip3",
        _ => "apt-get",
    };
    let output = command.output().map_err(|source| KitError::NoPackages { program, source })?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines.get(lines.len().saturating_sub(4)..).unwrap_or_default().join("; ");
    Err(KitError::Fetch { doing: doing.to_string(), said: format!("{program}: {last}") })
}
