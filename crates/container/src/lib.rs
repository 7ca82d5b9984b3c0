// SPDX-License-Identifier: Apache-2.0
//! From cgroup paths to containers, and from containers to their names.
//!
//! [`identify`] is pure: it turns a cgroup path, as the kernel told it, into a container id.
//! [`Directory`] asks the runtimes for the name, image, labels and pod of such an id, on threads of
//! its own: it never blocks the one who asks, and never changes anything in a runtime. [`Logs`] tells
//! where Docker keeps what containers print, and waits for the answer.

mod api;
mod cgroup;
mod containerd;
mod counters;
mod detect;
mod directory;
mod elsewhere;
mod error;
mod files;
mod grpc;
mod http;
mod identity;
mod info;
mod lane;
mod listen;
mod logs;
mod oci;
mod recent;
mod running;
mod socket;
mod sources;
mod unit;

pub use cgroup::{CgroupMode, cgroup_mode, parse_mountinfo, parse_proc_cgroup};
pub use counters::Statistics;
pub use detect::{RuntimeState, detect};
pub use directory::{Directory, Resolved};
pub use elsewhere::elsewhere;
pub use error::LookupError;
pub use identity::{Cgroup, Identity, Runtime, UnknownRuntime, identify, session_cgroup};
pub use info::{Info, Pod};
pub use logs::{Logged, Logs, Output};
pub use running::{Recorded, found, identity, in_state, recorded};
pub use sources::Sources;
