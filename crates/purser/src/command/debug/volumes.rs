// SPDX-License-Identifier: Apache-2.0
//! Files and directories for a session, as they are typed and as the session gets them.

use crate::command::Usage;
use anyhow::Context;
use debug::{Bind, Source};
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

/// The most volumes of a session.
const LIMIT: usize = 64;
/// What a path in the target begins with.
const OF_TARGET: &str = "$c/";
/// Places that are the kernel's or the session's own.
const RESERVED: [&str; 4] = ["/proc", "/sys", "/dev/.purser", "/dev/pts"];

/// `SRC[:DST][:ro|rw]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Volume {
    source: Source,
    at: PathBuf,
    read_only: bool,
}

impl Volume {
    /// Whether it brings something into the session that the target does not have.
    pub(super) fn is_of_host(&self) -> bool {
        matches!(self.source, Source::Host(_))
    }

    /// As it is typed.
    pub(super) fn text(&self) -> String {
        told(&Bind { source: self.source.clone(), at: self.at.clone(), read_only: self.read_only })
    }
}

impl FromStr for Volume {
    type Err = String;

    fn from_str(text: &str) -> Result<Volume, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let (source, at, mode) = match *parts.as_slice() {
            [source] => (source, None, "rw"),
            [source, mode @ ("ro" | "rw")] => (source, None, mode),
            [source, at] => (source, Some(at), "rw"),
            [source, at, mode @ ("ro" | "rw")] => (source, Some(at), mode),
            _ => return Err("write SRC[:DST][:ro|rw]".into()),
        };
        if source.is_empty() {
            return Err("there is no source; write SRC[:DST][:ro|rw]".into());
        }
        let source = match source.strip_prefix(OF_TARGET) {
            Some(path) => Source::Target(Path::new("/").join(path)),
            None => {
                let path = std::path::absolute(source).map_err(|error| error.to_string())?;
                Source::Host(path)
            }
        };
        let (Source::Host(own) | Source::Target(own)) = &source;
        let at = place(at.map_or(own.as_path(), Path::new))?;
        Ok(Volume { source, at, read_only: mode == "ro" })
    }
}

/// A place in the session, if it may be one.
fn place(at: &Path) -> Result<PathBuf, String> {
    let shown = at.display();
    if !at.is_absolute() || at.components().any(|part| part == Component::ParentDir) {
        return Err(format!("{shown} is no absolute path without .. in the session"));
    }
    let at: PathBuf = at.components().collect();
    let is_given = at.parent() == Some(Path::new(Bind::GIVEN));
    let is_reserved = RESERVED.iter().any(|other| at.starts_with(other)) && !is_given;
    if at == Path::new("/") || at == Path::new("/dev") || is_reserved {
        return Err(format!("{shown} cannot be another's place; choose one such as /mnt/NAME"));
    }
    Ok(at)
}

/// What the session gets. Links in a source are followed here, so that what is allowed, told and mounted is the same.
pub(super) fn binds(volumes: &[Volume]) -> anyhow::Result<Vec<Bind>> {
    if volumes.len() > LIMIT {
        return Err(Usage(format!("more than {LIMIT} volumes for one session")).into());
    }
    let mut binds: Vec<Bind> = Vec::new();
    for volume in volumes {
        if binds.iter().any(|other| other.at == volume.at) {
            return Err(Usage(format!("two volumes are to be at {}", volume.at.display())).into());
        }
        let source = match &volume.source {
            Source::Host(path) => Source::Host(
                std::fs::canonicalize(path)
                    .with_context(|| format!("looking at volume {}", path.display()))?,
            ),
            source => source.clone(),
        };
        binds.push(Bind { source, at: volume.at.clone(), read_only: volume.read_only });
    }
    Ok(binds)
}

/// How the record calls it.
pub(super) fn told(bind: &Bind) -> String {
    let (head, path) = match &bind.source {
        Source::Host(path) => ("", path),
        Source::Target(path) => ("$c", path),
    };
    let mode = if bind.read_only { "ro" } else { "rw" };
    format!("{head}{}:{}:{mode}", path.display(), bind.at.display())
}

#[cfg(test)]
mod tests {
    use super::{Volume, binds, told};

    fn read(text: &str) -> Result<String, String> {
        let volume: Volume = text.parse()?;
        assert_eq!(volume.text().parse().as_ref(), Ok(&volume), "{text}");
        let bind = debug::Bind { source: volume.source, at: volume.at, read_only: volume.read_only };
        Ok(told(&bind))
    }

    #[test]
    fn words() {
        for (text, wanted) in [
            ("/srv/x", "/srv/x:/srv/x:rw"),
            ("/srv/x:ro", "/srv/x:/srv/x:ro"),
            ("/srv/x:/data", "/srv/x:/data:rw"),
            ("/srv/x:/data/./y/:ro", "/srv/x:/data/y:ro"),
            ("$c/etc:/mnt/etc:ro", "$c/etc:/mnt/etc:ro"),
            ("$c/:/mnt/container", "$c/:/mnt/container:rw"),
            ("$c/etc:ro", "$c/etc:/etc:ro"),
            ("/a:/dev/.purser/.given/b", "/a:/dev/.purser/.given/b:rw"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(wanted), "{text}");
        }
        for wrong in [
            "",
            ":/x",
            "/a:b",
            "/a:/b:c",
            "/a:/b:ro:rw",
            "/a:/b/../c",
            "/a:/",
            "/",
            "$c/",
            "/a:/proc/1",
            "/a:/dev/.purser/base",
            "/a:/dev",
            "/a:/dev/.purser/.given/b/c",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sources_are_there_and_places_differ() {
        let both: Vec<Volume> =
            ["/proc/self:/a", "/tmp:/a/."].iter().map(|text| text.parse().unwrap()).collect();
        let own = binds(&both[..1]).unwrap();
        assert_eq!(told(&own[0]), format!("/proc/{}:/a:rw", std::process::id()));
        assert!(binds(&both).unwrap_err().to_string().contains("two volumes are to be at /a"));
        assert!(binds(&["/no/such".parse().unwrap()]).is_err());
    }
}
