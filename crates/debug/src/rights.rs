// SPDX-License-Identifier: Apache-2.0
//! Capabilities by name, and giving up all others.

use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities, set_no_new_privs,
};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::str::FromStr;

/// The highest number a capability can have.
const HIGHEST: u32 = 63;

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities(u64);

/// A word that names no capability.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no capability; write SYS_PTRACE, NET_ADMIN or ALL")]
pub struct UnknownCapability(pub String);

impl Capabilities {
    /// One bit for each, as the kernel numbers them.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Those of this number, as /proc writes it.
    pub(crate) fn from_bits(bits: u64) -> Capabilities {
        Capabilities(bits)
    }

    pub(crate) const fn one(capability: CapabilitySet) -> Capabilities {
        Capabilities(capability.bits())
    }

    /// Every capability this kernel may know.
    pub fn all() -> Capabilities {
        Capabilities(CapabilitySet::all().bits())
    }

    /// A harmless one that containers lack. Whoever in the target would look into a process of the session, and at the
    /// host's files that it was given, must have all that the process has, or SYS_PTRACE.
    pub fn shield() -> Capabilities {
        Capabilities(CapabilitySet::BLOCK_SUSPEND.bits())
    }

    /// With those of `other`.
    #[must_use]
    pub fn and(self, other: Capabilities) -> Capabilities {
        Capabilities(self.0 | other.0)
    }

    /// Without those of `other`.
    #[must_use]
    pub fn without(self, other: Capabilities) -> Capabilities {
        Capabilities(self.0 & !other.0)
    }

    /// Whether all of `other` are in here.
    pub fn has(self, other: Capabilities) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn set(self) -> CapabilitySet {
        CapabilitySet::from_bits_retain(self.0)
    }
}

impl FromStr for Capabilities {
    type Err = UnknownCapability;

    fn from_str(word: &str) -> Result<Capabilities, UnknownCapability> {
        let upper = word.trim().to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if name == "ALL" {
            return Ok(Capabilities::all());
        }
        CapabilitySet::from_name(name)
            .map(|set| Capabilities(set.bits()))
            .ok_or_else(|| UnknownCapability(word.to_owned()))
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return out.write_str("none");
        }
        for (index, (name, _)) in self.set().iter_names().enumerate() {
            write!(out, "{}{name}", if index == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

/// Has the capabilities outlive the change to another user; [`limit`] ends that.
pub(crate) fn keep_over_user_change() -> io::Result<()> {
    Ok(set_keep_capabilities(true)?)
}

/// From now on this process, and whatever it becomes, has `wanted` and can gain nothing else.
///
/// Programs of root get the bounding set when they start, others the ambient one.
pub(crate) fn limit(wanted: Capabilities, is_root: bool, may_gain: bool) -> io::Result<()> {
    clear_ambient_capability_set()?;
    let held = rustix::thread::capabilities(None)?;
    // A change of user has left them permitted only, and narrowing the bounding set is a right itself.
    set_capabilities(None, CapabilitySets { effective: held.permitted, ..held })?;
    for number in 0..=HIGHEST {
        let one = Capabilities(1 << number);
        if wanted.has(one) {
            continue;
        }
        match remove_capability_from_bounding_set(one.set()) {
            // This kernel knows no more.
            Err(rustix::io::Errno::INVAL) => break,
            result => result?,
        }
    }
    let kept = wanted.set() & held.permitted;
    let inheritable = if is_root { CapabilitySet::empty() } else { kept };
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable })?;
    if !is_root {
        for capability in kept.iter() {
            configure_capability_in_ambient_set(capability, true)?;
        }
    }
    set_keep_capabilities(false)?;
    if !may_gain {
        set_no_new_privs(true)?;
    }
    Ok(())
}

/// From now on this process and its children have nothing beyond `wanted` and what it takes to become a session's
/// program, and to end one.
pub(crate) fn confine(wanted: Capabilities) -> io::Result<()> {
    let kept = CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::SETPCAP | CapabilitySet::KILL;
    let kept = kept | wanted.set();
    for number in 0..=HIGHEST {
        let one = Capabilities(1 << number);
        if kept.contains(one.set()) {
            continue;
        }
        match remove_capability_from_bounding_set(one.set()) {
            // This kernel knows no more.
            Err(rustix::io::Errno::INVAL) => break,
            result => result?,
        }
    }
    let held = rustix::thread::capabilities(None)?;
    let kept = kept & held.permitted;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    Ok(set_capabilities(None, sets)?)
}

/// This process keeps the right to send signals and no other.
pub(crate) fn only_signals() -> io::Result<()> {
    let held = rustix::thread::capabilities(None)?;
    let kept = CapabilitySet::KILL & held.permitted;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    Ok(set_capabilities(None, sets)?)
}

#[cfg(test)]
mod tests {
    use super::Capabilities;

    #[test]
    fn names() {
        let two: Capabilities = "cap_sys_ptrace".parse().unwrap();
        let two = two.and("KILL".parse().unwrap());
        assert_eq!(two.to_string(), "KILL SYS_PTRACE");
        assert_eq!(two.without("KILL".parse().unwrap()).to_string(), "SYS_PTRACE");
        assert!(Capabilities::all().has(two));
        assert_eq!(Capabilities::default().to_string(), "none");
        assert!("SYS_PTRACE,KILL".parse::<Capabilities>().is_err());
        assert!("".parse::<Capabilities>().is_err());
    }
}
