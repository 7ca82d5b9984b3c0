// SPDX-License-Identifier: Apache-2.0
//! Where a session's debugger finds debug files: directories of this host, kits, and servers that are asked from
//! within the target's network.

use super::kits::Chosen;
use crate::command::{Usage, say};
use crate::config::{Debug, check_server};
use anyhow::Context;
use debug::{Bind, Source, Spec};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

/// Where a kit has them.
const IN_KIT: &str = "usr/lib/debug";
/// The command of a kit that reads them.
const READER: &str = "gdb";
/// The most directories of a session.
const LIMIT: usize = 32;
/// Directories that gdb of the kit looks in, with colons between them.
const DIRECTORIES: &str = "PURSER_DEBUG_FILES";
/// Room for what servers send. It is in memory, and counted as the session's.
const HOME_BYTES: u64 = 1 << 30;

/// The directories that somebody asked for, as mounts that the policy is asked about. Servers are looked at, too.
pub(super) fn asked(directories: &[PathBuf], servers: &[String]) -> anyhow::Result<Vec<Bind>> {
    for server in servers {
        check_server(server).map_err(|why| Usage(format!("--debuginfod {server}: {why}")))?;
    }
    if directories.len() > LIMIT {
        return Err(Usage(format!("more than {LIMIT} directories with debug files for one session")).into());
    }
    directories.iter().enumerate().map(|(number, path)| bind(number, path)).collect()
}

fn bind(number: usize, path: &Path) -> anyhow::Result<Bind> {
    let doing = || format!("looking for debug files in {}", path.display());
    let real = fs::canonicalize(path).with_context(doing)?;
    if !fs::metadata(&real).with_context(doing)?.is_dir() {
        return Err(
            Usage(format!("{} is no directory; name the one with the debug files", path.display())).into()
        );
    }
    let at = Path::new(Bind::GIVEN).join(format!("debug-{number}"));
    Ok(Bind { source: Source::Host(real), at, read_only: true })
}

/// Adds what the configuration and the kits have, and tells the debugger: `asked` are in the session already.
pub(super) fn complete(spec: &mut Spec, asked: &[Bind], servers: &[String], config: &Debug, kits: &[Chosen]) {
    let mut places: Vec<PathBuf> = asked.iter().map(|bind| bind.at.clone()).collect();
    let reads = kits.iter().any(|chosen| chosen.has(OsStr::new(READER)));
    if reads {
        for path in &config.debug_files {
            match bind(places.len(), path) {
                Ok(bind) => {
                    places.push(bind.at.clone());
                    spec.binds.push(bind);
                }
                Err(_) if path == Path::new(Debug::USUAL_DEBUG_FILES) => {}
                // A directory of the configuration that is not there keeps nobody from debugging.
                Err(error) => say(&format!("purser: {error:#}")),
            }
        }
    }
    let of_kits = kits.iter().filter(|chosen| chosen.kit.root.join(IN_KIT).is_dir());
    places.extend(of_kits.map(|chosen| Path::new(&chosen.kit.prefix()).join(IN_KIT)));
    let mut set = |name: &str, value: OsString| {
        // Who sets it by hand knows better.
        if !spec.environment.iter().any(|(known, _)| known == name) {
            spec.environment.push((name.into(), value));
        }
    };
    if !places.is_empty() {
        let places: Vec<OsString> = places.into_iter().map(PathBuf::into_os_string).collect();
        set(DIRECTORIES, places.join(":".as_ref()));
    }
    let servers = if servers.is_empty() { &config.debuginfod } else { servers };
    if !servers.is_empty() {
        set("DEBUGINFOD_URLS", servers.join(" ").into());
        set("DEBUGINFOD_CACHE_PATH", format!("{}/.debuginfod", debug::HOME).into());
        spec.home_bytes = HOME_BYTES;
    }
}
