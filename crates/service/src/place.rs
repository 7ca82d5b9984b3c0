// SPDX-License-Identifier: Apache-2.0
//! Where the files of a service lie.

use crate::definition::Name;
use crate::files;
use crate::init::{Init, Root};
use std::path::{Path, PathBuf};

/// The links by which SysV init starts and stops a script: run level, letter, number.
const SYSV_LINKS: [(u8, char, u8); 7] =
    [(0, 'K', 20), (1, 'K', 20), (2, 'S', 20), (3, 'S', 20), (4, 'S', 20), (5, 'S', 20), (6, 'K', 20)];

/// Where units come from that no person wrote: packages, and generators as that for SysV scripts.
const PACKAGED: &[&str] = &[
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/system",
    "/run/systemd/generator",
    "/run/systemd/generator.late",
];
/// The same for services of users.
const PACKAGED_FOR_USERS: &[&str] =
    &["/etc/systemd/user", "/run/systemd/user", "/usr/local/lib/systemd/user", "/usr/lib/systemd/user"];

/// One service on one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its name.
    pub name: Name,
    /// Who starts it.
    pub init: Init,
    /// Below which directory everything is.
    pub root: Root,
    /// The directory of the calling user's own units, for a service of that user.
    pub user_units: Option<PathBuf>,
}

/// A symbolic link, and what it points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) path: PathBuf,
    pub(crate) target: PathBuf,
}

impl Place {
    /// The unit or script, as a path we can open.
    pub fn file(&self) -> PathBuf {
        self.units().join(self.file_name())
    }

    /// `purser.service`
    pub fn unit(&self) -> String {
        format!("{}.service", self.name)
    }

    fn file_name(&self) -> String {
        if self.init == Init::Systemd { self.unit() } else { self.name.to_string() }
    }

    fn units(&self) -> PathBuf {
        match (&self.user_units, self.init) {
            (Some(units), _) => units.clone(),
            (None, Init::Systemd) => self.root.join(Path::new("/etc/systemd/system")),
            (None, Init::OpenRc | Init::SysV) => self.root.join(Path::new("/etc/init.d")),
        }
    }

    /// Permissions of the file: scripts are executed.
    pub(crate) fn mode(&self) -> u32 {
        if self.init == Init::Systemd { 0o644 } else { 0o755 }
    }

    /// The target a unit is wanted by.
    pub(crate) fn target(&self) -> &'static str {
        if self.user_units.is_some() { "default.target" } else { "multi-user.target" }
    }

    /// What makes it start with the host.
    pub(crate) fn links(&self) -> Vec<Link> {
        let script = || Path::new("/etc/init.d").join(self.name.as_str());
        match self.init {
            Init::Systemd => {
                let path = self.units().join(format!("{}.wants", self.target())).join(self.unit());
                vec![Link { path, target: Path::new("..").join(self.unit()) }]
            }
            Init::OpenRc => {
                let path = self.root.join(Path::new("/etc/runlevels/default")).join(self.name.as_str());
                vec![Link { path, target: script() }]
            }
            Init::SysV => SYSV_LINKS
                .iter()
                .map(|(level, letter, number)| Link {
                    path: self.level(*level).join(format!("{letter}{number:02}{}", self.name)),
                    target: script(),
                })
                .collect(),
        }
    }

    /// Links that are there, whoever made them: a SysV tool may have numbered them anew.
    pub(crate) fn present_links(&self) -> Vec<PathBuf> {
        let wanted = self.links().into_iter().map(|link| link.path);
        if self.init != Init::SysV {
            return wanted.filter(|path| path.is_symlink()).collect();
        }
        SYSV_LINKS.iter().flat_map(|(level, ..)| self.links_in(&self.level(*level))).collect()
    }

    fn links_in(&self, level: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(level).into_iter().flatten().flatten();
        let ours = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let number = name.strip_prefix(['S', 'K']).and_then(|rest| rest.strip_suffix(self.name.as_str()));
            path.is_symlink()
                && number
                    .is_some_and(|number| number.len() == 2 && number.bytes().all(|b| b.is_ascii_digit()))
        };
        entries.map(|entry| entry.path()).filter(ours).collect()
    }

    /// `/etc/rc3.d`, or `/etc/rc.d/rc3.d` where that is the real one.
    fn level(&self, level: u8) -> PathBuf {
        let nested = self.root.join(Path::new("/etc/rc.d"));
        let above = if nested.join("rc3.d").is_dir() { nested } else { self.root.join(Path::new("/etc")) };
        above.join(format!("rc{level}.d"))
    }

    /// Copies of edited files, which were kept when those were replaced or removed.
    pub fn copies(&self) -> Vec<PathBuf> {
        files::backups(&self.file()).collect()
    }

    /// A unit of the same name from a package or a generator, which ours would be used in place of.
    pub(crate) fn shadowed(&self) -> Option<PathBuf> {
        let directories = match (self.init, &self.user_units) {
            (Init::Systemd, None) => PACKAGED,
            (Init::Systemd, Some(_)) => PACKAGED_FOR_USERS,
            // Packages put their scripts where ours go.
            (Init::OpenRc | Init::SysV, _) => &[],
        };
        let units = directories.iter().map(|dir| self.root.join(Path::new(dir)).join(self.unit()));
        units.into_iter().find(|path| path.exists() || path.is_symlink())
    }

    /// The directory of changes that a person made with `systemctl edit`.
    pub fn drop_ins(&self) -> Option<PathBuf> {
        (self.init == Init::Systemd).then(|| self.units().join(format!("{}.d", self.unit())))
    }
}
