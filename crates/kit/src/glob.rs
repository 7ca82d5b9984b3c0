// SPDX-License-Identifier: Apache-2.0
//! Patterns for paths inside a kit: `*` is any text within one part, `**` any parts, all else itself.

/// Longest pattern, in bytes.
pub(crate) const PATTERN_LIMIT: usize = 256;

/// Whether the whole path fits the pattern. Takes no longer than parts times parts, times bytes times bytes
/// within one part.
pub(crate) fn fits(pattern: &str, path: &str) -> bool {
    let patterns: Vec<&str> = pattern.split('/').collect();
    let parts: Vec<&str> = path.split('/').collect();
    wild(
        &patterns,
        &parts,
        |pattern| *pattern == "**",
        |pattern, part| {
            let (pattern, part): (Vec<char>, Vec<char>) = (pattern.chars().collect(), part.chars().collect());
            wild(&pattern, &part, |one| *one == '*', |one, other| one == other)
        },
    )
}

/// Matches item by item; an item that `is_any` stands for any number of items. On a mismatch it goes back to the
/// last of these only, which is enough and keeps the time bounded.
fn wild<T>(
    pattern: &[T],
    items: &[T],
    is_any: impl Fn(&T) -> bool,
    is_same: impl Fn(&T, &T) -> bool,
) -> bool {
    let (mut at, mut item) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while let Some(one) = items.get(item) {
        match pattern.get(at) {
            Some(wanted) if is_any(wanted) => {
                back = Some((at, item));
                at += 1;
            }
            Some(wanted) if is_same(wanted, one) => {
                at += 1;
                item += 1;
            }
            _ => {
                let Some((any, taken)) = back else { return false };
                back = Some((any, taken + 1));
                (at, item) = (any + 1, taken + 1);
            }
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(is_any)
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn patterns() {
        for (pattern, path) in [
            ("usr/bin/x", "usr/bin/x"),
            ("usr/**", "usr/a/b"),
            ("**/test/**", "usr/lib/test/x/y"),
            ("usr/*/x*.so", "usr/lib/x1.so"),
            ("**/*.pyc", "a.pyc"),
            ("**", "a/b/c"),
            ("a/**/b", "a/b"),
        ] {
            assert!(fits(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in
            [("usr/*", "usr/a/b"), ("*", "a/b"), ("usr/bin", "usr/bin/x"), ("**/x", "a/xy"), ("", "a")]
        {
            assert!(!fits(pattern, path), "{pattern} {path}");
        }
        assert!(!fits(&"*a".repeat(100), &"a".repeat(99)));
    }
}
