// SPDX-License-Identifier: Apache-2.0
//! Packages opened into one tree, as they would lie in a root where `/bin` and `/lib` are those of `/usr`.

use crate::debian::Package;
use crate::error::KitError;
use crate::path;
use crate::tree::{Node, Tree};
use std::io::Read;
use std::process::{Command, Stdio};

/// Most bytes of all files of a kit's packages.
const TOTAL_LIMIT: u64 = 4 << 30;
/// Directories that are links into `usr`.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// Opens packages with dpkg-deb, which knows their formats and compressions.
pub(crate) fn unpack(packages: &[Package]) -> Result<Tree, KitError> {
    let mut tree = Tree::default();
    for merged in MERGED {
        tree.put(merged, Node::Link { target: format!("usr/{merged}") });
    }
    let mut left = TOTAL_LIMIT;
    for package in packages {
        one(package, &mut tree, &mut left)?;
    }
    Ok(tree)
}

fn one(package: &Package, tree: &mut Tree, left: &mut u64) -> Result<(), KitError> {
    let fault = |said: String| KitError::Fetch { doing: format!("opening {}", package.title), said };
    let mut command = Command::new("dpkg-deb");
    command.arg("--fsys-tarfile").arg(&package.file).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|source| KitError::NoPackages { program: "dpkg-deb", source })?;
    let Some(output) = child.stdout.take() else { return Err(fault("it has no output".to_string())) };
    let taken = take(output, tree, left);
    // The reader is closed, so the program ends by itself; its own complaint is on standard error.
    let status = child.wait().map_err(|error| fault(error.to_string()))?;
    taken.map_err(&fault)?;
    if status.success() { Ok(()) } else { Err(fault(format!("dpkg-deb ended with {status}"))) }
}

fn take(input: impl Read, tree: &mut Tree, left: &mut u64) -> Result<(), String> {
    let mut archive = tar::Archive::new(input);
    for entry in archive.entries().map_err(|error| error.to_string())? {
        let mut entry = entry.map_err(|error| error.to_string())?;
        let kind = entry.header().entry_type();
        let at = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let Some(at) = merged(&at) else { continue };
        let target = entry.link_name_bytes().map(|target| String::from_utf8_lossy(&target).into_owned());
        if kind.is_dir() {
            tree.put(&at, Node::Directory);
        } else if kind.is_symlink() {
            tree.put(&at, Node::Link { target: target.unwrap_or_default() });
        } else if kind.is_hard_link() {
            let other = target.as_deref().and_then(merged).and_then(|other| tree.get(&other)).cloned();
            tree.put(&at, other.ok_or_else(|| format!("{at}: a hard link to what is not there"))?);
        } else if kind.is_file() {
            *left = left.checked_sub(entry.size()).ok_or("it is larger than any kit")?;
            let executable = entry.header().mode().unwrap_or_default() & 0o111 != 0;
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
            tree.put(&at, Node::File { executable, bytes });
        }
    }
    Ok(())
}

/// `./lib/x` is `usr/lib/x`. Nothing for the root itself, for the links that do this in a root, and for names that no
/// kit may have.
fn merged(at: &str) -> Option<String> {
    let at = at.trim_start_matches("./").trim_matches('/');
    if MERGED.contains(&at) {
        return None;
    }
    let first = at.split('/').next().unwrap_or_default();
    let at = if MERGED.contains(&first) { format!("usr/{at}") } else { at.to_string() };
    (path::is_inside(&at) && at != "usr").then_some(at)
}

#[cfg(test)]
mod tests {
    use super::{merged, take};
    use crate::tree::{Node, Tree};

    #[test]
    fn roots_are_merged() {
        assert_eq!(merged("./lib/x").as_deref(), Some("usr/lib/x"));
        assert_eq!(merged("./usr/lib/").as_deref(), Some("usr/lib"));
        for nothing in ["./", ".", "./bin", "lib64/", "../x", "usr/../../x"] {
            assert_eq!(merged(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn hard_links_become_files() {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.set_mode(0o755);
        builder.append_data(&mut header, "./bin/a", &b"x"[..]).unwrap();
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(tar::EntryType::Link);
        link.set_size(0);
        builder.append_link(&mut link, "./bin/b", "./bin/a").unwrap();
        let mut tree = Tree::default();
        take(&*builder.into_inner().unwrap(), &mut tree, &mut 10).unwrap();
        assert_eq!(tree.get("usr/bin/b"), Some(&Node::File { executable: true, bytes: b"x".to_vec() }));
    }
}
