// SPDX-License-Identifier: Apache-2.0
//! From a name to addresses: a number is itself, then the hosts file, then `localhost`, then DNS, whose
//! servers and search list are gone through here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::rand::{GetRandomFlags, getrandom};

use crate::error::{NameError, Outcome, Said};
use crate::exchange::{self, Ids};
use crate::hosts;
use crate::message::{Answer, BadName, Kind, NO_SUCH_NAME, Name};
use crate::order;
use crate::settings::{self, Settings};

const DNS_PORT: u16 = 53;
/// What servers said that an error keeps, so that a long search list makes no endless message.
const SAID_LIMIT: usize = 8;

/// Which addresses are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Both.
    Any,
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    fn kinds(self) -> &'static [Kind] {
        match self {
            Family::Any => &[Kind::A, Kind::Aaaa],
            Family::V4 => &[Kind::A],
            Family::V6 => &[Kind::Aaaa],
        }
    }

    fn has(self, address: &SocketAddr) -> bool {
        self == Family::Any || (self == Family::V4) == address.is_ipv4()
    }
}

/// The addresses of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// At least one, best first, with port 0.
    pub addresses: Vec<SocketAddr>,
    /// The name they belong to, after aliases and the search list.
    pub canonical: String,
}

/// Where names are looked up.
#[derive(Debug, Clone)]
pub struct Resolver {
    hosts: PathBuf,
    settings: PathBuf,
    port: u16,
}

impl Resolver {
    /// How long one name may take, whatever the settings say.
    pub const WHOLE_LIMIT: Duration = Duration::from_secs(30);

    /// As this machine is set up.
    pub fn system() -> Resolver {
        Resolver::at(Path::new("/"), DNS_PORT)
    }

    /// As the files below `root`/etc say, with servers that listen on `port`.
    pub fn at(root: &Path, port: u16) -> Resolver {
        Resolver { hosts: root.join("etc/hosts"), settings: root.join("etc/resolv.conf"), port }
    }

    /// The addresses of `host`, best first, with `port`.
    pub fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, NameError> {
        let mut addresses = self.find(host, Family::Any)?.addresses;
        addresses.iter_mut().for_each(|address| address.set_port(port));
        Ok(addresses)
    }

    /// The addresses of `host` of one family or both.
    pub fn find(&self, host: &str, family: Family) -> Result<Found, NameError> {
        if let Some(address) = settings::address(host, 0) {
            let found = Found { addresses: vec![address], canonical: host.to_owned() };
            let fits = family.has(&address);
            return if fits {
                Ok(found)
            } else {
                Err(NameError::NoAddress { host: host.to_owned(), said: vec![] })
            };
        }
        let bad = |why| NameError::BadName { host: host.chars().take(256).collect(), why };
        let name = Name::parse(host).map_err(bad)?;
        if name.ends_in_number() {
            return Err(bad(BadName::Address));
        }
        let mut found = match self.near(host, &name, family)? {
            Some(found) => found,
            None => {
                Asking { host, family, resolver: self, began: Instant::now(), said: vec![] }.name(&name)?
            }
        };
        order::sort(&mut found.addresses);
        Ok(found)
    }

    /// What needs no network.
    fn near(&self, host: &str, name: &Name, family: Family) -> Result<Option<Found>, NameError> {
        let entry = hosts::read(&self.hosts, &name.to_string()).map_err(|source| NameError::Read {
            host: host.to_owned(),
            path: self.hosts.clone(),
            source,
        })?;
        let mut addresses = entry.addresses;
        addresses.retain(|address| family.has(address));
        if addresses.is_empty() && name.is_localhost() {
            addresses = vec![(Ipv6Addr::LOCALHOST, 0).into(), (Ipv4Addr::LOCALHOST, 0).into()];
            addresses.retain(|address| family.has(address));
        }
        let canonical = entry.canonical.unwrap_or_else(|| name.to_string());
        Ok((!addresses.is_empty()).then_some(Found { addresses, canonical }))
    }
}

/// One name on its way through DNS.
#[derive(Debug)]
struct Asking<'a> {
    host: &'a str,
    family: Family,
    resolver: &'a Resolver,
    began: Instant,
    said: Vec<Said>,
}

/// What all servers together say about one candidate.
#[derive(Debug)]
enum Verdict {
    Found(Vec<Answer>),
    Unknown,
    NoAddress,
    Unanswered,
}

impl Asking<'_> {
    fn name(mut self, name: &Name) -> Result<Found, NameError> {
        let path = || self.resolver.settings.clone();
        let settings = Settings::read(&self.resolver.settings, self.resolver.port)
            .map_err(|source| NameError::Read { host: self.host.to_owned(), path: path(), source })?;
        let mut exists = false;
        for candidate in settings.candidates(name, self.host.ends_with('.')) {
            match self.candidate(&candidate, &settings)? {
                Verdict::Found(answers) => return Ok(found(answers, &candidate)),
                Verdict::Unknown => {}
                Verdict::NoAddress => exists = true,
                // Going on would make the meaning of a name depend on which server is well.
                Verdict::Unanswered => {
                    let settings = self.resolver.settings.clone();
                    return Err(NameError::Unanswered {
                        host: self.host.to_owned(),
                        said: self.said,
                        settings,
                    });
                }
            }
        }
        let (host, said) = (self.host.to_owned(), self.said);
        Err(if exists { NameError::NoAddress { host, said } } else { NameError::Unknown { host, said } })
    }

    /// Asks the servers in turn until each kind is settled, or one is for good.
    fn candidate(&mut self, name: &Name, settings: &Settings) -> Result<Verdict, NameError> {
        let mut open = self.family.kinds().to_vec();
        let first = if settings.rotate { usize::from(self.random()?[0]) } else { 0 };
        let mut exists = false;
        for turn in 0..settings.attempts * settings.servers.len() {
            let Some(server) = settings.servers.get((first + turn) % settings.servers.len()) else { break };
            let Some(left) = Resolver::WHOLE_LIMIT.checked_sub(self.began.elapsed()) else { break };
            let timeout = settings.timeout.min(left);
            let replies = exchange::ask(*server, name, &open, self.random()?, timeout, settings.tcp);
            let mut answers = Vec::new();
            let mut unknown = false;
            for (kind, reply) in replies {
                let outcome = match reply.map_or_else(Err, judge) {
                    Ok(answer) => {
                        answers.push(answer);
                        continue;
                    }
                    Err(outcome) => outcome,
                };
                exists |= outcome == Outcome::NoAddress;
                unknown |= outcome == Outcome::NoSuchName;
                if outcome == Outcome::NoAddress || outcome == Outcome::NoSuchName {
                    open.retain(|other| *other != kind);
                }
                self.keep(Said { server: *server, name: name.clone(), kind, outcome });
            }
            match answers.is_empty() {
                false => return Ok(Verdict::Found(answers)),
                true if unknown && !exists => return Ok(Verdict::Unknown),
                true if open.is_empty() => return Ok(Verdict::NoAddress),
                true => {}
            }
        }
        Ok(Verdict::Unanswered)
    }

    /// Keeps the last of what was said, each once.
    fn keep(&mut self, said: Said) {
        self.said.retain(|other| *other != said);
        if self.said.len() == SAID_LIMIT {
            self.said.remove(0);
        }
        self.said.push(said);
    }

    fn random(&self) -> Result<Ids, NameError> {
        let mut bytes = [0_u8; 4];
        let error = |source| NameError::Random { host: self.host.to_owned(), source };
        // So few bytes come whole once the kernel has any.
        getrandom(&mut bytes, GetRandomFlags::empty()).map_err(|errno| error(errno.into()))?;
        let [a, b, c, d] = bytes;
        Ok([u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d])])
    }
}

/// An answer with addresses, or what it says instead.
fn judge(answer: Answer) -> Result<Answer, Outcome> {
    match answer.code {
        NO_SUCH_NAME => Err(Outcome::NoSuchName),
        0 if answer.addresses.is_empty() => Err(Outcome::NoAddress),
        0 => Ok(answer),
        code => Err(Outcome::Code(code)),
    }
}

/// Joins the answers for both kinds.
fn found(answers: Vec<Answer>, candidate: &Name) -> Found {
    let canonical = answers.iter().map(|answer| &answer.canonical).find(|name| name.is_host());
    let canonical = canonical.unwrap_or(candidate).to_string();
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in answers.into_iter().flat_map(|answer| answer.addresses) {
        let address: (IpAddr, u16) = (address, 0);
        if !addresses.contains(&address.into()) {
            addresses.push(address.into());
        }
    }
    Found { addresses, canonical }
}
