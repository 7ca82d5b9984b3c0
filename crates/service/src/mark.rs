// SPDX-License-Identifier: Apache-2.0
//! The line by which a file is known as ours, with a hash of the rest that tells whether a person
//! edited it since. The hash protects from nobody: it only notices.

/// What the marking line begins with.
const MARK: &str = "# purser-service 1 ";
/// Lines at the beginning among which it stands: a script's interpreter comes first.
const HEAD: usize = 2;

/// Whose a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is none.
    Absent,
    /// As it was written by us.
    Ours,
    /// Written by us and changed by somebody.
    Edited,
    /// Somebody else's.
    Foreign,
}

/// Puts the mark into `text`, behind the line of the interpreter if it has one.
pub(crate) fn mark(text: &str) -> String {
    let line = format!("{MARK}{}: written by purser install; edits here are noticed and kept\n", hash(text));
    match text.split_once('\n') {
        Some((interpreter, rest)) if text.starts_with("#!") => format!("{interpreter}\n{line}{rest}"),
        _ => format!("{line}{text}"),
    }
}

/// Judges the bytes of a file.
pub(crate) fn judge(bytes: &[u8]) -> Standing {
    let Ok(text) = std::str::from_utf8(bytes) else { return Standing::Foreign };
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let marked = lines.iter().take(HEAD).position(|line| line.starts_with(MARK));
    let Some((at, said)) = marked.and_then(|at| Some((at, lines.get(at)?.strip_prefix(MARK)?))) else {
        return Standing::Foreign;
    };
    let rest: String =
        lines.iter().enumerate().filter(|(line, _)| *line != at).map(|(_, line)| *line).collect();
    match said.split_once(':') {
        Some((said, _)) if said == hash(&rest) => Standing::Ours,
        _ => Standing::Edited,
    }
}

fn hash(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().chars().take(16).collect()
}

#[cfg(test)]
mod tests {
    use super::{Standing, judge, mark};

    #[test]
    fn every_edit_is_noticed() {
        for text in ["[Unit]\nDescription=x\n", "#!/bin/sh\necho x\n"] {
            let marked = mark(text);
            assert_eq!(judge(marked.as_bytes()), Standing::Ours);
            assert_eq!(marked.starts_with("#!"), text.starts_with("#!"));
            for at in 0..marked.len() {
                let mut edited = marked.clone().into_bytes();
                edited[at] ^= 2;
                let standing = judge(&edited);
                // Words for people behind the hash may change.
                let told = marked.lines().find(|line| line.starts_with("# purser")).unwrap();
                let words = marked.find(told).unwrap() + told.find(": ").unwrap() + 1;
                if (words..words + told.len() - told.find(": ").unwrap() - 1).contains(&at) {
                    assert_eq!(standing, Standing::Ours, "{at}");
                } else {
                    assert_ne!(standing, Standing::Ours, "{at}");
                }
            }
            assert_eq!(judge(format!("{marked}Nice=5\n").as_bytes()), Standing::Edited);
        }
    }

    #[test]
    fn what_others_wrote_is_foreign() {
        for bytes in [&b""[..], b"[Unit]\n", b"\xff\xfe", b"a\nb\n# purser-service 1 0: x\n"] {
            assert_eq!(judge(bytes), Standing::Foreign);
        }
    }
}
