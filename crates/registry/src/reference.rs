// SPDX-License-Identifier: Apache-2.0
//! What images are called: registry, repository, tag and digest.

use crate::digest::Digest;
use crate::error::RegistryError;
use std::fmt;
use std::net::IpAddr;

/// Longest repository, and longest tag, as the specification has them.
const REPOSITORY_LIMIT: usize = 255;
const TAG_LIMIT: usize = 128;
/// Longest host name.
const HOST_LIMIT: usize = 253;
/// The tag that is meant when none is written.
const USUAL_TAG: &str = "latest";

/// A registry: a host, and a port if it is written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host {
    /// A name, or an address without brackets.
    pub(crate) name: String,
    pub(crate) port: Option<u16>,
}

/// An image in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The registry.
    pub registry: Host,
    /// The repository in it.
    pub repository: String,
    /// The tag, if one is written.
    pub tag: Option<String>,
    /// What the image must be, if it is written.
    pub digest: Option<Digest>,
}

impl Host {
    /// Reads `HOST` or `HOST:PORT`; an IPv6 address stands in brackets.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Host, RegistryError> {
        let wrong = || RegistryError::Reference {
            text: text.to_string(),
            why: "a registry is HOST or HOST:PORT".to_string(),
        };
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (name, rest) = rest.split_once(']').ok_or_else(wrong)?;
                name.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
                (name, (!rest.is_empty()).then(|| rest.strip_prefix(':').unwrap_or_default()))
            }
            None => text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port))),
        };
        let port = match port {
            Some(port) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?)
            }
            Some(_) => return Err(wrong()),
            None => None,
        };
        let label = |label: &str| {
            !label.is_empty()
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        let named = name.split('.').all(label) || text.starts_with('[');
        if name.len() > HOST_LIMIT || !named {
            return Err(wrong());
        }
        Ok(Host { name: name.to_ascii_lowercase(), port })
    }

    /// Whether it can only be this host.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.name == "localhost" || self.name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name.contains(':') { format!("[{}]", self.name) } else { self.name.clone() };
        match self.port {
            Some(port) => write!(out, "{name}:{port}"),
            None => out.write_str(&name),
        }
    }
}

impl Reference {
    /// Reads a whole reference, which begins with its registry.
    ///
    /// # Errors
    /// When it is none, or names no registry.
    pub fn parse(text: &str) -> Result<Reference, RegistryError> {
        let wrong = |why: &str| RegistryError::Reference { text: text.to_string(), why: why.to_string() };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(Digest::new(digest)?)),
            None => (text, None),
        };
        let (registry, path) = rest
            .split_once('/')
            .filter(|(registry, _)| names_a_registry(registry))
            .ok_or_else(|| wrong("it names no registry; write REGISTRY/REPOSITORY:TAG"))?;
        let registry = Host::parse(registry)?;
        let (repository, tag) = match path.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (path, None),
        };
        if !is_repository(repository) {
            return Err(wrong("a repository has lower case letters, digits and single . _ - between, and /"));
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(wrong("a tag has letters, digits, _ . and -, 1 to 128 of them"));
        }
        Ok(Reference { registry, repository: repository.to_string(), tag: tag.map(str::to_string), digest })
    }

    /// The tag, or the usual one.
    #[must_use]
    pub fn tag(&self) -> &str {
        self.tag.as_deref().unwrap_or(USUAL_TAG)
    }

    /// What the registry is asked for: the digest if there is one, so that the answer can be compared.
    #[must_use]
    pub fn wanted(&self) -> &str {
        self.digest.as_ref().map_or_else(|| self.tag(), Digest::as_str)
    }

    /// Registry and repository.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.place())?;
        if let Some(tag) = &self.tag {
            write!(out, ":{tag}")?;
        }
        self.digest.as_ref().map_or(Ok(()), |digest| write!(out, "@{digest}"))
    }
}

/// As everywhere: a first part with a dot or a port, or this host.
fn names_a_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost"
}

fn is_repository(text: &str) -> bool {
    // Runs of letters and digits, with `.`, `_`, `__` or any number of `-` between two of them.
    let part = |part: &str| {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let ends = part.bytes().next().is_some_and(plain) && part.bytes().next_back().is_some_and(plain);
        let between = |run: &str| matches!(run, "." | "_" | "__") || run.bytes().all(|byte| byte == b'-');
        ends && part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).all(between)
    };
    text.len() <= REPOSITORY_LIMIT && text.split('/').all(part)
}

fn is_tag(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    first && text.len() <= TAG_LIMIT && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::{Host, Reference};
    use proptest::prelude::{any, prop_assert_eq, proptest};

    const DIGEST: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn references() {
        for right in [
            "registry.example/kits/gdb:18",
            "registry.example:5000/gdb",
            "localhost/a/b_c/d__e/f-g---h.i",
            "[::1]:5000/x:T_a.g-1",
            &format!("r.example/x@{DIGEST}"),
            &format!("r.example/x:1@{DIGEST}"),
        ] {
            assert_eq!(Reference::parse(right).unwrap().to_string(), right);
        }
        let read = Reference::parse("R.example:5000/kits/gdb").unwrap();
        assert_eq!((read.place().as_str(), read.tag()), ("r.example:5000/kits/gdb", "latest"));
        for (wrong, says) in [
            ("gdb", "names no registry"),
            ("gdb:18", "names no registry"),
            ("nicolaka/netshoot", "names no registry"),
            ("r.example/", "a repository has"),
            ("r.example/Gdb", "a repository has"),
            ("r.example/a//b", "a repository has"),
            ("r.example/a/../b", "a repository has"),
            ("r.example/a_.b", "a repository has"),
            ("r.example/a:-x", "a tag has"),
            ("r.example/a:", "a tag has"),
            ("r.example/a@sha256:00", "a digest is"),
            ("r.example:99999/a", "HOST:PORT"),
            ("r.example:0/a", "HOST:PORT"),
            ("r..example/a", "HOST:PORT"),
            ("user@r.example/a", "a digest is"),
            ("[::1/a", "HOST:PORT"),
        ] {
            let said = Reference::parse(wrong).unwrap_err().to_string();
            assert!(said.contains(says), "{wrong}: {said}");
        }
    }

    #[test]
    fn who_is_this_host() {
        for here in ["localhost", "127.0.0.1:5000", "127.8.8.8", "[::1]:5000"] {
            assert!(Host::parse(here).unwrap().is_loopback(), "{here}");
        }
        for not in ["localhost.example", "10.0.0.1", "127.0.0.1.example"] {
            assert!(!Host::parse(not).unwrap().is_loopback(), "{not}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_comes_back(text in "[a-z0-9.:/@_\\[\\]-]{0,40}", other in any::<String>()) {
            Reference::parse(&other).map(drop).unwrap_or_default();
            if let Ok(reference) = Reference::parse(&text) {
                prop_assert_eq!(Reference::parse(&reference.to_string()).unwrap(), reference);
            }
        }
    }
}
