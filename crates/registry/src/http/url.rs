// SPDX-License-Identifier: Apache-2.0
//! `https://` and `http://` URLs, as far as registries have them.

use crate::reference::Host;

/// Longest URL; signed ones of object stores are long.
const URL_LIMIT: usize = 16 << 10;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// Whether TLS is spoken.
    pub(crate) secure: bool,
    pub(crate) host: Host,
    /// Path and query; begins with a slash.
    pub(crate) path: String,
}

impl Url {
    pub(crate) fn parse(text: &str) -> Result<Url, String> {
        let shown: String = text.chars().take(60).collect();
        if text.len() > URL_LIMIT || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("{shown:?} is no URL"));
        }
        let (secure, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            _ => return Err(format!("{shown:?} is no URL that begins with https:// or http://")),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        let host = Host::parse(host).map_err(|_| format!("{shown:?} has no usable host"))?;
        let path = if path.starts_with('/') { path.to_string() } else { format!("/{path}") };
        Ok(Url { secure, host, path })
    }

    /// Where a `Location` leads to from here.
    pub(crate) fn join(&self, location: &str) -> Result<Url, String> {
        if location.starts_with("//") {
            return Url::parse(&format!("{}:{location}", if self.secure { "https" } else { "http" }));
        }
        if !location.starts_with('/') {
            return Url::parse(location);
        }
        Url::parse(&format!("http://h{location}")).map(|url| Url { path: url.path, ..self.clone() })
    }

    /// With one more item of the query; `value` as it is in the end.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Url {
        let sign = if self.path.contains('?') { '&' } else { '?' };
        self.path.push_str(&format!("{sign}{name}={value}"));
        self
    }

    pub(crate) fn port(&self) -> u16 {
        self.host.port.unwrap_or(if self.secure { 443 } else { 80 })
    }

    /// Whether both are of the same server.
    pub(crate) fn same_place(&self, other: &Url) -> bool {
        self.secure == other.secure && self.host.name == other.host.name && self.port() == other.port()
    }
}

#[cfg(test)]
mod tests {
    use super::Url;

    #[test]
    fn urls() {
        let url = Url::parse("https://r.example/a?b=c#d").unwrap();
        assert_eq!((url.secure, url.port(), url.path.as_str()), (true, 443, "/a?b=c"));
        let joined = |location: &str| {
            url.join(location).map(|url| format!("{}://{}{}", url.secure, url.host, url.path))
        };
        assert_eq!(joined("/x?y").as_deref(), Ok("true://r.example/x?y"));
        assert_eq!(joined("http://o.example:8").as_deref(), Ok("false://o.example:8/"));
        assert_eq!(joined("//o.example/z").as_deref(), Ok("true://o.example/z"));
        for wrong in ["x", "", "ftp://h/", "http://u@h/", "https://h/a b", "/a\r\nb", "http://"] {
            assert!(url.join(wrong).is_err(), "{wrong}");
        }
        assert!(url.same_place(&Url::parse("https://r.example:443/").unwrap()));
        assert!(!url.same_place(&Url::parse("http://r.example:443/").unwrap()));
    }
}
