// SPDX-License-Identifier: Apache-2.0
//! Why a name has no address: which name, which servers were asked, and what each said.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::message::{BadName, Kind, Name};

/// Why there is no address.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// The text cannot be a host name.
    #[error("resolving {host:?}: not a host name: {why}")]
    BadName {
        /// What was asked for.
        host: String,
        /// What is wrong with it.
        why: BadName,
    },
    /// No such name, neither in the hosts file nor in DNS.
    #[error("resolving {host}: no such name, neither in the hosts file nor in DNS{}", Told(said))]
    Unknown {
        /// What was asked for.
        host: String,
        /// What the servers said, the last ones.
        said: Vec<Said>,
    },
    /// The name exists and has no address of the family asked for.
    #[error("resolving {host}: the name has no address of the kind asked for{}", Told(said))]
    NoAddress {
        /// What was asked for.
        host: String,
        /// What the servers said, the last ones.
        said: Vec<Said>,
    },
    /// No server gave an answer that settles it; later one may.
    #[error(
        "resolving {host}: no name server gave an answer{}; check the nameserver lines of {settings}",
        Told(said)
    )]
    Unanswered {
        /// What was asked for.
        host: String,
        /// What the servers said, the last ones.
        said: Vec<Said>,
        /// The file that names the servers.
        settings: PathBuf,
    },
    /// A file that says where to look cannot be read.
    #[error("reading {path} to resolve {host}")]
    Read {
        /// What was asked for.
        host: String,
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The kernel gave no random numbers, without which answers could be forged.
    #[error("resolving {host}: the kernel gives no random numbers")]
    Random {
        /// What was asked for.
        host: String,
        /// The kernel's reason.
        source: io::Error,
    },
}

/// What one server said to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Who was asked.
    pub server: SocketAddr,
    /// The name as it was asked, which a search list may have lengthened.
    pub name: Name,
    /// Which addresses were asked for.
    pub kind: Kind,
    /// What came back.
    pub outcome: Outcome,
}

/// What came back from a server instead of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The name does not exist.
    NoSuchName,
    /// The name exists, without an address of this kind.
    NoAddress,
    /// The server will not or cannot answer: its response code.
    Code(u8),
    /// Nothing in time.
    TimedOut,
    /// The network or the server's host refused.
    Network(io::ErrorKind),
    /// An answer that breaks the rules of the format.
    Malformed(&'static str),
}

impl fmt::Display for Said {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} on {} {}: {}", self.server, self.name, self.kind, self.outcome)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::NoSuchName => out.write_str("no such name"),
            Outcome::NoAddress => out.write_str("no address"),
            Outcome::Code(1) => out.write_str("question not understood"),
            Outcome::Code(2) => out.write_str("server failure"),
            Outcome::Code(5) => out.write_str("refused"),
            Outcome::Code(code) => write!(out, "response code {code}"),
            Outcome::TimedOut => out.write_str("timed out"),
            Outcome::Network(kind) => write!(out, "{kind}"),
            Outcome::Malformed(what) => write!(out, "malformed answer: {what}"),
        }
    }
}

/// `: a, b, c`, or nothing.
struct Told<'a>(&'a [Said]);

impl fmt::Display for Told<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, said) in self.0.iter().enumerate() {
            out.write_str(if at == 0 { ": " } else { ", " })?;
            said.fmt(out)?;
        }
        Ok(())
    }
}
