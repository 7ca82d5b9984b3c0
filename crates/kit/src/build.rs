// SPDX-License-Identifier: Apache-2.0
//! From a recipe to a kit: fetch, take what is wanted and what that needs, move it to the kit's prefix.

use crate::debian::{self, Mirror};
use crate::elf::{self, Elf};
use crate::error::KitError;
use crate::glob;
use crate::libc;
use crate::manifest::Manifest;
use crate::modules;
use crate::name::Name;
use crate::path;
use crate::recipe::{Command, Recipe};
use crate::script;
use crate::tree::{Node, Tree};
use crate::{unpack, wheel};
use std::collections::BTreeSet;
use std::path::Path;

/// Where libraries are borrowed from.
const BASE: &str = "/dev/.purser/base";

/// A kit that was made.
#[derive(Debug)]
pub struct Built {
    /// What it is.
    pub manifest: Manifest,
    /// Its files, without `kit.toml`.
    pub tree: Tree,
}

/// Makes a kit. Fetches into `scratch`, where lists of packages may be from an earlier kit.
///
/// # Errors
/// When something cannot be fetched, or the recipe asks for what its packages do not have.
pub fn build(recipe: &Recipe, mirror: &Mirror, scratch: &Path) -> Result<Built, KitError> {
    let kit = recipe.name.as_str();
    let mut titles = Vec::new();
    let mut pool = match &recipe.suite {
        None => Tree::default(),
        Some(suite) => {
            let packages = debian::fetch(mirror, suite, &recipe.packages, scratch, kit)?;
            titles.extend(packages.iter().map(|package| package.title.clone()));
            unpack::unpack(&packages)?
        }
    };
    if !recipe.wheels.is_empty() {
        titles.extend(wheel::add(&recipe.wheels, scratch, kit, &mut pool)?);
    }
    let tree = assemble(recipe, pool)?;
    Ok(Built { manifest: recipe.manifest(titles), tree })
}

/// The kit's tree from all that was fetched.
fn assemble(recipe: &Recipe, mut pool: Tree) -> Result<Tree, KitError> {
    for (at, text) in &recipe.files {
        let text = text.replace("@/", &format!("{}/", recipe.name.prefix()));
        let executable = text.starts_with("#!");
        pool.put(at, Node::File { executable, bytes: text.into_bytes() });
    }
    for (at, pattern) in &recipe.join {
        let bytes = joined(&pool, pattern);
        pool.put(at, Node::File { executable: false, bytes });
    }
    let mut picker =
        Picker { recipe, pool: &pool, tree: Tree::default(), left: Vec::new(), seen: BTreeSet::new() };
    picker.left.extend(recipe.commands.values().map(|command| command.program().to_string()));
    picker.left.extend(recipe.files.keys().chain(recipe.join.keys()).cloned());
    // What is named without a pattern must be there.
    picker.left.extend(recipe.keep.iter().filter(|pattern| !pattern.contains('*')).cloned());
    // Some links of packages lead to what only their installation makes.
    let whole = pool.iter().map(|(at, _)| at).filter(|at| kept(recipe, at) && pool.resolve(at).is_some());
    picker.left.extend(whole.map(str::to_string));
    picker.pick()?;
    let mut tree = picker.tree;
    // The C library has room for a short path only.
    let gconv = format!("usr/lib/{}/gconv", triplet());
    if tree.get(&gconv).is_some() {
        tree.put("gconv", Node::Link { target: gconv });
    }
    commands(recipe, &mut tree)?;
    patches(recipe, &mut tree)?;
    Ok(tree)
}

fn kept(recipe: &Recipe, at: &str) -> bool {
    let fits = |patterns: &[String]| patterns.iter().any(|pattern| glob::fits(pattern, at));
    fits(&recipe.keep) && !fits(&recipe.drop)
}

/// All files that fit, one after the other in the order of their names.
fn joined(pool: &Tree, pattern: &str) -> Vec<u8> {
    let mut all = Vec::new();
    for (_, node) in pool.iter().filter(|(at, _)| glob::fits(pattern, at)) {
        if let Node::File { bytes, .. } = node {
            all.extend_from_slice(bytes);
            if !bytes.ends_with(b"\n") {
                all.push(b'\n');
            }
        }
    }
    all
}

/// Takes things from the pool, and then what these need.
struct Picker<'a> {
    recipe: &'a Recipe,
    pool: &'a Tree,
    tree: Tree,
    left: Vec<String>,
    seen: BTreeSet<String>,
}

impl Picker<'_> {
    fn pick(&mut self) -> Result<(), KitError> {
        while let Some(at) = self.left.pop() {
            if !self.seen.insert(at.clone()) {
                continue;
            }
            let real = self.pool.resolve(&at).ok_or_else(|| self.fault(&at, "is not in the packages"))?;
            let Some(node) = self.pool.get(&real) else { continue };
            if real != at {
                // Links lead straight to the thing, whatever chain of links there was.
                self.tree.put(&at, Node::Link { target: path::relative(&at, &real) });
                self.left.push(real);
                continue;
            }
            let node = match node {
                Node::File { executable, bytes } => {
                    Node::File { executable: *executable, bytes: self.relocated(&at, bytes)? }
                }
                other => other.clone(),
            };
            self.tree.put(&at, node);
        }
        Ok(())
    }

    fn fault(&self, at: &str, why: &str) -> KitError {
        KitError::Build { kit: self.recipe.name.to_string(), at: at.to_string(), why: why.to_string() }
    }

    fn relocated(&mut self, at: &str, bytes: &[u8]) -> Result<Vec<u8>, KitError> {
        if elf::is_elf(bytes) {
            return self.program(at, bytes);
        }
        match script::interpreter(bytes) {
            Some((path, rest)) => self.script(at, bytes, path, rest),
            None => Ok(bytes.to_vec()),
        }
    }

    fn program(&mut self, at: &str, bytes: &[u8]) -> Result<Vec<u8>, KitError> {
        let elf = Elf::read(bytes).map_err(|why| self.fault(at, why))?;
        let name = at.rsplit('/').next().unwrap_or_default();
        let prefix = self.recipe.name.prefix();
        if name.starts_with("ld-linux") {
            let mut bytes = bytes.to_vec();
            libc::patch_loader(&mut bytes).map_err(|why| self.fault(at, why))?;
            return Ok(bytes);
        }
        if !elf.is_dynamic() {
            return Ok(bytes.to_vec());
        }
        let directories = self.directories(at, &elf);
        let loader = self.loader(at, &elf)?;
        for library in elf.needed.iter().filter(|library| !self.recipe.borrow.contains(library)) {
            let places = directories.iter().map(|directory| format!("{directory}/{library}"));
            let found = places.into_iter().find(|place| self.pool.resolve(place).is_some());
            let found =
                found.ok_or_else(|| self.fault(at, &format!("needs {library}, which no package brings")))?;
            self.left.push(found);
        }
        let mut search: Vec<String> =
            directories.iter().map(|directory| format!("{prefix}/{directory}")).collect();
        if !self.recipe.borrow.is_empty() {
            search.push(format!("{BASE}/usr/lib/{}", triplet()));
        }
        let mut bytes =
            elf.relocated(bytes, &loader, &search.join(":")).map_err(|why| self.fault(at, why))?;
        modules::patch(&mut bytes);
        if elf.soname.as_deref() == Some("libc.so.6") {
            let gconv = format!("{prefix}/gconv");
            libc::patch_library(&mut bytes, &gconv).map_err(|why| self.fault(at, why))?;
        }
        Ok(bytes)
    }

    /// The path of the loader for a program; nothing for a library.
    fn loader(&mut self, at: &str, elf: &Elf) -> Result<String, KitError> {
        let Some(loader) = &elf.interpreter else { return Ok(String::new()) };
        let name = loader.rsplit('/').next().unwrap_or_default();
        if self.recipe.borrow.iter().any(|borrowed| borrowed == name) {
            return Ok(format!("{BASE}/usr/lib/{}/{name}", triplet()));
        }
        let found = self.pool.resolve(loader.trim_start_matches('/'));
        let found = found
            .ok_or_else(|| self.fault(at, &format!("asks for the loader {loader}, which is not there")))?;
        self.left.push(found.clone());
        Ok(format!("{}/{found}", self.recipe.name.prefix()))
    }

    /// Where this program's libraries are: its own places first, as far as they are in the kit.
    fn directories(&self, at: &str, elf: &Elf) -> Vec<String> {
        let origin = at.rsplit_once('/').map_or("", |(above, _)| above);
        let own = elf
            .search
            .iter()
            .map(|place| place.replace("${ORIGIN}", "$ORIGIN").replace("$ORIGIN", &format!("/{origin}")));
        let usual = [format!("/usr/lib/{}", triplet()), "/usr/lib".to_string()];
        let mut directories = Vec::new();
        for place in own.chain(usual) {
            let known = self.pool.resolve(place.trim_start_matches('/'));
            directories.extend(known.filter(|known| !known.is_empty() && !directories.contains(known)));
        }
        directories
    }

    fn script(&mut self, at: &str, bytes: &[u8], path: &str, rest: &str) -> Result<Vec<u8>, KitError> {
        let prefix = self.recipe.name.prefix();
        if path.starts_with(crate::name::PREFIX) {
            return Ok(bytes.to_vec());
        }
        let within = path.trim_start_matches('/');
        let usual = if path.contains('/') { within.to_string() } else { format!("usr/bin/{path}") };
        if let Some(real) =
            self.pool.resolve(&usual).filter(|real| matches!(self.pool.get(real), Some(Node::File { .. })))
        {
            self.left.push(real.clone());
            return Ok(script::with_interpreter(bytes, &format!("{prefix}/{real}"), rest));
        }
        if script::is_shell(path) {
            return Ok(script::with_interpreter(bytes, &script::base_shell(path), rest));
        }
        // Modules of interpreters often begin like programs and are never started as such.
        if self.recipe.commands.values().any(|command| command.program() == at) {
            return Err(self.fault(at, &format!("is a script for {path}, which no package brings")));
        }
        Ok(bytes.to_vec())
    }
}

/// The name of the directories for this processor's libraries.
fn triplet() -> String {
    format!("{}-linux-gnu", std::env::consts::ARCH)
}

/// `bin`: a link for each command, or a script if it has settings.
fn commands(recipe: &Recipe, tree: &mut Tree) -> Result<(), KitError> {
    for (name, command) in &recipe.commands {
        let fault = |why: &str| KitError::Build {
            kit: recipe.name.to_string(),
            at: command.program().to_string(),
            why: why.to_string(),
        };
        let at = format!("bin/{name}");
        let real = tree.resolve(command.program()).ok_or_else(|| fault("is not in the packages"))?;
        let node = match command {
            Command::Wrapped(wrapped) => {
                Node::File { executable: true, bytes: script::wrapper(&recipe.name, &real, wrapped) }
            }
            Command::Program(program) if *program == at => continue,
            // The name a program is called by may tell it what to do, and a link keeps it.
            Command::Program(_) => Node::Link { target: path::relative(&at, &real) },
        };
        if !matches!(tree.get(&real), Some(Node::File { executable: true, .. })) {
            return Err(fault("is no program"));
        }
        tree.put(&at, node);
    }
    Ok(())
}

fn patches(recipe: &Recipe, tree: &mut Tree) -> Result<(), KitError> {
    for patch in &recipe.patch {
        let fault =
            |name: &Name, why: String| KitError::Build { kit: name.to_string(), at: patch.file.clone(), why };
        let real = tree.resolve(&patch.file).unwrap_or_default();
        let Some(Node::File { bytes, .. }) = tree.get_mut(&real) else {
            return Err(fault(&recipe.name, "is not in the kit, so it cannot be patched".to_string()));
        };
        if libc::replace_text(bytes, &patch.from, &patch.to) == 0 {
            return Err(fault(&recipe.name, format!("has no {:?} to be patched", patch.from)));
        }
    }
    Ok(())
}
