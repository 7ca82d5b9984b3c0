// SPDX-License-Identifier: Apache-2.0
//! The effective configuration as text: TOML that can be read in again, with the origin of
//! each value in a comment behind it.

use super::{Config, KEYS, Provenance, keys};
use std::fmt::Write;
use toml::{Table, Value};

/// Column of the comments, when the value is short enough.
const COMMENT_COLUMN: usize = 48;

/// Renders `config` with where each value comes from.
pub fn show(config: &Config, provenance: &Provenance) -> String {
    let table = Table::try_from(config).expect("a configuration holds only what TOML can");
    let mut text = String::new();
    let mut section = "";
    for key in KEYS {
        let Some((head, _)) = key.path.rsplit_once('.') else { continue };
        if head == section {
            continue;
        }
        section = head;
        if head.starts_with("sink.") || head.starts_with("source.") {
            continue;
        }
        match find(&table, head) {
            Some(Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    header(&mut text, &format!("[[{head}]]"));
                    lines(&mut text, head, &format!("{head}[{index}]"), item, provenance);
                }
            }
            Some(item) => {
                header(&mut text, &format!("[{head}]"));
                lines(&mut text, head, head, item, provenance);
            }
            None => {}
        }
    }
    for (name, sink) in &config.sinks {
        let path = format!("sink.{name}");
        header(&mut text, &format!("[{path}]"));
        let Some(item) = find(&table, &path) else { continue };
        lines(&mut text, keys::EVERY_SINK, &path, item, provenance);
        lines(&mut text, &format!("sink.{}", sink.kind.word()), &path, item, provenance);
    }
    for (name, source) in &config.sources {
        let path = format!("source.{name}");
        header(&mut text, &format!("[{path}]"));
        let Some(item) = find(&table, &path) else { continue };
        lines(&mut text, &keys::source_section(source.kind.word()), &path, item, provenance);
    }
    text
}

fn find<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    let mut names = path.split('.');
    let mut value = table.get(names.next()?)?;
    for name in names {
        value = value.get(name)?;
    }
    Some(value)
}

fn header(text: &mut String, header: &str) {
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(header);
    text.push('\n');
}

fn lines(text: &mut String, section: &str, path: &str, item: &Value, provenance: &Provenance) {
    for key in KEYS {
        let Some(name) = key.path.strip_prefix(section).and_then(|rest| rest.strip_prefix('.')) else {
            continue;
        };
        let Some(value) = name.split('.').try_fold(item, |item, name| item.get(name)) else { continue };
        let line = format!("{name} = {value}");
        let origin = provenance.of(&format!("{path}.{name}"));
        writeln!(text, "{line:<COMMENT_COLUMN$}  # {origin}").expect("a string takes any text");
    }
}
