// SPDX-License-Identifier: Apache-2.0
//! What can go wrong between this program and the kernel.

use std::path::PathBuf;

/// An error of the kernel side.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The programs were refused.
    #[error("loading the BPF programs (run purser doctor to see what this kernel lacks)")]
    Load {
        /// libbpf's reason.
        source: libbpf_rs::Error,
    },
    /// A required attach point is missing.
    #[error("attaching the BPF program {program}")]
    Attach {
        /// The program.
        program: &'static str,
        /// libbpf's reason.
        source: libbpf_rs::Error,
    },
    /// Reading or writing a map failed.
    #[error("using the BPF map {map}")]
    Map {
        /// The map.
        map: &'static str,
        /// libbpf's reason.
        source: libbpf_rs::Error,
    },
    /// A map that must be there is not.
    #[error("the BPF map {0} is missing")]
    NoMap(String),
    /// Pinning, or finding what is pinned.
    #[error("pinning BPF objects at {path}")]
    Pin {
        /// Where.
        path: PathBuf,
        /// libbpf's reason.
        source: libbpf_rs::Error,
    },
    /// The directory for pins.
    #[error("using {path}")]
    Directory {
        /// Where.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A ring cannot be read.
    #[error(transparent)]
    Ring(#[from] sys::RingError),
    /// The snapshot could not be read.
    #[error("reading the processes that already run: {0}")]
    Snapshot(std::io::Error),
}

impl ProbeError {
    pub(crate) fn load(source: libbpf_rs::Error) -> ProbeError {
        ProbeError::Load { source }
    }
}
