// SPDX-License-Identifier: Apache-2.0
//! From the configuration of sinks that speak HTTP, lumberjack or syslog to the settings of the room that ships.

use super::prepare::Prepared;
use super::secrets;
use crate::config::sink::Tls;
use crate::config::sink::http::{Auth, AuthKind, Elastic, Http};
use crate::config::sink::logstash::{self, Logstash};
use crate::config::sink::syslog::{Syslog, Transport};
use ship::{
    ElasticSettings, HostPort, HttpAuth, HttpSettings, LogstashSettings, Secret, SyslogSettings,
    SyslogTransport, TlsSettings, Url,
};
use std::time::Duration;

/// The secret of `auth` that can be read without asking a program.
pub(super) fn read(auth: Option<&Auth>) -> anyhow::Result<Option<Secret>> {
    auth.map_or(Ok(None), |auth| secrets::at(&auth.secret().1, false))
}

pub(super) fn tls(tls: Option<&Tls>, key_password: Option<&Secret>) -> TlsSettings {
    let Some(tls) = tls else { return TlsSettings::default() };
    TlsSettings {
        ca: tls.ca.clone(),
        certificate: tls.certificate.clone(),
        key: tls.key.clone(),
        key_password: key_password.cloned(),
        skip_name_check: tls.skip_name_check,
    }
}

impl Prepared {
    pub(super) fn elastic(&self, elastic: &Elastic) -> anyhow::Result<ElasticSettings> {
        Ok(ElasticSettings {
            http: self.http(&elastic.http)?,
            data_stream: elastic.data_stream.clone(),
            pipeline: elastic.pipeline.clone(),
        })
    }

    pub(super) fn syslog(&self, syslog: &Syslog) -> anyhow::Result<SyslogSettings> {
        Ok(SyslogSettings {
            place: HostPort::parse(&syslog.address, None).map_err(anyhow::Error::msg)?,
            transport: match syslog.transport {
                Transport::Tls => SyslogTransport::Tls(tls(syslog.tls.as_ref(), self.key_password())),
                Transport::Tcp => SyslogTransport::Tcp,
                Transport::Udp => SyslogTransport::Udp,
            },
            facility: syslog.facility,
        })
    }

    pub(super) fn logstash(&self, logstash: &Logstash) -> anyhow::Result<LogstashSettings> {
        let place = |host: &String| HostPort::parse(host, Some(logstash::PORT)).map_err(anyhow::Error::msg);
        Ok(LogstashSettings {
            hosts: logstash.hosts.iter().map(place).collect::<anyhow::Result<_>>()?,
            tls: match logstash.transport {
                logstash::Transport::Tls => Some(tls(logstash.tls.as_ref(), self.key_password())),
                logstash::Transport::Tcp => None,
            },
            compression_level: logstash.compression_level,
            window: logstash.window_events as usize,
            patience: Duration::from_secs(u64::from(logstash.timeout_secs)),
        })
    }

    pub(super) fn http(&self, http: &Http) -> anyhow::Result<HttpSettings> {
        let urls = http.urls.iter().map(|url| Url::parse(url).map_err(anyhow::Error::msg));
        Ok(HttpSettings {
            urls: urls.collect::<anyhow::Result<_>>()?,
            auth: self.auth(http.auth.as_ref())?,
            tls: tls(http.tls.as_ref(), self.key_password()),
            gzip: http.gzip,
            patience: Duration::from_secs(u64::from(http.timeout_secs)),
        })
    }

    fn auth(&self, auth: Option<&Auth>) -> anyhow::Result<HttpAuth> {
        let Some(auth) = auth else { return Ok(HttpAuth::None) };
        let (kind, place) = auth.secret();
        let secret = match self.password() {
            Some(secret) => secret.clone(),
            None => secrets::at(&place, true)?.unwrap_or_else(|| Secret::new(Vec::new())),
        };
        Ok(match kind {
            AuthKind::Password => HttpAuth::Basic { username: auth.username.clone(), password: secret },
            AuthKind::ApiKey => HttpAuth::ApiKey(secret),
            AuthKind::Token => HttpAuth::Bearer(secret),
        })
    }
}
