// SPDX-License-Identifier: Apache-2.0
//! The set-up of a connection: whom we trust, and who we are.

use crate::file::{certificates, read};
use crate::{TlsError, said};
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{SslConnector, SslConnectorBuilder, SslMethod, SslVersion};
use openssl::x509::store::X509StoreBuilder;
use std::path::Path;

/// Where distributions keep the certificates of the authorities they trust.
pub const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The file with the authorities that this host trusts, if it has one.
#[must_use]
pub fn authorities_of_host<'a>() -> Option<&'a Path> {
    BUNDLES.into_iter().map(Path::new).find(|path| path.exists())
}

/// A certificate of our own.
#[derive(Clone, Copy, Debug)]
pub struct Own<'a> {
    /// Ours first in this file, then those that lead from it to an authority.
    pub certificate: &'a Path,
    /// The file with its key.
    pub key: &'a Path,
    /// What the key is encrypted with; empty when it is not.
    pub password: &'a [u8],
}

/// TLS 1.2 or later that trusts the authorities in the file `authorities` and no others; without it every certificate is
/// refused. Files are read now.
///
/// # Errors
/// When a file cannot be used, or OpenSSL refuses.
pub fn connector(authorities: Option<&Path>, own: Option<Own<'_>>) -> Result<SslConnector, TlsError> {
    sys::openssl_without_configuration();
    let refused = |error: ErrorStack| TlsError::SetUp(said(&error));
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(refused)?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2)).map_err(refused)?;
    // A store of our own: the builder begins with what it finds in OpenSSL's own places.
    let mut store = X509StoreBuilder::new().map_err(refused)?;
    if let Some(path) = authorities {
        let what = "the authorities of";
        for authority in certificates(path, what)? {
            store.add_cert(authority).map_err(|error| wrong(what, path, &error))?;
        }
    }
    builder.set_cert_store(store.build());
    if let Some(own) = own {
        show(&mut builder, own)?;
    }
    Ok(builder.build())
}

fn show(builder: &mut SslConnectorBuilder, own: Own<'_>) -> Result<(), TlsError> {
    let what = "the certificate";
    for (at, one) in certificates(own.certificate, what)?.into_iter().enumerate() {
        let taken = if at == 0 { builder.set_certificate(&one) } else { builder.add_extra_chain_cert(one) };
        taken.map_err(|error| wrong(what, own.certificate, &error))?;
    }
    let what = "the key";
    let text = read(own.key).map_err(|why| TlsError::File { what, path: own.key.to_owned(), why })?;
    // Without a password OpenSSL would ask for one on the terminal.
    PKey::private_key_from_pem_passphrase(text.expose(), own.password)
        .and_then(|key| builder.set_private_key(&key))
        .and_then(|()| builder.check_private_key())
        .map_err(|error| wrong(what, own.key, &error))
}

fn wrong(what: &'static str, path: &Path, error: &ErrorStack) -> TlsError {
    TlsError::File { what, path: path.to_owned(), why: said(error) }
}

#[cfg(test)]
mod tests {
    use super::{Own, connector};
    use crate::file::LIMIT;
    use openssl::asn1::Asn1Time;
    use openssl::hash::MessageDigest;
    use openssl::pkey::PKey;
    use openssl::rsa::Rsa;
    use openssl::symm::Cipher;
    use openssl::x509::X509;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::fs;

    #[test]
    fn only_regular_files_of_a_sane_length_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let mut one = X509::builder().unwrap();
        one.set_pubkey(&key).unwrap();
        one.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        one.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
        one.sign(&key, MessageDigest::sha256()).unwrap();
        let one = one.build().to_pem().unwrap();
        fs::write(path("good"), [one.clone(), one].concat()).unwrap();
        fs::write(path("key"), key.private_key_to_pem_pkcs8().unwrap()).unwrap();
        let locked = key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"hunter2").unwrap();
        fs::write(path("locked"), locked).unwrap();
        fs::write(path("empty"), "").unwrap();
        fs::File::create(path("long")).unwrap().set_len(LIMIT as u64 + 1).unwrap();
        // Nobody ever writes into it: who opens it to read waits.
        mknodat(CWD, path("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let told = |ca: &str, certificate: &str, key: &str, password: &[u8]| {
            let (certificate, key) = (&path(certificate), &path(key));
            let own = Own { certificate, key, password };
            connector(Some(&path(ca)), Some(own)).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(told("good", "good", "key", b""), Ok(()));
        assert_eq!(told("good", "good", "locked", b"hunter2"), Ok(()));
        assert!(told("good", "good", "locked", b"").unwrap_err().contains("loading the key"));
        for (name, why) in [("pipe", "not a regular file"), ("long", "longer than 1048576 bytes")] {
            for error in [
                told(name, "good", "key", b""),
                told("good", name, "key", b""),
                told("good", "good", name, b""),
            ] {
                assert!(error.as_ref().unwrap_err().contains(why), "{error:?}");
            }
        }
        assert!(told("empty", "good", "key", b"").unwrap_err().contains("no certificate"));
        assert!(told("gone", "good", "key", b"").unwrap_err().contains("No such file"));
        assert!(connector(None, None).is_ok());
    }
}
