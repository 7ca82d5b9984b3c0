// SPDX-License-Identifier: Apache-2.0
//! What the agent may still do once it is set up: use its BPF maps, and read what the runtimes
//! keep. Everything else of root's capabilities is given up for good, also for children.

use anyhow::Context;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};

/// `DAC_OVERRIDE` and `DAC_READ_SEARCH`: other users' runtime sockets and state directories.
const KEPT: CapabilitySet = CapabilitySet::BPF
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH);

/// From now on nobody without the right to trace every process reads the memory or environment of this
/// one, whatever its user, and no core dump is written of it.
pub(crate) fn hide() -> anyhow::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("shutting others out of the memory")
}

/// Whether the way into containers is open.
pub(super) fn may_read_containers() -> bool {
    capabilities(None).is_ok_and(|held| held.effective.contains(CapabilitySet::SYS_PTRACE))
}

/// Gives up all other capabilities of this thread and of those it starts from now on.
/// `containers`: `SYS_PTRACE` stays, too, because the way to a container's files leads through one of
/// its processes.
pub(super) fn drop_most(containers: bool) -> anyhow::Result<()> {
    let held = capabilities(None).context("looking at the capabilities")?;
    let wanted = if containers { KEPT.union(CapabilitySet::SYS_PTRACE) } else { KEPT };
    // Who lacks the right to narrow the bounding set, as in our unit, has had it narrowed already.
    let may_narrow = held.effective.contains(CapabilitySet::SETPCAP);
    for capability in held.permitted.difference(wanted).iter().filter(|_| may_narrow) {
        remove_capability_from_bounding_set(capability).context("giving up capabilities")?;
    }
    let kept = held.permitted & wanted;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).context("giving up capabilities")?;
    set_no_new_privs(true).context("refusing new privileges")
}
