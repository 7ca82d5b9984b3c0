// SPDX-License-Identifier: Apache-2.0
//! Where secrets are read: files that only root can read, systemd credentials, and programs that
//! print them. What is wrong is said without what was read.

use crate::brief;
use crate::config::sink::Sasl;
use crate::config::sink::http::SecretPlace;
use anyhow::{Context, bail};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use ship::Secret;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Longest secret, in bytes.
const SECRET_LIMIT: u64 = 64 << 10;
/// Time a program has to print a secret.
const COMMAND_PATIENCE: Duration = Duration::from_secs(10);
/// Where systemd puts credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// The secret in the file at `path`, without the line end it may have.
pub(crate) fn file(path: &Path) -> anyhow::Result<Secret> {
    read(path, true).with_context(|| format!("reading the secret {}", path.display()))
}

fn read(path: &Path, checked: bool) -> anyhow::Result<Secret> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = open(path, flags, Mode::empty()).map_err(io::Error::from)?;
    let stat = fstat(&file).map_err(io::Error::from)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        bail!("it is not a regular file");
    }
    let euid = rustix::process::geteuid().as_raw();
    if checked && stat.st_uid != 0 && stat.st_uid != euid {
        bail!("it belongs to uid {}; run chown root on it", stat.st_uid);
    }
    if checked && stat.st_mode & 0o077 != 0 {
        bail!("its mode {:04o} lets others read it; run chmod go-rwx on it", stat.st_mode & 0o7777);
    }
    let mut bytes = Vec::new();
    File::from(file).take(SECRET_LIMIT + 1).read_to_end(&mut bytes)?;
    trimmed(bytes)
}

fn trimmed(mut bytes: Vec<u8>) -> anyhow::Result<Secret> {
    while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        bytes.pop();
    }
    let secret = Secret::new(bytes);
    match secret.expose().len() as u64 {
        0 => bail!("it is empty"),
        length if length > SECRET_LIMIT => bail!("it is longer than {SECRET_LIMIT} bytes"),
        _ => Ok(secret),
    }
}

/// The credential called `name` that systemd has put into memory for us.
fn credential(name: &str) -> anyhow::Result<Secret> {
    let Some(dir) = std::env::var_os(CREDENTIALS) else {
        bail!(
            "reading the credential {name}: {CREDENTIALS} is not set; credentials exist inside the service only: add \
             LoadCredential={name}:PATH to its unit, and by hand run systemd-run -P -p LoadCredential={name}:PATH purser …"
        );
    };
    // Who can write there is systemd's business.
    read(&PathBuf::from(dir).join(name), false).with_context(|| format!("reading the credential {name}"))
}

/// What a program prints. It gets an empty environment, a process group of its own and a time to end, after
/// which nothing of the group is left.
pub(crate) fn command(arguments: &[String]) -> anyhow::Result<Secret> {
    command_within(arguments, COMMAND_PATIENCE)
}

fn command_within(arguments: &[String], patience: Duration) -> anyhow::Result<Secret> {
    let (program, rest) = arguments.split_first().context("there is no program to ask for the secret")?;
    let about = format!("asking {program} for the secret");
    let mut command = Command::new(program);
    command.args(rest).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let limit = usize::try_from(SECRET_LIMIT).unwrap_or(usize::MAX);
    match brief::run(&mut command, patience, limit).with_context(|| about.clone())? {
        None => bail!("{about}: it did not end within {} s", patience.as_secs()),
        Some(said) if !said.status.success() => bail!("{about}: it ended with {}", said.status),
        Some(said) => trimmed(said.out).context(about),
    }
}

/// The password of `sasl`, from wherever it is; `None` when tokens are used instead.
/// A command is only run when `now` is set: it may take a while.
pub(crate) fn password(sasl: &Sasl, now: bool) -> anyhow::Result<Option<Secret>> {
    let place = SecretPlace {
        file: sasl.password_file.clone(),
        command: sasl.password_command.clone(),
        credential: sasl.password_credential.clone(),
    };
    at(&place, now)
}

/// The secret at `place`; as for [`password`], a command is only run when `now` is set.
pub(crate) fn at(place: &SecretPlace, now: bool) -> anyhow::Result<Option<Secret>> {
    if let Some(path) = &place.file {
        return file(path).map(Some);
    }
    if let Some(name) = &place.credential {
        return credential(name).map(Some);
    }
    if now && !place.command.is_empty() {
        return command(&place.command).map(Some);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::{command, command_within, file};
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    #[test]
    fn a_file_counts_only_when_nobody_else_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pw");
        let told = |mode: u32, text: &str| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            file(&path).map(|secret| secret.expose_text().unwrap().to_string()).map_err(|e| format!("{e:#}"))
        };
        assert_eq!(told(0o600, "hunter2\n"), Ok("hunter2".to_string()));
        assert_eq!(told(0o400, "with space \r\n"), Ok("with space ".to_string()));
        assert!(told(0o640, "hunter2").unwrap_err().contains("mode 0640 lets others read it"));
        assert!(!told(0o604, "hunter2").unwrap_err().contains("hunter2"));
        assert!(told(0o600, "\n").unwrap_err().contains("empty"));
        assert!(format!("{:#}", file(dir.path()).unwrap_err()).contains("not a regular file"));
        assert!(format!("{:#}", file(&dir.path().join("no")).unwrap_err()).contains("No such file"));
    }

    #[test]
    fn a_program_may_print_it() {
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let secret = command(&words(&["/bin/echo", "hunter2"])).unwrap();
        assert_eq!(secret.expose_text(), Some("hunter2"));
        let failed = command(&words(&["/bin/false"])).unwrap_err().to_string();
        assert!(failed.contains("/bin/false") && failed.contains("exit status: 1"), "{failed}");
        // What it started does not keep us, and ends with it; nor does one that closes its output and stays.
        let secret = command(&words(&["/bin/sh", "-c", "sleep 777 & echo hunter2"])).unwrap();
        assert_eq!(secret.expose_text(), Some("hunter2"));
        let stays = words(&["/bin/sh", "-c", "echo t; exec >&- 2>&-; exec sleep 777"]);
        let late = command_within(&stays, Duration::from_millis(200)).unwrap_err().to_string();
        assert!(late.contains("did not end within"), "{late}");
        // It inherits nothing that could be a secret.
        let secret = command(&words(&["/usr/bin/env"])).unwrap();
        assert_eq!(secret.expose_text(), Some("PATH=/usr/sbin:/usr/bin:/sbin:/bin"));
    }
}
