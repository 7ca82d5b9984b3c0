// SPDX-License-Identifier: Apache-2.0
//! One repository of a registry: its manifests and blobs, to and fro, each byte compared with what it must be.

mod ask;
mod login;
mod pull;
mod push;

pub use pull::Image;

use crate::error::{RegistryError, Why};
use crate::http::{Client, Fault, Request, Url};
use crate::login::Login;
use crate::reference::{Host, Reference};
use std::path::PathBuf;
use std::time::Duration;
use tls::Secret;

/// Docker Hub's registry has another name than its images.
const HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// How registries are spoken to.
pub struct Settings<'a> {
    /// Certificates of the authorities that are trusted; the host's own when not given.
    pub ca: Option<PathBuf>,
    /// Registries beside those of this host that may be spoken to without encryption.
    pub insecure: Vec<Host>,
    /// For one answer, and for each 64 KiB of what comes.
    pub patience: Duration,
    /// Who we are; asked for only when the registry wants to know.
    pub login: &'a dyn Fn(&Reference) -> Result<Option<Login>, RegistryError>,
    /// Is told why it takes longer.
    pub note: &'a dyn Fn(&str),
}

impl std::fmt::Debug for Settings<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Settings")
            .field("ca", &self.ca)
            .field("insecure", &self.insecure)
            .finish_non_exhaustive()
    }
}

/// A repository that is spoken to.
#[derive(Debug)]
pub struct Repository<'a> {
    settings: &'a Settings<'a>,
    reference: Reference,
    client: Client,
    /// Where the registry is.
    base: Url,
    /// What is sent to that place only.
    secret: Option<Secret>,
    /// Who we are, once that was asked.
    login: Option<Option<Login>>,
}

impl<'a> Repository<'a> {
    /// Finds out how the registry is to be spoken to. Without encryption only to this host and to those of
    /// [`Settings::insecure`], and only when it speaks no TLS.
    ///
    /// # Errors
    /// When the settings cannot be used, or it cannot be reached.
    pub fn open(settings: &'a Settings<'a>, reference: &Reference) -> Result<Repository<'a>, RegistryError> {
        let mut host = reference.registry.clone();
        if host.to_string() == HUB.0 {
            host = Host::parse(HUB.1)?;
        }
        // Without any authorities every certificate is refused, and the message says why.
        let authorities = settings.ca.as_deref().or_else(tls::authorities_of_host);
        let connector = tls::connector(authorities, None).map_err(|error| RegistryError::Setup {
            doing: "looking for who is trusted".to_string(),
            why: error.to_string(),
        })?;
        let base = Url { secure: true, host, path: "/v2/".to_string() };
        let client = Client::new(connector, settings.patience);
        let reference = reference.clone();
        let mut repository = Repository { settings, reference, client, base, secret: None, login: None };
        if repository.may_be_plain(&repository.base.host) {
            let first = repository.client.ask(&Request::new("GET", repository.base.clone()));
            repository.base.secure = match first {
                Ok(_) => true,
                Err(Fault::NoTls(_) | Fault::Trouble(_)) => false,
                Err(Fault::Lasting(why)) => return Err(repository.fault(Why::Trouble(why))),
            };
        }
        Ok(repository)
    }

    /// Registry and repository, for messages.
    #[must_use]
    pub fn place(&self) -> String {
        self.reference.place()
    }

    fn may_be_plain(&self, host: &Host) -> bool {
        host.is_loopback() || self.settings.insecure.contains(host)
    }

    fn fault(&self, why: Why) -> RegistryError {
        RegistryError::Registry { place: self.place(), why }
    }

    fn lie<T>(&self, why: impl Into<String>) -> Result<T, RegistryError> {
        Err(self.fault(Why::Lie(why.into())))
    }

    fn url(&self, rest: &str) -> Url {
        Url { path: format!("/v2/{}/{rest}", self.reference.repository), ..self.base.clone() }
    }
}
