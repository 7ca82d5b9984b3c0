// SPDX-License-Identifier: Apache-2.0
//! What a source is told to do.

use crate::glob::PathGlob;
use crate::json::Json;
use crate::lines::Encoding;
use crate::multiline::Multiline;
use std::time::Duration;

/// Settings of one source.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The source's name, which stands in its events.
    pub name: String,
    /// Where its files are.
    pub paths: Vec<PathGlob>,
    /// What must not be read although `paths` lead to it: patterns of whole paths, in which `*` also
    /// stands for slashes.
    pub exclude: Vec<String>,
    /// Where to begin with files that are there when the source runs for the first time.
    pub from: From,
    /// How the files write their text.
    pub encoding: Encoding,
    /// Most bytes of a line, and of the lines that are joined.
    pub max_line_bytes: usize,
    /// Which outputs of containers are taken, as bits of [`event::line_flags`]; 0 for all.
    pub streams: u32,
    /// How lines are joined, if they are.
    pub multiline: Option<Multiline>,
    /// What lines of JSON become.
    pub json: Option<Json>,
    /// Time between looks for new files.
    pub scan_every: Duration,
    /// Files that were changed before this time are not begun with.
    pub ignore_older: Option<Duration>,
    /// Time without a new line after which a file is closed.
    pub close_inactive: Duration,
    /// Close a file that has no name any more, at its end.
    pub close_removed: bool,
    /// Close a file that got another name, at its end.
    pub close_renamed: bool,
    /// Close a file at its end.
    pub close_eof: bool,
    /// Read what symbolic links lead to.
    pub symlinks: bool,
    /// Most files held open.
    pub open_limit: usize,
    /// Bytes of unfinished lines of all files together.
    pub held_limit: usize,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// With the first line.
    Start,
    /// With the first line written from then on.
    End,
}

impl Settings {
    /// The defaults, for `paths`.
    pub fn new(name: &str, paths: Vec<PathGlob>) -> Settings {
        Settings {
            name: name.to_string(),
            paths,
            exclude: Vec::new(),
            from: From::Start,
            encoding: Encoding::Utf8,
            max_line_bytes: 1 << 20,
            streams: 0,
            multiline: None,
            json: None,
            scan_every: Duration::from_secs(2),
            ignore_older: None,
            close_inactive: Duration::from_secs(300),
            close_removed: true,
            close_renamed: false,
            close_eof: false,
            symlinks: false,
            open_limit: 512,
            held_limit: 16 << 20,
        }
    }
}
