// SPDX-License-Identifier: Apache-2.0
//! TLS to a daemon: its certificate must come from the authorities that were given, and be for the name we asked for.

use crate::{Certificates, DockerError};
use ::tls::{Disagreement, Own, TlsError, disagreement};
use openssl::ssl::{SslConnector, SslStream};
use std::net::TcpStream;

/// The set-up; files are read now.
pub(crate) fn connector(certificates: &Certificates) -> Result<SslConnector, DockerError> {
    let own = certificates.own.as_ref();
    let own = own.map(|(certificate, key)| Own { certificate, key, password: b"" });
    ::tls::connector(Some(&certificates.ca), own).map_err(|error| match error {
        TlsError::File { path, why, .. } => DockerError::File { path, why },
        TlsError::SetUp(why) => DockerError::File { path: certificates.ca.clone(), why },
    })
}

/// Encrypts a connection; the socket's own timeouts hold meanwhile.
pub(crate) fn encrypt(
    connector: &SslConnector,
    name: &str,
    host: &str,
    stream: TcpStream,
) -> Result<SslStream<TcpStream>, DockerError> {
    connector.connect(name, stream).map_err(|error| {
        let why = match disagreement(&error) {
            Disagreement::Slow => "the daemon does not go on with the TLS handshake".to_owned(),
            Disagreement::Certificate(why) => format!("its certificate is not accepted: {why}"),
            Disagreement::Refused(why) | Disagreement::Closed(why) => why,
        };
        DockerError::Connect { host: host.to_owned(), why }
    })
}
