// SPDX-License-Identifier: Apache-2.0
//! Processes as a tree: who started whom. Built from events in any number, drawn without
//! recursion, so that no chain of processes is too deep.

use super::Identity;
use super::ending::Ending;
use super::line::{exec_text, marks};
use super::{Row, harmless};
use event::{Body, Exec, Process};
use std::collections::HashMap;

/// Characters of a command in the tree.
const COMMAND_LIMIT: usize = 200;
/// Programs told of one process that executed several in a row.
const PROGRAMS_LIMIT: usize = 8;
/// Deepest level drawn as such; deeper processes stand on it.
const DEPTH_LIMIT: usize = 64;

/// One process.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) identity: Identity,
    pub(crate) process: Process,
    /// What it executed, quoted, oldest first.
    pub(crate) programs: Vec<String>,
    /// Path of the latest executable.
    pub(crate) executable: Vec<u8>,
    /// Arguments of the latest exec.
    pub(crate) args: Vec<Vec<u8>>,
    pub(crate) container: String,
    pub(crate) container_name: String,
    pub(crate) time_ns: u64,
    pub(crate) ending: Ending,
    /// Levels below its root.
    pub(crate) depth: usize,
    children: Vec<usize>,
    above: Option<usize>,
}

impl Node {
    /// The commands, with an arrow between where one process executed several.
    pub(crate) fn command(&self) -> String {
        self.programs.join(" → ")
    }

    /// Pid, user and how it ended.
    pub(crate) fn result(&self) -> String {
        format!("pid {} uid {}  {}", self.identity.1.pid, self.process.uid, self.ending.text())
    }
}

/// All processes seen.
#[derive(Debug)]
pub(crate) struct Forest {
    nodes: Vec<Node>,
    places: HashMap<Identity, usize>,
    limit: usize,
    /// Processes beyond the limit, which are not in the tree.
    pub(crate) left_out: u64,
}

impl Forest {
    /// At most `limit` processes.
    pub(crate) fn new(limit: usize) -> Forest {
        Forest { nodes: Vec::new(), places: HashMap::new(), limit, left_out: 0 }
    }

    /// Takes one event, in the order of the record.
    pub(crate) fn add(&mut self, row: &Row) {
        let Some(identity) = row.identity() else { return };
        match &row.event.body {
            Body::Exec(exec) | Body::Running(exec) => self.exec(row, identity, exec),
            Body::Exit(exit) => {
                if let Some(node) = self.places.get(&identity).and_then(|&place| self.nodes.get_mut(place)) {
                    node.ending = Ending::of(exit);
                }
            }
            _ => {}
        }
    }

    fn exec(&mut self, row: &Row, identity: Identity, exec: &Exec) {
        let program = exec_text(exec, COMMAND_LIMIT) + &marks(exec);
        if let Some(node) = self.places.get(&identity).and_then(|&place| self.nodes.get_mut(place)) {
            if node.programs.len() == PROGRAMS_LIMIT {
                node.programs.remove(1);
            }
            node.programs.push(program);
            node.executable.clone_from(&exec.executable);
            node.args.clone_from(&exec.args);
            return;
        }
        if self.nodes.len() >= self.limit {
            self.left_out += 1;
            return;
        }
        let place = self.nodes.len();
        let boot = identity.0;
        let above = [exec.process.parent, exec.process.ancestor]
            .into_iter()
            .find_map(|key| self.places.get(&(boot, key)).copied());
        if let Some(parent) = above.and_then(|above| self.nodes.get_mut(above)) {
            parent.children.push(place);
        }
        let depth = above.and_then(|above| self.nodes.get(above)).map_or(0, |parent| parent.depth + 1);
        let name = row.container.as_deref().map_or(String::new(), |container| container.name.clone());
        self.nodes.push(Node {
            identity,
            process: exec.process.clone(),
            programs: vec![program],
            executable: exec.executable.clone(),
            args: exec.args.clone(),
            container: row.event.container.clone(),
            container_name: name,
            time_ns: row.event.time_ns,
            ending: Ending::Open,
            depth,
            children: Vec::new(),
            above,
        });
        self.places.insert(identity, place);
    }

    /// Says of every process without an end whether it runs or its end was missed.
    pub(crate) fn close(&mut self, boot_id: &[u8; 16]) {
        for node in &mut self.nodes {
            if node.ending == Ending::Open {
                node.ending = if node.identity.0 == *boot_id { Ending::Running } else { Ending::Unseen };
            }
        }
    }

    /// Calls `each` with every process, parents before children: the drawing before it, the
    /// process, and the one that started it.
    pub(crate) fn walk<E>(
        &self,
        mut each: impl FnMut(&str, &Node, Option<&Node>) -> Result<(), E>,
    ) -> Result<(), E> {
        let roots = (0..self.nodes.len()).filter(|&place| self.nodes[place].above.is_none());
        for root in roots {
            // Place, level, and whether a later brother follows.
            let mut stack = vec![(root, 0usize, false)];
            let mut bars: Vec<bool> = Vec::new();
            while let Some((place, level, more)) = stack.pop() {
                let Some(node) = self.nodes.get(place) else { continue };
                bars.truncate(level.saturating_sub(1));
                let mut drawing: String = bars.iter().map(|&bar| if bar { "│  " } else { "   " }).collect();
                if level > 0 {
                    drawing.push_str(if more { "├─ " } else { "└─ " });
                    bars.push(more);
                }
                each(&drawing, node, node.above.and_then(|above| self.nodes.get(above)))?;
                let below = (level + 1).min(DEPTH_LIMIT);
                let last = node.children.last().copied();
                stack.extend(node.children.iter().rev().map(|&child| (child, below, Some(child) != last)));
            }
        }
        Ok(())
    }

    /// The heading of a root: its container.
    pub(crate) fn heading(node: &Node) -> String {
        match (node.container_name.as_str(), node.container.as_str()) {
            ("", "") => "host".to_string(),
            ("", id) => harmless(id).into_owned(),
            (name, id) => format!("{} ({})", harmless(name), harmless(id.get(..12).unwrap_or(id))),
        }
    }
}
