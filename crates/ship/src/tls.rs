// SPDX-License-Identifier: Apache-2.0
//! How a connection is encrypted: the same settings and the same set-up for every sink.

use crate::error::Error;
use crate::secret::Secret;
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{SslConnector, SslConnectorBuilder, SslMethod, SslVersion};
use openssl::x509::store::X509StoreBuilder;
use std::path::{Path, PathBuf};

/// Where distributions keep the certificates of the authorities they trust.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

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

/// TLS 1.2 or later as `settings` say. Files are read now.
pub(crate) fn connector(settings: &TlsSettings) -> Result<SslConnector, Error> {
    sys::openssl_without_configuration();
    let set_up = |error| refused("setting up TLS", error);
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(set_up)?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2)).map_err(set_up)?;
    trust(&mut builder, settings.ca.as_deref())?;
    if let (Some(certificate), Some(key)) = (&settings.certificate, &settings.key) {
        let loading = format!("loading the certificate {}", certificate.display());
        builder.set_certificate_chain_file(certificate).map_err(|error| refused(&loading, error))?;
        let loading = format!("loading the key {}", key.display());
        let text = std::fs::read(key).map_err(|source| Error::io("reading", key, source))?;
        // Without a password OpenSSL would ask for one on the terminal.
        let password = settings.key_password.as_ref().map_or(b"".as_slice(), Secret::expose);
        let text = Secret::new(text);
        let key = PKey::private_key_from_pem_passphrase(text.expose(), password);
        let key = key.map_err(|error| refused(&loading, error))?;
        builder.set_private_key(&key).map_err(|error| refused(&loading, error))?;
        builder.check_private_key().map_err(|error| refused(&loading, error))?;
    }
    Ok(builder.build())
}

/// Trusts the authorities in `ca` and no others, or those that the host trusts.
fn trust(builder: &mut SslConnectorBuilder, ca: Option<&Path>) -> Result<(), Error> {
    let bundle = match ca {
        Some(path) => Some(path),
        None => BUNDLES.into_iter().map(Path::new).find(|path| path.exists()),
    };
    let Some(path) = bundle else {
        let places = BUNDLES.join(", ");
        return Err(Error::Settings(format!(
            "this host has no certificates of authorities ({places}); write tls = {{ ca = \"FILE\" }}"
        )));
    };
    let loading = format!("loading the authorities of {}", path.display());
    // An empty store first: the builder begins with what it finds in OpenSSL's own places.
    let empty = X509StoreBuilder::new().map_err(|error| refused(&loading, error))?.build();
    builder.set_cert_store(empty);
    builder.set_ca_file(path).map_err(|error| refused(&loading, error))
}

fn refused(doing: &str, error: ErrorStack) -> Error {
    let said: Vec<String> = error.errors().iter().filter_map(|one| Some(one.reason()?.to_string())).collect();
    let said = if said.is_empty() { "OpenSSL does not say why".to_string() } else { said.join("; ") };
    Error::Settings(format!("{doing}: {said}"))
}
