// SPDX-License-Identifier: Apache-2.0
//! What this kernel can do, found out by trying: each program is loaded by itself and let go.

use crate::object::{self, HOOKS, SNAPSHOT};

/// How well something is supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It works.
    Ok,
    /// It does not, and less is recorded.
    Degraded,
    /// It does not, and nothing can be recorded without it.
    Missing,
}

/// One capability of the kernel.
#[derive(Clone, Debug)]
pub struct Support {
    /// What it is.
    pub name: String,
    /// Whether it is there.
    pub state: State,
    /// What was found.
    pub detail: String,
    /// What follows when it is missing.
    pub consequence: String,
    /// What to do about it.
    pub advice: String,
}

/// A program, what it is for, and whether recording is possible without it.
const PROGRAMS: [(&[&str], &str, &str); 6] = [
    (&["capture_exec"], "program exec", "no started program can be recorded"),
    (&["capture_fork"], "program fork", "lineage across forks cannot be kept"),
    (&["capture_exit"], "program exit", "exit codes and durations cannot be recorded"),
    (&["capture_failed"], "program exec_failed", "refused execs are not recorded"),
    (
        &["capture_rmdir"],
        "program cgroup_rmdir",
        "ended containers stay in the kernel's table until a restart",
    ),
    (&[SNAPSHOT], "program snapshot", "processes that ran before the agent are not listed"),
];

/// Tries everything. Needs root; takes a fraction of a second.
pub fn support() -> Vec<Support> {
    let mut all: Vec<Support> =
        PROGRAMS.iter().map(|(names, title, loss)| program(names, title, loss)).collect();
    all.push(memory());
    all
}

fn program(names: &[&str], title: &str, loss: &str) -> Support {
    let required = HOOKS.iter().any(|hook| hook.required && names.contains(&hook.program));
    let (state, detail) = match object::load_only(names) {
        Ok(()) => (State::Ok, "loads".to_string()),
        Err(error) if required => (State::Missing, error.to_string()),
        Err(error) => (State::Degraded, error.to_string()),
    };
    Support {
        name: title.to_string(),
        state,
        detail,
        consequence: loss.to_string(),
        advice: "run as root on Linux 5.17 or newer with BTF (CONFIG_DEBUG_INFO_BTF)".to_string(),
    }
}

/// Since 5.11 BPF memory is charged to the cgroup and MEMLOCK no longer matters.
fn memory() -> Support {
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    Support {
        name: "BPF memory".to_string(),
        state: State::Ok,
        detail: format!("charged to the agent's cgroup (Linux {kernel})"),
        consequence: String::new(),
        advice: String::new(),
    }
}
