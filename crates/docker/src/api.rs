// SPDX-License-Identifier: Apache-2.0
//! Versions of the API, and the one that both sides speak.

use std::fmt;

/// `1.41`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

/// The oldest that has all that is asked for.
pub(crate) const OLDEST: Version = Version(1, 24);
/// The newest that this was written for. A daemon changes nothing in a version once it is out.
pub(crate) const NEWEST: Version = Version(1, 51);

impl Version {
    /// From `1.41`.
    pub(crate) fn parse(text: &str) -> Option<Version> {
        let (major, minor) = text.split_once('.')?;
        let number =
            |text: &str| text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        Some(Version(number(major)?, number(minor)?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.0, self.1)
    }
}

/// The newest version of both, given the oldest and the newest of a daemon.
pub(crate) fn agreed(least: Version, most: Version) -> Option<Version> {
    let version = most.min(NEWEST);
    (version >= least && version >= OLDEST).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::{NEWEST, Version, agreed};

    #[test]
    fn versions() {
        assert_eq!(Version::parse("1.41"), Some(Version(1, 41)));
        for wrong in ["", "1", "1.", ".1", "1.+4", "1.4.1", "v1.4"] {
            assert_eq!(Version::parse(wrong), None, "{wrong}");
        }
        assert!(Version(1, 9) < Version(1, 24));
    }

    #[test]
    fn agreement() {
        // Docker 20.10, Docker 29, one of the future, one of the past.
        assert_eq!(agreed(Version(1, 12), Version(1, 41)), Some(Version(1, 41)));
        assert_eq!(agreed(Version(1, 44), Version(1, 52)), Some(NEWEST));
        assert_eq!(agreed(Version(1, 60), Version(1, 70)), None);
        assert_eq!(agreed(Version(1, 12), Version(1, 23)), None);
    }
}
