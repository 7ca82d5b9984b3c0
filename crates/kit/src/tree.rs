// SPDX-License-Identifier: Apache-2.0
//! A kit's files in memory, as they are when nothing depends on time, owner or order.

use crate::path;
use std::collections::BTreeMap;

/// Links that are followed from one path; Linux follows 40.
const HOPS_LIMIT: usize = 40;

/// One thing in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Directory,
    /// A file.
    File {
        /// Whether it may be executed.
        executable: bool,
        /// What is in it.
        bytes: Vec<u8>,
    },
    /// A symbolic link.
    Link {
        /// Where it leads.
        target: String,
    },
}

/// Things by path. Directories above a thing are there too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree(BTreeMap<String, Node>);

impl Tree {
    /// Puts a thing at a path, which must be inside; replaces what was there.
    pub(crate) fn put(&mut self, at: &str, node: Node) {
        debug_assert!(path::is_inside(at), "{at}");
        let above = at.match_indices('/').filter_map(|(slash, _)| at.get(..slash));
        for above in above {
            self.0.entry(above.to_string()).or_insert(Node::Directory);
        }
        // A directory of one package may be a link of another; the first of both stays.
        if node != Node::Directory || !self.0.contains_key(at) {
            self.0.insert(at.to_string(), node);
        }
    }

    /// Takes a thing away, and all that is below it.
    pub(crate) fn remove(&mut self, at: &str) {
        self.clear(at);
        self.0.remove(at);
    }

    /// Takes all that is below a path away.
    pub(crate) fn clear(&mut self, at: &str) {
        if at.is_empty() {
            return self.0.clear();
        }
        // What begins with the path and a slash; the next sign behind a slash is 0.
        let below = self.0.range(format!("{at}/")..format!("{at}0"));
        let below: Vec<String> = below.map(|(below, _)| below.clone()).collect();
        below.iter().for_each(|below| drop(self.0.remove(below)));
    }

    /// What is at this very path.
    #[must_use]
    pub fn get(&self, at: &str) -> Option<&Node> {
        self.0.get(at)
    }

    pub(crate) fn get_mut(&mut self, at: &str) -> Option<&mut Node> {
        self.0.get_mut(at)
    }

    /// All paths with what is there, a directory before what is in it.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.0.iter().map(|(at, node)| (at.as_str(), node))
    }

    /// The bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let size = |node: &Node| match node {
            Node::File { bytes, .. } => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            _ => 0,
        };
        self.0.values().map(size).sum()
    }

    /// The path of the file or directory that `at` leads to, links on the way and at its end followed.
    pub(crate) fn resolve(&self, at: &str) -> Option<String> {
        let mut hops = 0;
        let mut left: Vec<String> = at.split('/').rev().map(str::to_string).collect();
        let mut done = String::new();
        while let Some(part) = left.pop() {
            if part.is_empty() || part == "." {
                continue;
            }
            if part == ".." {
                done.truncate(done.rfind('/').unwrap_or(0));
                continue;
            }
            let next = if done.is_empty() { part } else { format!("{done}/{part}") };
            match self.0.get(&next)? {
                Node::Link { target } => {
                    hops += 1;
                    if hops > HOPS_LIMIT {
                        return None;
                    }
                    if target.starts_with('/') {
                        done.clear();
                    }
                    left.extend(target.split('/').rev().map(str::to_string));
                }
                _ => done = next,
            }
        }
        Some(done)
    }
}

#[cfg(test)]
mod tests {
    use super::{Node, Tree};

    fn link(target: &str) -> Node {
        Node::Link { target: target.to_string() }
    }

    #[test]
    fn what_is_removed_goes_with_all_below() {
        let mut tree = Tree::default();
        for at in ["a", "a-x", "a/b", "a/b/c", "a0", "ab"] {
            tree.put(at, Node::Directory);
        }
        tree.clear("a");
        assert_eq!(tree.iter().map(|(at, _)| at).collect::<Vec<_>>(), ["a", "a-x", "a0", "ab"]);
        tree.remove("a");
        tree.remove("none");
        assert_eq!(tree.iter().count(), 3);
        tree.clear("");
        assert_eq!(tree.iter().count(), 0);
    }

    #[test]
    fn links_are_followed_within_the_tree() {
        let mut tree = Tree::default();
        tree.put("usr/lib/x.so.1", Node::File { executable: false, bytes: vec![1] });
        tree.put("lib", link("usr/lib"));
        tree.put("usr/lib/x.so", link("/lib/x.so.1"));
        tree.put("loop", link("loop"));
        assert_eq!(tree.resolve("lib/x.so").as_deref(), Some("usr/lib/x.so.1"));
        assert_eq!(tree.resolve("lib/../lib/x.so.1").as_deref(), Some("usr/lib/x.so.1"));
        assert_eq!(tree.resolve("loop"), None);
        assert_eq!(tree.resolve("lib/y"), None);
        assert_eq!(
            tree.iter().map(|(at, _)| at).collect::<Vec<_>>(),
            ["lib", "loop", "usr", "usr/lib", "usr/lib/x.so", "usr/lib/x.so.1"]
        );
    }
}
