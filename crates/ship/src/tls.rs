// SPDX-License-Identifier: Apache-2.0
//! How a connection is encrypted: the same settings for every sink.

use crate::secret::Secret;
use std::path::PathBuf;

/// Certificates and what is checked of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// Certificates of the authorities that are trusted; the host's own when not given.
    pub ca: Option<PathBuf>,
    /// Our own certificate, for receivers that ask for one.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// What the key is encrypted with.
    pub key_password: Option<Secret>,
    /// Whether the certificate must be for the name we connected to.
    pub skip_name_check: bool,
}
