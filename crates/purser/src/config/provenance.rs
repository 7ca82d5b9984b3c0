// SPDX-License-Identifier: Apache-2.0
//! Where each value of the effective configuration comes from.

use std::collections::BTreeMap;
use std::fmt;

/// Where one value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File {
        /// The file, as it was named.
        file: String,
        /// The line, from 1.
        line: usize,
    },
    /// An option on the command line, such as `--store`.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { file, line } => write!(f, "{file}:{line}"),
            Origin::Flag(flag) => f.write_str(flag),
        }
    }
}

/// The origin of every value that is not a default, by path: `store.segment_mib`, `rule[0].name`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    origins: BTreeMap<String, Origin>,
}

impl Provenance {
    /// Where the value at `path` comes from.
    pub fn of(&self, path: &str) -> Origin {
        self.origins.get(path).cloned().unwrap_or(Origin::Default)
    }

    /// Every value that is not a default.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Origin)> {
        self.origins.iter().map(|(path, origin)| (path.as_str(), origin))
    }

    pub(super) fn set_file(&mut self, path: &str, file: &str, line: usize) {
        self.origins.insert(path.to_string(), Origin::File { file: file.to_string(), line });
    }

    pub(crate) fn set_flag(&mut self, path: &str, flag: &'static str) {
        self.origins.insert(path.to_string(), Origin::Flag(flag));
    }
}
