// SPDX-License-Identifier: Apache-2.0
//! TLS to a daemon: its certificate must come from the authorities that were given, and be for the name we asked for.

use crate::{Certificates, DockerError};
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{HandshakeError, SslConnector, SslMethod, SslStream, SslVersion};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509VerifyResult};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use std::fs::File;
use std::io::{self, Read};
use std::net::TcpStream;
use std::path::Path;

/// The longest file with certificates or a key.
const FILE_LIMIT: u64 = 1 << 20;

/// The set-up; files are read now.
pub(crate) fn connector(certificates: &Certificates) -> Result<SslConnector, DockerError> {
    sys::openssl_without_configuration();
    let of = |path: &Path| {
        let path = path.to_owned();
        move |error: ErrorStack| DockerError::File { path, why: reasons(&error) }
    };
    let set_up = of(&certificates.ca);
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(set_up)?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2)).map_err(of(&certificates.ca))?;
    // A store of our own: the builder begins with the authorities of this host.
    let mut store = X509StoreBuilder::new().map_err(of(&certificates.ca))?;
    for authority in chain(&certificates.ca)? {
        store.add_cert(authority).map_err(of(&certificates.ca))?;
    }
    builder.set_cert_store(store.build());
    if let Some((certificate, key)) = &certificates.own {
        // Ours first, then those that lead from it to an authority.
        for (at, one) in chain(certificate)?.into_iter().enumerate() {
            let taken =
                if at == 0 { builder.set_certificate(&one) } else { builder.add_extra_chain_cert(one) };
            taken.map_err(of(certificate))?;
        }
        // Without a passphrase OpenSSL would ask for one on the terminal.
        let own = PKey::private_key_from_pem_passphrase(&read(key)?, b"").map_err(of(key))?;
        builder.set_private_key(&own).map_err(of(key))?;
        builder.check_private_key().map_err(of(key))?;
    }
    Ok(builder.build())
}

/// Encrypts a connection; the socket's own timeouts hold meanwhile.
pub(crate) fn encrypt(
    connector: &SslConnector,
    name: &str,
    host: &str,
    stream: TcpStream,
) -> Result<SslStream<TcpStream>, DockerError> {
    let failed = |why: String| DockerError::Connect { host: host.to_owned(), why };
    connector.connect(name, stream).map_err(|error| match error {
        HandshakeError::SetupFailure(error) => failed(reasons(&error)),
        HandshakeError::WouldBlock(_) => failed("the daemon does not go on with the TLS handshake".into()),
        HandshakeError::Failure(handshake) => {
            let verified = handshake.ssl().verify_result();
            match verified {
                X509VerifyResult::OK => failed(said(handshake.error())),
                _ => failed(format!("its certificate is not accepted: {}", verified.error_string())),
            }
        }
    })
}

/// What OpenSSL says, without its numbers.
pub(crate) fn said(error: &openssl::ssl::Error) -> String {
    match (error.ssl_error(), error.io_error()) {
        (Some(stack), _) => reasons(stack),
        (_, Some(error)) => error.to_string(),
        _ => "the connection was closed".into(),
    }
}

/// An error of a stream as it is told.
pub(crate) fn told(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<openssl::ssl::Error>());
    inner.map_or_else(|| error.to_string(), said)
}

fn reasons(error: &ErrorStack) -> String {
    let all: Vec<&str> = error.errors().iter().filter_map(|one| one.reason()).collect();
    if all.is_empty() { "OpenSSL does not say why".into() } else { all.join("; ") }
}

fn chain(path: &Path) -> Result<Vec<X509>, DockerError> {
    let odd = |why: String| DockerError::File { path: path.to_owned(), why };
    let found = X509::stack_from_pem(&read(path)?).map_err(|error| odd(reasons(&error)))?;
    if found.is_empty() { Err(odd("there is no certificate in PEM in it".into())) } else { Ok(found) }
}

/// A regular file of a sane length: a pipe would be waited for without end.
fn read(path: &Path) -> Result<Vec<u8>, DockerError> {
    let odd = |why: String| DockerError::File { path: path.to_owned(), why };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = open(path, flags, Mode::empty()).map_err(|error| odd(error.to_string()))?;
    let stat = fstat(&file).map_err(|error| odd(error.to_string()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(odd("it is not a regular file".into()));
    }
    let mut bytes = Vec::new();
    File::from(file).take(FILE_LIMIT + 1).read_to_end(&mut bytes).map_err(|error| odd(error.to_string()))?;
    match bytes.len() as u64 > FILE_LIMIT {
        true => Err(odd(format!("it is longer than {FILE_LIMIT} bytes"))),
        false => Ok(bytes),
    }
}
