// SPDX-License-Identifier: Apache-2.0
//! The one table of texts that is searched in every argument, so that nothing dearer runs without cause.

use crate::Error;
use crate::name::NAMES;
use crate::rule::Enabled;
use crate::shape::SHAPES;
use crate::table::COMMANDS;
use aho_corasick::{AhoCorasick, AhoCorasickKind};

/// What a found text asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The end of a telling name: an index of [`NAMES`].
    Name(usize),
    /// `://`
    Url,
    /// An index of [`SHAPES`].
    Shape(usize),
    /// The name of a command with rules.
    Command,
}

/// The search table and what each of its texts means.
#[derive(Debug)]
pub(crate) struct Triggers {
    pub(crate) search: AhoCorasick,
    meanings: Vec<Meaning>,
}

impl Triggers {
    pub(crate) fn new(enabled: Enabled) -> Result<Self, Error> {
        let mut rows: Vec<(String, Meaning)> = vec![("://".to_owned(), Meaning::Url)];
        rows.extend(
            NAMES.iter().enumerate().map(|(index, name)| (name.ending.to_owned(), Meaning::Name(index))),
        );
        for (index, shape) in SHAPES.iter().enumerate().filter(|(_, shape)| enabled.has(shape.rule)) {
            rows.extend(shape.triggers.iter().map(|text| ((*text).to_owned(), Meaning::Shape(index))));
        }
        for command in COMMANDS.iter().filter(|command| enabled.has(command.rule)) {
            // A short name is looked for with the blank that follows it, or it would be found everywhere.
            let text = |name: &&str| if name.len() < 5 { format!("{name} ") } else { (*name).to_owned() };
            rows.extend(command.names.iter().map(|name| (text(name), Meaning::Command)));
        }
        let search = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .kind(Some(AhoCorasickKind::DFA))
            .build(rows.iter().map(|row| row.0.as_str()))?;
        Ok(Self { search, meanings: rows.into_iter().map(|row| row.1).collect() })
    }

    /// The meaning of the text with number `pattern`.
    pub(crate) fn meaning(&self, pattern: usize) -> Option<Meaning> {
        self.meanings.get(pattern).copied()
    }
}
