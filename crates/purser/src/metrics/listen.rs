// SPDX-License-Identifier: Apache-2.0
//! Where metrics are served: nowhere, a loopback address, or a unix socket.

use rustix::net::{AddressFamily, sockopt};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

/// `[metrics] listen`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Listen {
    /// Not at all.
    #[default]
    Off,
    /// A loopback address and port.
    Loopback(SocketAddr),
    /// A socket in the file system, for root.
    Unix(PathBuf),
}

/// What is no place to listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Neither address nor path.
    #[error("{0:?} is no place to listen; write \"127.0.0.1:9479\", \"unix:/run/purser.metrics\" or \"off\"")]
    Unknown(String),
    /// Anybody could read it.
    #[error(
        "{0} is not a loopback address; metrics are for this host, let a proxy with a password serve others"
    )]
    Open(SocketAddr),
}

impl TryFrom<String> for Listen {
    type Error = ListenError;

    fn try_from(text: String) -> Result<Listen, ListenError> {
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') && path.len() < 100 => Ok(Listen::Unix(PathBuf::from(path))),
            _ if text == "off" => Ok(Listen::Off),
            _ => match text.parse::<SocketAddr>() {
                Ok(address) if address.ip().is_loopback() => Ok(Listen::Loopback(address)),
                Ok(address) => Err(ListenError::Open(address)),
                Err(_) => Err(ListenError::Unknown(text)),
            },
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Off => f.write_str("off"),
            Listen::Loopback(address) => address.fmt(f),
            Listen::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl From<Listen> for String {
    fn from(listen: Listen) -> String {
        listen.to_string()
    }
}

#[derive(Debug)]
pub(super) enum Listener {
    Loopback(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    pub(super) fn open(listen: &Listen) -> io::Result<Listener> {
        match listen {
            Listen::Off => Err(io::Error::other("nothing to listen on")),
            Listen::Loopback(address) => Ok(Listener::Loopback(TcpListener::bind(address)?)),
            Listen::Unix(path) => {
                // Only a socket that a dead agent left is in the way; anything else is not ours.
                if fs::symlink_metadata(path).is_ok_and(|at| at.file_type().is_socket()) {
                    fs::remove_file(path)?;
                }
                let listener = UnixListener::bind(path)?;
                fs::set_permissions(path, Permissions::from_mode(0o600))?;
                Ok(Listener::Unix(listener))
            }
        }
    }

    /// The listener that `socket` is already, if it listens there; a socket in the file system that is no longer
    /// at its path reaches nobody.
    pub(super) fn kept(listen: &Listen, socket: OwnedFd) -> Option<Listener> {
        if !sockopt::socket_acceptconn(&socket).ok()? {
            return None;
        }
        match (listen, sockopt::socket_domain(&socket).ok()?) {
            (Listen::Loopback(address), AddressFamily::INET | AddressFamily::INET6) => {
                let listener = TcpListener::from(socket);
                (listener.local_addr().ok()? == *address).then_some(Listener::Loopback(listener))
            }
            (Listen::Unix(path), AddressFamily::UNIX) => {
                let listener = UnixListener::from(socket);
                let there = fs::symlink_metadata(path).is_ok_and(|at| at.file_type().is_socket());
                let same = listener.local_addr().ok()?.as_pathname() == Some(path);
                (there && same).then_some(Listener::Unix(listener))
            }
            _ => None,
        }
    }

    /// Another descriptor of the same socket.
    pub(super) fn socket(&self) -> io::Result<OwnedFd> {
        match self {
            Listener::Loopback(listener) => Ok(listener.try_clone()?.into()),
            Listener::Unix(listener) => Ok(listener.try_clone()?.into()),
        }
    }

    pub(super) fn accept(&self) -> io::Result<Client> {
        Ok(match self {
            Listener::Loopback(listener) => Client::Loopback(listener.accept()?.0),
            Listener::Unix(listener) => Client::Unix(listener.accept()?.0),
        })
    }
}

#[derive(Debug)]
pub(super) enum Client {
    Loopback(TcpStream),
    Unix(UnixStream),
}

impl Client {
    /// The longest a single read or write may take from now on.
    pub(super) fn patience(&self, patience: Duration) -> io::Result<()> {
        let patience = Some(patience);
        match self {
            Client::Loopback(stream) => {
                stream.set_read_timeout(patience)?;
                stream.set_write_timeout(patience)
            }
            Client::Unix(stream) => {
                stream.set_read_timeout(patience)?;
                stream.set_write_timeout(patience)
            }
        }
    }
}

impl Read for Client {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Client::Loopback(stream) => stream.read(bytes),
            Client::Unix(stream) => stream.read(bytes),
        }
    }
}

impl Write for Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Client::Loopback(stream) => stream.write(bytes),
            Client::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Listen, Listener};
    use std::net::TcpListener;
    use std::os::fd::OwnedFd;

    #[test]
    fn a_kept_socket_serves_where_it_was_wanted_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.sock");
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let at = |place: &str| Listen::try_from(place.to_string()).unwrap();
        let (unix, tcp) = (at(&format!("unix:{}", path.display())), at(&free.to_string()));
        let kept = |opened: &Listen| Listener::open(opened).unwrap().socket().unwrap();
        assert!(Listener::kept(&tcp, kept(&tcp)).is_some());
        assert!(Listener::kept(&unix, kept(&unix)).is_some());
        assert!(Listener::kept(&unix, kept(&tcp)).is_none());
        assert!(Listener::kept(&tcp, kept(&unix)).is_none());
        assert!(Listener::kept(&at("127.0.0.1:1"), kept(&tcp)).is_none());
        let socket = kept(&unix);
        std::fs::remove_file(&path).unwrap();
        assert!(Listener::kept(&unix, socket).is_none());
        let connected = std::os::unix::net::UnixStream::pair().unwrap().0;
        assert!(Listener::kept(&unix, OwnedFd::from(connected)).is_none());
        assert!(Listener::kept(&unix, std::fs::File::open("/dev/null").unwrap().into()).is_none());
    }

    #[test]
    fn only_this_host_is_served() {
        let listen = |text: &str| Listen::try_from(text.to_string());
        assert_eq!(listen("off").unwrap(), Listen::Off);
        assert_eq!(listen("[::1]:9479").unwrap().to_string(), "[::1]:9479");
        assert_eq!(listen("unix:/run/m.sock").unwrap().to_string(), "unix:/run/m.sock");
        assert!(listen("0.0.0.0:9479").unwrap_err().to_string().contains("not a loopback address"));
        for wrong in ["", "9479", "localhost:9479", "unix:run/m.sock", "127.0.0.1"] {
            assert!(listen(wrong).unwrap_err().to_string().contains("is no place to listen"), "{wrong}");
        }
    }
}
