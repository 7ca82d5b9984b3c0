// SPDX-License-Identifier: Apache-2.0
//! The script as a text, and as a shell sees it.

use super::{fill, script};
use crate::definition::tests::{agent, program};
use std::process::Command;

#[test]
fn the_agent() {
    let text = script(&agent());
    assert_eq!(text, include_str!("../../tests/golden/agent.sysv"), "{text}");
}

#[test]
fn values_are_not_looked_at_again() {
    let values = [("A", "@B@".to_string()), ("B", "x".to_string())];
    assert_eq!(fill("\"$@\" @A@ @B@ a@b @C@", &values), "\"$@\" @B@ x a@b @C@");
}

/// The shell is the judge of the words.
#[test]
fn the_shell_reads_the_arguments_back() {
    let text = script(&program());
    let line = text.lines().find(|line| line.trim_start().starts_with("set -- ")).unwrap();
    let code = format!("program='/opt/back up/run'\n{line}\nprintf '%s\\0' \"$@\"");
    let output = Command::new("sh").args(["-c", &code]).output().unwrap();
    let mut wanted = vec!["/opt/back up/run".to_string()];
    wanted.extend(program().arguments);
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{}\0", wanted.join("\0")));
}

#[test]
fn the_shell_finds_no_fault() {
    for definition in [agent(), program()] {
        let output = Command::new("sh").args(["-n", "-c", &script(&definition)]).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
}
