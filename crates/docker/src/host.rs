// SPDX-License-Identifier: Apache-2.0
//! Where a daemon is: `unix:///PATH`, `tcp://HOST[:PORT]`, `ssh://[USER@]HOST[:PORT][/PATH]`.

use crate::DockerError;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The longest text that names a host.
const TEXT_LIMIT: usize = 1024;
const PLAIN_PORT: u16 = 2375;
const TLS_PORT: u16 = 2376;

/// How to get to a daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// A socket of this host.
    Unix(PathBuf),
    /// TCP, with TLS when there are certificates.
    Tcp {
        /// A name, or an address without brackets.
        host: String,
        /// As given.
        port: Option<u16>,
    },
    /// `ssh`, which runs `docker system dial-stdio` there.
    Ssh {
        /// The login name there.
        user: Option<String>,
        /// What `ssh` is to connect to; a name of its own configuration, too.
        host: String,
        /// As given.
        port: Option<u16>,
        /// The daemon's socket there, where it is not the usual one.
        socket: Option<String>,
    },
}

/// What is shown and what is checked on a connection with TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificates {
    /// Of the authorities that a daemon's certificate must come from.
    pub ca: PathBuf,
    /// Ours and its key, for daemons that ask for one.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// A host as it was named, and the way there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    text: String,
    way: Way,
    /// TLS when there are some; only for TCP.
    pub certificates: Option<Certificates>,
}

impl Host {
    /// How to get there.
    pub fn way(&self) -> &Way {
        &self.way
    }

    /// Whether its daemon runs on this host, so that nothing is gained by packing what is sent.
    pub fn is_local(&self) -> bool {
        matches!(self.way, Way::Unix(_))
    }

    /// The port that was named, or the usual one.
    pub(crate) fn tcp_port(&self, port: Option<u16>) -> u16 {
        port.unwrap_or(if self.certificates.is_some() { TLS_PORT } else { PLAIN_PORT })
    }

    /// Takes `ca.pem`, and `cert.pem` and `key.pem` where they are, from a directory.
    ///
    /// # Errors
    /// When the host is not reached by TCP, or there is no `ca.pem`, or one of the other two alone.
    pub fn with_certificates(mut self, dir: &std::path::Path) -> Result<Host, DockerError> {
        if !matches!(self.way, Way::Tcp { .. }) {
            return Err(self.odd("certificates are for tcp:// only"));
        }
        let path = |name: &str| dir.join(name);
        let missing =
            |name: &str| DockerError::File { path: path(name), why: "there is no such file".into() };
        let there = |name: &str| path(name).exists();
        if !there("ca.pem") {
            return Err(missing("ca.pem"));
        }
        let own = match (there("cert.pem"), there("key.pem")) {
            (true, true) => Some((path("cert.pem"), path("key.pem"))),
            (false, false) => None,
            (true, false) => return Err(missing("key.pem")),
            (false, true) => return Err(missing("cert.pem")),
        };
        self.certificates = Some(Certificates { ca: path("ca.pem"), own });
        Ok(self)
    }

    fn odd(&self, why: &'static str) -> DockerError {
        DockerError::Host { text: self.text.clone(), why }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl FromStr for Host {
    type Err = DockerError;

    fn from_str(text: &str) -> Result<Host, DockerError> {
        let shown = text.chars().take(TEXT_LIMIT).collect::<String>();
        way(text)
            .map(|way| Host { text: shown.clone(), way, certificates: None })
            .map_err(|why| DockerError::Host { text: shown, why })
    }
}

fn way(text: &str) -> Result<Way, &'static str> {
    if text.len() > TEXT_LIMIT || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("it is too long, or has blanks in it");
    }
    let (scheme, rest) = text.split_once("://").ok_or("it has no scheme")?;
    match scheme {
        "unix" if rest.starts_with('/') => Ok(Way::Unix(rest.into())),
        "unix" => Err("the path does not begin with a slash"),
        "tcp" => {
            let (host, port) = host_and_port(rest.strip_suffix('/').unwrap_or(rest))?;
            Ok(Way::Tcp { host, port })
        }
        "ssh" => {
            let (place, path) = rest.split_once('/').map_or((rest, ""), |(place, path)| (place, path));
            let (user, place) = match place.rsplit_once('@') {
                Some((user, place)) => (Some(user), place),
                None => (None, place),
            };
            if user.is_some_and(|user| !is_word(user)) {
                return Err("this is no user");
            }
            let (host, port) = host_and_port(place)?;
            // It is a word in a command line that a shell there reads.
            let is_plain =
                |path: &str| path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte));
            if !is_plain(path) {
                return Err("the path has letters that a shell may take for something else");
            }
            let socket = (!path.is_empty()).then(|| format!("/{path}"));
            Ok(Way::Ssh { user: user.map(str::to_owned), host, port, socket })
        }
        _ => Err("this scheme is not known"),
    }
}

/// `HOST`, `HOST:PORT`, `[ADDRESS]`, `[ADDRESS]:PORT`.
fn host_and_port(text: &str) -> Result<(String, Option<u16>), &'static str> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or("an address without its bracket")?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err("there is no address in brackets");
            }
            let port = if after.is_empty() {
                None
            } else {
                Some(after.strip_prefix(':').ok_or("no port behind it")?)
            };
            (host, port)
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if !text.starts_with('[') && !is_word(host) {
        return Err("this is no name of a host");
    }
    let port = port.map(|port| port.parse().ok().filter(|port| *port > 0).ok_or("this is no port"));
    Ok((host.to_owned(), port.transpose()?))
}

/// A name that no program takes for an option.
fn is_word(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte) || !byte.is_ascii();
    !text.is_empty() && !text.starts_with('-') && text.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::{Host, Way};

    fn way(text: &str) -> Option<Way> {
        text.parse::<Host>().ok().map(|host| host.way)
    }

    #[test]
    fn ways() {
        assert_eq!(way("unix:///run/x.sock"), Some(Way::Unix("/run/x.sock".into())));
        let tcp = |host: &str, port| Some(Way::Tcp { host: host.into(), port });
        assert_eq!(way("tcp://db1:2376"), tcp("db1", Some(2376)));
        assert_eq!(way("tcp://db1/"), tcp("db1", None));
        assert_eq!(way("tcp://[::1]:1"), tcp("::1", Some(1)));
        let ssh = |user: Option<&str>, host: &str, port, socket: Option<&str>| {
            let (user, socket) = (user.map(Into::into), socket.map(Into::into));
            Some(Way::Ssh { user, host: host.into(), port, socket })
        };
        assert_eq!(way("ssh://ops@db1"), ssh(Some("ops"), "db1", None, None));
        assert_eq!(way("ssh://db1:22/run/d.sock"), ssh(None, "db1", Some(22), Some("/run/d.sock")));
    }

    #[test]
    fn what_names_no_host() {
        for wrong in [
            "",
            "db1",
            "tcp://",
            "tcp://db1:0",
            "tcp://db1:x",
            "tcp://a b",
            "tcp://::1:5",
            "tcp://db1/x",
            "tcp://[x]",
            "tcp://[::1]5",
            "unix://x",
            "unix:",
            "fd://",
            "npipe:////x",
            "ssh://",
            "ssh://-oProxyCommand=x",
            "ssh://@x",
            "ssh://-l@x",
            "ssh://u@-x",
            "ssh://x/$(id)",
            "ssh://x/a;b",
            "tcp://-x",
        ] {
            assert!(wrong.parse::<Host>().is_err(), "{wrong}");
        }
        let error = "db1".parse::<Host>().unwrap_err().to_string();
        assert!(error.contains("ssh://USER@HOST"), "{error}");
    }

    #[test]
    fn certificates_are_whole() {
        let dir = tempfile::tempdir().unwrap();
        let host = || "tcp://db1".parse::<Host>().unwrap();
        let told = |host: Host| host.with_certificates(dir.path()).map_err(|error| error.to_string());
        assert!(told(host()).unwrap_err().contains("ca.pem"));
        std::fs::write(dir.path().join("ca.pem"), "").unwrap();
        assert_eq!(told(host()).unwrap().tcp_port(None), 2376);
        std::fs::write(dir.path().join("key.pem"), "").unwrap();
        assert!(told(host()).unwrap_err().contains("cert.pem"));
        assert!(told("unix:///x".parse().unwrap()).is_err());
        assert_eq!(host().tcp_port(None), 2375);
    }
}
