// SPDX-License-Identifier: Apache-2.0
//! The configuration and the store directory.

use super::{Line, State};
use crate::command::place::Place;
use crate::config::{Config, Origin};
use crate::table::bytes;
use rustix::fs::{Access, access, statvfs};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Free space below which it is time to say so.
const FREE_FLOOR: u64 = 1 << 30;

/// Whether the configuration is right, and what applies: when it is wrong, the defaults.
pub(super) fn configuration(place: &Place) -> (Line, Config) {
    match place.load() {
        Ok((config, provenance)) => {
            let file = provenance.iter().find_map(|(_, origin)| match origin {
                Origin::File { file, .. } => Some(file.clone()),
                Origin::Default | Origin::Flag(_) => None,
            });
            (Line::ok("configuration", file.unwrap_or_else(|| "defaults".to_string())), config)
        }
        Err(error) => {
            let line = Line::bad(
                "configuration",
                State::Missing,
                error.to_string(),
                "the agent does not start with it",
                "correct it; purser config checks it",
            );
            let mut config = Config::default();
            if let Some(store) = &place.store {
                config.agent.store.clone_from(store);
            }
            (line, config)
        }
    }
}

pub(super) fn check(store: &Path) -> Vec<Line> {
    let metadata = match std::fs::metadata(store) {
        Ok(metadata) if metadata.is_dir() => metadata,
        Ok(_) => {
            let detail = format!("{} is not a directory", store.display());
            return vec![Line::bad(
                "store",
                State::Missing,
                detail,
                "nothing can be kept",
                "name another with --store",
            )];
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return vec![absent(store)],
        Err(error) => {
            let detail = format!("{}: {error}", store.display());
            return vec![Line::bad("store", State::Missing, detail, "nothing can be kept", "run it as root")];
        }
    };
    vec![directory(store, metadata.mode() & 0o7777, metadata.uid()), space(store)]
}

fn absent(store: &Path) -> Line {
    // It is made at the first start, if there is a place to make it in.
    let above = store.ancestors().skip(1).find(|above| above.exists());
    match above.map(|above| access(above, Access::WRITE_OK)) {
        Some(Ok(())) => Line::ok("store", format!("{} will be made", store.display())),
        _ => {
            let detail = format!("{} cannot be made", store.display());
            Line::bad(
                "store",
                State::Missing,
                detail,
                "nothing can be kept",
                "run it as root, or name another with --store",
            )
        }
    }
}

fn directory(store: &Path, mode: u32, owner: u32) -> Line {
    let place = store.display();
    if access(store, Access::WRITE_OK | Access::READ_OK | Access::EXEC_OK).is_err() {
        let detail = format!("{place} is read-only, or not ours");
        return Line::bad(
            "store",
            State::Missing,
            detail,
            "nothing can be kept",
            "run it as root on a writable disk",
        );
    }
    if mode & 0o077 != 0 {
        let detail = format!("{place} has mode {mode:04o}");
        let advice = format!("run chmod 0700 {place}");
        return Line::bad(
            "store",
            State::Degraded,
            detail,
            "others can read what was run, or change it",
            &advice,
        );
    }
    Line::ok("store", format!("{place} mode {mode:04o} owner uid {owner}"))
}

fn space(store: &Path) -> Line {
    match statvfs(store) {
        Ok(space) => {
            let free = space.f_bavail.saturating_mul(space.f_frsize);
            if free < FREE_FLOOR {
                let detail = format!("{} free", bytes(free));
                let advice = "free some, or lower retain_bytes in [store]";
                return Line::bad(
                    "disk",
                    State::Degraded,
                    detail,
                    "the record will soon stop or lose its beginning",
                    advice,
                );
            }
            Line::ok("disk", format!("{} free", bytes(free)))
        }
        Err(errno) => {
            Line::bad("disk", State::Degraded, errno.to_string(), "free space is not known", "see df")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{check, configuration};
    use crate::command::doctor::State;
    use crate::command::place::Place;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn store_directories() {
        let root = tempfile::tempdir().unwrap();
        let state = |lines: Vec<super::Line>| lines[0].state;
        assert_eq!(state(check(&root.path().join("new/one"))), State::Ok);
        let file = root.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(state(check(&file)), State::Missing);
        std::fs::set_permissions(root.path(), Permissions::from_mode(0o700)).unwrap();
        assert_eq!(state(check(root.path())), State::Ok);
        std::fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
        assert_eq!(state(check(root.path())), State::Degraded);
    }

    #[test]
    fn a_wrong_configuration_is_told_with_its_line() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("purser.toml");
        std::fs::write(&file, "[agent]\nstroe = \"/x\"\n").unwrap();
        let place = Place { config: Some(file), store: Some("/kept".into()) };
        let (line, config) = configuration(&place);
        assert_eq!(line.state, State::Missing);
        assert!(line.detail.contains("purser.toml:2:1: unknown key"), "{}", line.detail);
        assert_eq!(config.agent.store.to_str(), Some("/kept"));
    }
}
