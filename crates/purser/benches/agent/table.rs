// SPDX-License-Identifier: Apache-2.0
//! The table of figures, with what was aimed at beside each. Judges, but never fails.

use std::fmt;

/// A figure against its target.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// Told for comparison.
    None,
    /// At most this.
    AtMost(f64),
}

#[derive(Debug)]
struct Row {
    what: String,
    figure: f64,
    unit: &'static str,
    target: Target,
    note: String,
}

/// Rows in the order they were measured; each is also shown at once.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    skipped: Vec<String>,
}

impl Table {
    pub(crate) fn add(&mut self, what: &str, figure: f64, unit: &'static str, target: Target, note: String) {
        let row = Row { what: what.to_string(), figure, unit, target, note };
        println!("{row}");
        self.rows.push(row);
    }

    /// Something that cannot be measured here, and why.
    pub(crate) fn skip(&mut self, what: &str, why: &str) {
        println!("SKIP {what}: {why}");
        self.skipped.push(format!("{what}: {why}"));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        for row in &self.rows {
            writeln!(f, "{row}")?;
        }
        for skipped in &self.skipped {
            writeln!(f, "SKIP {skipped}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.figure >= 1000.0 { 0 } else { 2 };
        let target = match self.target {
            Target::None => String::new(),
            Target::AtMost(limit) if self.figure <= limit => format!("<= {limit}, met"),
            Target::AtMost(limit) => format!("<= {limit}, MISSED"),
        };
        let Row { what, figure, unit, note, .. } = self;
        write!(f, "{what:<48} {figure:>10.digits$} {unit:<8} {target:<14} {note}")
    }
}
