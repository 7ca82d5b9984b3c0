// SPDX-License-Identifier: Apache-2.0
//! The kernel side as one thing: found pinned or loaded anew, then read, told and counted.

use crate::decode;
use crate::error::ProbeError;
use crate::object::{self, HOOKS, Loaded, SNAPSHOT};
use crate::pins::{Left, Pins};
use crate::reader::Reader;
use crate::record::Record;
use crate::rules::{self, Rule};
use crate::state::{Cgroup, Lane, Scope, Settings};
#[allow(clippy::wildcard_imports, reason = "the names of wire.h are a vocabulary of their own")]
use crate::wire::*;
use libbpf_rs::{IterOpts, Link, MapCore, MapFlags, MapHandle, MapType, Object, ProgramMut};
use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use sys::Ring;

/// How the programs came to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Loaded just now.
    Loaded,
    /// Left running by an earlier agent of the same programs.
    Adopted,
    /// Left running by an earlier agent, its programs replaced between two events.
    Replaced,
}

/// Sizes of the rings in bytes, powers of two.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Lane A.
    pub records: u32,
    /// Lane B.
    pub bulk: u32,
}

/// The kernel side.
#[derive(Debug)]
pub struct Probe {
    /// Nothing when the programs of an earlier agent run on.
    object: Option<Object>,
    refused: Vec<(String, String)>,
    maps: BTreeMap<String, MapHandle>,
    links: BTreeMap<String, Link>,
    entries: BTreeMap<String, OwnedFd>,
    set_scope: OwnedFd,
    pins: Option<Pins>,
    origin: Origin,
    identity: u64,
    rules_base: u64,
    rule_set: Option<MapHandle>,
    /// Reads the records.
    pub reader: Reader,
}

/// Longest output of one snapshot: more processes than any host runs.
const SNAPSHOT_LIMIT: u64 = 1 << 30;

impl Probe {
    /// Loads the programs for as long as this value lives.
    pub fn load(sizes: Sizes, settings: &Settings) -> Result<Probe, ProbeError> {
        Probe::start(None, sizes, settings)
    }

    /// Takes over what is pinned in `directory` (on a bpf file system), or loads the programs
    /// and pins them there, so that they outlive this process.
    pub fn open(directory: &Path, sizes: Sizes, settings: &Settings) -> Result<Probe, ProbeError> {
        Probe::start(Some(Pins::new(directory)), sizes, settings)
    }

    fn start(pins: Option<Pins>, sizes: Sizes, settings: &Settings) -> Result<Probe, ProbeError> {
        let left = match &pins {
            Some(pins) => pins.find()?,
            None => None,
        };
        let mut probe = match left {
            // The same programs run already. Having the verifier look at them again takes half a second,
            // and reading the kernel's types, which comes before it, a tenth.
            Some(left) if left.fingerprint == object::fingerprint() && left.set_scope().is_some() => {
                Probe::adopt(pins, left)?
            }
            left => Probe::load_beside(pins, left, sizes, settings)?,
        };
        probe.configure(settings)?;
        if probe.origin != Origin::Loaded {
            // Rules of a dead agent would go on unseen. In which half they count cannot be asked, for
            // looking at a map by its id needs CAP_SYS_ADMIN. An empty set counts in neither.
            probe.set_rules(&[])?;
            probe.reopen_scopes()?;
        }
        Ok(probe)
    }

    /// Goes on with programs of the same build.
    fn adopt(pins: Option<Pins>, mut left: Left) -> Result<Probe, ProbeError> {
        let refused = object::refused_before(&left);
        let set_scope = left.entries.remove(object::SET_SCOPE);
        Ok(Probe {
            object: None,
            refused,
            reader: Reader::new(ring(&left.maps, "records")?, ring(&left.maps, "bulk")?),
            maps: left.maps,
            links: left.links,
            entries: left.entries,
            set_scope: set_scope.ok_or_else(|| ProbeError::NoMap(object::SET_SCOPE.to_string()))?,
            pins,
            origin: Origin::Adopted,
            identity: left.identity,
            rules_base: 0,
            rule_set: None,
        })
    }

    /// Loads the programs, and puts them in the place of another build's, if there is one.
    fn load_beside(
        pins: Option<Pins>,
        mut left: Option<Left>,
        sizes: Sizes,
        settings: &Settings,
    ) -> Result<Probe, ProbeError> {
        let reuse = left.as_mut().map(|left| std::mem::take(&mut left.maps)).unwrap_or_default();
        let mut loaded = object::load(sizes.records, sizes.bulk, &reuse)?;
        let mut maps = BTreeMap::new();
        for map in loaded.object.maps_mut() {
            let name = map.name().to_string_lossy().into_owned();
            maps.insert(name, MapHandle::try_from(&map).map_err(ProbeError::load)?);
        }
        // Before the first of the programs runs.
        update(&maps, "settings", &0u32.to_ne_bytes(), &settings.to_bytes())?;
        let fingerprint = object::fingerprint();
        if let (Some(pins), Some(_)) = (&pins, &left) {
            // Half-filled slots belong to no build: whoever comes after a crash here fills them again.
            pins.note_fingerprint(0)?;
        }
        object::fill_slots(&loaded, &maps)?;
        let reader = Reader::new(ring(&maps, "records")?, ring(&maps, "bulk")?);
        let origin = if left.is_some() { Origin::Replaced } else { Origin::Loaded };
        let (links, entries, identity) = match left {
            Some(left) => {
                if let Some(pins) = &pins {
                    pins.replace_set_scope(&loaded)?;
                    pins.note_fingerprint(fingerprint)?;
                }
                (left.links, left.entries, left.identity)
            }
            None => {
                let mut links = object::attach(&mut loaded)?;
                let identity = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
                let identity = identity.tv_sec as u64 * 1_000_000_000 + identity.tv_nsec as u64;
                if let Some(pins) = &pins {
                    pins.keep(&mut loaded, &mut links, fingerprint, identity)?;
                }
                (links, entry_fds(&loaded)?, identity)
            }
        };
        let set_scope = loaded.object.progs_mut().find(|program| program.name() == object::SET_SCOPE);
        let set_scope = set_scope.ok_or_else(|| ProbeError::NoMap(object::SET_SCOPE.to_string()))?;
        let set_scope = clone_fd(&set_scope)?;
        let (rules_base, rule_set, Loaded { object, refused }) = (0, None, loaded);
        Ok(Probe {
            object: Some(object),
            refused,
            maps,
            links,
            entries,
            set_scope,
            pins,
            origin,
            identity,
            rules_base,
            rule_set,
            reader,
        })
    }

    /// What an earlier agent decided about cgroups is open again: this one may have another scope.
    fn reopen_scopes(&self) -> Result<(), ProbeError> {
        let keys: Vec<u64> = map(&self.maps, "cgroups")?.keys().filter_map(|key| u64_at(&key, 0)).collect();
        keys.into_iter().try_for_each(|key| self.set_scope(key, Scope::Unknown, false))
    }

    /// Names these rings: positions kept for others mean nothing here.
    pub fn identity(&self) -> u64 {
        self.identity
    }

    /// How the programs came to run.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Programs this kernel refused, with its reason. The required ones are never among them.
    pub fn refused(&self) -> &[(String, String)] {
        &self.refused
    }

    /// The file descriptor that becomes readable when records wait.
    pub fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        self.maps.get("records").map(AsFd::as_fd)
    }

    /// Tells the programs what is wanted, from the next event on.
    pub fn configure(&self, settings: &Settings) -> Result<(), ProbeError> {
        update(&self.maps, "settings", &0u32.to_ne_bytes(), &settings.to_bytes())
    }

    /// What is known of the cgroup with this key.
    pub fn cgroup(&self, key: u64) -> Result<Option<Cgroup>, ProbeError> {
        let value = lookup(&self.maps, "cgroups", &key.to_ne_bytes())?;
        Ok(value.and_then(|value| Cgroup::from_bytes(&value)))
    }

    /// Every cgroup in which something happened, by key.
    pub fn cgroups(&self) -> Result<Vec<(u64, Cgroup)>, ProbeError> {
        let mut all = Vec::new();
        for key in map(&self.maps, "cgroups")?.keys() {
            if let Some(key) = u64_at(&key, 0)
                && let Some(cgroup) = self.cgroup(key)?
            {
                all.push((key, cgroup));
            }
        }
        Ok(all)
    }

    /// Decides whether a cgroup's events are wanted. Done by a program, in place, because its
    /// counters move at the same time. A decision against a cgroup that was made without knowing
    /// that its tasks have a pid namespace (`inside`) is not taken when they have one by now.
    pub fn set_scope(&self, key: u64, scope: Scope, inside: bool) -> Result<(), ProbeError> {
        let scope = match scope {
            Scope::Unknown => 0,
            Scope::In => SCOPE_IN as u32,
            Scope::Out => SCOPE_OUT as u32,
        };
        let hints = if inside { HINT_PID_NS as u32 } else { 0 };
        let mut call = key.to_ne_bytes().to_vec();
        call.extend([scope.to_ne_bytes(), hints.to_ne_bytes()].concat());
        sys::run_program(self.set_scope.as_fd(), &mut call)
            .map_err(|source| ProbeError::Map { map: "cgroups", source: source.into() })?;
        Ok(())
    }

    /// Forgets a cgroup that is gone and whose last record has been read.
    pub fn forget(&self, key: u64) -> Result<(), ProbeError> {
        match map(&self.maps, "cgroups")?.delete(&key.to_ne_bytes()) {
            Err(error) if error.kind() != libbpf_rs::ErrorKind::NotFound => {
                Err(ProbeError::Map { map: "cgroups", source: error })
            }
            _ => Ok(()),
        }
    }

    /// Counters of every CPU.
    pub fn lanes(&self) -> Result<Vec<Lane>, ProbeError> {
        let values = map(&self.maps, "lanes")?
            .lookup_percpu(&0u32.to_ne_bytes(), MapFlags::ANY)
            .map_err(|source| ProbeError::Map { map: "lanes", source })?;
        Ok(values.unwrap_or_default().iter().filter_map(|value| Lane::from_bytes(value)).collect())
    }

    /// Runs of each entry that the kernel refused because the program already ran on that CPU,
    /// from /proc/self/fdinfo. Empty on kernels that do not tell (before 5.12).
    pub fn recursion_misses(&self) -> BTreeMap<&'static str, u64> {
        let mut misses = BTreeMap::new();
        for hook in &HOOKS {
            let Some(fd) = self.entries.get(hook.entry) else { continue };
            let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()));
            let count = text.ok().and_then(|text| {
                text.lines().find_map(|line| line.strip_prefix("recursion_misses:")?.trim().parse().ok())
            });
            if let Some(count) = count {
                misses.insert(hook.entry, count);
            }
        }
        misses
    }

    /// Replaces the rules between two events. Returns the hits of the set that was replaced,
    /// final and complete, by the place of the rule in it.
    pub fn set_rules(&mut self, rules: &[Rule]) -> Result<Vec<u64>, ProbeError> {
        let base = RULES as u64 - self.rules_base;
        for slot in 0..RULES as u64 {
            self.clear_hits(base + slot)?;
        }
        let set = new_rule_set()?;
        for (key, value) in rules::compile(rules, base) {
            set.update(&key, &value, MapFlags::ANY)
                .map_err(|source| ProbeError::Map { map: "rules", source })?;
        }
        // Looked at before the set, so it says "yes" for as long as either set has rules.
        if !rules.is_empty() {
            self.ask_rules(true)?;
        }
        // The kernel returns when no program uses the old set any more.
        let fd = set.as_fd().as_raw_fd().to_ne_bytes();
        update(&self.maps, "rule_sets", &0u32.to_ne_bytes(), &fd)?;
        if rules.is_empty() {
            self.ask_rules(false)?;
        }
        let hits = self.rule_hits()?;
        self.rules_base = base;
        self.rule_set = Some(set);
        Ok(hits)
    }

    /// Whether the programs look at the rule set at all.
    fn ask_rules(&self, ask: bool) -> Result<(), ProbeError> {
        update(&self.maps, "has_rules", &0u32.to_ne_bytes(), &u32::from(ask).to_ne_bytes())
    }

    /// Adds a cgroup to the rules in force: bit N of `mask` says that rule N's conditions on
    /// containers hold for it.
    pub fn add_cgroup_to_rules(&self, cgroup: u64, mask: u64) -> Result<(), ProbeError> {
        let Some(set) = &self.rule_set else { return Ok(()) };
        let (key, value) = rules::cgroup_entry(cgroup, mask);
        set.update(&key, &value, MapFlags::ANY).map_err(|source| ProbeError::Map { map: "rules", source })
    }

    /// Hits of the rules in force, by place.
    pub fn rule_hits(&self) -> Result<Vec<u64>, ProbeError> {
        (0..RULES as u64).map(|slot| self.hits_at(self.rules_base + slot)).collect()
    }

    fn hits_at(&self, slot: u64) -> Result<u64, ProbeError> {
        let values = map(&self.maps, "rule_hits")?
            .lookup_percpu(&(slot as u32).to_ne_bytes(), MapFlags::ANY)
            .map_err(|source| ProbeError::Map { map: "rule_hits", source })?;
        Ok(values.unwrap_or_default().iter().filter_map(|value| u64_at(value, 0)).sum())
    }

    fn clear_hits(&self, slot: u64) -> Result<(), ProbeError> {
        let hits = map(&self.maps, "rule_hits")?;
        let cpus =
            libbpf_rs::num_possible_cpus().map_err(|source| ProbeError::Map { map: "rule_hits", source })?;
        hits.update_percpu(&(slot as u32).to_ne_bytes(), &vec![vec![0; 8]; cpus], MapFlags::ANY)
            .map_err(|source| ProbeError::Map { map: "rule_hits", source })
    }

    /// The processes that already run, in scope or undecided. `None` when this kernel cannot.
    pub fn snapshot(&self) -> Result<Option<Vec<Result<Record, decode::DecodeError>>>, ProbeError> {
        let refused = self.refused().iter().any(|(name, _)| name == SNAPSHOT);
        let Some(object) = &self.object else { return Ok(None) };
        let program = object.progs_mut().find(|program| program.name() == SNAPSHOT);
        let Some(program) = program.filter(|_| !refused) else { return Ok(None) };
        let link = program.attach_iter_with_opts(IterOpts::None).map_err(ProbeError::load)?;
        let mut bytes = Vec::new();
        let iterator = libbpf_rs::Iter::new(&link).map_err(ProbeError::load)?;
        iterator.take(SNAPSHOT_LIMIT).read_to_end(&mut bytes).map_err(ProbeError::Snapshot)?;
        let mut records = Vec::new();
        let mut rest = bytes.as_slice();
        while let Some(length) = u32_at(rest, OFF_LENGTH) {
            let Some((record, next)) = rest.split_at_checked((length as usize).max(8)) else { break };
            records.push(decode::decode(record));
            rest = next;
        }
        Ok(Some(records))
    }

    /// Ends with the programs left running, for the next agent. Only with pins do they.
    pub fn keep(mut self) {
        for link in self.links.values_mut() {
            link.disconnect();
        }
    }

    /// Ends with the programs unloaded: nothing is recorded from now on.
    pub fn unload(self) -> Result<(), ProbeError> {
        drop(self.links);
        match self.pins {
            Some(pins) => pins.remove(),
            None => Ok(()),
        }
    }
}

fn entry_fds(loaded: &object::Loaded) -> Result<BTreeMap<String, OwnedFd>, ProbeError> {
    let mut entries = BTreeMap::new();
    for hook in &HOOKS {
        let program = loaded.object.progs_mut().find(|program| program.name() == hook.entry);
        if let Some(program) = program.filter(|_| !loaded.refused.iter().any(|(name, _)| name == hook.entry))
        {
            entries.insert(hook.entry.to_string(), clone_fd(&program)?);
        }
    }
    Ok(entries)
}

fn clone_fd(program: &ProgramMut<'_>) -> Result<OwnedFd, ProbeError> {
    program
        .as_fd()
        .try_clone_to_owned()
        .map_err(|source| ProbeError::Directory { path: "the descriptor of a BPF program".into(), source })
}

fn new_rule_set() -> Result<MapHandle, ProbeError> {
    let options = libbpf_rs::libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_rs::libbpf_sys::bpf_map_create_opts>() as u64,
        map_flags: libbpf_rs::libbpf_sys::BPF_F_NO_PREALLOC,
        ..Default::default()
    };
    MapHandle::create(
        MapType::Hash,
        Some("purser_rules"),
        RULE_KEY_SIZE as u32,
        RULE_VALUE_SIZE as u32,
        131_072,
        &options,
    )
    .map_err(|source| ProbeError::Map { map: "rules", source })
}

fn ring(maps: &BTreeMap<String, MapHandle>, name: &'static str) -> Result<Ring, ProbeError> {
    let map = map(maps, name)?;
    Ok(Ring::map(map, map.max_entries() as usize)?)
}

fn map<'a>(maps: &'a BTreeMap<String, MapHandle>, name: &'static str) -> Result<&'a MapHandle, ProbeError> {
    maps.get(name).ok_or_else(|| ProbeError::NoMap(name.to_string()))
}

fn lookup(
    maps: &BTreeMap<String, MapHandle>,
    name: &'static str,
    key: &[u8],
) -> Result<Option<Vec<u8>>, ProbeError> {
    map(maps, name)?.lookup(key, MapFlags::ANY).map_err(|source| ProbeError::Map { map: name, source })
}

fn update(
    maps: &BTreeMap<String, MapHandle>,
    name: &'static str,
    key: &[u8],
    value: &[u8],
) -> Result<(), ProbeError> {
    map(maps, name)?.update(key, value, MapFlags::ANY).map_err(|source| ProbeError::Map { map: name, source })
}
