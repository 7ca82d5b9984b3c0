// SPDX-License-Identifier: Apache-2.0
//! `type = "logstash"`. Unknown keys are found before this structure is filled.

use super::super::check::{self, Fault};
use super::{Tls, check_certificates};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The port of Logstash's `beats` input.
pub(crate) const PORT: u16 = 5044;

/// How documents travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Transport {
    Tls,
    Tcp,
}

/// `type = "logstash"`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Logstash {
    /// `HOST:PORT` of each receiver.
    pub hosts: Vec<String>,
    /// How.
    pub transport: Transport,
    /// 0 to 9.
    pub compression_level: u32,
    /// Most documents that wait for one acknowledgement.
    pub window_events: u32,
    /// Longest silence of a receiver.
    pub timeout_secs: u32,
    /// Certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

impl Default for Logstash {
    fn default() -> Logstash {
        Logstash {
            hosts: Vec::new(),
            transport: Transport::Tls,
            compression_level: 3,
            window_events: 2048,
            timeout_secs: 30,
            tls: None,
        }
    }
}

impl Logstash {
    pub(super) fn check(&self, at: &dyn Fn(&str) -> String) -> Result<(), Fault> {
        if self.hosts.is_empty() {
            return check::fault(at("hosts"), "write hosts = [\"HOST:5044\"], at least one");
        }
        check::list(&at("hosts"), self.hosts.len())?;
        for (index, host) in self.hosts.iter().enumerate() {
            let at = at(&format!("hosts[{index}]"));
            match ship::HostPort::parse(host, Some(PORT)) {
                Err(message) => return check::fault(at, message),
                Ok(place) if self.transport == Transport::Tcp && !is_here(&place.host) => {
                    let message =
                        format!("{host} is not on this host, and what goes there must be encrypted");
                    return check::fault(at, message);
                }
                Ok(_) => {}
            }
        }
        check::within(&at("compression_level"), self.compression_level, 0, 9)?;
        check::within(&at("window_events"), self.window_events, 1, 65_536)?;
        check::within(&at("timeout_secs"), self.timeout_secs, 1, 3600)?;
        check_certificates(at, self.transport == Transport::Tls, self.tls.as_ref())
    }
}

/// Whether what is sent there stays on this host.
fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}
