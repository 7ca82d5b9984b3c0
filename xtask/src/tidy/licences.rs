// SPDX-License-Identifier: Apache-2.0
//! The licence of every dependency, held against the list in deny.toml. What a package offers is an
//! expression; it passes when the allowed licences satisfy it.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};

use super::Finding;
use crate::place;
use crate::process::{cargo, output};

const LIST: &str = "deny.toml";

pub(super) fn check() -> Result<Vec<Finding>> {
    let deny = fs::read_to_string(place::root().join(LIST)).context("read deny.toml")?;
    let allowed = allowed(&deny);
    let mut tree = cargo(["tree", "--workspace", "--locked", "--all-features", "--target", "all"]);
    let listed =
        output(tree.args(["--prefix", "none", "--format", "{p}|{l}"])).context("list the dependencies")?;
    Ok(refused(&listed, &allowed).into_iter().map(|says| Finding::new(LIST, 0, says)).collect())
}

/// The strings of `allow = [...]` below `[licenses]`.
fn allowed(deny: &str) -> BTreeSet<&str> {
    let section = deny.split_once("[licenses]").map_or("", |(_, rest)| rest);
    let list = section.split_once("allow = [").map_or("", |(_, rest)| rest);
    let uncommented = list.lines().map(|line| line.split('#').next().unwrap_or_default());
    let mut found = BTreeSet::new();
    for line in uncommented {
        let (line, ends) = line.split_once(']').map_or((line, false), |(line, _)| (line, true));
        found.extend(line.split('"').skip(1).step_by(2));
        if ends {
            break;
        }
    }
    found
}

/// `listed` has lines `NAME VERSION ...|EXPRESSION`, a package possibly many times.
fn refused(listed: &str, allowed: &BTreeSet<&str>) -> BTreeSet<String> {
    let mut says = BTreeSet::new();
    for line in listed.lines().filter(|line| !line.is_empty()) {
        let (package, expression) = line.split_once('|').unwrap_or((line, ""));
        let expression = expression.trim_end_matches(" (*)");
        if !satisfied(expression, allowed) {
            let name = package.split(" (").next().unwrap_or(package);
            says.insert(format!("the licence of {name}, {expression:?}, is not covered by the list"));
        }
    }
    says
}

/// Whether the allowed licences satisfy an SPDX expression. `AND` binds tighter than `OR`; the old `/`
/// means `OR`. What cannot be read is not satisfied.
fn satisfied(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Expression { words: &words, allowed };
    reader.any() == Some(true) && reader.words.is_empty()
}

#[derive(Debug)]
struct Expression<'a> {
    words: &'a [&'a str],
    allowed: &'a BTreeSet<&'a str>,
}

impl Expression<'_> {
    fn next_if(&mut self, word: &str) -> bool {
        match self.words.split_first() {
            Some((first, rest)) if *first == word => {
                self.words = rest;
                true
            }
            _ => false,
        }
    }

    fn any(&mut self) -> Option<bool> {
        let mut result = self.all()?;
        while self.next_if("OR") {
            result |= self.all()?;
        }
        Some(result)
    }

    fn all(&mut self) -> Option<bool> {
        let mut result = self.one()?;
        while self.next_if("AND") {
            result &= self.one()?;
        }
        Some(result)
    }

    fn one(&mut self) -> Option<bool> {
        if self.next_if("(") {
            let result = self.any()?;
            return self.next_if(")").then_some(result);
        }
        let (name, rest) = self.words.split_first()?;
        self.words = rest;
        if !self.next_if("WITH") {
            return Some(self.allowed.contains(name));
        }
        let (exception, rest) = self.words.split_first()?;
        self.words = rest;
        Some(self.allowed.contains(format!("{name} WITH {exception}").as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::{allowed, refused, satisfied};

    const DENY: &str = "[bans]\nallow = [\"no\"]\n[licenses]\nallow = [\n  \"MIT\", # \"hidden\"\n  \"ISC\",\n  \"Apache-2.0 WITH x\",\n]\nother = [\"GPL\"]\n";

    #[test]
    fn reads_the_list() {
        assert_eq!(allowed(DENY).into_iter().collect::<Vec<_>>(), ["Apache-2.0 WITH x", "ISC", "MIT"]);
        assert!(allowed("").is_empty());
    }

    #[test]
    fn understands_expressions() {
        let list = allowed(DENY);
        for good in [
            "MIT",
            "GPL OR MIT",
            "MIT/GPL",
            "(GPL OR MIT) AND ISC",
            "Apache-2.0 WITH x",
            "GPL AND BSD OR MIT",
        ] {
            assert!(satisfied(good, &list), "{good}");
        }
        for bad in [
            "",
            "GPL",
            "MIT AND GPL",
            "MIT OR",
            "(MIT",
            "MIT)",
            "MIT ISC",
            "Apache-2.0",
            "MIT WITH x",
            "OR MIT",
        ] {
            assert!(!satisfied(bad, &list), "{bad}");
        }
    }

    #[test]
    fn names_each_package_once() {
        let listed = "a v1 (/x)|MIT\nb v2|GPL\n\nb v2|GPL (*)\nc v3|\n";
        let says = refused(listed, &allowed(DENY));
        assert_eq!(says.len(), 2);
        assert!(says.iter().any(|line| line.contains("b v2")));
    }
}
