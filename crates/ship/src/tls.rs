// SPDX-License-Identifier: Apache-2.0
//! How a connection is encrypted: the same settings and the same set-up for every sink.

use crate::error::Error;
use ::tls::{BUNDLES, Own, Secret};
use openssl::ssl::SslConnector;
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

/// TLS as `settings` say. Files are read now.
pub(crate) fn connector(settings: &TlsSettings) -> Result<SslConnector, Error> {
    let Some(authorities) = settings.ca.as_deref().or_else(::tls::authorities_of_host) else {
        let places = BUNDLES.join(", ");
        return Err(Error::Settings(format!(
            "this host has no certificates of authorities ({places}); write tls = {{ ca = \"FILE\" }}"
        )));
    };
    let password = settings.key_password.as_ref().map_or(b"".as_slice(), Secret::expose);
    let own = settings.certificate.as_deref().zip(settings.key.as_deref());
    let own = own.map(|(certificate, key)| Own { certificate, key, password });
    ::tls::connector(Some(authorities), own).map_err(|error| Error::Settings(error.to_string()))
}
