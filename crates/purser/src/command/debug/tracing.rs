// SPDX-License-Identifier: Apache-2.0
//! The kernel's list of tracepoints, for a session whose tools may trace the kernel. Containers have no tracefs.

use debug::{Bind, Capabilities, Source, Spec};
use std::fs;
use std::path::Path;

/// Where it is, on the host and in the session.
const TRACEFS: &str = "/sys/kernel/tracing";

/// Adds it where somebody has asked for what it takes, and the host has it.
pub(super) fn complete(spec: &mut Spec) -> Result<(), debug::UnknownCapability> {
    let wanted: Capabilities = "PERFMON".parse()?;
    let is_there = || fs::read_dir(TRACEFS).is_ok_and(|mut entries| entries.next().is_some());
    if (spec.granted.has(wanted) || spec.privileged) && is_there() {
        let at = Path::new(TRACEFS).to_owned();
        spec.binds.push(Bind { source: Source::Host(at.clone()), at, read_only: true });
    }
    Ok(())
}
