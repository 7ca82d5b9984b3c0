// SPDX-License-Identifier: Apache-2.0
//! Paths inside a kit: relative, in plain form, and none that leads out.

/// Longest path; what the ustar format holds without extensions is not more.
pub(crate) const PATH_LIMIT: usize = 250;
/// Longest target of a link, likewise.
pub(crate) const TARGET_LIMIT: usize = 100;

/// Whether this is a path inside a kit in its one form: `usr/bin/x`.
pub(crate) fn is_inside(path: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    path.len() <= PATH_LIMIT && !path.contains('\0') && path.split('/').all(plain)
}

/// Where a link at `at` with this target leads, when that is inside.
pub(crate) fn follow(at: &str, target: &str) -> Option<String> {
    let above = at.rsplit_once('/').map_or("", |(above, _)| above);
    let mut parts: Vec<&str> = above.split('/').filter(|part| !part.is_empty()).collect();
    if target.starts_with('/') || target.is_empty() || target.contains('\0') {
        return None;
    }
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The target of a link at `at` that leads to `to`.
pub(crate) fn relative(at: &str, to: &str) -> String {
    let mut above: Vec<&str> = at.split('/').collect();
    above.pop();
    let to: Vec<&str> = to.split('/').collect();
    let shared = above.iter().zip(&to).take_while(|(left, right)| left == right).count();
    let up = above.iter().skip(shared).map(|_| "..");
    let target: Vec<&str> = up.chain(to.iter().skip(shared).copied()).collect();
    if target.is_empty() { ".".to_string() } else { target.join("/") }
}

#[cfg(test)]
mod tests {
    use super::{follow, is_inside, relative};

    #[test]
    fn paths_inside() {
        for right in ["a", "usr/bin/x", "..a/b...", "a b"] {
            assert!(is_inside(right), "{right}");
        }
        for wrong in ["", "/a", "a/", "a//b", "../a", "a/../b", "./a", "a\0b", &"a/".repeat(200)] {
            assert!(!is_inside(wrong), "{wrong}");
        }
    }

    #[test]
    fn links_inside() {
        assert_eq!(follow("usr/bin/sh", "dash").as_deref(), Some("usr/bin/dash"));
        assert_eq!(follow("lib", "usr/lib").as_deref(), Some("usr/lib"));
        assert_eq!(follow("a/b/c", "../../x").as_deref(), Some("x"));
        for (at, wrong) in
            [("a", ".."), ("a/b", "../../x"), ("a", "/etc"), ("a", ""), ("a/b", "c/../../../x")]
        {
            assert_eq!(follow(at, wrong), None, "{at} {wrong}");
        }
    }

    #[test]
    fn relative_links() {
        assert_eq!(relative("bin/x", "usr/bin/x"), "../usr/bin/x");
        assert_eq!(relative("usr/bin/x", "usr/bin/y"), "y");
        assert_eq!(relative("usr/bin/x", "usr/lib/z/y"), "../lib/z/y");
        assert_eq!(
            follow("usr/bin/x", &relative("usr/bin/x", "usr/lib/z/y")).as_deref(),
            Some("usr/lib/z/y")
        );
    }
}
