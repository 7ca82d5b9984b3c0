// SPDX-License-Identifier: Apache-2.0
//! What the headers of a tar entry say of it: an entry's own, and the extended ones before it (GNU's long names, and
//! those of POSIX, in which Go's tools and GNU's put attributes).

use super::made::odd;
use rustix::fs::{Gid, Mode, Uid};
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use tar::EntryType;

/// The longest extended header.
const HEADER_LIMIT: u64 = 1 << 20;
/// The most attributes of an entry, whose values are at most as long together as a header.
const ATTRIBUTES_LIMIT: usize = 64;
/// The number by which a call says "leave the owner as it is".
const NOBODY: u32 = u32::MAX;
/// Where extended headers have attributes, and those that are taken: none of overlayfs's own, which say where files are.
const ATTRIBUTE: &[u8] = b"SCHILY.xattr.";
const ATTRIBUTES: [&[u8]; 4] =
    [b"security.capability", b"system.posix_acl_access", b"system.posix_acl_default", b"user."];

/// What extended headers say about the entry behind them.
#[derive(Default)]
pub(super) struct Extended {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    user: Option<u32>,
    group: Option<u32>,
    pub(super) size: Option<u64>,
    /// Names and values.
    pub(super) attributes: Vec<(OsString, Vec<u8>)>,
}

/// What an entry's header says of whatever it is.
pub(super) struct Owner {
    pub(super) user: Uid,
    pub(super) group: Gid,
    pub(super) mode: Mode,
}

impl Owner {
    pub(super) fn of(header: &tar::Header, extended: &Extended) -> io::Result<Owner> {
        let number = |told: Option<u32>, header: io::Result<u64>| -> io::Result<u32> {
            let number = told.map_or_else(|| Ok(u32::try_from(header?).unwrap_or(NOBODY)), io::Result::Ok)?;
            if number == NOBODY { Err(odd("its owner is nobody's number")) } else { Ok(number) }
        };
        Ok(Owner {
            user: Uid::from_raw(number(extended.user, header.uid())?),
            group: Gid::from_raw(number(extended.group, header.gid())?),
            mode: Mode::from_raw_mode(header.mode()? & 0o7777),
        })
    }
}

impl Extended {
    /// Whether this entry only told about the next one.
    pub(super) fn read<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> io::Result<bool> {
        let kind = entry.header().entry_type();
        if !matches!(
            kind,
            EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader | EntryType::XGlobalHeader
        ) {
            return Ok(false);
        }
        if entry.size() > HEADER_LIMIT {
            return Err(odd("an extended header is too long"));
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        match kind {
            EntryType::GNULongName | EntryType::GNULongLink => {
                while bytes.last() == Some(&0) {
                    bytes.pop();
                }
                *(if kind == EntryType::GNULongName { &mut self.path } else { &mut self.link }) = Some(bytes);
            }
            EntryType::XHeader => self.records(&bytes)?,
            _ => {}
        }
        Ok(true)
    }

    /// `LENGTH KEY=VALUE`, each with a newline.
    fn records(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let wrong = || odd("an extended header is damaged");
        let number = |value: &[u8]| std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
        while !bytes.is_empty() {
            let space = bytes.iter().position(|byte| *byte == b' ').ok_or_else(wrong)?;
            let length = number(bytes.get(..space).unwrap_or_default()).ok_or_else(wrong)?;
            let length =
                usize::try_from(length).ok().filter(|length| *length > space + 1).ok_or_else(wrong)?;
            let record = bytes.get(space + 1..length).ok_or_else(wrong)?;
            bytes = bytes.get(length..).unwrap_or_default();
            let record = record.strip_suffix(b"\n").ok_or_else(wrong)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(wrong)?;
            let (key, value) =
                (record.get(..equals).unwrap_or_default(), record.get(equals + 1..).unwrap_or_default());
            let id = || number(value).and_then(|id| u32::try_from(id).ok()).ok_or_else(wrong);
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"uid" => self.user = Some(id()?),
                b"gid" => self.group = Some(id()?),
                b"size" => self.size = Some(number(value).ok_or_else(wrong)?),
                _ if is_taken(key) => {
                    let name = OsString::from_vec(key.get(ATTRIBUTE.len()..).unwrap_or_default().to_vec());
                    self.attributes.push((name, value.to_vec()));
                    let bytes: usize = self.attributes.iter().map(|(_, value)| value.len()).sum();
                    if self.attributes.len() > ATTRIBUTES_LIMIT || bytes as u64 > HEADER_LIMIT {
                        return Err(odd("it has too many attributes"));
                    }
                }
                _ if key.starts_with(b"GNU.sparse.") => return Err(odd("a sparse file")),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether a key of an extended header is an attribute that is taken.
fn is_taken(key: &[u8]) -> bool {
    let Some(name) = key.strip_prefix(ATTRIBUTE) else { return false };
    let fits =
        |one: &&[u8]| if one.ends_with(b".") { name.starts_with(one) && name != *one } else { name == *one };
    ATTRIBUTES.iter().any(fits) && name.len() <= 255 && !name.contains(&0)
}
