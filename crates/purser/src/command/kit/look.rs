// SPDX-License-Identifier: Apache-2.0
//! `purser kit ls`, `show`, `verify`, `rm` and `gc`: what there is, whether it is whole, and away with it.

use super::super::output::{self, Format};
use super::super::{Usage, say};
use super::{Kits, named, names};
use crate::exit::Exit;
use crate::table::harmless;
use clap_complete::ArgValueCandidates;
use kit::{Manifest, Name, Recipe, SHIPPED, Shelved};
use serde_json::json;
use std::io::{self, Write};

/// List the kits of this host, and those that can be built.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  purser kit ls\n  purser kit ls -o json | jq -r .digest")]
pub(super) struct List {
    /// What to print.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
    #[command(flatten)]
    kits: Kits,
}

impl List {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let mut out = output::stdout();
        let mut exit = Exit::Success;
        let listed = self.kits.shelf()?.list()?;
        let mut kits = Vec::new();
        for (name, kit) in &listed {
            match kit {
                Ok(kit) => kits.push(kit),
                Err(error) => {
                    say(&format!("purser: kit {name}: {error}"));
                    exit = Exit::Problem;
                }
            }
        }
        match self.output {
            Format::Table => table(&kits, &mut out)?,
            Format::Json => kits.iter().try_for_each(|kit| writeln!(out, "{}", document(kit)))?,
        }
        out.flush()?;
        Ok(exit)
    }
}

fn table(kits: &[&Shelved], out: &mut impl Write) -> io::Result<()> {
    let rights = |kit: &Shelved| match kit.manifest.capabilities.is_empty() {
        true => "-".to_string(),
        false => kit.manifest.capabilities.join(","),
    };
    let mut rows = vec![["NAME", "VERSION", "DIGEST", "CAPABILITIES", "WHAT"].map(str::to_string)];
    rows.extend(kits.iter().map(|kit| {
        let Manifest { name, version, summary, .. } = &kit.manifest;
        let digest = kit.digest.to_string().chars().take(19).collect();
        let (version, summary) = (harmless(version).into_owned(), harmless(summary).into_owned());
        [name.to_string(), version, digest, rights(kit), summary]
    }));
    let there = |name: &str| kits.iter().any(|kit| kit.manifest.name.as_str() == name);
    rows.extend(SHIPPED.iter().filter(|(name, _)| !there(name)).map(|(name, _)| {
        let what = Recipe::shipped(name).and_then(Result::ok).map_or(String::new(), |recipe| recipe.summary);
        [name, "-", "not built", "-", what.as_str()].map(str::to_string)
    }));
    let wide = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|text| text.chars().count()).max().unwrap_or(0)
    };
    let [a, b, c, d] = [0, 1, 2, 3].map(wide);
    for [name, version, digest, rights, what] in &rows {
        writeln!(out, "{name:<a$}  {version:<b$}  {digest:<c$}  {rights:<d$}  {what}")?;
    }
    Ok(())
}

fn document(kit: &Shelved) -> serde_json::Value {
    let mut document = serde_json::to_value(&kit.manifest).unwrap_or_default();
    if let Some(keys) = document.as_object_mut() {
        keys.insert("digest".to_string(), json!(kit.digest));
        keys.insert("directory".to_string(), json!(kit.directory));
    }
    document
}

/// Show what a kit brings, or its recipe.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  purser kit show gdb\n  purser kit show trace --recipe > mine.toml")]
pub(super) struct Show {
    /// The kit.
    #[arg(add = ArgValueCandidates::new(names::shelved))]
    name: String,
    /// Print the recipe that purser has for it.
    #[arg(long)]
    recipe: bool,
    #[command(flatten)]
    kits: Kits,
}

impl Show {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let mut out = output::stdout();
        if self.recipe {
            let Some((_, text)) = SHIPPED.iter().find(|(name, _)| *name == self.name) else {
                return Err(Usage(format!("purser has no recipe {:?}", self.name)).into());
            };
            out.write_all(text.as_bytes())?;
        } else {
            let kit = self.kits.shelf()?.find(&Name::new(&self.name)?)?;
            writeln!(out, "{}", serde_json::to_string_pretty(&document(&kit))?)?;
        }
        out.flush()?;
        Ok(Exit::Success)
    }
}

/// Compare every file of kits with their digests.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  purser kit verify\n  purser kit verify gdb")]
pub(super) struct Verify {
    /// The kits [default: all].
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(names::shelved))]
    names: Vec<String>,
    #[command(flatten)]
    kits: Kits,
}

impl Verify {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let shelf = self.kits.shelf()?;
        let names = match self.names.is_empty() {
            true => shelf.list()?.into_iter().map(|(name, _)| name).collect(),
            false => named(&self.names)?,
        };
        let mut out = output::stdout();
        let mut exit = Exit::Success;
        for name in names {
            match shelf.verify(&name) {
                Ok(kit) => writeln!(out, "{name}  {}  whole", kit.digest)?,
                Err(error) => {
                    say(&format!("purser: {error}"));
                    exit = Exit::Problem;
                }
            }
        }
        out.flush()?;
        Ok(exit)
    }
}

/// Remove kits.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A kit that a session uses stays until the session ends and purser kit gc is run.

Examples:
  purser kit rm bpf")]
pub(super) struct Remove {
    /// The kits.
    #[arg(value_name = "NAME", required = true, add = ArgValueCandidates::new(names::shelved))]
    names: Vec<String>,
    #[command(flatten)]
    kits: Kits,
}

impl Remove {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let shelf = self.kits.shelf()?;
        named(&self.names)?.iter().try_for_each(|name| shelf.forget(name))?;
        Collect { kits: self.kits }.run()
    }
}

/// Remove the files of kits that have been replaced or removed and that no session uses.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  purser kit gc")]
pub(super) struct Collect {
    #[command(flatten)]
    kits: Kits,
}

impl Collect {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let (gone, used) = self.kits.shelf()?.collect()?;
        let mut out = output::stdout();
        gone.iter().try_for_each(|digest| writeln!(out, "removed {digest}"))?;
        used.iter().try_for_each(|digest| writeln!(out, "still used {digest}"))?;
        out.flush()?;
        Ok(Exit::Success)
    }
}
