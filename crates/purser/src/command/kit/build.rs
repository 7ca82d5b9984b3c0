// SPDX-License-Identifier: Apache-2.0
//! `purser kit build`: kits from recipes.

use super::super::{Usage, output, say};
use super::progress::Progress;
use super::{Kits, names, size};
use crate::exit::Exit;
use anyhow::Context;
use clap_complete::ArgValueCompleter;
use kit::{Mirror, Recipe, SHIPPED, Shelf};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Build kits from recipes: those that purser has by name, others by their file.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Build {
    /// Names of recipes, or files with one (they have a / or end in .toml).
    #[arg(value_name = "RECIPE", required_unless_present = "all")]
    #[arg(add = ArgValueCompleter::new(names::shipped_or_path))]
    recipes: Vec<String>,
    /// All kits that purser has a recipe for.
    #[arg(long, conflicts_with = "recipes")]
    all: bool,
    /// A mirror of Debian [default: the one that this host's apt uses].
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// Take lists of packages that are past their date, from a mirror that stands still. Signatures
    /// are checked all the same, but nobody tells whether there are newer packages.
    #[arg(long)]
    accept_expired: bool,
    /// Where packages are kept while they are needed [default: a new directory, removed in the end].
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    #[command(flatten)]
    kits: Kits,
}

const HELP: &str = "\
Packages are fetched and checked by apt, into a directory of their own: no root is needed, and
the host's packages stay as they are. The same packages make the same kit, with the same digest.
purser kit show NAME --recipe prints a recipe to start from. A recipe may name an image of this
host's engines in the place of packages, by its key image.

Examples:
  purser kit build base gdb
  purser kit build ./mine.toml --kits ./kits
  purser kit build --all";

impl Build {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let recipes = self.recipes()?;
        let shelf = self.kits.shelf()?;
        let mirror = Mirror { address: self.mirror.clone(), accepts_expired: self.accept_expired };
        let (scratch, ours) = match &self.scratch {
            Some(scratch) => (scratch.clone(), false),
            None => (std::env::temp_dir().join(format!("purser-kit-{}", std::process::id())), true),
        };
        fs::create_dir(&scratch)
            .or_else(|error| if ours || !scratch.is_dir() { Err(error) } else { Ok(()) })
            .with_context(|| format!("making the directory {}", scratch.display()))?;
        let made = Self::make(&shelf, &recipes, &mirror, &scratch);
        if ours {
            fs::remove_dir_all(&scratch).with_context(|| format!("removing {}", scratch.display()))?;
        }
        made
    }

    fn make(shelf: &Shelf, recipes: &[Recipe], mirror: &Mirror, scratch: &Path) -> anyhow::Result<Exit> {
        let mut out = output::stdout();
        for recipe in recipes {
            let progress = Progress::new("building", 1);
            progress.note(recipe.name.as_str());
            let built = match &recipe.image {
                Some(image) => super::image::by_recipe(recipe, image)?,
                None => kit::build(recipe, mirror, scratch)?,
            };
            drop(progress);
            let shelved = shelf.put(&built)?;
            writeln!(out, "{}  {}  {}", shelved.manifest.name, size(built.tree.bytes()), shelved.digest)?;
            out.flush()?;
            for required in shelved.manifest.requires {
                if shelf.find(&required).is_err() && !recipes.iter().any(|other| other.name == required) {
                    say(&format!(
                        "purser: kit {} needs kit {required}; build it with: purser kit build {required}",
                        recipe.name
                    ));
                }
            }
        }
        Ok(Exit::Success)
    }

    fn recipes(&self) -> anyhow::Result<Vec<Recipe>> {
        let shipped = SHIPPED.iter().map(|(name, _)| (*name).to_string());
        let wanted: Vec<String> = if self.all { shipped.collect() } else { self.recipes.clone() };
        wanted.iter().map(|wanted| recipe(wanted)).collect()
    }
}

fn recipe(wanted: &str) -> anyhow::Result<Recipe> {
    if wanted.contains('/') || Path::new(wanted).extension().is_some_and(|extension| extension == "toml") {
        let text = fs::read_to_string(wanted).with_context(|| format!("reading the recipe {wanted}"))?;
        return Ok(Recipe::parse(&text, wanted)?);
    }
    match Recipe::shipped(wanted) {
        Some(recipe) => Ok(recipe?),
        None => {
            let names: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
            let there = names.join(", ");
            Err(Usage(format!("no recipe {wanted:?}; there are: {there}; a file of your own ends in .toml"))
                .into())
        }
    }
}
