// SPDX-License-Identifier: Apache-2.0
//! `kit.toml`: what a kit is and brings. It comes from other hosts, so everything in it is checked.

use crate::error::KitError;
use crate::name::Name;
use crate::path;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Longest `kit.toml`, in bytes.
pub(crate) const MANIFEST_LIMIT: u64 = 256 << 10;
/// Most items in a list or table.
pub(crate) const ITEMS_LIMIT: usize = 512;
/// Longest text in it, in bytes.
pub(crate) const TEXT_LIMIT: usize = 1024;
/// Variables the loader obeys: a kit that set them would reach into every program of a session.
const FORBIDDEN_VARIABLES: [&str; 3] = ["LD_", "GLIBC_TUNABLES", "GCONV_PATH"];

/// What a kit is and brings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Names the directory it is mounted at.
    pub name: Name,
    /// The kit's own version.
    pub version: String,
    /// The processor it is for, as `std::env::consts::ARCH` has it.
    pub arch: String,
    /// What it is good for, in one line.
    pub summary: String,
    /// Kits that are mounted with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Name>,
    /// Capabilities its programs need beside those of the target's process, without `CAP_`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// Directories below the prefix that go in front of `PATH`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<String>,
    /// Names of programs for which this is the best kit, as the kernel has them: at most 15 bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suits: Vec<String>,
    /// The packages it was made of, as `name version`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
    /// Variables of a session's programs; `@` stands for the prefix.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Its commands, and where below the prefix they are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub commands: BTreeMap<String, String>,
}

impl Manifest {
    /// Reads a `kit.toml`; `origin` is what a message calls it.
    ///
    /// # Errors
    /// When it is no `kit.toml` or names what no kit may have.
    pub fn parse(text: &str, origin: &str) -> Result<Manifest, KitError> {
        let wrong = |why: String| KitError::Wrong { origin: origin.to_string(), why };
        if text.len() > usize::try_from(MANIFEST_LIMIT).unwrap_or(usize::MAX) {
            return Err(wrong(format!("{} bytes are more than any kit.toml has", text.len())));
        }
        let manifest: Manifest = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        manifest.check().map_err(wrong)?;
        Ok(manifest)
    }

    /// The text of its `kit.toml`.
    pub(crate) fn render(&self) -> Result<String, KitError> {
        let wrong = |why: String| KitError::Wrong { origin: "kit.toml".to_string(), why };
        self.check().map_err(wrong)?;
        toml::to_string(self).map_err(|error| wrong(error.to_string()))
    }

    /// Its variables, `@` replaced by the prefix.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let prefix = self.name.prefix();
        self.environment.iter().map(|(name, value)| (name.clone(), value.replace('@', &prefix))).collect()
    }

    /// Refuses a kit for another processor: its programs would not start.
    ///
    /// # Errors
    /// When it is one.
    pub fn must_run_here(&self) -> Result<(), KitError> {
        let here = std::env::consts::ARCH;
        if self.arch == here {
            return Ok(());
        }
        Err(KitError::Arch { kit: self.name.to_string(), arch: self.arch.clone(), here })
    }

    fn check(&self) -> Result<(), String> {
        line("version", &self.version)?;
        line("arch", &self.arch)?;
        line("summary", &self.summary)?;
        for (key, count) in [
            ("requires", self.requires.len()),
            ("capabilities", self.capabilities.len()),
            ("path", self.path.len()),
            ("suits", self.suits.len()),
            ("packages", self.packages.len()),
            ("environment", self.environment.len()),
            ("commands", self.commands.len()),
        ] {
            few(key, count)?;
        }
        if self.requires.contains(&self.name) {
            return Err(format!("requires: {} cannot require itself", self.name));
        }
        self.capabilities.iter().try_for_each(|name| capability(name))?;
        self.path.iter().try_for_each(|at| inside("path", at))?;
        self.suits.iter().try_for_each(|name| comm(name))?;
        self.packages.iter().try_for_each(|package| line("packages", package))?;
        self.environment.iter().try_for_each(|(name, value)| variable(name, value))?;
        self.commands.iter().try_for_each(|(name, at)| {
            command(name)?;
            inside("commands", at)
        })
    }
}

pub(crate) fn few(key: &str, count: usize) -> Result<(), String> {
    if count <= ITEMS_LIMIT { Ok(()) } else { Err(format!("{key}: {count} items; at most {ITEMS_LIMIT}")) }
}

/// One line of text that cannot do anything to a terminal.
pub(crate) fn line(key: &str, text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > TEXT_LIMIT || text.chars().any(char::is_control) {
        return Err(format!("{key}: {text:?} is not one line of 1 to {TEXT_LIMIT} bytes"));
    }
    Ok(())
}

pub(crate) fn inside(key: &str, at: &str) -> Result<(), String> {
    if path::is_inside(at) && !at.chars().any(char::is_control) {
        return Ok(());
    }
    Err(format!("{key}: {at:?} is no path below the kit's prefix; write usr/bin/x"))
}

pub(crate) fn capability(name: &str) -> Result<(), String> {
    let word = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    if name.is_empty() || name.len() > 32 || !word || name.starts_with("CAP_") {
        return Err(format!("capabilities: {name:?} is no capability; write SYS_PTRACE, without CAP_"));
    }
    Ok(())
}

pub(crate) fn comm(name: &str) -> Result<(), String> {
    line("suits", name)?;
    if name.len() <= 15 {
        Ok(())
    } else {
        Err(format!("suits: {name:?} is longer than the kernel's 15 bytes"))
    }
}

pub(crate) fn variable(name: &str, value: &str) -> Result<(), String> {
    let word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let first = name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    if !word || !first || name.len() > 64 {
        return Err(format!("environment: {name:?} is no name of a variable"));
    }
    if FORBIDDEN_VARIABLES.iter().any(|forbidden| name.starts_with(forbidden)) {
        return Err(format!("environment: {name} would change how every program of a session is loaded"));
    }
    if value.len() > TEXT_LIMIT || value.contains('\0') {
        return Err(format!("environment: {name} has more than {TEXT_LIMIT} bytes or a NUL"));
    }
    Ok(())
}

pub(crate) fn command(name: &str) -> Result<(), String> {
    line("commands", name)?;
    if path::is_inside(name) && !name.contains('/') {
        return Ok(());
    }
    Err(format!("commands: {name:?} is no name of a command"))
}

#[cfg(test)]
mod tests {
    use super::Manifest;
    use proptest::prelude::{any, prop_assert, proptest};

    const RIGHT: &str = "name = \"gdb\"\nversion = \"1\"\narch = \"x86_64\"\nsummary = \"a debugger\"\n";

    #[test]
    fn a_manifest_comes_back() {
        let text = format!(
            "{RIGHT}requires = [\"base\"]\ncapabilities = [\"SYS_PTRACE\"]\npath = [\"bin\"]\nsuits = [\"java\"]\n\
             [environment]\nTERMINFO = \"@/share/terminfo\"\n[commands]\ngdb = \"bin/gdb\"\n"
        );
        let manifest = Manifest::parse(&text, "kit.toml").unwrap();
        assert_eq!(manifest.environment(), [("TERMINFO".into(), "/dev/.purser/gdb/share/terminfo".into())]);
        assert_eq!(Manifest::parse(&manifest.render().unwrap(), "again").unwrap(), manifest);
    }

    #[test]
    fn what_is_refused() {
        for (wrong, says) in [
            ("colour = 1", "unknown field"),
            ("path = [\"../bin\"]", "below the kit's prefix"),
            ("path = [\"/bin\"]", "below the kit's prefix"),
            ("requires = [\"../x\"]", "no name for a kit"),
            ("requires = [\"gdb\"]", "cannot require itself"),
            ("capabilities = [\"CAP_SYS_ADMIN\"]", "without CAP_"),
            ("suits = [\"a-very-long-program\"]", "15 bytes"),
            ("[environment]\nLD_PRELOAD = \"x\"", "every program"),
            ("[environment]\n\"A B\" = \"x\"", "no name of a variable"),
            ("[commands]\n\"a/b\" = \"bin/x\"", "no name of a command"),
            ("[commands]\nx = \"/bin/x\"", "below the kit's prefix"),
            ("packages = [\"a\\u001bb\"]", "not one line"),
        ] {
            let said = Manifest::parse(&format!("{RIGHT}{wrong}\n"), "kit.toml").unwrap_err().to_string();
            assert!(said.starts_with("kit.toml: ") && said.contains(says), "{wrong}: {said}");
        }
        let many = format!("{RIGHT}suits = [{}]\n", "\"a\",".repeat(600));
        assert!(Manifest::parse(&many, "x").unwrap_err().to_string().contains("600 items"));
        assert!(Manifest::parse(&" ".repeat(1 << 20), "x").is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>()) {
            if let Err(error) = Manifest::parse(&text, "kit.toml") {
                prop_assert!(error.to_string().starts_with("kit.toml: "));
            }
        }
    }
}
