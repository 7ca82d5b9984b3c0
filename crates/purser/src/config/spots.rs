// SPDX-License-Identifier: Apache-2.0
//! Where each key stands in the text, and which keys nobody knows.

use super::{keys, sink, source};
use std::collections::BTreeMap;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// Byte ranges of keys and array items, by path: `capture.env`, `capture.env[1]`, `rule[0].name`.
#[derive(Debug, Default)]
pub(super) struct Spots(BTreeMap<String, Range<usize>>);

/// A key that is not in [`keys::KEYS`].
#[derive(Debug)]
pub(super) struct Unknown {
    pub(super) at: usize,
    pub(super) message: String,
}

impl Spots {
    /// Walks the parsed text. The first unknown key ends the walk.
    pub(super) fn find(table: &DeTable<'_>) -> Result<Spots, Unknown> {
        let mut spots = Spots::default();
        spots.table("", "", table)?;
        Ok(spots)
    }

    /// `path` is where the table stands, `general` the same without indexes.
    fn table(&mut self, path: &str, general: &str, table: &DeTable<'_>) -> Result<(), Unknown> {
        for (key, value) in in_order(table) {
            let name = key.get_ref().as_ref();
            let known = join(general, name);
            if !keys::is_known(&known) {
                // Names stand where types are written; items of lists have none.
                let place = if path.contains('[') { general } else { path };
                return Err(Unknown { at: key.span().start, message: unknown(place, general, name) });
            }
            let path = join(path, name);
            self.0.insert(path.clone(), key.span());
            if known == "sink"
                && let DeValue::Table(sinks) = value.get_ref()
            {
                self.sinks(sinks)?;
                continue;
            }
            if known == "source"
                && let DeValue::Table(sources) = value.get_ref()
            {
                self.sources(sources)?;
                continue;
            }
            self.value(&path, &known, value)?;
        }
        Ok(())
    }

    /// Below `source` stand names, too. What is wrong with a type is found when it is read.
    fn sources(&mut self, sources: &DeTable<'_>) -> Result<(), Unknown> {
        for (name, value) in in_order(sources) {
            let path = format!("source.{}", name.get_ref());
            self.0.insert(path.clone(), name.span());
            if let DeValue::Table(table) = value.get_ref() {
                let word = table.get("type").and_then(|word| word.get_ref().as_str());
                let word = word.filter(|word| source::TYPES.contains(word)).unwrap_or("file");
                self.table(&path, &keys::source_section(word), table)?;
            }
        }
        Ok(())
    }

    /// Below `sink` stand names, and below a name what its type has.
    fn sinks(&mut self, sinks: &DeTable<'_>) -> Result<(), Unknown> {
        for (name, value) in in_order(sinks) {
            let path = format!("sink.{}", name.get_ref());
            self.0.insert(path.clone(), name.span());
            if let DeValue::Table(table) = value.get_ref() {
                let section = sink::section(table, name.span().start)?;
                self.table(&path, &section, table)?;
            }
        }
        Ok(())
    }

    fn value(&mut self, path: &str, general: &str, value: &Spanned<DeValue<'_>>) -> Result<(), Unknown> {
        match value.get_ref() {
            DeValue::Table(table) => self.table(path, general, table),
            DeValue::Array(items) => items.iter().enumerate().try_for_each(|(index, item)| {
                let path = format!("{path}[{index}]");
                self.0.insert(path.clone(), item.span());
                self.value(&path, general, item)
            }),
            _ => Ok(()),
        }
    }

    /// The byte offset of `path`, or of the nearest thing around it that was written.
    pub(super) fn offset(&self, path: &str) -> usize {
        let mut path = path;
        loop {
            if let Some(span) = self.0.get(path) {
                return span.start;
            }
            match path.rfind(['.', '[']) {
                Some(cut) => path = &path[..cut],
                None => return 0,
            }
        }
    }

    /// The path of the value that begins at `offset`.
    pub(super) fn at(&self, text: &str, offset: usize) -> Option<&str> {
        let before = |span: &Range<usize>| {
            // A key with its value right behind it, or an item of an array, which is its own place.
            let between = text.get(span.end..offset);
            span.start == offset || between.is_some_and(|between| between.trim() == "=")
        };
        self.0.iter().find(|(_, span)| before(span)).map(|(path, _)| path.as_str())
    }

    /// Every path with its byte offset.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, usize)> {
        self.0.iter().map(|(path, span)| (path.as_str(), span.start))
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_string() } else { format!("{path}.{name}") }
}

/// As they are written, so that the first mistake is told first.
fn in_order<'a, 'i>(table: &'a DeTable<'i>) -> Vec<(&'a Spanned<DeString<'i>>, &'a Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn unknown(place: &str, general: &str, name: &str) -> String {
    let place = if place.is_empty() { String::new() } else { format!(" in [{place}]") };
    let siblings = keys::children(general);
    let nearest = siblings.iter().map(|known| (strsim::damerau_levenshtein(known, name), *known)).min();
    match nearest {
        Some((distance, known)) if distance <= known.len().max(3) / 2 => {
            format!("unknown key {name:?}{place}; did you mean {known:?}?")
        }
        _ => {
            // The key may be right and only stand in the wrong section.
            let elsewhere = keys::sections_with(name);
            match elsewhere.first() {
                Some(section) => format!("unknown key {name:?}{place}; it belongs in [{section}]"),
                None => format!("unknown key {name:?}{place}; known here: {}", siblings.join(", ")),
            }
        }
    }
}

/// Line and column, both from 1, of a byte offset in `text`.
pub(super) fn place(text: &str, offset: usize) -> (usize, usize) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let head = &text[..offset];
    let line = head.bytes().filter(|&byte| byte == b'\n').count() + 1;
    let column = head.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
    (line, column)
}
