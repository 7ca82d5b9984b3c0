// SPDX-License-Identifier: Apache-2.0
//! The core that somebody means: on the host, in systemd-coredump's store or in a target; read, and ready to be handed
//! to a session.

use super::super::target::{Found, Subject};
use super::super::who;
use super::copy::Copy;
use super::roots::{Root, of_host};
use crate::command::Usage;
use anyhow::{Context, bail};
use cores::{Core, Stored};
use debug::Held;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where systemd-coredump keeps what it gets.
pub(in super::super) const STORE: &str = "/var/lib/systemd/coredump";

/// A core that was read, held open.
#[derive(Debug)]
pub(super) struct CoreFile {
    /// For people.
    pub(super) name: String,
    pub(super) core: Core,
    file: File,
    origin: Origin,
}

/// Where a core is.
#[derive(Debug)]
pub(super) enum Origin {
    /// On the host, where it was found.
    Host,
    /// In the target, at this path, on a mount that only the target has.
    Target(PathBuf),
    /// In a file of ours.
    Copy(Copy),
}

impl CoreFile {
    /// `coredump:WHICH`, or a path; where there is a target, in there first.
    pub(super) fn find(word: &str, target: Option<&Found>) -> anyhow::Result<CoreFile> {
        let path = Path::new(word);
        if let Some(which) = word.strip_prefix("coredump:") {
            let (file, name) = of_store(which)?;
            return CoreFile::read(file, name, Origin::Host);
        }
        if let Some(target) = target
            && let Some(file) = inside(target, path).with_context(|| word.to_owned())?
        {
            return CoreFile::read(file, word.to_owned(), Origin::Target(path.to_owned()));
        }
        let Some(file) = of_host(path).with_context(|| word.to_owned())? else {
            match target {
                Some(_) => bail!("there is no file {word} in the target, and none on this host"),
                None => bail!(
                    "there is no file {word}; a core in a container: purser debug CONTAINER --core PATH"
                ),
            }
        };
        CoreFile::read(permitted(file, word)?, word.to_owned(), Origin::Host)
    }

    fn read(file: File, name: String, origin: Origin) -> anyhow::Result<CoreFile> {
        let packing = cores::packing(&file).with_context(|| name.clone())?;
        let mut found = CoreFile { name, core: Core::default(), file, origin };
        if packing.is_some() {
            found.copy(packing)?;
        }
        let len = found.file.metadata().with_context(|| found.name.clone())?.len();
        found.core =
            Core::read(&found.file, len).map_err(|error| anyhow::anyhow!("{} {error}", found.name))?;
        Ok(found)
    }

    fn copy(&mut self, packing: Option<cores::Packing>) -> anyhow::Result<()> {
        let (file, copy) = Copy::make(&self.file, packing, &self.name)?;
        (self.file, self.origin) = (file, Origin::Copy(copy));
        Ok(())
    }

    /// Sees to it that a session can have it, and read it: in another target than the one it is in, and where the users
    /// are not those of the host, only a copy can be.
    pub(super) fn settle(&mut self, is_elsewhere: bool, has_other_users: bool) -> anyhow::Result<()> {
        let is_closed = || {
            let mode = self.file.metadata().map(|data| data.mode()).unwrap_or_default();
            has_other_users && mode & 0o004 == 0
        };
        let is_unfit = match &self.origin {
            Origin::Host => is_closed() || !is_on_our_mounts(&self.file),
            Origin::Target(_) => is_elsewhere,
            Origin::Copy(_) => false,
        };
        if is_unfit { self.copy(None) } else { Ok(()) }
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// As a session gets it, under this name.
    pub(super) fn held(&mut self, name: &str) -> anyhow::Result<Held> {
        let mut passing_name = None;
        if let Origin::Copy(copy) = &mut self.origin {
            let (name, file) = copy.name(&self.file)?;
            (passing_name, self.file) = (Some(name), file);
        }
        let descriptor = self.file.as_raw_fd();
        let pid = rustix::process::getpid().as_raw_pid();
        Ok(Held { pid, descriptor, passing_name, name: name.to_owned() })
    }
}

/// The file that a path means in a target.
fn inside(target: &Found, path: &Path) -> anyhow::Result<Option<File>> {
    match &target.subject {
        Subject::Running(process) => Ok(Root::of(process.pid())?.open(path)?),
        Subject::Still(still) => still.open(path),
    }
}

/// What was reached through another process's root, in /proc, is on a mount that cannot be taken from here.
fn is_on_our_mounts(file: &File) -> bool {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let about = read(&format!("/proc/self/fdinfo/{}", file.as_raw_fd()));
    let id = about.lines().find_map(|line| line.strip_prefix("mnt_id:")).map(str::trim);
    let mounts = read("/proc/self/mountinfo");
    mounts.lines().any(|line| line.split(' ').next() == id)
}

/// Whoever comes by `sudo` may be let into a container, and not read what others' programs had in memory.
fn permitted(file: File, word: &str) -> anyhow::Result<File> {
    let owner = file.metadata().with_context(|| word.to_owned())?.uid();
    if who::comes_by_sudo() && owner != who::Who::asks().uid {
        bail!(Usage(format!("{word} belongs to another user, and you come by sudo; root may use it")));
    }
    Ok(file)
}

/// A number is a process's, a word a program's name, a name the file's, and `latest` says itself.
fn of_store(which: &str) -> anyhow::Result<(File, String)> {
    let all = cores::stored(Path::new(STORE));
    let Some(one) = chosen(&all, which) else {
        let known: Vec<String> =
            all.iter().take(5).map(|one| format!("{} ({})", one.pid, one.name)).collect();
        let known = match known.is_empty() {
            true => "there is none at all".to_owned(),
            false => format!("the latest are {}; purser debug cores lists them", known.join(", ")),
        };
        bail!(Usage(format!("no core {which:?} in {STORE}: {known}")));
    };
    let path = one.path.display().to_string();
    match of_host(&one.path).with_context(|| path.clone())? {
        Some(file) => Ok((permitted(file, &path)?, path)),
        None => bail!("{path} is gone: systemd removes old cores"),
    }
}

/// The latest that fits; they come the latest first.
fn chosen<'a>(all: &'a [Stored], which: &str) -> Option<&'a Stored> {
    match which.parse::<i32>() {
        Ok(pid) => all.iter().find(|one| one.pid == pid),
        Err(_) if which == "latest" => all.first(),
        Err(_) => all.iter().find(|one| {
            // A name in the kernel has at most 15 bytes.
            let name = which.get(..15).unwrap_or(which);
            one.name == name || one.path.file_name().is_some_and(|file| file == which)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::chosen;
    use cores::Stored;

    #[test]
    fn which_one() {
        let one = |name: &str, pid: i32| Stored {
            path: format!("/x/core.{name}.0.b.{pid}.1").into(),
            name: name.to_owned(),
            uid: 0,
            pid,
            time_us: 1,
        };
        let all = [one("web", 9), one("db", 8), one("web", 7), one("a-long-name-of-", 6)];
        let pid = |which: &str| chosen(&all, which).map(|one| one.pid);
        assert_eq!(pid("latest"), Some(9));
        assert_eq!(pid("web"), Some(9));
        assert_eq!(pid("7"), Some(7));
        assert_eq!(pid("core.db.0.b.8.1"), Some(8));
        assert_eq!(pid("a-long-name-of-a-program"), Some(6));
        assert_eq!(pid("nope"), None);
    }
}
