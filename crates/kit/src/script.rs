// SPDX-License-Identifier: Apache-2.0
//! Scripts: the interpreters they name, and small ones that start a program with settings of its own.

use crate::name::Name;
use crate::recipe::Wrapped;

/// The shell of scripts whose kit brings none.
const BASE_SHELL: &str = "/dev/.purser/base/bin/sh";

/// The path and the rest of a script's first line.
pub(crate) fn interpreter(bytes: &[u8]) -> Option<(&str, &str)> {
    let line = bytes.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    // The kernel reads 256 bytes.
    let line = std::str::from_utf8(line.get(..line.len().min(250))?).ok()?.trim();
    let (path, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    // `env NAME` looks along PATH, which in a session begins with kits and ends with the target's.
    match rest.trim().split_once([' ', '\t']).unwrap_or((rest.trim(), "")) {
        (name, rest) if path.ends_with("/env") && !name.starts_with('-') => Some((name, rest.trim())),
        _ => Some((path, rest.trim())),
    }
}

/// The script with another interpreter.
pub(crate) fn with_interpreter(bytes: &[u8], path: &str, rest: &str) -> Vec<u8> {
    let body = bytes.iter().position(|byte| *byte == b'\n').and_then(|end| bytes.get(end..)).unwrap_or(b"\n");
    let line = if rest.is_empty() { format!("#!{path}") } else { format!("#!{path} {rest}") };
    [line.as_bytes(), body].concat()
}

/// Whether this is one of the shells that `sh` of the kit `base` can stand for.
pub(crate) fn is_shell(path: &str) -> bool {
    matches!(path.rsplit('/').next(), Some("sh" | "dash" | "bash"))
}

/// The path of the shell in the kit `base`.
pub(crate) fn base_shell(path: &str) -> String {
    if path.ends_with("bash") { "/dev/.purser/base/bin/bash".to_string() } else { BASE_SHELL.to_string() }
}

/// A script that starts a program with its settings.
pub(crate) fn wrapper(kit: &Name, program: &str, wrapped: &Wrapped) -> Vec<u8> {
    let prefix = kit.prefix();
    let mut script = format!("#!{BASE_SHELL}\n");
    for (name, value) in &wrapped.environment {
        script.push_str(&format!("export {name}={}\n", quoted(&value.replace('@', &prefix))));
    }
    script.push_str(&format!("exec {}", quoted(&format!("{prefix}/{program}"))));
    for argument in &wrapped.arguments {
        script.push_str(&format!(" {}", quoted(&argument.replace('@', &prefix))));
    }
    script.push_str(" \"$@\"\n");
    script.into_bytes()
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::{interpreter, with_interpreter, wrapper};
    use crate::name::Name;
    use crate::recipe::Wrapped;

    #[test]
    fn interpreters() {
        assert_eq!(interpreter(b"#!/bin/sh -e\nx"), Some(("/bin/sh", "-e")));
        assert_eq!(interpreter(b"#! /usr/bin/env python3 -s\n"), Some(("python3", "-s")));
        assert_eq!(interpreter(b"#!/usr/bin/perl"), Some(("/usr/bin/perl", "")));
        assert_eq!(interpreter(b"\x7fELF"), None);
        assert_eq!(with_interpreter(b"#!/bin/sh -e\nx", "/y/sh", "-e"), b"#!/y/sh -e\nx");
        assert_eq!(with_interpreter(b"#!/bin/sh", "/y/sh", ""), b"#!/y/sh\n");
    }

    #[test]
    fn settings_of_a_program() {
        let wrapped = Wrapped {
            program: "usr/bin/gdb".into(),
            arguments: vec!["-x".into(), "@/it's".into()],
            environment: [("HOME".to_string(), "@/h".to_string())].into(),
        };
        let script = String::from_utf8(wrapper(&Name::new("gdb").unwrap(), "usr/bin/gdb", &wrapped)).unwrap();
        assert_eq!(
            script,
            "#!/dev/.purser/base/bin/sh\nexport HOME='/dev/.purser/gdb/h'\n\
             exec '/dev/.purser/gdb/usr/bin/gdb' '-x' '/dev/.purser/gdb/it'\\''s' \"$@\"\n"
        );
    }
}
