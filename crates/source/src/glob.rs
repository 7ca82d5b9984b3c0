// SPDX-License-Identifier: Apache-2.0
//! Paths with `*`, `?`, `[a-z]` and `**`, walked inside a root.

use crate::error::Error;
use crate::open::{Found, look, look_below};
use rustix::fd::BorrowedFd;

/// Longest path.
const PATH_LIMIT: usize = 4096;
/// Directories that `**` stands for, at most, one below another.
const DEPTH_LIMIT: usize = 8;
/// Most directories that one pattern is looked for in: who is watched can make any number of them.
const LISTED_LIMIT: usize = if cfg!(test) { 200 } else { 20_000 };
/// Most files one pattern may find.
pub const FILES_LIMIT: usize = 100_000;

/// Where log files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathGlob {
    /// A pattern of container names, or the host.
    pub container: Option<String>,
    path: String,
}

impl PathGlob {
    /// Reads `/path` or `container:NAME:/path`.
    ///
    /// # Errors
    /// `Path` when it is neither, too long, or not absolute.
    pub fn new(text: &str) -> Result<PathGlob, Error> {
        let wrong = |reason| Error::Path { path: text.to_string(), reason };
        let (container, path) = match text.strip_prefix("container:") {
            Some(rest) => match rest.split_once(":/") {
                Some((name, path)) if !name.is_empty() => (Some(name.to_string()), format!("/{path}")),
                _ => return Err(wrong("write container:NAME:/PATH")),
            },
            None => (None, text.to_string()),
        };
        if !path.starts_with('/') {
            return Err(wrong("it is not absolute"));
        }
        if path.len() > PATH_LIMIT || path.contains('\0') || path.ends_with('/') {
            return Err(wrong("it names no file"));
        }
        Ok(PathGlob { container, path })
    }

    /// Whether it leads to `path` on the host.
    pub fn fits(&self, path: &[u8]) -> bool {
        fn fit(patterns: &[&[u8]], names: &[&[u8]]) -> bool {
            match patterns {
                [] => names.is_empty(),
                [b"**"] => !names.is_empty(),
                [b"**", rest @ ..] => (0..=names.len()).any(|from| fit(rest, &names[from..])),
                [one, rest @ ..] => {
                    names.split_first().is_some_and(|(name, names)| matches(one, name) && fit(rest, names))
                }
            }
        }
        let patterns: Vec<&[u8]> = self.path.as_bytes().split(|&byte| byte == b'/').skip(1).collect();
        let names: Vec<&[u8]> = path.split(|&byte| byte == b'/').skip(1).collect();
        self.container.is_none() && fit(&patterns, &names)
    }

    /// The bytes in front of its first pattern, which no one else chooses; of a path without one, its directory.
    pub(crate) fn fixed(&self) -> usize {
        let names = self.path.split_inclusive('/');
        let fixed: usize = names.take_while(|name| !is_pattern(name.as_bytes())).map(str::len).sum();
        let end = if fixed == self.path.len() { self.path.rfind('/').unwrap_or(0) } else { fixed };
        self.path.get(..end).map_or(0, |dir| dir.trim_end_matches('/').len())
    }

    /// Every file it leads to inside `root`, by path, with the inode its directory tells where it does.
    /// With `links` also through symbolic links below its first pattern; those in front of it are
    /// followed in any case. The second: something was left out because there is too much.
    pub(crate) fn walk(
        &self,
        root: BorrowedFd<'_>,
        links: bool,
        found: &mut impl FnMut(Vec<u8>, Option<u64>),
    ) -> Result<bool, Error> {
        let names: Vec<&[u8]> = self.path.as_bytes().split(|&byte| byte == b'/').skip(1).collect();
        let fixed = self.fixed();
        let mut walk = Walk { root, links, fixed, found, left: FILES_LIMIT, listed: 0, error: None };
        walk.step(Vec::new(), &names, DEPTH_LIMIT);
        match walk.error {
            Some(error) => Err(error),
            None => Ok(walk.left == 0 || walk.listed >= LISTED_LIMIT),
        }
    }
}

struct Walk<'a, F> {
    root: BorrowedFd<'a>,
    links: bool,
    /// Length of the path in which links count in any case.
    fixed: usize,
    found: &'a mut F,
    left: usize,
    /// Directories looked into.
    listed: usize,
    error: Option<Error>,
}

impl<F: FnMut(Vec<u8>, Option<u64>)> Walk<'_, F> {
    fn step(&mut self, at: Vec<u8>, names: &[&[u8]], depth: usize) {
        let Some((&name, rest)) = names.split_first() else { return };
        if name == b"**" {
            return self.deep(at, rest, depth);
        }
        if !is_pattern(name) {
            let path = joined(&at, name);
            return if rest.is_empty() { self.take(path, None) } else { self.step(path, rest, depth) };
        }
        for (entry, inode) in self.list(&at) {
            // As a shell does: hidden files only when they are asked for.
            if matches(name, &entry) && (entry.first() != Some(&b'.') || name.first() == Some(&b'.')) {
                let path = joined(&at, &entry);
                if rest.is_empty() {
                    self.take(path, Some(inode));
                } else if self.links || self.is_directory(&path) {
                    self.step(path, rest, depth);
                }
            }
        }
    }

    /// `**`: nothing, or any directories. Links to directories are not followed here: they may lead back.
    fn deep(&mut self, at: Vec<u8>, rest: &[&[u8]], depth: usize) {
        self.step(at.clone(), if rest.is_empty() { &[b"*"] } else { rest }, depth);
        if depth == 0 || self.left == 0 {
            return;
        }
        for (entry, _) in self.list(&at) {
            let path = joined(&at, &entry);
            if self.is_directory(&path) {
                self.deep(path, rest, depth - 1);
            }
        }
    }

    /// A real one, and no link to one.
    fn is_directory(&self, path: &[u8]) -> bool {
        look(self.root, path, false).is_ok_and(|found| found.is_directory())
    }

    fn take(&mut self, path: Vec<u8>, inode: Option<u64>) {
        if self.left > 0 {
            self.left -= 1;
            (self.found)(path, inode);
        }
    }

    fn list(&mut self, at: &[u8]) -> Vec<(Vec<u8>, u64)> {
        if self.left == 0 || self.listed >= LISTED_LIMIT {
            return Vec::new();
        }
        self.listed += 1;
        let there = match self.links {
            true => look(self.root, at, true),
            false => look_below(self.root, at, self.fixed),
        };
        let listed = there.and_then(|found: Found| match found.is_directory() {
            true => found.entries(),
            false => Ok(Vec::new()),
        });
        match listed {
            Ok(entries) => entries,
            Err(error) => {
                if !error.is_absent() {
                    self.error.get_or_insert(error);
                }
                Vec::new()
            }
        }
    }
}

fn joined(at: &[u8], name: &[u8]) -> Vec<u8> {
    [at, b"/", name].concat()
}

fn is_pattern(name: &[u8]) -> bool {
    name.iter().any(|byte| b"*?[".contains(byte))
}

/// Whether `name` fits `pattern`: `*`, `?`, and sets such as `[a-c]` and `[!x]`.
pub(crate) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() || p < pattern.len() {
        let step = match (pattern.get(p), name.get(n)) {
            (Some(b'*'), _) => {
                star = Some((p, n));
                p += 1;
                continue;
            }
            (Some(b'?'), Some(_)) => Some(1),
            (Some(b'['), Some(&byte)) => match set(pattern.get(p..).unwrap_or_default(), byte) {
                Some((true, length)) => Some(length),
                Some((false, _)) => None,
                // No end of the set: a bracket like any other letter.
                None => (byte == b'[').then_some(1),
            },
            (Some(wanted), Some(byte)) => (wanted == byte).then_some(1),
            _ => None,
        };
        if let Some(length) = step {
            p += length;
            n += 1;
            continue;
        }
        match star {
            Some((at, from)) if from < name.len() => {
                star = Some((at, from + 1));
                p = at + 1;
                n = from + 1;
            }
            _ => return false,
        }
    }
    true
}

/// Whether a set holds `byte`, and how long its text is.
fn set(text: &[u8], byte: u8) -> Option<(bool, usize)> {
    let negated = matches!(text.get(1), Some(b'!' | b'^'));
    let start = if negated { 2 } else { 1 };
    let end = start + 1 + text.get(start + 1..)?.iter().position(|&byte| byte == b']')?;
    let items = text.get(start..end)?;
    let mut holds = false;
    let mut rest = items;
    while let Some((&low, tail)) = rest.split_first() {
        rest = match tail {
            [b'-', high, tail @ ..] => {
                holds |= (low..=*high).contains(&byte);
                tail
            }
            tail => {
                holds |= low == byte;
                tail
            }
        };
    }
    Some((holds != negated, end + 1))
}

/// Whether a container called `name` is meant by `pattern`.
pub(crate) fn names_container(pattern: &str, name: &str) -> bool {
    matches(pattern.as_bytes(), name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::{PathGlob, matches};
    use crate::open::root_of;
    use rustix::fd::AsFd;

    #[test]
    fn patterns() {
        for (pattern, name, fits) in [
            ("*.log", "a.log", true),
            ("*.log", "a.log.1", false),
            ("a?c*", "abcd", true),
            ("[a-c]x[!0-9]", "bxy", true),
            ("[a-c]x[!0-9]", "bx1", false),
            ("[]]", "]", true),
            ("[a", "[a", true),
            ("*a*b*c", "xxaxxbxxc", true),
            ("*a*b*c", "xxaxxcxxb", false),
            ("", "", true),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} {name}");
        }
        let slow = "a*".repeat(50) + "b";
        assert!(!matches(slow.as_bytes(), "a".repeat(2000).as_bytes()));
    }

    #[test]
    fn walks_directories() {
        let root = tempfile::tempdir().unwrap();
        for path in ["a/x.log", "a/b/y.log", "a/b/c/z.log", "a/.hidden.log", "a/x.txt"] {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        std::os::unix::fs::symlink("..", root.path().join("a/b/up")).unwrap();
        let fd = root_of(root.path().to_str().unwrap()).unwrap();
        let walk = |text: &str| {
            let mut found = Vec::new();
            let glob = PathGlob::new(text).unwrap();
            let mut take = |path, _| found.push(String::from_utf8(path).unwrap());
            assert!(!glob.walk(fd.as_fd(), false, &mut take).unwrap());
            found.sort();
            found
        };
        // Who may make a link where a pattern looks does not choose what is read elsewhere.
        std::os::unix::fs::symlink("a", root.path().join("elsewhere")).unwrap();
        assert_eq!(walk("/else*/*.log"), Vec::<String>::new());
        assert_eq!(walk("/elsewhere/*.log"), ["/elsewhere/x.log"]);
        // Nor where a pattern has led to.
        assert_eq!(walk("/a/*/up/*.log"), Vec::<String>::new());
        let fixed = |text: &str| PathGlob::new(text).unwrap().fixed();
        for (path, length) in
            [("/*.log", 0), ("/a/*.log", 2), ("/a/b/**/c", 4), ("/a/x?/c", 2), ("/a/b.log", 2)]
        {
            assert_eq!(fixed(path), length, "{path}");
        }
        assert_eq!(walk("/a/*.log"), ["/a/x.log"]);
        assert_eq!(walk("/a/.*.log"), ["/a/.hidden.log"]);
        assert_eq!(walk("/*/b/*.log"), ["/a/b/y.log"]);
        assert_eq!(walk("/a/**/*.log"), ["/a/b/c/z.log", "/a/b/y.log", "/a/x.log"]);
        assert_eq!(walk("/nothing/*.log"), Vec::<String>::new());
        let mut through = 0;
        PathGlob::new("/else*/*.log").unwrap().walk(fd.as_fd(), true, &mut |_, _| through += 1).unwrap();
        assert_eq!(through, 1);
        for wrong in ["relative", "container:web", "container::/x", "/dir/", ""] {
            PathGlob::new(wrong).unwrap_err();
        }
        assert_eq!(PathGlob::new("container:web-*:/var/*.log").unwrap().container.as_deref(), Some("web-*"));
    }

    #[test]
    fn a_path_is_fitted_as_it_would_be_found() {
        for (pattern, path, fits) in [
            ("/out/*", "/out/x.jsonl", true),
            ("/out/*", "/out/a/x.jsonl", false),
            ("/out/**", "/out/a/x.jsonl", true),
            ("/**/x.jsonl", "/out/a/x.jsonl", true),
            ("/**/*.log", "/out/a/x.jsonl", false),
            ("/out/x.jsonl", "/out/x.jsonl", true),
            ("container:web:/out/*", "/out/x.jsonl", false),
        ] {
            assert_eq!(PathGlob::new(pattern).unwrap().fits(path.as_bytes()), fits, "{pattern} {path}");
        }
    }

    #[test]
    fn a_forest_of_directories_is_not_walked_to_its_end() {
        let root = tempfile::tempdir().unwrap();
        for number in 0..super::LISTED_LIMIT + 10 {
            std::fs::create_dir(root.path().join(number.to_string())).unwrap();
        }
        let fd = root_of(root.path().to_str().unwrap()).unwrap();
        let glob = PathGlob::new("/**/*.log").unwrap();
        assert!(glob.walk(fd.as_fd(), false, &mut |_, _| {}).unwrap());
    }
}
