// SPDX-License-Identifier: Apache-2.0
//! The little of DNS messages (RFC 1035) a stub resolver needs: it writes questions for addresses and
//! reads what answers them. Bytes of any kind never panic; it touches no network.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of a name on the wire, its ending zero included.
const NAME_LIMIT: usize = 255;
const LABEL_LIMIT: usize = 63;
/// Aliases followed from the name that was asked to the one with addresses.
const ALIAS_LIMIT: usize = 16;
/// Records of an answer that are looked at.
const RECORD_LIMIT: usize = 512;
/// Addresses taken from an answer.
const ADDRESS_LIMIT: usize = 64;

/// The response code for a name that does not exist.
pub const NO_SUCH_NAME: u8 = 3;

const CLASS_INTERNET: u16 = 1;
const TYPE_ALIAS: u16 = 5;
const FLAG_RESPONSE: u16 = 1 << 15;
const FLAG_TRUNCATED: u16 = 1 << 9;
const FLAG_RECURSE: u16 = 1 << 8;
const OPCODE: u16 = 0xf << 11;

/// What is wrong with the text of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Nothing, or two dots in a row.
    #[error("a part of it is empty")]
    Empty,
    /// A part of more than 63 characters.
    #[error("a part of it has more than 63 characters")]
    LongLabel,
    /// More than 253 characters.
    #[error("it has more than 253 characters")]
    Long,
    /// A character host names do not have.
    #[error("it has the character {0:?}; allowed are ASCII letters, digits, '-', '_' and '.'")]
    Character(char),
    /// Digits at its end, so an address is meant.
    #[error("it looks like an IPv4 address, which is four decimal numbers from 0 to 255")]
    Address,
}

/// A name, in lower case: each label after its length, without the zero that ends it on the wire.
#[derive(Clone, PartialEq, Eq)]
pub struct Name(Vec<u8>);

impl Name {
    /// Reads `text`, which may end in one dot.
    pub fn parse(text: &str) -> Result<Name, BadName> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let mut wire = Vec::new();
        for label in text.split('.') {
            if let Some(c) = label.chars().find(|c| !u8::try_from(*c).is_ok_and(is_host_byte)) {
                return Err(BadName::Character(c));
            }
            match label.len() {
                0 => return Err(BadName::Empty),
                length @ 1..=LABEL_LIMIT => wire.push(length as u8),
                _ => return Err(BadName::LongLabel),
            }
            wire.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
            if wire.len() + 1 > NAME_LIMIT {
                return Err(BadName::Long);
            }
        }
        Ok(Name(wire))
    }

    /// This name below `domain`.
    pub fn below(&self, domain: &Name) -> Result<Name, BadName> {
        let wire: Vec<u8> = self.0.iter().chain(&domain.0).copied().collect();
        if wire.len() + 1 > NAME_LIMIT { Err(BadName::Long) } else { Ok(Name(wire)) }
    }

    /// The dots between its labels.
    pub fn dots(&self) -> usize {
        self.labels().count().saturating_sub(1)
    }

    /// Whether its last label is a number, so that only an address can be meant.
    pub fn ends_in_number(&self) -> bool {
        self.labels().last().is_some_and(|last| {
            last.iter().all(u8::is_ascii_digit)
                || last.strip_prefix(b"0x").is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
        })
    }

    /// Whether it is `localhost` or below it, which always means this machine (RFC 6761).
    pub fn is_localhost(&self) -> bool {
        self.labels().last() == Some(b"localhost")
    }

    /// Whether it has only the characters of host names; one from an answer may have any.
    pub fn is_host(&self) -> bool {
        !self.0.is_empty() && self.labels().all(|label| label.iter().copied().all(is_host_byte))
    }

    fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first()?;
            let (label, after) = after.split_at_checked(usize::from(*length))?;
            rest = after;
            Some(label)
        })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, label) in self.labels().enumerate() {
            if at > 0 {
                out.write_str(".")?;
            }
            label.escape_ascii().fmt(out)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Name({self})")
    }
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// Which addresses are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// IPv4.
    A,
    /// IPv6.
    Aaaa,
}

impl Kind {
    fn code(self) -> u16 {
        match self {
            Kind::A => 1,
            Kind::Aaaa => 28,
        }
    }

    /// The address a record of this kind holds.
    fn address(self, data: &[u8]) -> Option<IpAddr> {
        match self {
            Kind::A => <[u8; 4]>::try_from(data).ok().map(|octets| Ipv4Addr::from(octets).into()),
            Kind::Aaaa => <[u8; 16]>::try_from(data).ok().map(|octets| Ipv6Addr::from(octets).into()),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Kind::A => "A",
            Kind::Aaaa => "AAAA",
        })
    }
}

/// The message that asks for the addresses of `name`.
pub fn question(id: u16, name: &Name, kind: Kind) -> Vec<u8> {
    let mut message = Vec::with_capacity(12 + NAME_LIMIT + 4);
    for word in [id, FLAG_RECURSE, 1, 0, 0, 0] {
        message.extend(word.to_be_bytes());
    }
    message.extend(&name.0);
    message.push(0);
    message.extend(kind.code().to_be_bytes());
    message.extend(CLASS_INTERNET.to_be_bytes());
    message
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// 0 when all is well, or why not: [`NO_SUCH_NAME`] and others.
    pub code: u8,
    /// Not all of it fitted; TCP has the whole.
    pub truncated: bool,
    /// At the end of the aliases.
    pub addresses: Vec<IpAddr>,
    /// The name that has the addresses.
    pub canonical: Name,
}

/// Why bytes are not an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// They answer another question: a stray or forged message, to be passed over.
    NotOurs,
    /// They answer our question and break the format.
    Malformed(&'static str),
}

/// Reads the answer to [`question`] with the same arguments.
pub fn answer(bytes: &[u8], id: u16, name: &Name, kind: Kind) -> Result<Answer, Unfit> {
    let mut reader = Reader { bytes, at: 0 };
    let (code, truncated, count) = head(&mut reader, id, name, kind).ok_or(Unfit::NotOurs)?;
    let mut records = Records::default();
    for _ in 0..usize::from(count).min(RECORD_LIMIT) {
        match reader.record() {
            Some(record) => records.take(&record, kind)?,
            None if truncated => break,
            None => return Err(Unfit::Malformed("it ends within a record")),
        }
    }
    let canonical = records.canonical(name).ok_or(Unfit::Malformed("its aliases have no end"))?;
    let of_it = records.addresses.into_iter().filter(|(owner, _)| *owner == canonical);
    let addresses = of_it.map(|(_, address)| address).take(ADDRESS_LIMIT).collect();
    Ok(Answer { code, truncated, addresses, canonical })
}

/// Response code, whether truncated, number of answers; none when it answers another question.
fn head(reader: &mut Reader<'_>, id: u16, name: &Name, kind: Kind) -> Option<(u8, bool, u16)> {
    let (theirs, flags) = (reader.word()?, reader.word()?);
    let (questions, answers) = (reader.word()?, reader.word()?);
    reader.skip(4)?;
    let (asked, asked_kind, class) = (reader.name()?, reader.word()?, reader.word()?);
    let ours = theirs == id
        && flags & (FLAG_RESPONSE | OPCODE) == FLAG_RESPONSE
        && questions == 1
        && asked == *name
        && asked_kind == kind.code()
        && class == CLASS_INTERNET;
    ours.then_some(((flags & 0xf) as u8, flags & FLAG_TRUNCATED != 0, answers))
}

/// What of an answer matters, as long as it is not known which name has the addresses.
#[derive(Debug, Default)]
struct Records {
    aliases: Vec<(Name, Name)>,
    addresses: Vec<(Name, IpAddr)>,
}

impl Records {
    fn take(&mut self, record: &Record<'_>, kind: Kind) -> Result<(), Unfit> {
        if record.class != CLASS_INTERNET {
            return Ok(());
        }
        if record.kind == TYPE_ALIAS {
            let target = record.target().ok_or(Unfit::Malformed("an alias without a name"))?;
            self.aliases.push((record.owner.clone(), target));
        } else if record.kind == kind.code() {
            let address =
                kind.address(record.data).ok_or(Unfit::Malformed("an address of a wrong length"))?;
            self.addresses.push((record.owner.clone(), address));
        }
        Ok(())
    }

    /// The name at the end of the aliases of `name`.
    fn canonical(&self, name: &Name) -> Option<Name> {
        let mut current = name;
        for _ in 0..=ALIAS_LIMIT {
            match self.aliases.iter().find(|(alias, _)| alias == current) {
                Some((_, target)) => current = target,
                None => return Some(current.clone()),
            }
        }
        None
    }
}

#[derive(Debug)]
struct Record<'a> {
    owner: Name,
    kind: u16,
    class: u16,
    data: &'a [u8],
    /// The message up to the end of `data`, to which names in it may point back.
    so_far: &'a [u8],
}

impl Record<'_> {
    /// The name that is all of the data.
    fn target(&self) -> Option<Name> {
        let mut reader = Reader { bytes: self.so_far, at: self.so_far.len() - self.data.len() };
        let name = reader.name()?;
        (reader.at == self.so_far.len()).then_some(name)
    }
}

#[derive(Debug)]
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn skip(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let skipped = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(skipped)
    }

    fn byte(&mut self) -> Option<u8> {
        self.skip(1)?.first().copied()
    }

    fn word(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.skip(2)?.try_into().ok()?))
    }

    fn record(&mut self) -> Option<Record<'a>> {
        let owner = self.name()?;
        let (kind, class) = (self.word()?, self.word()?);
        self.skip(4)?;
        let length = self.word()?;
        let data = self.skip(usize::from(length))?;
        Some(Record { owner, kind, class, data, so_far: self.bytes.get(..self.at)? })
    }

    /// A name. Each pointer must point before all that was read of the name so far, so there are no loops.
    fn name(&mut self) -> Option<Name> {
        let mut wire = Vec::new();
        let mut place = Reader { bytes: self.bytes, at: self.at };
        let mut lowest = self.at;
        let mut end = None;
        loop {
            let length = place.byte()?;
            match length >> 6 {
                0 if length == 0 => break,
                0 => {
                    wire.push(length);
                    wire.extend(place.skip(usize::from(length))?.iter().map(u8::to_ascii_lowercase));
                    if wire.len() + 1 > NAME_LIMIT {
                        return None;
                    }
                }
                3 => {
                    let target = usize::from(length & 0x3f) << 8 | usize::from(place.byte()?);
                    end.get_or_insert(place.at);
                    if target >= lowest {
                        return None;
                    }
                    lowest = target;
                    place.at = target;
                }
                _ => return None,
            }
        }
        self.at = end.unwrap_or(place.at);
        Some(Name(wire))
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
