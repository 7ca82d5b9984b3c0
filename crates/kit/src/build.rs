// SPDX-License-Identifier: Apache-2.0
//! From a recipe to a kit: fetch, take what is wanted and what that needs, move it to the kit's prefix.

mod whole;

pub use whole::{Skipped, Whole, build_whole};

use crate::debian::{self, Mirror};
use crate::elf::{self, Elf};
use crate::error::KitError;
use crate::glob;
use crate::libc;
use crate::manifest::Manifest;
use crate::modules;
use crate::path;
use crate::recipe::{Command, Recipe};
use crate::script;
use crate::tree::{Node, Tree};
use crate::{unpack, wheel};
use std::collections::BTreeSet;
use std::path::Path;

/// Most places where an image has libraries.
const PLACES_LIMIT: usize = 64;
/// Where libraries are borrowed from.
const BASE: &str = "/dev/.purser/base";
/// What is in there is looked at, never run.
const DEBUG_FILES: &str = "usr/lib/debug/";

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
    let tree = assemble(recipe, pool, Vec::new())?;
    Ok(Built { manifest: recipe.manifest(titles), tree })
}

/// Makes a kit of what an image has: `pool` are its files, `title` says which image it is.
///
/// # Errors
/// When the recipe asks for what the image does not have.
pub fn build_from_image(recipe: &Recipe, pool: Tree, title: &str) -> Result<Built, KitError> {
    let more = library_places(&pool);
    let tree = assemble(recipe, pool, more)?;
    Ok(Built { manifest: recipe.manifest(vec![title.to_string()]), tree })
}

/// Where an image has libraries beside the usual places of Debian, and where its loaders are told to look.
fn library_places(pool: &Tree) -> Vec<String> {
    let known = ["/lib", "/usr/local/lib", "/usr/lib64", "/lib64"].map(str::to_string);
    let mut places = vec![format!("/usr/local/lib/{}", triplet()), format!("/lib/{}", triplet())];
    places.extend(known);
    let settings = |at: &str| {
        glob::fits("etc/ld.so.conf", at)
            || glob::fits("etc/ld.so.conf.d/*.conf", at)
            || glob::fits("etc/ld-musl-*.path", at)
    };
    for (_, node) in pool.iter().filter(|(at, _)| settings(at)) {
        let Node::File { bytes, .. } = node else { continue };
        let text = String::from_utf8_lossy(bytes);
        let words = text.split(['\n', ':']).map(str::trim).filter(|word| word.starts_with('/'));
        places.extend(words.take(PLACES_LIMIT).map(str::to_string));
    }
    places.truncate(PLACES_LIMIT);
    places
}

/// musl's loader reads where libraries are from a file beside the directory that it lies in; without one it looks
/// in those of the root.
fn musl_paths(tree: &mut Tree, recipe: &Recipe, more: &[String]) {
    let prefix = recipe.name.prefix();
    let loaders = tree.iter().filter_map(|(at, _)| {
        let (directory, name) = at.rsplit_once('/')?;
        let name = name.strip_prefix("ld-musl-")?.strip_suffix(".so.1")?;
        let above = directory.rsplit_once('/').map_or(String::new(), |(above, _)| format!("{above}/"));
        Some(format!("{above}etc/ld-musl-{name}.path"))
    });
    let files: Vec<String> = loaders.collect();
    let usual = ["/lib", "/usr/lib", "/usr/local/lib"].map(str::to_string);
    for at in files {
        let places = usual.iter().chain(more).map(|place| place.trim_start_matches('/'));
        let mut found: Vec<String> = Vec::new();
        for place in places.filter_map(|place| tree.resolve(place)) {
            let place = format!("{prefix}/{place}\n");
            if !found.contains(&place) {
                found.push(place);
            }
        }
        tree.put(&at, Node::File { executable: false, bytes: found.concat().into_bytes() });
    }
}

/// The kit's tree from all that was fetched.
fn assemble(recipe: &Recipe, mut pool: Tree, more: Vec<String>) -> Result<Tree, KitError> {
    for (at, text) in &recipe.files {
        let text = text.replace("@/", &format!("{}/", recipe.name.prefix()));
        let executable = text.starts_with("#!");
        pool.put(at, Node::File { executable, bytes: text.into_bytes() });
    }
    for (at, pattern) in &recipe.join {
        let bytes = joined(&pool, pattern);
        pool.put(at, Node::File { executable: false, bytes });
    }
    let mut picker = Picker::new(recipe, &pool);
    picker.more = more;
    picker.left.extend(recipe.commands.values().map(|command| command.program().to_string()));
    picker.left.extend(recipe.files.keys().chain(recipe.join.keys()).cloned());
    // What is named without a pattern must be there.
    picker.left.extend(recipe.keep.iter().filter(|pattern| !pattern.contains('*')).cloned());
    // Some links of packages lead to what only their installation makes.
    let whole = pool.iter().map(|(at, _)| at).filter(|at| kept(recipe, at) && pool.resolve(at).is_some());
    picker.left.extend(whole.map(str::to_string));
    picker.pick()?;
    let (mut tree, more) = (picker.tree, picker.more);
    musl_paths(&mut tree, recipe, &more);
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
    /// What was tried and cannot be taken.
    failed: BTreeSet<String>,
    /// Where libraries are beside the usual places.
    more: Vec<String>,
    /// Whether a script without its interpreter is a fault, whatever it is for.
    strict: bool,
}

impl<'a> Picker<'a> {
    fn new(recipe: &'a Recipe, pool: &'a Tree) -> Picker<'a> {
        let (tree, left, more) = (Tree::default(), Vec::new(), Vec::new());
        let (seen, failed) = (BTreeSet::new(), BTreeSet::new());
        Picker { recipe, pool, tree, left, seen, failed, more, strict: false }
    }
}

impl Picker<'_> {
    fn pick(&mut self) -> Result<(), KitError> {
        while let Some(at) = self.left.pop() {
            if self.failed.contains(&at) {
                return Err(self.fault(&at, "cannot be moved"));
            }
            if !self.seen.insert(at.clone()) {
                continue;
            }
            let real = self.pool.resolve(&at).ok_or_else(|| self.fault(&at, "is not there"))?;
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
        // Debug files have the tables of their programs, but not what these lead to.
        if at.starts_with(DEBUG_FILES) {
            return Ok(bytes.to_vec());
        }
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
        let mut moved = bytes.to_vec();
        // Older ones have the version in their name and are linked to.
        if name.starts_with("ld-linux") || (name.starts_with("ld-2.") && name.ends_with(".so")) {
            libc::patch_loader(&mut moved).map_err(|why| self.fault(at, why))?;
            return Ok(moved);
        }
        if name.starts_with("ld-musl-") {
            libc::patch_musl(&mut moved);
            return Ok(moved);
        }
        if !elf.is_dynamic() {
            return Ok(bytes.to_vec());
        }
        let directories = self.directories(at, &elf);
        let loader = self.loader(at, &elf)?;
        for library in elf.needed.iter().filter(|library| !self.recipe.borrow.contains(library)) {
            let places = directories.iter().map(|directory| format!("{directory}/{library}"));
            let found = places.into_iter().find(|place| self.pool.resolve(place).is_some());
            if found.is_none() && libc::is_of_musl(library) && self.has_musl() {
                continue;
            }
            let found =
                found.ok_or_else(|| self.fault(at, &format!("needs {library}, which is not there")))?;
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

    fn has_musl(&self) -> bool {
        self.pool.iter().any(|(at, _)| at.rsplit('/').next().is_some_and(|name| name.starts_with("ld-musl-")))
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
        for place in own.chain(usual).chain(self.more.iter().cloned()) {
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
            // In images a shell is often one name of many of a program, which goes by it. Packages have programs.
            let called = if self.more.is_empty() { real } else { usual };
            self.left.push(called.clone());
            return Ok(script::with_interpreter(bytes, &format!("{prefix}/{called}"), rest));
        }
        if script::is_shell(path) && !self.strict {
            return Ok(script::with_interpreter(bytes, &script::base_shell(path), rest));
        }
        // Modules of interpreters often begin like programs and are never started as such.
        let executable = matches!(self.pool.get(at), Some(Node::File { executable: true, .. }));
        if self.recipe.commands.values().any(|command| command.program() == at) || (self.strict && executable)
        {
            return Err(self.fault(at, &format!("is a script for {path}, which is not there")));
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
        let real = tree.resolve(command.program()).ok_or_else(|| fault("is not there"))?;
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
            |why: String| KitError::Build { kit: recipe.name.to_string(), at: patch.file.clone(), why };
        let real = tree.resolve(&patch.file).unwrap_or_default();
        let Some(Node::File { bytes, .. }) = tree.get_mut(&real) else {
            return Err(fault("is not in the kit, so it cannot be patched".to_string()));
        };
        if libc::replace_text(bytes, &patch.from, &patch.to) == 0 {
            return Err(fault(format!("has no {:?} to be patched", patch.from)));
        }
    }
    Ok(())
}
