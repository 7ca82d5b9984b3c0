// SPDX-License-Identifier: Apache-2.0
//! The files that sinks write: two must not meet, and no source may read them. Only names are compared; a
//! sink also locks its file.

use super::check::{Fault, fault};
use super::sink::{Kind, Sink};
use super::source::Source;
use source::PathGlob;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

pub(super) fn check(sinks: &BTreeMap<String, Sink>, sources: &BTreeMap<String, Source>) -> Result<(), Fault> {
    let outputs: Vec<(&str, PathBuf)> = sinks
        .iter()
        .filter_map(|(name, sink)| match &sink.kind {
            Kind::File(file) => Some((name.as_str(), without_dots(&file.path))),
            _ => None,
        })
        .collect();
    for (index, (name, path)) in outputs.iter().enumerate() {
        for (other, other_path) in outputs.get(index + 1..).unwrap_or_default() {
            let meet = path == other_path || is_older(path, other_path) || is_older(other_path, path);
            if meet {
                let message = format!(
                    "sink.{name} writes {} and older ones beside it; each sink needs files of its own",
                    path.display()
                );
                return fault(format!("sink.{other}.path"), message);
            }
        }
    }
    for (name, source) in sources {
        for (index, text) in source.paths.iter().enumerate() {
            // A wrong one has been told already.
            let Ok(glob) = PathGlob::new(text) else { continue };
            if let Some((sink, path)) =
                outputs.iter().find(|(_, path)| glob.fits(path.as_os_str().as_encoded_bytes()))
            {
                let message = format!(
                    "it fits {}, which sink.{sink} writes: each line would make another",
                    path.display()
                );
                return fault(format!("source.{name}.paths[{index}]"), message);
            }
        }
    }
    Ok(())
}

/// Whether `path` is what a file at `of` is called when it is rotated, or its canary.
fn is_older(path: &Path, of: &Path) -> bool {
    let is_suffix =
        |suffix: &OsStr| suffix == "canary" || suffix.as_encoded_bytes().iter().all(u8::is_ascii_digit);
    path.extension().is_some_and(is_suffix) && path.with_extension("") == of
}

/// As the kernel would go, as long as no link is on the way.
fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::{is_older, without_dots};
    use std::path::Path;

    #[test]
    fn names_of_older_files() {
        let older = |path: &str, of: &str| is_older(Path::new(path), Path::new(of));
        assert!(older("/out/x.1", "/out/x") && older("/out/x.jsonl.12", "/out/x.jsonl"));
        assert!(older("/out/x.canary", "/out/x"));
        assert!(!older("/out/x.log", "/out/x") && !older("/out/x", "/out/x.1"));
        assert_eq!(without_dots(Path::new("/out/../out/./y")), Path::new("/out/y"));
    }
}
