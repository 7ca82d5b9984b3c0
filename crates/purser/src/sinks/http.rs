// SPDX-License-Identifier: Apache-2.0
//! From the configuration of sinks that speak HTTP, lumberjack or syslog to the settings of the room that ships.

use super::prepare::{Prepared, wall_ns};
use super::secrets;
use crate::config::sink::Tls;
use crate::config::sink::http::{Auth, AuthKind, Elastic, Http};
use crate::config::sink::logstash::{self, Logstash};
use crate::config::sink::syslog::{Syslog, Transport};
use crate::config::sink::webhook::{Format, Hmac, Method, Otlp, Preset, Webhook};
use ship::{
    ElasticSettings, HostPort, HttpAuth, HttpSettings, LogstashSettings, OtlpSettings, Secret, Signing,
    SyslogSettings, SyslogTransport, Template, TlsSettings, Url, WebhookForm, WebhookMethod, WebhookSettings,
};
use std::time::Duration;

/// The secrets in the files of headers.
pub(super) fn header_files(http: &Http) -> anyhow::Result<Vec<(String, Secret)>> {
    let files = http.header_files.iter();
    files.map(|(name, path)| Ok((name.clone(), secrets::file(path)?))).collect()
}

/// The secret of `hmac` that can be read without asking a program.
pub(super) fn read_hmac(hmac: Option<&Hmac>) -> anyhow::Result<Option<Secret>> {
    hmac.map_or(Ok(None), |hmac| secrets::at(&hmac.secret(), false))
}

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

    pub(super) fn webhook(&self, webhook: &Webhook) -> anyhow::Result<WebhookSettings> {
        let method = match webhook.method {
            Method::Post => WebhookMethod::Post,
            Method::Put => WebhookMethod::Put,
        };
        let labels = || {
            let labels = webhook.labels().into_iter();
            let labels =
                labels.map(|(name, value)| Ok((name, Template::new(&value).map_err(anyhow::Error::msg)?)));
            labels.collect::<anyhow::Result<_>>()
        };
        Ok(WebhookSettings {
            http: self.http(&webhook.http)?,
            form: match (webhook.preset, webhook.format) {
                (None, Format::Lines) => WebhookForm::Lines(method),
                (None, Format::Array) => WebhookForm::Array(method),
                (Some(Preset::Loki), _) => WebhookForm::Loki(labels()?),
                (Some(Preset::ClickHouse), _) => WebhookForm::ClickHouse {
                    database: webhook.database.clone().unwrap_or_else(|| "default".to_string()),
                    table: webhook.table.clone().unwrap_or_else(|| "purser".to_string()),
                },
            },
            poison_statuses: webhook.poison_statuses.clone(),
            signing: webhook.hmac.as_ref().map(|hmac| self.signing(hmac)).transpose()?,
        })
    }

    fn signing(&self, hmac: &Hmac) -> anyhow::Result<Signing> {
        let secret = match self.hmac_secret() {
            Some(secret) => secret.clone(),
            None => secrets::at(&hmac.secret(), true)?.unwrap_or_else(|| Secret::new(Vec::new())),
        };
        let (header, timestamp_header) = (hmac.header.clone(), hmac.timestamp_header.clone());
        Ok(Signing { secret, header, timestamp_header, clock: wall_ns })
    }

    pub(super) fn otlp(&self, otlp: &Otlp) -> anyhow::Result<OtlpSettings> {
        Ok(OtlpSettings { http: self.http(&otlp.http)?, poison_statuses: otlp.poison_statuses.clone() })
    }

    pub(super) fn http(&self, http: &Http) -> anyhow::Result<HttpSettings> {
        let urls = http.urls.iter().map(|url| Url::parse(url).map_err(anyhow::Error::msg));
        Ok(HttpSettings {
            urls: urls.collect::<anyhow::Result<_>>()?,
            auth: self.auth(http.auth.as_ref())?,
            headers: http.headers.clone().into_iter().collect(),
            secret_headers: self.headers().to_vec(),
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
