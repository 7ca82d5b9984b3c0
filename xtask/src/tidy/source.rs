// SPDX-License-Identifier: Apache-2.0
//! Rules for the text of one file: its head, its length, its characters, and attributes that hide things.

use std::ops::RangeInclusive;

use super::Finding;
use super::code::{self, Line};

const LINES_LIMIT: usize = 700;
const APACHE: &str = "SPDX-License-Identifier: Apache-2.0";

/// The kernel takes no BPF program that calls its helpers under another licence.
const KERNEL: &str = "SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)";
const KERNEL_ROOM: &str = "crates/probe/bpf/";

/// The only rooms with `unsafe` in them.
const UNSAFE_ROOMS: [&str; 3] =
    ["crates/names/src/symbols/", "crates/ship/src/kafka/flush.rs", "crates/sys/"];

/// Characters beyond ASCII that are written on purpose: lines of a tree, an arrow, a separator, an
/// ellipsis, micro.
const MEANT: &str = "\u{2500}\u{2502}\u{2514}\u{251c}\u{2192}\u{b7}\u{2026}\u{b5}";

/// Western letters, with which tests show that they mean characters and not bytes.
const LETTERS: RangeInclusive<char> = '\u{c0}'..='\u{ff}';

/// Checks what holds for a file of this kind; a kind without rules has no findings.
pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension {
        "rs" => rust(path, text, &mut findings),
        "c" | "h" => first_line(path, text, licence_of(path), &mut findings),
        _ => {}
    }
    if matches!(extension, "rs" | "c" | "h" | "toml" | "sh" | "md") {
        trailing_space(path, text, &mut findings);
    }
    findings
}

fn licence_of(path: &str) -> &'static str {
    if path.starts_with(KERNEL_ROOM) { KERNEL } else { APACHE }
}

fn first_line(path: &str, text: &str, licence: &str, findings: &mut Vec<Finding>) {
    let head = text.lines().next().unwrap_or_default();
    if head.trim_start_matches(['/', '*', ' ']).trim_end_matches(['/', '*', ' ']) != licence {
        findings.push(Finding::new(path, 1, format!("the first line must be `// {licence}`")));
    }
}

fn trailing_space(path: &str, text: &str, findings: &mut Vec<Finding>) {
    for (at, line) in text.lines().enumerate() {
        if line.ends_with([' ', '\t']) {
            findings.push(Finding::new(path, at + 1, "white space at the end of the line"));
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        findings.push(Finding::new(path, 0, "no newline at the end"));
    }
}

fn rust(path: &str, text: &str, findings: &mut Vec<Finding>) {
    first_line(path, text, APACHE, findings);
    if !text.lines().nth(1).is_some_and(|line| line.starts_with("//! ")) {
        findings.push(Finding::new(
            path,
            2,
            "the second line must begin to say, with `//! `, what this file does",
        ));
    }
    let lines = code::lines(text);
    length(path, &lines, findings);
    for (at, line) in lines.iter().enumerate() {
        for says in line_faults(path, line) {
            findings.push(Finding::new(path, at + 1, says));
        }
    }
    attributes(path, &lines, findings);
}

fn line_faults(path: &str, line: &Line) -> Vec<String> {
    let mut faults = Vec::new();
    if [&line.code, &line.comment, &line.text].iter().any(|part| part.contains('\t')) {
        faults.push("a tab".to_owned());
    }
    let stray = |c: &char| !(c.is_ascii() || MEANT.contains(*c) || LETTERS.contains(c));
    let beside_code = line.comment.chars().chain(line.text.chars()).find(stray);
    if let Some(c) = line.code.chars().find(|c| !c.is_ascii()).or(beside_code) {
        faults.push(format!("{c:?} is not ASCII: spell it out, or write \\u{{{:x}}}", u32::from(c)));
    }
    if words(&line.code).any(|word| word == "unsafe")
        && !UNSAFE_ROOMS.iter().any(|room| path.starts_with(room))
    {
        faults.push(format!("`unsafe` is only for {}", UNSAFE_ROOMS.join(", ")));
    }
    faults
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
}

/// Tests do not count: they stand at the end of a file, behind `#[cfg(test)]`, or in files of their own.
fn length(path: &str, lines: &[Line], findings: &mut Vec<Finding>) {
    if path.contains("/tests/") || path.ends_with("tests.rs") {
        return;
    }
    let count = lines.iter().position(|line| line.code.trim() == "#[cfg(test)]").unwrap_or(lines.len());
    if count > LINES_LIMIT {
        findings.push(Finding::new(
            path,
            0,
            format!("{count} lines without its tests; the limit is {LINES_LIMIT}"),
        ));
    }
}

/// An attribute may span lines, so they are looked for in the whole code.
fn attributes(path: &str, lines: &[Line], findings: &mut Vec<Finding>) {
    let whole = lines.iter().map(|line| line.code.as_str()).collect::<Vec<_>>().join("\n");
    for (at, _) in whole.match_indices("#[").chain(whole.match_indices("#![")) {
        let attribute = attribute(whole.get(at..).unwrap_or_default());
        if let Some(says) = attribute_fault(&attribute) {
            let line = whole.get(..at).unwrap_or_default().matches('\n').count() + 1;
            findings.push(Finding::new(path, line, says));
        }
    }
}

/// From `#` to the bracket that closes it, white space left out.
fn attribute(code: &str) -> String {
    let mut depth = 0;
    let mut taken = String::new();
    for c in code.chars() {
        if !c.is_whitespace() {
            taken.push(c);
        }
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            break;
        }
    }
    taken
}

fn attribute_fault(attribute: &str) -> Option<&'static str> {
    let names: Vec<&str> = words(attribute).collect();
    let calls =
        |name: &str| attribute.contains(&format!("[{name}(")) || attribute.contains(&format!(",{name}("));
    if names.contains(&"should_panic") {
        Some("`should_panic` hides which panic: catch the error and compare it")
    } else if names.contains(&"ignore") && !attribute.contains("ignore=\"") {
        Some("`ignore` needs its reason: #[ignore = \"...\"]")
    } else if (calls("allow") || calls("expect")) && !attribute.contains("reason=\"") {
        Some("`allow` and `expect` need their reason")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    const HEAD: &str = "// SPDX-License-Identifier: Apache-2.0\n//! About.\n";

    /// What tidy says about a Rust file with a proper head and this body.
    fn says(path: &str, body: &str) -> Vec<String> {
        check(path, &format!("{HEAD}{body}\n")).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_calm_file_has_no_findings() {
        let body = "#[allow(dead_code, reason = \"x\")]\nfn f() { g(\"\u{2514} unsafe #[ignore]\") } // unsafe\n#[ignore = \"why\"]";
        assert!(says("crates/event/src/a.rs", body).is_empty());
    }

    #[test]
    fn the_head_is_demanded() {
        assert_eq!(check("a.rs", "fn main() {}\n").len(), 2);
        assert_eq!(check("a.c", "int main;\n").len(), 1);
        assert!(check("a.c", "/* SPDX-License-Identifier: Apache-2.0 */\n").is_empty());
        let kernel = "// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)\n";
        assert!(check("crates/probe/bpf/exec.bpf.c", kernel).is_empty());
        assert_eq!(check("crates/probe/src/exec.c", kernel).len(), 1);
    }

    #[test]
    fn unsafe_has_its_room() {
        let body = "fn f() { unsafe { g() } }";
        assert_eq!(says("crates/store/src/a.rs", body).len(), 1);
        assert_eq!(says("crates/names/src/a.rs", body).len(), 1);
        assert!(says("crates/names/src/symbols/a.rs", body).is_empty());
        assert!(says("crates/sys/src/a.rs", body).is_empty());
        assert!(says("crates/store/src/a.rs", "#![forbid(unsafe_code)]").is_empty());
    }

    #[test]
    fn attributes_that_hide_are_found() {
        for body in [
            "#[ignore]",
            "#[should_panic]",
            "#[should_panic(expected = \"x\")]",
            "#[allow(dead_code)]",
            "#![allow(\n  dead_code,\n)]",
            "#[cfg_attr(test, allow(dead_code))]",
        ] {
            let found = says("crates/event/src/a.rs", body);
            assert_eq!(found.len(), 1, "{body}: {found:?}");
            assert!(found[0].starts_with("crates/event/src/a.rs:3: "), "{found:?}");
        }
    }

    #[test]
    fn characters_and_white_space() {
        assert!(says("a.rs", "f(\"caf\u{e9}\") // 5 \u{b5}s \u{2026}").is_empty());
        assert_eq!(says("a.rs", "fn caf\u{e9}() {}").len(), 1);
        assert_eq!(says("a.rs", "fn f() {} // \u{201c}quoted\u{201d}").len(), 1);
        assert_eq!(says("a.rs", "f(\"\u{202e}\")").len(), 1);
        assert_eq!(says("a.rs", "\tf()").len(), 1);
        assert_eq!(says("a.rs", "f() ").len(), 1);
        assert_eq!(check("a.toml", "[a]").len(), 1);
    }

    #[test]
    fn long_files_are_found_without_their_tests() {
        let long = "f();\n".repeat(700);
        assert_eq!(says("crates/event/src/a.rs", &long).len(), 1);
        assert!(says("crates/event/tests/a.rs", &long).is_empty());
        assert!(says("crates/event/src/a.rs", &format!("#[cfg(test)]\nmod tests {{\n{long}}}")).is_empty());
    }
}
