// SPDX-License-Identifier: Apache-2.0
//! What the debugger is tried on: the programs of `tests/debug/gdb`, each as an image with just the libraries it needs.
//! The kits, and a Debian 11 for its libraries, are fetched once a host and kept.

use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::agent::purser;
use crate::lab::{output, run, skip, source_dir, temporary, unique};

const CACHE: &str = "/var/cache/purser-tests";
/// Its C library, 2.31, is the last but two with a libpthread of its own.
const OLD: &str = "bullseye-1";
const FLAGS: [&str; 4] = ["-g", "-O0", "-Wall", "-Wextra"];
const GLIBC: [&str; 4] = ["libc.so.6", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1"];
const LOADER: &str = "ld-linux-x86-64.so.2";

/// The kits `base` and `gdb`.
pub(super) fn kits() -> Result<Option<PathBuf>> {
    built(&["base", "gdb"])
}

/// The kits `base`, `net` and `trace`.
pub(super) fn tool_kits() -> Result<Option<PathBuf>> {
    built(&["base", "net", "trace"])
}

/// The kits `base` and `bpf`.
pub(super) fn bpf_kits() -> Result<Option<PathBuf>> {
    built(&["base", "bpf"])
}

/// Kits by name, made anew when a recipe or the builder has changed.
fn built(names: &[&str]) -> Result<Option<PathBuf>> {
    let home = source_dir().join("..");
    let mut hasher = DefaultHasher::new();
    for name in names {
        hash(&home.join(format!("kits/{name}.toml")), &mut hasher)?;
    }
    hash(&home.join("crates/kit/src"), &mut hasher)?;
    let name = format!("kits-{:016x}", hasher.finish());
    cached(&name, |part| {
        let mut build = purser();
        build.args(["kit", "build"]).args(names).args(["--accept-expired", "--kits"]).arg(part);
        made(&mut build, "fetching the lists of")
    })
}

/// Everything in a file, or in the files of a directory.
fn hash(path: &Path, hasher: &mut DefaultHasher) -> Result<()> {
    if !path.is_dir() {
        hasher.write(&fs::read(path)?);
        return Ok(());
    }
    let mut entries: Vec<_> = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    entries.sort();
    entries.iter().try_for_each(|entry| hash(entry, hasher))
}

/// A directory that `make` fills once a host; never seen half full.
fn cached(name: &str, make: impl FnOnce(&Path) -> Result<Option<()>>) -> Result<Option<PathBuf>> {
    let place = Path::new(CACHE).join(name);
    if place.is_dir() {
        return Ok(Some(place));
    }
    fs::create_dir_all(CACHE)?;
    let part = TempDir::with_prefix_in(format!("{name}."), CACHE)?;
    if make(part.path())?.is_none() {
        return Ok(None);
    }
    // Somebody else may have been faster; what they made is as good.
    if let Err(error) = fs::rename(part.path(), &place) {
        ensure!(place.is_dir(), "renaming to {}: {error}", place.display());
    }
    Ok(Some(place))
}

/// Runs a program that fetches. Without a network it says `unreachable`, which is no failure everywhere.
fn made(command: &mut Command, unreachable: &str) -> Result<Option<()>> {
    let output = output(command)?;
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    match output.status.success() {
        true => Ok(Some(())),
        false if said.contains(unreachable) => skip(&said),
        false => bail!("{command:?}: {said}"),
    }
}

/// The libraries of an older Debian.
fn old_root() -> Result<Option<PathBuf>> {
    cached(OLD, |part| {
        // The first stage only: what is unpacked there is enough to link with and to copy from.
        let mut fetch = Command::new("debootstrap");
        fetch.args(["--foreign", "--variant=minbase", "bullseye"]).arg(part);
        made(&mut fetch, "Failed getting release file")
    })
}

/// An image; removed when dropped.
pub(super) struct Image(pub(super) String);

impl Image {
    fn import(word: &str, root: &Path) -> Result<Image> {
        let name = unique(&format!("purser-test:gdb-{word}"));
        let import = "tar -C \"$1\" -c . | docker import - \"$2\"";
        run(Command::new("sh").args(["-c", import, "sh"]).arg(root).arg(&name))?;
        Ok(Image(name))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        drop(output(Command::new("docker").args(["rmi", "-f", &self.0])));
    }
}

/// A root that is being filled: `bin/target`, and what it needs in `lib`.
pub(super) struct Root(TempDir);

impl Root {
    fn new() -> Result<Root> {
        let root = TempDir::with_prefix_in("gdb-", temporary())?;
        for dir in ["bin", "dev", "etc", "lib", "lib64", "proc", "tmp"] {
            fs::create_dir(root.path().join(dir))?;
        }
        Ok(Root(root))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn image(&self, word: &str) -> Result<Image> {
        Image::import(word, self.path())
    }

    /// A compiler at the sources, so that the debugger shows their names alone.
    pub(super) fn compile(&self, compiler: &str, made: &str, words: &[&str]) -> Result<()> {
        let mut command = Command::new(compiler);
        command.current_dir(source_dir().join("debug/gdb")).args(words).arg("-o").arg(self.path().join(made));
        run(&mut command).map(drop)
    }

    fn c(&self, compiler: &str, made: &str, words: &[&str]) -> Result<()> {
        self.compile(compiler, made, &[&FLAGS, words].concat())
    }

    /// Copies libraries that are found in one of `places`.
    fn libraries(&self, places: &[&Path], names: &[&str]) -> Result<()> {
        for name in names {
            let found = places.iter().map(|place| place.join(name)).find(|file| file.exists());
            let from = found.with_context(|| format!("no library {name}"))?;
            fs::copy(from, self.path().join("lib").join(name))?;
        }
        Ok(())
    }

    /// This host's glibc.
    pub(super) fn glibc() -> Result<Root> {
        let root = Root::new()?;
        root.c("gcc", "bin/target", &["-pthread", "target.c"])?;
        root.c("g++", "lib/layer.so", &["-shared", "-fPIC", "layer.cc"])?;
        root.host_libraries(&GLIBC)?;
        Ok(root)
    }

    /// One thread, in C.
    pub(super) fn alone() -> Result<Root> {
        let root = Root::new()?;
        root.c("gcc", "bin/target", &["alone.c"])?;
        root.host_libraries(&["libc.so.6"])?;
        Ok(root)
    }

    fn host_libraries(&self, names: &[&str]) -> Result<()> {
        let place = Path::new("/lib/x86_64-linux-gnu");
        self.libraries(&[place, Path::new("/usr/lib/x86_64-linux-gnu")], names)?;
        fs::copy(Path::new("/lib64").join(LOADER), self.path().join("lib64").join(LOADER))?;
        Ok(())
    }

    /// A glibc whose threads are in a library of their own.
    pub(super) fn old_glibc() -> Result<Option<Root>> {
        let Some(old) = old_root()? else { return Ok(None) };
        let root = Root::new()?;
        let (one, two) = (old.join("lib/x86_64-linux-gnu"), old.join("usr/lib/x86_64-linux-gnu"));
        root.libraries(&[&one, &two], &[&GLIBC[..], &["libpthread.so.0", "libdl.so.2"]].concat())?;
        fs::copy(one.join(LOADER), root.path().join("lib64").join(LOADER))?;
        // Linked with the old libraries, and without the new compiler's own.
        let libraries = root.path().join("lib").display().to_string();
        let with = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| format!("{libraries}/{name}")).collect()
        };
        let program = with(&["libpthread.so.0", "libdl.so.2", "libc.so.6"]);
        let layer = with(&["libstdc++.so.6", "libgcc_s.so.1", "libc.so.6"]);
        let words = |first: &[&'static str], then: &[String]| -> Vec<String> {
            first.iter().map(|word| (*word).to_owned()).chain(then.iter().cloned()).collect()
        };
        let program = words(&["target.c", "-nodefaultlibs", "-Wl,--allow-shlib-undefined"], &program);
        let layer =
            words(&["-shared", "-fPIC", "layer.cc", "-nodefaultlibs", "-Wl,--allow-shlib-undefined"], &layer);
        root.c("gcc", "bin/target", &program.iter().map(String::as_str).collect::<Vec<_>>())?;
        root.c("g++", "lib/layer.so", &layer.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(Some(root))
    }

    pub(super) fn musl() -> Result<Root> {
        let root = Root::new()?;
        root.c("musl-gcc", "bin/target", &["-pthread", "target.c"])?;
        root.c("musl-gcc", "lib/layer.so", &["-shared", "-fPIC", "layer.c"])?;
        root.libraries(&[Path::new("/lib")], &["ld-musl-x86_64.so.1"])?;
        Ok(root)
    }

    /// One file, with glibc and C++ in it.
    pub(super) fn all_in_one() -> Result<Root> {
        let root = Root::new()?;
        root.c("gcc", "tmp/target.o", &["-c", "-DSTATIC", "target.c"])?;
        let object = root.path().join("tmp/target.o").display().to_string();
        root.c("g++", "bin/target", &["-static", "-pthread", &object, "layer.cc"])?;
        Ok(root)
    }

    pub(super) fn rust() -> Result<Root> {
        let root = Root::new()?;
        root.compile("rustc", "bin/target", &["-g", "--edition=2024", "target.rs"])?;
        root.host_libraries(&["libc.so.6", "libgcc_s.so.1"])?;
        Ok(root)
    }

    pub(super) fn go() -> Result<Root> {
        let root = Root::new()?;
        let target = root.path().join("bin/target");
        let mut command = Command::new("go");
        command.current_dir(source_dir().join("debug/gdb")).args(["build", "-trimpath", "-o"]).arg(&target);
        run(command.arg("target.go").env("CGO_ENABLED", "0"))?;
        Ok(root)
    }
}
