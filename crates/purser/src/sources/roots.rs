// SPDX-License-Identifier: Apache-2.0
//! The root directories of containers, through a process of each. Asked on a source's own thread.

use super::Containers;
use container::{Cgroup, identify};
use event::Container;
use source::{Root, Roots, root_of};
use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::sync::{Arc, PoisonError};

/// Longest `/proc/PID/cgroup` that is read.
const CGROUP_LIMIT: u64 = 64 << 10;

/// `needed`: whether the source reads inside containers at all.
pub(super) fn finder(containers: &Containers, needed: bool) -> Roots {
    let containers = Arc::clone(containers);
    Box::new(move || {
        let known = containers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if !needed || known.is_empty() {
            return source::Containers::default();
        }
        let first = first_processes();
        let root = |known: Container| {
            let pid = first.get(&known.id)?;
            // A process that ended meanwhile is no trouble: the next look finds another one.
            let root = root_of(&format!("/proc/{pid}/root")).ok()?;
            Some(Root { id: known.id, name: known.name, root: Some(root), logs: Vec::new() })
        };
        let roots = known.into_iter().filter_map(root).collect();
        source::Containers { roots, ..source::Containers::default() }
    })
}

/// Of each container the process with the least number, which has its root in most.
fn first_processes() -> HashMap<String, u32> {
    let mut first: HashMap<String, u32> = HashMap::new();
    let Ok(entries) = fs::read_dir("/proc") else { return first };
    let own = fs::read_link("/proc/self/ns/pid").ok();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let mut text = Vec::new();
        let Ok(file) = fs::File::open(entry.path().join("cgroup")) else { continue };
        if file.take(CGROUP_LIMIT).read_to_end(&mut text).is_err() {
            continue;
        }
        let other = fs::read_link(entry.path().join("ns/pid")).is_ok_and(|theirs| Some(theirs) != own);
        let lines = text.split(|&byte| byte == b'\n');
        let mut paths = lines.filter_map(|line| line.splitn(3, |&byte| byte == b':').nth(2));
        let found = paths.find_map(|path| identify(&Cgroup { path, pid_ns_differs_from_host: other }));
        if let Some(identity) = found {
            first.entry(identity.id).and_modify(|known| *known = pid.min(*known)).or_insert(pid);
        }
    }
    first
}
