// SPDX-License-Identifier: Apache-2.0
//! The units as texts, and what systemd itself says of them without being booted.

use super::unit;
use crate::definition::tests::{agent, program};
use std::path::Path;
use std::process::{Command, Output};

/// The highest exposure of the agent's unit, in tenths.
const EXPOSURE_LIMIT: &str = "30";

/// A test that cannot run says so; where everything must run, that is a failure.
fn analyze(arguments: &[&str], unit: &Path) -> Option<Output> {
    match Command::new("systemd-analyze").args(arguments).arg(unit).env("SYSTEMD_COLORS", "0").output() {
        Ok(output) => Some(output),
        Err(error) => {
            assert!(std::env::var_os("PURSER_REQUIRE_ALL").is_none(), "systemd-analyze: {error}");
            println!("SKIP: systemd-analyze: {error}");
            None
        }
    }
}

#[test]
fn the_agent() {
    let text = unit(&agent());
    assert_eq!(text, include_str!("../../tests/golden/agent.service"), "{text}");
}

#[test]
fn a_program() {
    let text = unit(&program());
    assert_eq!(text, include_str!("../../tests/golden/program.service"), "{text}");
    let mut own = program();
    (own.user_service, own.user) = (true, None);
    let text = unit(&own);
    assert!(text.contains("WantedBy=default.target") && !text.contains("User="), "{text}");
    assert!(!text.contains("network.target"), "units of users know no such target: {text}");
}

#[test]
fn the_agent_is_hardly_exposed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("purser.service");
    std::fs::write(&file, unit(&agent())).unwrap();
    let threshold = format!("--threshold={EXPOSURE_LIMIT}");
    let Some(output) = analyze(&["security", "--offline=true", &threshold], &file) else { return };
    let told = String::from_utf8_lossy(&output.stdout);
    println!("{}", told.lines().last().unwrap_or_default());
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
}

/// Unknown keys, keys in the wrong section and values that cannot be read are warnings of systemd's.
#[test]
fn systemd_has_nothing_to_say() {
    for definition in [agent(), program()] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("checked.service");
        let text = unit(&definition);
        // Only whether the text is right is asked, not whether this machine has the programs.
        let text =
            text.replace("/usr/local/bin/purser", "/bin/true").replace("/opt/back up/run", "/bin/true");
        std::fs::write(&file, text).unwrap();
        let Some(output) = analyze(&["verify", "--man=no", "--recursive-errors=no"], &file) else { return };
        let told = String::from_utf8_lossy(&output.stderr);
        let about_ours: Vec<&str> = told.lines().filter(|line| line.contains("checked.service")).collect();
        assert!(about_ours.is_empty(), "{about_ours:?}");
    }
}
