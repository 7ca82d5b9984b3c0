// SPDX-License-Identifier: Apache-2.0
//! Who looks on while a session lasts, for the record: told of all that its terminal shows, and of its end.

use crate::spec::Window;
use std::fmt;

/// Takes what the terminal showed, and its size.
pub type Shown = Box<dyn FnMut(&[u8], Window)>;
/// Takes the exit code, and how the session ended if not by its program.
pub type Ended = Box<dyn FnOnce(u8, &str)>;

/// Both are called by the keeper's only thread, which must not wait for anybody: a session goes on whether it can
/// be recorded or not.
pub struct Witness {
    /// Called for each piece of output.
    pub shown: Shown,
    /// Called once.
    pub ended: Ended,
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Witness")
    }
}
