// SPDX-License-Identifier: Apache-2.0
//! Which init system a host, or the image of one, has.

use crate::error::ServiceError;
use std::fmt;
use std::path::{Path, PathBuf};

/// A known init system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// Units.
    Systemd,
    /// Scripts for openrc-run.
    OpenRc,
    /// Scripts in `/etc/init.d` and links in `/etc/rc?.d`.
    SysV,
}

/// What each has on a host that it runs.
const RUNNING: [(Init, &str); 3] =
    [(Init::Systemd, "run/systemd/system"), (Init::OpenRc, "run/openrc"), (Init::SysV, "etc/inittab")];
/// What each has in an image, or on a host that shows nothing of the above.
const PRESENT: [(Init, &str); 6] = [
    (Init::Systemd, "lib/systemd/systemd"),
    (Init::Systemd, "usr/lib/systemd/systemd"),
    (Init::OpenRc, "sbin/openrc-run"),
    (Init::OpenRc, "usr/sbin/openrc-run"),
    (Init::SysV, "etc/rc3.d"),
    (Init::SysV, "etc/rc.d/rc3.d"),
];

impl Init {
    /// Looks for what only that init system has, first for one that runs.
    ///
    /// # Errors
    /// When there is none, with all that was looked for.
    pub fn detect(root: &Root) -> Result<Init, ServiceError> {
        let running = RUNNING.iter().filter(|_| root.is_host());
        let present = PRESENT.iter().filter(|(init, _)| !root.is_host() || *init != Init::Systemd);
        let found = running.chain(present).find(|(_, path)| root.path().join(path).exists());
        found.map(|(init, _)| *init).ok_or_else(|| ServiceError::NoInit {
            looked_for: RUNNING
                .iter()
                .chain(&PRESENT)
                .map(|(init, path)| format!("{} ({init})", root.path().join(path).display()))
                .collect::<Vec<_>>()
                .join(", "),
        })
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Init::Systemd => "systemd",
            Init::OpenRc => "OpenRC",
            Init::SysV => "SysV init",
        }
    }
}

impl fmt::Display for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The directory everything is below: `/`, or that of an image, where no command is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Root {
    /// This host.
    pub fn host() -> Root {
        Root(PathBuf::from("/"))
    }

    /// An image below `directory`.
    pub fn image(directory: &Path) -> Root {
        Root(directory.to_path_buf())
    }

    /// Whether this is the running host.
    pub fn is_host(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where the absolute `path` of the installed system is for us.
    pub fn join(&self, path: &Path) -> PathBuf {
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }
}

#[cfg(test)]
mod tests {
    use super::{Init, Root};

    #[test]
    fn each_is_told_by_what_only_it_has() {
        for (path, init) in [
            ("usr/lib/systemd/systemd", Init::Systemd),
            ("sbin/openrc-run", Init::OpenRc),
            ("etc/rc3.d", Init::SysV),
        ] {
            let image = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(image.path().join(path)).unwrap();
            assert_eq!(Init::detect(&Root::image(image.path())).unwrap(), init);
        }
    }

    #[test]
    fn without_any_the_error_says_what_was_looked_for() {
        let image = tempfile::tempdir().unwrap();
        let error = Init::detect(&Root::image(image.path())).unwrap_err().to_string();
        assert!(error.contains("sbin/openrc-run (OpenRC)") && error.contains("(systemd)"), "{error}");
    }
}
