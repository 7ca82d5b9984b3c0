// SPDX-License-Identifier: Apache-2.0
//! How a connection is encrypted: the same settings and the same set-up for every sink.

use crate::error::Error;
use crate::secret::Secret;
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{SslConnector, SslConnectorBuilder, SslMethod, SslVersion};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Longest file of certificates or a key. Those of distributions have a quarter of it.
const FILE_LIMIT: u64 = 1 << 20;

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
        // Ours first, then those that lead from it to an authority.
        for (at, one) in certificates(certificate, &loading)?.into_iter().enumerate() {
            let taken =
                if at == 0 { builder.set_certificate(&one) } else { builder.add_extra_chain_cert(one) };
            taken.map_err(|error| refused(&loading, error))?;
        }
        let loading = format!("loading the key {}", key.display());
        let text = read(key, &loading)?;
        // Without a password OpenSSL would ask for one on the terminal.
        let password = settings.key_password.as_ref().map_or(b"".as_slice(), Secret::expose);
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
    // A store of our own: the builder begins with what it finds in OpenSSL's own places.
    let mut store = X509StoreBuilder::new().map_err(|error| refused(&loading, error))?;
    for authority in certificates(path, &loading)? {
        store.add_cert(authority).map_err(|error| refused(&loading, error))?;
    }
    builder.set_cert_store(store.build());
    Ok(())
}

/// All certificates in the file at `path`; there is at least one.
fn certificates(path: &Path, loading: &str) -> Result<Vec<X509>, Error> {
    let text = read(path, loading)?;
    let found = X509::stack_from_pem(text.expose()).map_err(|error| refused(loading, error))?;
    if found.is_empty() {
        return Err(Error::Settings(format!("{loading}: there is no certificate in PEM in it")));
    }
    Ok(found)
}

/// What is in the file at `path`. A pipe would be waited for without end, and a file without end
/// would fill the memory, so that OpenSSL is not left to open it.
fn read(path: &Path, loading: &str) -> Result<Secret, Error> {
    let about = |source| Error::io("reading", path, source);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = open(path, flags, Mode::empty()).map_err(|error| about(error.into()))?;
    let stat = fstat(&file).map_err(|error| about(error.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::Settings(format!("{loading}: it is not a regular file")));
    }
    // In one piece, so that growing leaves no copy of a key behind.
    let mut bytes =
        Vec::with_capacity(usize::try_from(stat.st_size).unwrap_or(0).min(FILE_LIMIT as usize) + 2);
    let read = File::from(file).take(FILE_LIMIT + 1).read_to_end(&mut bytes);
    let text = Secret::new(bytes);
    match read {
        Err(error) => Err(about(error)),
        Ok(count) if count as u64 > FILE_LIMIT => {
            Err(Error::Settings(format!("{loading}: it is longer than {FILE_LIMIT} bytes")))
        }
        Ok(_) => Ok(text),
    }
}

fn refused(doing: &str, error: ErrorStack) -> Error {
    let said: Vec<String> = error.errors().iter().filter_map(|one| Some(one.reason()?.to_string())).collect();
    let said = if said.is_empty() { "OpenSSL does not say why".to_string() } else { said.join("; ") };
    Error::Settings(format!("{doing}: {said}"))
}

#[cfg(test)]
mod tests {
    use super::{FILE_LIMIT, TlsSettings, connector};
    use openssl::asn1::Asn1Time;
    use openssl::hash::MessageDigest;
    use openssl::pkey::PKey;
    use openssl::rsa::Rsa;
    use openssl::x509::X509;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::fs;
    use std::path::PathBuf;

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
        fs::write(path("empty"), "").unwrap();
        fs::File::create(path("long")).unwrap().set_len(FILE_LIMIT + 1).unwrap();
        // Nobody ever writes into it: who opens it to read waits.
        mknodat(CWD, path("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let told = |ca: &str, certificate: &str, key: &str| {
            let some = |name: &str| Some(path(name));
            let (ca, certificate, key): (_, Option<PathBuf>, _) = (some(ca), some(certificate), some(key));
            let settings = TlsSettings { ca, certificate, key, ..TlsSettings::default() };
            connector(&settings).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(told("good", "good", "key"), Ok(()));
        for (name, why) in [("pipe", "not a regular file"), ("long", "longer than 1048576 bytes")] {
            for error in [told(name, "good", "key"), told("good", name, "key"), told("good", "good", name)] {
                assert!(error.as_ref().unwrap_err().contains(why), "{error:?}");
            }
        }
        assert!(told("empty", "good", "key").unwrap_err().contains("no certificate"));
        assert!(told("gone", "good", "key").unwrap_err().contains("No such file"));
    }
}
