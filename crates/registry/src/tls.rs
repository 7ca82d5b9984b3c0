// SPDX-License-Identifier: Apache-2.0
//! TLS 1.2 or later with the authorities that this host trusts, or those of one file.

use crate::error::RegistryError;
use openssl::error::ErrorStack;
use openssl::ssl::{SslConnector, SslMethod, SslVersion};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Longest file of certificates. Those of distributions have a quarter of it.
const FILE_LIMIT: u64 = 1 << 20;
/// Where distributions keep the certificates of the authorities they trust.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Trusts the authorities in `ca` and no others, or those that the host trusts.
pub(crate) fn connector(ca: Option<&Path>) -> Result<SslConnector, RegistryError> {
    sys::openssl_without_configuration();
    let wrong = |why: String| RegistryError::Setup { doing: "setting up TLS".to_string(), why };
    let refused = |error: ErrorStack| wrong(said(&error));
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(refused)?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2)).map_err(refused)?;
    let usual = BUNDLES.into_iter().map(Path::new).find(|path| path.exists());
    let mut store = X509StoreBuilder::new().map_err(refused)?;
    // Without any, every certificate is refused, and the message says why.
    if let Some(path) = ca.or(usual) {
        let wrong = |why: String| wrong(format!("the authorities in {}: {why}", path.display()));
        let text = read(path).map_err(wrong)?;
        let found = X509::stack_from_pem(&text).map_err(|error| wrong(said(&error)))?;
        if found.is_empty() {
            return Err(wrong("there is no certificate in PEM in it".to_string()));
        }
        for authority in found {
            store.add_cert(authority).map_err(|error| wrong(said(&error)))?;
        }
    }
    // A store of our own: the builder begins with what it finds in OpenSSL's own places.
    builder.set_cert_store(store.build());
    Ok(builder.build())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err("it is no regular file".to_string());
    }
    let mut text = Vec::new();
    file.take(FILE_LIMIT + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    match text.len() as u64 > FILE_LIMIT {
        true => Err(format!("it is longer than {FILE_LIMIT} bytes")),
        false => Ok(text),
    }
}

/// What OpenSSL complains about.
pub(crate) fn said(error: &ErrorStack) -> String {
    let reasons: Vec<&str> = error.errors().iter().filter_map(|one| one.reason()).collect();
    if reasons.is_empty() { "OpenSSL does not say why".to_string() } else { reasons.join("; ") }
}
