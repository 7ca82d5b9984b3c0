// SPDX-License-Identifier: Apache-2.0
//! `[debug]`: where kits are and where they come from, and who may begin which sessions.

use super::check::{self, Fault};
use super::glob::Glob;
use super::quantity::Age;
use kit::{Digest, Name};
use registry::{Host, Reference};
use serde::{Deserialize, Serialize};
use ship::Url;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// Most entries of `[[debug.allow]]`.
const ALLOW_LIMIT: usize = 64;
/// What a volume ends with that may be written.
pub const WRITABLE: &str = ":rw";
/// Longest name of a user, group or kit, in bytes.
const NAME_LIMIT: usize = 64;

/// `[debug]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Debug {
    /// The directory with kits.
    pub kits: PathBuf,
    /// Whether what terminals show is recorded.
    pub transcript: bool,
    /// Whether a session needs an agent that records it.
    pub require_record: bool,
    /// `REGISTRY/PATH` below which kits are fetched by name; empty for none.
    pub registry: String,
    /// Others that have the same, tried before it.
    pub mirrors: Vec<String>,
    /// When a session fetches a kit.
    pub pull: Pull,
    /// What kits must be, by name.
    pub pins: BTreeMap<String, String>,
    /// Files with public keys, one of which must have signed a kit that comes from elsewhere.
    pub trust: Vec<PathBuf>,
    /// Certificates of the authorities that registries are trusted by; the host's own when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Registries that may be spoken to without encryption.
    pub insecure: Vec<String>,
    /// Longest wait for a registry.
    pub timeout_secs: u32,
    /// Directories of the host with debug files, for sessions with a debugger.
    pub debug_files: Vec<PathBuf>,
    /// Servers of debug files that a session's debugger asks.
    pub debuginfod: Vec<String>,
    /// Who may begin which sessions; root may begin all when empty.
    pub allow: Vec<Allow>,
}

impl Debug {
    /// Where a host has the debug files of its packages, if it has any.
    pub const USUAL_DEBUG_FILES: &str = "/usr/lib/debug";
}

impl Default for Debug {
    fn default() -> Debug {
        Debug {
            kits: PathBuf::from("/var/lib/purser-kits"),
            transcript: true,
            require_record: false,
            registry: String::new(),
            mirrors: Vec::new(),
            pull: Pull::Never,
            pins: BTreeMap::new(),
            trust: Vec::new(),
            ca: None,
            insecure: Vec::new(),
            timeout_secs: 30,
            debug_files: vec![PathBuf::from(Debug::USUAL_DEBUG_FILES)],
            debuginfod: Vec::new(),
            allow: Vec::new(),
        }
    }
}

/// When a session fetches a kit from the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pull {
    /// Not at all: what is not on the host is not there.
    Never,
    /// When the host has none of that name.
    Missing,
    /// Each time, if the registry has another one.
    Always,
}

/// Which ports of a target may be opened on this host: `true` for all, on any address of the host, `false` for none,
/// or a list of the target's ports, on loopback addresses only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Forwarding {
    /// All or none.
    Any(bool),
    /// Those of the target.
    Ports(Vec<u16>),
}

impl Default for Forwarding {
    fn default() -> Forwarding {
        Forwarding::Any(false)
    }
}

/// `[[debug.allow]]`: sessions that may be. All conditions given must hold; one entry that fits is enough.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allow {
    /// Names the entry.
    pub name: String,
    /// Users by name, and `%GROUP` for the members of a group; none given means everyone.
    #[serde(default)]
    pub users: Vec<String>,
    /// Names of containers, or targets as they are typed; none given means all.
    #[serde(default)]
    pub targets: Vec<Glob>,
    /// Images; none given means all.
    #[serde(default)]
    pub images: Vec<Glob>,
    /// Kits; none given means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kits: Option<Vec<String>>,
    /// Capabilities beyond those of the target's own process; none given means all but those that are as good as root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Vec<String>>,
    /// Files and directories of the host that a session may see, with all below them; it may write with `:rw` only.
    #[serde(default)]
    pub volumes: Vec<String>,
    /// Ports of targets that may be opened on this host.
    #[serde(default)]
    pub forward: Forwarding,
    /// Whether all capabilities may be asked for at once.
    #[serde(default)]
    pub privileged: bool,
    /// Whether a reason must be given.
    #[serde(default)]
    pub require_reason: bool,
    /// How long a session may last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_time: Option<Age>,
}

/// Whether this is the address of a server of debug files; else why not.
pub fn check_server(address: &str) -> Result<(), String> {
    // Printable without spaces: all of them stand in one variable, with spaces between.
    let url = Url::parse(address)?;
    if url.has_query() { Err("leave out the query, which is behind ?".into()) } else { Ok(()) }
}

pub(super) fn check(debug: &Debug) -> Result<(), Fault> {
    check::absolute("debug.kits", &debug.kits)?;
    registries(debug)?;
    check::list("debug.debug_files", debug.debug_files.len())?;
    for (index, path) in debug.debug_files.iter().enumerate() {
        check::absolute(&format!("debug.debug_files[{index}]"), path)?;
    }
    check::list("debug.debuginfod", debug.debuginfod.len())?;
    for (index, server) in debug.debuginfod.iter().enumerate() {
        check_server(server).or_else(|why| check::fault(format!("debug.debuginfod[{index}]"), why))?;
    }
    if debug.allow.len() > ALLOW_LIMIT {
        let message = format!("{} entries; at most {ALLOW_LIMIT}", debug.allow.len());
        return check::fault(format!("debug.allow[{ALLOW_LIMIT}]"), message);
    }
    let mut names = BTreeSet::new();
    for (index, allow) in debug.allow.iter().enumerate() {
        let at = |key: &str| format!("debug.allow[{index}].{key}");
        if allow.name.is_empty() || allow.name.len() > NAME_LIMIT {
            return check::fault(at("name"), format!("a name has 1 to {NAME_LIMIT} bytes"));
        }
        if !names.insert(&allow.name) {
            return check::fault(at("name"), format!("there are two entries {:?}", allow.name));
        }
        let none = Vec::new();
        let words = [
            ("users", &allow.users),
            ("kits", allow.kits.as_ref().unwrap_or(&none)),
            ("capabilities", allow.capabilities.as_ref().unwrap_or(&none)),
        ];
        for (key, words) in words {
            check::list(&at(key), words.len())?;
            let bad = |word: &String| {
                let word = word.strip_prefix('%').filter(|_| key == "users").unwrap_or(word);
                word.is_empty() || word.len() > NAME_LIMIT || word.contains(char::is_whitespace)
            };
            if let Some(place) = words.iter().position(bad) {
                return check::fault(format!("{}[{place}]", at(key)), "this is no name");
            }
        }
        check::list(&at("volumes"), allow.volumes.len())?;
        let is_no_path = |volume: &String| {
            let path = Path::new(volume.strip_suffix(WRITABLE).unwrap_or(volume));
            !path.is_absolute() || path.components().any(|part| part == Component::ParentDir)
        };
        if let Some(place) = allow.volumes.iter().position(is_no_path) {
            let text = "write an absolute path, with :rw behind it when it may be written";
            return check::fault(format!("{}[{place}]", at("volumes")), text);
        }
        if let Forwarding::Ports(ports) = &allow.forward {
            check::list(&at("forward"), ports.len())?;
        }
        check::list(&at("targets"), allow.targets.len())?;
        check::list(&at("images"), allow.images.len())?;
    }
    Ok(())
}

/// What is said of registries and of kits that come from them.
fn registries(debug: &Debug) -> Result<(), Fault> {
    let place = |key: String, text: &str| {
        let reference = Reference::parse(&format!("{text}/x"));
        match reference.map(|reference| reference.place()) {
            Ok(place) if place.eq_ignore_ascii_case(&format!("{text}/x")) => Ok(()),
            _ => check::fault(
                key,
                format!("{text:?} is no place in a registry; write \"HOST:PORT/PATH\" or \"HOST\""),
            ),
        }
    };
    if !debug.registry.is_empty() {
        place("debug.registry".to_string(), &debug.registry)?;
    }
    check::list("debug.mirrors", debug.mirrors.len())?;
    for (index, mirror) in debug.mirrors.iter().enumerate() {
        place(format!("debug.mirrors[{index}]"), mirror)?;
    }
    check::list("debug.pins", debug.pins.len())?;
    for (name, digest) in &debug.pins {
        if let Err(error) = Name::new(name).and_then(|_| Digest::new(digest)) {
            return check::fault(format!("debug.pins.{name}"), error.to_string());
        }
    }
    check::list("debug.trust", debug.trust.len())?;
    for (index, file) in debug.trust.iter().enumerate() {
        check::absolute(&format!("debug.trust[{index}]"), file)?;
    }
    if let Some(ca) = &debug.ca {
        check::absolute("debug.ca", ca)?;
    }
    check::list("debug.insecure", debug.insecure.len())?;
    for (index, host) in debug.insecure.iter().enumerate() {
        if let Err(error) = Host::parse(host) {
            return check::fault(format!("debug.insecure[{index}]"), error.to_string());
        }
    }
    check::within("debug.timeout_secs", debug.timeout_secs, 1, 600)
}
