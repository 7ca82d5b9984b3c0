// SPDX-License-Identifier: Apache-2.0
//! Whether the files of a root are those that a program consisted of.

use crate::core::{Core, Object};
use crate::identity::{Identity, identify};
use std::fs::File;
use std::io;
use std::path::Path;

/// What there is in place of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// The same build.
    Same,
    /// A file that cannot be compared, as the core has nothing of the object.
    Unknown,
    /// Another build.
    Differs(Identity),
    /// No file.
    Missing,
    /// Something that cannot be read, or is no program or library.
    Unreadable(String),
}

/// All objects of a core, each with what there is in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared(pub Vec<Match>);

impl Compared {
    /// Whether no object is missing or another one, and one at least is known to be the same.
    pub fn is_whole(&self) -> bool {
        let fits = |one: &Match| matches!(one, Match::Same | Match::Unknown);
        self.0.iter().all(fits) && self.0.contains(&Match::Same)
    }

    /// How many objects are known to be the same.
    pub fn same(&self) -> usize {
        self.0.iter().filter(|one| **one == Match::Same).count()
    }

    /// Whether there is a file for this object that may be it.
    pub fn may_have(&self, object: usize) -> bool {
        self.0.get(object).is_some_and(|one| matches!(one, Match::Same | Match::Unknown))
    }
}

/// Opens the regular file that a path means in a root.
pub type Open<'a> = dyn FnMut(&Path) -> io::Result<Option<File>> + 'a;

/// Compares the objects of `core` with the files of a root.
pub fn compare(core: &Core, open: &mut Open<'_>) -> Compared {
    Compared(core.objects.iter().map(|object| object.compare(open)).collect())
}

impl Object {
    /// What there is in its place.
    pub fn compare(&self, open: &mut Open<'_>) -> Match {
        one(&self.path, &self.identity, open)
    }
}

fn one(path: &Path, wanted: &Identity, open: &mut Open<'_>) -> Match {
    let file = match open(path) {
        Ok(Some(file)) => file,
        Ok(None) => return Match::Missing,
        Err(error) => return Match::Unreadable(error.to_string()),
    };
    match identify(&file) {
        Ok(Some(found)) => match wanted.is(&found) {
            Some(true) => Match::Same,
            Some(false) => Match::Differs(found),
            None => Match::Unknown,
        },
        Ok(None) => Match::Unreadable("no program or library".to_owned()),
        Err(error) => Match::Unreadable(error.to_string()),
    }
}
