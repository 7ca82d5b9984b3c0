// SPDX-License-Identifier: Apache-2.0
//! `type = "syslog"`. Unknown keys are found before this structure is filled.

use super::super::check::{self, Fault};
use super::{Tls, check_certificates};
use serde::{Deserialize, Serialize};

/// How messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Transport {
    Tls,
    Tcp,
    Udp,
}

/// `type = "syslog"`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Syslog {
    /// `HOST:PORT`
    pub address: String,
    /// How.
    pub transport: Transport,
    /// 0 to 23.
    pub facility: u8,
    /// Certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

impl Default for Syslog {
    fn default() -> Syslog {
        Syslog { address: String::new(), transport: Transport::Tls, facility: 13, tls: None }
    }
}

impl Syslog {
    pub(super) fn check(&self, at: &dyn Fn(&str) -> String) -> Result<(), Fault> {
        if let Err(message) = ship::HostPort::parse(&self.address, None) {
            return check::fault(at("address"), message);
        }
        check::within(&at("facility"), u32::from(self.facility), 0, 23)?;
        check_certificates(at, self.transport == Transport::Tls, self.tls.as_ref())
    }
}
