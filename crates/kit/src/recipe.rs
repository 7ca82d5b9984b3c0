// SPDX-License-Identifier: Apache-2.0
//! Recipes: what a kit is made of. A recipe names packages and the commands it wants of them; the libraries these
//! need come by themselves.

use crate::error::KitError;
use crate::manifest::{self, Manifest, few, inside, line};
use crate::name::Name;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The recipes that come with purser, by name.
pub const SHIPPED: [(&str, &str); 9] = [
    ("base", include_str!("../../../kits/base.toml")),
    ("net", include_str!("../../../kits/net.toml")),
    ("trace", include_str!("../../../kits/trace.toml")),
    ("gdb", include_str!("../../../kits/gdb.toml")),
    ("jvm", include_str!("../../../kits/jvm.toml")),
    ("python", include_str!("../../../kits/python.toml")),
    ("go", include_str!("../../../kits/go.toml")),
    ("node", include_str!("../../../kits/node.toml")),
    ("bpf", include_str!("../../../kits/bpf.toml")),
];

/// Longest recipe, in bytes.
const RECIPE_LIMIT: usize = 256 << 10;
/// Longest file in a recipe, in bytes.
const FILE_LIMIT: usize = 64 << 10;

/// What a kit is made of.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Names the kit.
    pub name: Name,
    /// The kit's own version.
    pub version: String,
    /// What it is good for, in one line.
    pub summary: String,
    /// The suite of the distribution from which the packages come: `trixie`.
    #[serde(default)]
    pub suite: Option<String>,
    /// An image of an engine of this host from which the files are taken, in the place of packages.
    #[serde(default)]
    pub image: Option<String>,
    /// The packages; what they depend on is fetched with them.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Programs from Python wheels, as `name==version`.
    #[serde(default)]
    pub wheels: Vec<String>,
    /// Kits that are mounted with it.
    #[serde(default)]
    pub requires: Vec<Name>,
    /// Libraries that are taken from the kit `base`, the loader too if it is named. Both kits must be of one suite.
    #[serde(default)]
    pub borrow: Vec<String>,
    /// Capabilities its programs need, without `CAP_`.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// Names of programs for which this is the best kit.
    #[serde(default)]
    pub suits: Vec<String>,
    /// Patterns of files to take beside the commands and their libraries.
    #[serde(default)]
    pub keep: Vec<String>,
    /// Patterns of files to leave out of those.
    #[serde(default)]
    pub drop: Vec<String>,
    /// Variables of a session's programs; `@` stands for the prefix.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Its commands.
    pub commands: BTreeMap<String, Command>,
    /// Files that the recipe brings itself; `@/` stands for the prefix.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Files made of others: all that fit the pattern, one after the other.
    #[serde(default)]
    pub join: BTreeMap<String, String>,
    /// Fixed texts in programs that are to be others.
    #[serde(default)]
    pub patch: Vec<Patch>,
}

/// One command of a kit.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Command {
    /// The program itself.
    Program(String),
    /// A program with settings, which get a script of their own.
    Wrapped(Wrapped),
}

/// A program with arguments and variables that belong to it alone; `@` stands for the prefix.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wrapped {
    /// Its path in the kit.
    pub program: String,
    /// Arguments in front of the user's.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// Its variables.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

/// A text in a program that is to be another. The new one must not be longer: it takes the old one's place.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patch {
    /// The program's path in the kit.
    pub file: String,
    /// The text, up to its closing NUL.
    pub from: String,
    /// The new text.
    pub to: String,
}

impl Command {
    /// The program's path in the kit.
    #[must_use]
    pub fn program(&self) -> &str {
        match self {
            Command::Program(program) => program,
            Command::Wrapped(wrapped) => &wrapped.program,
        }
    }
}

impl Recipe {
    /// Reads a recipe; `origin` is what a message calls it.
    ///
    /// # Errors
    /// When it is no recipe, or names what no kit may have.
    pub fn parse(text: &str, origin: &str) -> Result<Recipe, KitError> {
        let wrong = |why: String| KitError::Wrong { origin: origin.to_string(), why };
        if text.len() > RECIPE_LIMIT {
            return Err(wrong(format!("{} bytes are more than any recipe has", text.len())));
        }
        let recipe: Recipe = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        recipe.check().map_err(wrong)?;
        // What the manifest refuses is refused before anything is fetched.
        recipe.manifest(Vec::new()).render().map_err(|error| wrong(error.to_string()))?;
        Ok(recipe)
    }

    /// One without packages and commands.
    pub(crate) fn bare(name: &Name, version: &str, summary: &str) -> Recipe {
        Recipe {
            name: name.clone(),
            version: version.to_string(),
            summary: summary.to_string(),
            suite: None,
            image: None,
            packages: Vec::new(),
            wheels: Vec::new(),
            requires: Vec::new(),
            borrow: Vec::new(),
            capabilities: Vec::new(),
            suits: Vec::new(),
            keep: Vec::new(),
            drop: Vec::new(),
            environment: BTreeMap::new(),
            commands: BTreeMap::new(),
            files: BTreeMap::new(),
            join: BTreeMap::new(),
            patch: Vec::new(),
        }
    }

    /// A recipe that comes with purser.
    ///
    /// # Errors
    /// When it is wrong, which tests rule out.
    #[must_use]
    pub fn shipped(name: &str) -> Option<Result<Recipe, KitError>> {
        let (name, text) = SHIPPED.iter().find(|(known, _)| *known == name)?;
        Some(Recipe::parse(text, &format!("the recipe {name}")))
    }

    /// The manifest of the kit that was made of these packages.
    pub(crate) fn manifest(&self, packages: Vec<String>) -> Manifest {
        let commands = self.commands.keys().map(|name| (name.clone(), format!("bin/{name}"))).collect();
        Manifest {
            name: self.name.clone(),
            version: self.version.clone(),
            arch: std::env::consts::ARCH.to_string(),
            summary: self.summary.clone(),
            requires: self.requires.clone(),
            capabilities: self.capabilities.clone(),
            path: vec!["bin".to_string()],
            suits: self.suits.clone(),
            packages,
            environment: self.environment.clone(),
            commands,
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.packages.is_empty() != self.suite.is_none() {
            return Err("packages and suite belong together: say both or neither".to_string());
        }
        if let Some(suite) = &self.suite {
            word("suite", suite)?;
        }
        if let Some(image) = &self.image {
            line("image", image)?;
            if self.suite.is_some() || !self.wheels.is_empty() || !self.borrow.is_empty() {
                return Err("image: packages, wheels and borrow do not go with it".to_string());
            }
        }
        for (key, list) in [
            ("packages", &self.packages),
            ("wheels", &self.wheels),
            ("keep", &self.keep),
            ("drop", &self.drop),
            ("borrow", &self.borrow),
        ] {
            few(key, list.len())?;
            list.iter().try_for_each(|item| line(key, item))?;
        }
        self.packages.iter().try_for_each(|package| word("packages", package))?;
        self.wheels.iter().try_for_each(|wheel| word("wheels", wheel))?;
        if !self.borrow.is_empty() && !self.requires.iter().any(|name| name.as_str() == "base") {
            return Err("borrow: what is taken from the kit base needs requires = [\"base\"]".to_string());
        }
        for pattern in self.keep.iter().chain(&self.drop).chain(self.join.values()) {
            if pattern.len() > crate::glob::PATTERN_LIMIT {
                return Err(format!("keep, drop, join: a pattern of {} bytes is too long", pattern.len()));
            }
        }
        for command in self.commands.values() {
            command.check()?;
        }
        few("files", self.files.len())?;
        for (at, text) in &self.files {
            inside("files", at)?;
            if text.len() > FILE_LIMIT {
                return Err(format!("files: {at} has {} bytes; at most {FILE_LIMIT}", text.len()));
            }
        }
        few("join", self.join.len())?;
        for (at, pattern) in &self.join {
            inside("join", at)?;
            line("join", pattern)?;
        }
        few("patch", self.patch.len())?;
        self.patch.iter().try_for_each(Patch::check)
    }
}

impl Command {
    fn check(&self) -> Result<(), String> {
        inside("commands", self.program())?;
        let Command::Wrapped(wrapped) = self else { return Ok(()) };
        few("arguments", wrapped.arguments.len())?;
        wrapped.arguments.iter().try_for_each(|argument| line("arguments", argument))?;
        few("environment", wrapped.environment.len())?;
        wrapped.environment.iter().try_for_each(|(name, value)| manifest::variable(name, value))
    }
}

impl Patch {
    fn check(&self) -> Result<(), String> {
        inside("patch", &self.file)?;
        if self.from.len() < 4 || self.to.len() > self.from.len() {
            return Err(format!("patch: {:?} cannot take the place of {:?}", self.to, self.from));
        }
        Ok(())
    }
}

/// A word that cannot be taken for an option or a path by the programs that fetch.
fn word(key: &str, text: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.=:~_".contains(&byte);
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if first && text.len() <= 128 && text.bytes().all(plain) {
        return Ok(());
    }
    Err(format!("{key}: {text:?} is no name"))
}

#[cfg(test)]
mod tests {
    use super::{Command, Recipe, SHIPPED};

    const HEAD: &str = "name = \"mine\"\nversion = \"1\"\nsummary = \"mine\"\nsuite = \"trixie\"\n";

    #[test]
    fn shipped_recipes_are_right() {
        for (name, _) in SHIPPED {
            let recipe = Recipe::shipped(name).unwrap().unwrap();
            assert_eq!(recipe.name.as_str(), name);
            assert!(!recipe.commands.is_empty(), "{name}");
        }
        assert!(Recipe::shipped("attic").is_none());
    }

    #[test]
    fn a_recipe_in_a_few_lines() {
        let text = format!(
            "{HEAD}packages = [\"strace\"]\n[commands]\nstrace = \"usr/bin/strace\"\n\
             [commands.st]\nprogram = \"usr/bin/strace\"\narguments = [\"-f\"]\n"
        );
        let recipe = Recipe::parse(&text, "mine.toml").unwrap();
        assert_eq!(recipe.commands.get("strace"), Some(&Command::Program("usr/bin/strace".to_string())));
        assert_eq!(recipe.manifest(vec![]).commands.get("st").map(String::as_str), Some("bin/st"));
    }

    #[test]
    fn what_is_refused() {
        for (wrong, says) in [
            ("packages = [\"-o\"]\n[commands]\n", "no name"),
            ("packages = [\"a b\"]\n[commands]\n", "no name"),
            ("[commands]\n", "belong together"),
            ("packages = [\"a\"]\n[commands]\nx = \"../x\"\n", "below the kit's prefix"),
            ("packages = [\"a\"]\n[commands]\n\"../x\" = \"x\"\n", "no name of a command"),
            ("packages = [\"a\"]\n[commands]\n[files]\n\"/etc/x\" = \"\"\n", "below the kit's prefix"),
            (
                "packages = [\"a\"]\n[commands]\n[[patch]]\nfile=\"x\"\nfrom=\"abcd\"\nto=\"abcde\"\n",
                "cannot take",
            ),
        ] {
            let said = Recipe::parse(&format!("{HEAD}{wrong}"), "r").unwrap_err().to_string();
            assert!(said.contains(says), "{wrong}: {said}");
        }
    }
}
