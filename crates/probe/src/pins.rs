// SPDX-License-Identifier: Apache-2.0
//! What stays in the kernel when the agent does not: maps, links and entries, pinned in one
//! directory of a bpf file system. The map `meta` is pinned last and says that all is there.

use crate::error::ProbeError;
use crate::object::{HOOKS, Loaded, SET_SCOPE};
use crate::wire::{WIRE_VERSION, u64_at};
use libbpf_rs::{Link, MapCore, MapFlags, MapHandle, MapType, Program};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Slots of `meta`: version of the wire, fingerprint of the programs, name of these rings.
const META_WIRE: u32 = 0;
const META_FINGERPRINT: u32 = 1;
const META_IDENTITY: u32 = 2;

/// The directory.
#[derive(Debug)]
pub(crate) struct Pins {
    directory: PathBuf,
}

/// What an earlier agent left running.
pub(crate) struct Left {
    pub(crate) maps: BTreeMap<String, MapHandle>,
    pub(crate) links: BTreeMap<String, Link>,
    pub(crate) entries: BTreeMap<String, OwnedFd>,
    pub(crate) fingerprint: u64,
    pub(crate) identity: u64,
}

impl Left {
    /// The program that decides about cgroups; older agents did not pin it.
    pub(crate) fn set_scope(&self) -> Option<&OwnedFd> {
        self.entries.get(SET_SCOPE)
    }

    /// Without one of the required links nothing would be recorded, and nobody would see it.
    fn is_whole(&self) -> bool {
        HOOKS.iter().all(|hook| !hook.required || self.links.contains_key(hook.entry))
    }
}

impl Pins {
    pub(crate) fn new(directory: &Path) -> Pins {
        Pins { directory: directory.to_owned() }
    }

    /// What is left running, if it is whole and speaks our version of the wire. Anything else
    /// in the directory is unloaded.
    pub(crate) fn find(&self) -> Result<Option<Left>, ProbeError> {
        if !self.directory.exists() {
            return Ok(None);
        }
        match self.meta() {
            Some((wire, fingerprint, identity)) if wire == WIRE_VERSION as u64 => {
                let left = self.open_all(fingerprint, identity)?;
                if left.is_whole() {
                    return Ok(Some(left));
                }
            }
            _ => {}
        }
        self.remove()?;
        Ok(None)
    }

    fn meta(&self) -> Option<(u64, u64, u64)> {
        let meta = MapHandle::from_pinned_path(self.directory.join("meta")).ok()?;
        let slot = |slot: u32| u64_at(&meta.lookup(&slot.to_ne_bytes(), MapFlags::ANY).ok()??, 0);
        Some((slot(META_WIRE)?, slot(META_FINGERPRINT)?, slot(META_IDENTITY)?))
    }

    fn open_all(&self, fingerprint: u64, identity: u64) -> Result<Left, ProbeError> {
        let mut left = Left {
            maps: BTreeMap::new(),
            links: BTreeMap::new(),
            entries: BTreeMap::new(),
            fingerprint,
            identity,
        };
        for path in self.entries()? {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let pin_error = |source| ProbeError::Pin { path: path.clone(), source };
            match name.split_once('-') {
                Some(("map", name)) => {
                    let map = MapHandle::from_pinned_path(&path).map_err(pin_error)?;
                    left.maps.insert(name.to_string(), map);
                }
                Some(("link", name)) => {
                    left.links.insert(name.to_string(), Link::open(&path).map_err(pin_error)?);
                }
                Some(("entry", name)) => {
                    let fd = Program::fd_from_pinned_path(&path).map_err(pin_error)?;
                    left.entries.insert(name.to_string(), fd);
                }
                _ => {}
            }
        }
        Ok(left)
    }

    /// Pins everything of a fresh load. `identity` names these rings for good.
    ///
    /// On failure nothing of it stays.
    pub(crate) fn keep(
        &self,
        loaded: &mut Loaded,
        links: &mut BTreeMap<String, Link>,
        fingerprint: u64,
        identity: u64,
    ) -> Result<(), ProbeError> {
        self.pin_all(loaded, links, fingerprint, identity).inspect_err(|_| {
            // The first failure is the one to tell.
            self.remove().unwrap_or_default();
        })
    }

    fn pin_all(
        &self,
        loaded: &mut Loaded,
        links: &mut BTreeMap<String, Link>,
        fingerprint: u64,
        identity: u64,
    ) -> Result<(), ProbeError> {
        fs::create_dir_all(&self.directory).map_err(|error| self.directory_error(error))?;
        for mut map in loaded.object.maps_mut() {
            let name = map.name().to_string_lossy().into_owned();
            if !is_program_data(&name) {
                let path = self.path("map", &name);
                map.pin(&path).map_err(|source| ProbeError::Pin { path, source })?;
            }
        }
        for mut program in loaded.object.progs_mut() {
            let name = program.name().to_string_lossy().into_owned();
            let attached = HOOKS.iter().any(|hook| hook.entry == name) && links.contains_key(&name);
            if attached || name == SET_SCOPE {
                let path = self.path("entry", &name);
                program.pin(&path).map_err(|source| ProbeError::Pin { path, source })?;
            }
        }
        for (name, link) in links {
            let path = self.path("link", name);
            link.pin(&path).map_err(|source| ProbeError::Pin { path, source })?;
        }
        let path = self.directory.join("meta");
        let mut meta = new_meta()?;
        for (slot, value) in
            [(META_WIRE, WIRE_VERSION as u64), (META_FINGERPRINT, fingerprint), (META_IDENTITY, identity)]
        {
            write_meta(&meta, slot, value)?;
        }
        meta.pin(&path).map_err(|source| ProbeError::Pin { path, source })
    }

    /// Pins the one program that is in no slot, in place of that of the build before.
    pub(crate) fn replace_set_scope(&self, loaded: &Loaded) -> Result<(), ProbeError> {
        let path = self.path("entry", SET_SCOPE);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(ProbeError::Directory { path, source });
            }
            _ => {}
        }
        let program = loaded.object.progs_mut().find(|program| program.name() == SET_SCOPE);
        let mut program = program.ok_or_else(|| ProbeError::NoMap(SET_SCOPE.to_string()))?;
        program.pin(&path).map_err(|source| ProbeError::Pin { path, source })
    }

    /// Takes note that the programs of this build are in the slots now.
    pub(crate) fn note_fingerprint(&self, fingerprint: u64) -> Result<(), ProbeError> {
        let path = self.directory.join("meta");
        let meta = MapHandle::from_pinned_path(&path).map_err(|source| ProbeError::Pin { path, source })?;
        write_meta(&meta, META_FINGERPRINT, fingerprint)
    }

    /// Unpins everything. `meta` goes first: whoever finds a rest knows that it is one. Then the
    /// links: recording ends with them.
    pub(crate) fn remove(&self) -> Result<(), ProbeError> {
        let mut paths = self.entries()?;
        paths.sort_by_key(|path| match path.file_name().map(OsStr::as_encoded_bytes) {
            Some(b"meta") => 0,
            Some(name) if name.starts_with(b"link-") => 1,
            _ => 2,
        });
        for path in paths {
            fs::remove_file(&path).map_err(|source| ProbeError::Directory { path, source })?;
        }
        fs::remove_dir(&self.directory).map_err(|error| self.directory_error(error))
    }

    fn entries(&self) -> Result<Vec<PathBuf>, ProbeError> {
        let entries = fs::read_dir(&self.directory).map_err(|error| self.directory_error(error))?;
        entries.map(|entry| Ok(entry.map_err(|error| self.directory_error(error))?.path())).collect()
    }

    /// The kernel keeps dots in names for itself.
    fn path(&self, kind: &str, name: &str) -> PathBuf {
        self.directory.join(format!("{kind}-{name}"))
    }

    fn directory_error(&self, source: std::io::Error) -> ProbeError {
        ProbeError::Directory { path: self.directory.clone(), source }
    }
}

/// Sections the compiler made, such as `.rodata`: each build of the programs has its own.
fn is_program_data(map: &str) -> bool {
    map.contains('.')
}

fn new_meta() -> Result<MapHandle, ProbeError> {
    let options = libbpf_rs::libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_rs::libbpf_sys::bpf_map_create_opts>() as u64,
        ..Default::default()
    };
    MapHandle::create(MapType::Array, Some("purser_meta"), 4, 8, 4, &options)
        .map_err(|source| ProbeError::Map { map: "meta", source })
}

fn write_meta(meta: &MapHandle, slot: u32, value: u64) -> Result<(), ProbeError> {
    meta.update(&slot.to_ne_bytes(), &value.to_ne_bytes(), MapFlags::ANY)
        .map_err(|source| ProbeError::Map { map: "meta", source })
}
