// SPDX-License-Identifier: Apache-2.0
//! Addresses of Docker daemons, as `DOCKER_HOST`, `-H` and `host` have them.

/// The usual socket.
const SOCKET: &str = "/var/run/docker.sock";
/// Where a named pipe is on Windows.
const PIPE: &str = "//./pipe/docker_engine";
/// Ports without and with TLS.
const PORTS: (&str, &str) = ("2375", "2376");

/// The address in full, with what docker adds to a short one.
pub(super) fn normal(text: &str, tls: bool) -> Result<String, String> {
    let text = text.trim();
    let wrong = || {
        format!("{text:?} is no address of a daemon; write unix:///PATH, tcp://HOST:PORT or ssh://USER@HOST")
    };
    let (scheme, rest) = match text.split_once("://") {
        None if text.is_empty() && tls => return Ok(format!("tcp://localhost:{}", PORTS.1)),
        None if text.is_empty() => ("unix", ""),
        None => ("tcp", text),
        Some(parts) => parts,
    };
    if rest.contains("://") {
        return Err(wrong());
    }
    match scheme {
        "unix" => Ok(format!("unix://{}", if rest.is_empty() { SOCKET } else { rest })),
        "npipe" => Ok(format!("npipe://{}", if rest.is_empty() { PIPE } else { rest })),
        "fd" | "ssh" => Ok(text.to_owned()),
        "tcp" => Ok(format!("tcp://{}", address(rest).ok_or_else(wrong)?)),
        _ => Err(wrong()),
    }
}

/// A host and a port, with the usual ones where they are left out.
fn address(text: &str) -> Option<String> {
    let (authority, path) = text.split_at(text.find('/').unwrap_or(text.len()));
    let (host, port) = match authority.rsplit_once(':') {
        // The last colon of an IPv6 address that has no port is within its brackets.
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (authority, ""),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_open = host.contains(':') && bare == host;
    let is_odd = bare.contains(|c: char| c.is_whitespace() || c.is_control() || "[]@".contains(c));
    let port = if port.is_empty() { PORTS.0 } else { port };
    if is_open || is_odd || port.parse::<u16>().is_err() {
        return None;
    }
    let host = if bare.is_empty() { "localhost" } else { host };
    Some(format!("{host}:{port}{path}"))
}

/// The socket, when the daemon is on this host.
pub(super) fn socket(host: &str) -> Option<&str> {
    host.strip_prefix("unix://")
}

#[cfg(test)]
mod tests {
    use super::normal;

    #[test]
    fn as_docker_debug_has_them() {
        for (text, wanted) in [
            ("", "unix:///var/run/docker.sock"),
            ("tcp://10.0.0.1", "tcp://10.0.0.1:2375"),
            ("10.0.0.1:99", "tcp://10.0.0.1:99"),
            (":2375", "tcp://localhost:2375"),
            ("tcp://", "tcp://localhost:2375"),
            ("unix://", "unix:///var/run/docker.sock"),
            (" unix:///x.sock ", "unix:///x.sock"),
            ("ssh://u@h", "ssh://u@h"),
            ("fd://3", "fd://3"),
            ("npipe://", "npipe:////./pipe/docker_engine"),
            ("tcp://[::1]:", "tcp://[::1]:2375"),
            ("tcp://[::1]", "tcp://[::1]:2375"),
            ("tcp://h:1/path", "tcp://h:1/path"),
        ] {
            assert_eq!(normal(text, false).as_deref(), Ok(wanted), "{text}");
        }
        assert_eq!(normal("", true).as_deref(), Ok("tcp://localhost:2376"));
        for wrong in ["foo://x", "tcp://a:b", "tcp://::1", "tcp://a b", "unix://tcp://x", "tcp://h:99999"] {
            assert!(normal(wrong, false).is_err(), "{wrong}");
        }
    }
}
