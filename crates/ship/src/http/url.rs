// SPDX-License-Identifier: Apache-2.0
//! `http://` and `https://` URLs, as far as a sink needs them.

use crate::wire::HostPort;

/// Longest URL.
const URL_LIMIT: usize = 2048;

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Whether TLS is spoken.
    pub(crate) secure: bool,
    pub(crate) place: HostPort,
    /// Begins with a slash and does not end with one, or is empty.
    pub(crate) path: String,
}

impl Url {
    /// Reads a URL without user, password and fragment.
    ///
    /// # Errors
    /// What is wrong, in words; the URL is not repeated where it may hold a password.
    pub fn parse(text: &str) -> Result<Url, String> {
        if text.len() > URL_LIMIT || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("a URL has at most {URL_LIMIT} printable ASCII characters"));
        }
        let (secure, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err("a URL begins with https:// or http://".to_string()),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        if host.contains('@') {
            return Err("user and password do not belong into a URL; there are keys for them".to_string());
        }
        if path.contains('#') {
            return Err(format!("{text:?} has a part behind # that is never sent"));
        }
        let place = HostPort::parse(host, Some(if secure { 443 } else { 80 }))
            .map_err(|_| format!("{text:?} has no usable host or port"))?;
        Ok(Url { secure, place, path: path.trim_end_matches('/').to_string() })
    }

    /// The same receiver with `path` behind the URL's own, which may end with it already.
    pub(crate) fn below(&self, path: &str) -> Url {
        let own = self.path.strip_suffix(path).unwrap_or(&self.path);
        Url { path: format!("{own}{path}"), ..self.clone() }
    }

    /// Whether there is a query behind the path.
    pub fn has_query(&self) -> bool {
        self.path.contains('?')
    }

    /// As `Host` wants it: without the port when it is the usual one.
    pub(crate) fn host_header(&self) -> String {
        let usual = if self.secure { 443 } else { 80 };
        let whole = self.place.to_string();
        match whole.strip_suffix(&format!(":{usual}")) {
            Some(host) if self.place.port == usual => host.to_string(),
            _ => whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Url;

    #[test]
    fn a_url_has_a_host_a_port_and_a_path() {
        let url = Url::parse("https://es.example/prefix/").unwrap();
        assert_eq!((url.secure, url.place.port, url.path.as_str()), (true, 443, "/prefix"));
        assert_eq!(url.host_header(), "es.example");
        let url = Url::parse("http://[::1]:9200").unwrap();
        assert_eq!((url.secure, url.host_header().as_str(), url.path.as_str()), (false, "[::1]:9200", ""));
        let url = Url::parse("http://127.0.0.1:8123/?query=INSERT").unwrap();
        assert_eq!(url.path, "/?query=INSERT");
        for wrong in ["es.example:9200", "ftp://h", "http://", "http://h:0", "http://h/#x", "http://h\u{e9}/"]
        {
            assert!(Url::parse(wrong).is_err(), "{wrong}");
        }
        let below = |text: &str| Url::parse(text).unwrap().below("/v1/logs").path;
        assert_eq!(below("http://h"), "/v1/logs");
        assert_eq!(below("http://h/otlp/"), "/otlp/v1/logs");
        assert_eq!(below("http://h/v1/logs"), "/v1/logs");
        let error = Url::parse("http://user:hunter2@h").unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
