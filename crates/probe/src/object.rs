// SPDX-License-Identifier: Apache-2.0
//! The compiled programs: opening them, loading what this kernel takes, attaching.

use crate::ProbeError;
use crate::pins::Left;
use libbpf_rs::{Link, MapCore, MapFlags, MapHandle, Object, ObjectBuilder, OpenObject};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd};

/// libelf wants the object at an aligned address.
#[repr(C, align(16))]
struct Aligned<T: ?Sized>(T);

static OBJECT: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/capture.bpf.o")));

/// An entry, the program in its slot, and whether capture is worth anything without it.
pub(crate) struct Hook {
    pub(crate) entry: &'static str,
    pub(crate) slot: &'static str,
    pub(crate) program: &'static str,
    pub(crate) required: bool,
}

const fn hook(entry: &'static str, slot: &'static str, program: &'static str, required: bool) -> Hook {
    Hook { entry, slot, program, required }
}

/// Every attach point.
pub(crate) const HOOKS: [Hook; 6] = [
    hook("on_exec", "exec_slot", "capture_exec", true),
    hook("on_fork", "fork_slot", "capture_fork", true),
    hook("on_exit", "exit_slot", "capture_exit", true),
    hook("on_rmdir", "rmdir_slot", "capture_rmdir", false),
    hook("on_execve_return", "failed_slot", "capture_failed", false),
    hook("on_execveat_return", "failed_slot", "capture_failed", false),
];

/// The iterator program.
pub(crate) const SNAPSHOT: &str = "snapshot";

/// The program that changes a cgroup's scope in place.
pub(crate) const SET_SCOPE: &str = "set_scope";

/// A fingerprint of the programs: two builds with the same one are interchangeable.
pub(crate) fn fingerprint() -> u64 {
    // FNV-1a, enough to tell builds apart.
    OBJECT
        .0
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The programs loaded into the kernel.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) object: Object,
    /// Programs this kernel refused, with its reason.
    pub(crate) refused: Vec<(String, String)>,
}

/// Opens the object with the rings at the given sizes; `reuse` are pinned maps to go on with.
fn open(
    ring_bytes: u32,
    bulk_bytes: u32,
    reuse: &BTreeMap<String, MapHandle>,
) -> Result<OpenObject, ProbeError> {
    // What libbpf would print comes back as errors; its verifier logs fill screens.
    libbpf_rs::set_print(None);
    let mut builder = ObjectBuilder::default();
    let mut object = builder.open_memory(&OBJECT.0).map_err(ProbeError::load)?;
    for mut map in object.maps_mut() {
        let name = map.name().to_string_lossy().into_owned();
        if let Some(pinned) = reuse.get(&name) {
            map.reuse_fd(pinned.as_fd()).map_err(ProbeError::load)?;
            continue;
        }
        let size = match name.as_str() {
            "records" => ring_bytes,
            "bulk" => bulk_bytes,
            "processes" => processes_on(memory_bytes()),
            _ => continue,
        };
        map.set_max_entries(size).map_err(ProbeError::load)?;
    }
    Ok(object)
}

/// Processes that are remembered at a time: one for every 2 MiB of memory, as a power of two. Each
/// fork touches a place of the table that nobody touched lately, so a table larger than the
/// processor's caches costs every fork and exit (measured: 0.2 of 3.1 us).
fn processes_on(memory_bytes: u64) -> u32 {
    const FEWEST: u64 = 1 << 14;
    const MOST: u64 = 1 << 18;
    let wanted = (memory_bytes >> 21).clamp(FEWEST, MOST);
    wanted.next_power_of_two() as u32
}

fn memory_bytes() -> u64 {
    let told = rustix::system::sysinfo();
    told.totalram.saturating_mul(u64::from(told.mem_unit))
}

/// Loads every program, or all but those that this kernel refuses and capture can do without.
pub(crate) fn load(
    ring_bytes: u32,
    bulk_bytes: u32,
    reuse: &BTreeMap<String, MapHandle>,
) -> Result<Loaded, ProbeError> {
    let first = match open(ring_bytes, bulk_bytes, reuse)?.load() {
        Ok(object) => return Ok(Loaded { object, refused: Vec::new() }),
        Err(error) => error,
    };
    let mut refused = Vec::new();
    for group in optional_groups() {
        if let Err(error) = load_only(&group) {
            refused.extend(group.iter().map(|name| (name.to_string(), error.to_string())));
        }
    }
    if refused.is_empty() {
        return Err(ProbeError::load(first));
    }
    let mut object = open(ring_bytes, bulk_bytes, reuse)?;
    for mut program in object.progs_mut() {
        if refused.iter().any(|(name, _)| program.name() == name.as_str()) {
            program.set_autoload(false);
        }
    }
    Ok(Loaded { object: object.load().map_err(ProbeError::load)?, refused })
}

/// What was refused when the programs that run already were loaded: `left` has the others.
pub(crate) fn refused_before(left: &Left) -> Vec<(String, String)> {
    let absent = HOOKS.iter().filter(|hook| !left.links.contains_key(hook.entry));
    absent.map(|hook| (hook.entry.to_string(), "it was refused when it was loaded".to_string())).collect()
}

/// Programs that stand or fall together, of those capture can do without.
fn optional_groups() -> Vec<Vec<&'static str>> {
    vec![
        vec![SNAPSHOT],
        vec!["on_rmdir", "capture_rmdir"],
        vec!["on_execve_return", "on_execveat_return", "capture_failed"],
    ]
}

/// Loads nothing but these programs, and lets go of them again.
pub(crate) fn load_only(names: &[&str]) -> Result<(), libbpf_rs::Error> {
    libbpf_rs::set_print(None);
    let mut object = ObjectBuilder::default().open_memory(&OBJECT.0)?;
    for mut map in object.maps_mut() {
        if matches!(map.name().to_str(), Some("records" | "bulk")) {
            map.set_max_entries(4096)?;
        }
    }
    for mut program in object.progs_mut() {
        let wanted = names.iter().any(|name| program.name() == *name);
        program.set_autoload(wanted);
    }
    object.load().map(drop)
}

/// Puts the programs into their slots: from the next event on they are the ones that run.
pub(crate) fn fill_slots(loaded: &Loaded, maps: &BTreeMap<String, MapHandle>) -> Result<(), ProbeError> {
    for hook in &HOOKS {
        let program = loaded.object.progs_mut().find(|program| program.name() == hook.program);
        let (Some(program), Some(slot)) = (program, maps.get(hook.slot)) else { continue };
        if loaded.refused.iter().any(|(name, _)| name == hook.program) {
            continue;
        }
        let fd = program.as_fd().as_raw_fd().to_ne_bytes();
        slot.update(&0u32.to_ne_bytes(), &fd, MapFlags::ANY).map_err(ProbeError::load)?;
    }
    Ok(())
}

/// Attaches the entries. What cannot be attached and is not required is added to the refused.
pub(crate) fn attach(loaded: &mut Loaded) -> Result<BTreeMap<String, Link>, ProbeError> {
    let mut links = BTreeMap::new();
    for hook in &HOOKS {
        if loaded.refused.iter().any(|(name, _)| name == hook.entry) {
            continue;
        }
        let Some(program) = loaded.object.progs_mut().find(|program| program.name() == hook.entry) else {
            continue;
        };
        match program.attach() {
            Ok(link) => {
                links.insert(hook.entry.to_string(), link);
            }
            Err(source) if hook.required => {
                return Err(ProbeError::Attach { program: hook.entry, source });
            }
            Err(error) => loaded.refused.push((hook.entry.to_string(), error.to_string())),
        }
    }
    Ok(links)
}

#[cfg(test)]
mod tests {
    use super::processes_on;

    #[test]
    fn processes_follow_memory() {
        let gib = 1 << 30;
        let sizes = [0, 2 * gib, 24 * gib, 64 * gib, 100 * gib, u64::MAX].map(processes_on);
        assert_eq!(sizes, [16_384, 16_384, 16_384, 32_768, 65_536, 262_144]);
    }
}
