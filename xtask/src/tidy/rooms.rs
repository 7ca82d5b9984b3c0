// SPDX-License-Identifier: Apache-2.0
//! Who may know whom: the directions between rooms, read from their manifests, and the lints every
//! room shares.

use super::Finding;

/// Each room and the rooms it may depend on, for its tests too. The binary joins all of them.
const KNOWS: &[(&str, &[&str])] = &[
    ("container", &["http"]),
    ("cores", &[]),
    ("debug", &["sys"]),
    ("docker", &["http", "names", "tls"]),
    ("event", &[]),
    ("http", &[]),
    ("image", &[]),
    ("kit", &[]),
    ("names", &[]),
    ("probe", &["sys"]),
    (
        "purser",
        &[
            "container",
            "cores",
            "debug",
            "docker",
            "event",
            "image",
            "kit",
            "names",
            "probe",
            "redact",
            "registry",
            "service",
            "ship",
            "source",
            "store",
            "sys",
        ],
    ),
    ("redact", &[]),
    ("registry", &["http", "names", "tls"]),
    ("service", &[]),
    ("ship", &["event", "http", "names", "store", "sys", "tls"]),
    ("source", &["event"]),
    ("store", &[]),
    ("sys", &[]),
    ("tls", &["sys"]),
];

/// Whether this is the manifest of a room or of the workshop.
pub(super) fn is_manifest(path: &str) -> bool {
    path == "xtask/Cargo.toml" || room(path).is_some()
}

fn room(path: &str) -> Option<&str> {
    let room = path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml")?;
    (!room.contains('/')).then_some(room)
}

pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    if !lines.windows(2).any(|pair| pair == ["[lints]", "workspace = true"]) {
        findings.push(Finding::new(path, 0, "without the lints of the workspace: [lints] workspace = true"));
    }
    let name = room(path).unwrap_or("xtask");
    let allowed = match KNOWS.iter().find(|(known, _)| *known == name) {
        Some((_, allowed)) => *allowed,
        None if name == "xtask" => &[],
        None => {
            findings.push(Finding::new(
                path,
                0,
                "a room that tidy does not know: say there whom it may know",
            ));
            return findings;
        }
    };
    for (line, dependency) in dependencies(&lines) {
        let internal = KNOWS.iter().any(|(known, _)| *known == dependency);
        if internal && !allowed.contains(&dependency) {
            findings.push(Finding::new(path, line, format!("{name} must not know {dependency}")));
        }
    }
    findings
}

/// Every dependency of every kind, with its line.
fn dependencies<'a>(lines: &[&'a str]) -> Vec<(usize, &'a str)> {
    let mut within = false;
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            let (kind, name) = split_section(section);
            within = kind.is_some() && name.is_none();
            found.extend(name.filter(|_| kind.is_some()).map(|name| (at + 1, name)));
        } else if within && !line.is_empty() && !line.starts_with('#') {
            let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
            found.push((at + 1, name.trim_matches('"')));
        }
    }
    found
}

/// `dependencies`, `target.X.dev-dependencies` or `dependencies.NAME`: whether it is one, and NAME.
fn split_section(section: &str) -> (Option<()>, Option<&str>) {
    let Some((_, after)) = section.split_once("dependencies") else { return (None, None) };
    (Some(()), after.strip_prefix('.').map(|name| name.trim_matches('"')))
}

#[cfg(test)]
mod tests {
    use super::{check, is_manifest};

    const LINTS: &str = "[lints]\nworkspace = true\n";

    fn says(path: &str, text: &str) -> Vec<String> {
        check(path, &format!("{LINTS}{text}")).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn directions_hold() {
        assert!(
            says(
                "crates/probe/Cargo.toml",
                "[dependencies]\nsys.workspace = true\nlibbpf-rs.workspace = true"
            )
            .is_empty()
        );
        assert!(
            says("crates/purser/Cargo.toml", "[dependencies]\nstore = { path = \"../store\" }").is_empty()
        );
        let found = says("crates/store/Cargo.toml", "[dependencies]\nmemchr = \"2\"\nevent.workspace = true");
        assert_eq!(found, ["crates/store/Cargo.toml:5: store must not know event"]);
    }

    #[test]
    fn every_kind_of_dependency_counts() {
        for text in [
            "[dev-dependencies]\nprobe = { workspace = true }",
            "[build-dependencies]\n\"probe\" = \"1\"",
            "[target.'cfg(unix)'.dependencies]\nprobe.workspace = true",
            "[dependencies.probe]\nworkspace = true",
        ] {
            assert_eq!(says("crates/event/Cargo.toml", text).len(), 1, "{text}");
        }
        assert!(says("crates/event/Cargo.toml", "[features]\nprobe = []").is_empty());
    }

    #[test]
    fn rooms_are_known_and_share_the_lints() {
        assert_eq!(says("crates/attic/Cargo.toml", "").len(), 1);
        assert_eq!(check("crates/event/Cargo.toml", "[package]\n").len(), 1);
        assert!(is_manifest("xtask/Cargo.toml"));
        assert!(!is_manifest("fuzz/Cargo.toml"));
    }
}
