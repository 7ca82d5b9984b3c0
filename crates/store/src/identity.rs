// SPDX-License-Identifier: Apache-2.0
//! Who signs: the store's origin (its id and first public key) and the key of the current epoch.
//! Each checkpoint ends an epoch: the next seed is derived from the old one, and the old one is
//! overwritten, so that whoever takes the key later cannot sign for the past. Secrets never leave
//! this file except into the 0600 file `key`.

use std::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::block::{HeaderFault, VERSION, open_fixed, seal_fixed};
use crate::cursor::Cursor;
use crate::merkle::Hash;

pub(crate) const ORIGIN_NAME: &str = "origin";
pub(crate) const KEY_NAME: &str = "key";
pub(crate) const KEY_NEW_NAME: &str = "key.new";
pub(crate) const ORIGIN_LEN: usize = 160;
pub(crate) const KEY_LEN: usize = 64;
const ORIGIN_MAGIC: [u8; 4] = *b"PORI";
const KEY_MAGIC: [u8; 4] = *b"PKEY";
const ORIGIN_SIGNED_LEN: usize = 80;

/// Where a store's proof begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) store_id: [u8; 16],
    pub(crate) created_ns: u64,
    /// First block that this origin's keys prove; above 0 when an earlier identity was lost.
    pub(crate) first_block: u64,
    pub(crate) first_sequence: u64,
    pub(crate) public_key: [u8; 32],
    pub(crate) signature: [u8; 64],
}

impl Origin {
    fn start(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(ORIGIN_LEN);
        out.extend_from_slice(&ORIGIN_MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.store_id);
        out.extend_from_slice(&self.created_ns.to_le_bytes());
        out.extend_from_slice(&self.first_block.to_le_bytes());
        out.extend_from_slice(&self.first_sequence.to_le_bytes());
        out.extend_from_slice(&self.public_key);
        out
    }

    pub(crate) fn encode(&self) -> [u8; ORIGIN_LEN] {
        let mut out = self.start();
        out.extend_from_slice(&self.signature);
        seal_fixed(out)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Origin, HeaderFault> {
        if bytes.len() > ORIGIN_LEN {
            return Err(HeaderFault::Broken);
        }
        let mut cursor = Cursor::new(open_fixed::<ORIGIN_LEN>(bytes, ORIGIN_MAGIC)?);
        let mut fields = || {
            Some(Origin {
                store_id: cursor.array()?,
                created_ns: cursor.u64()?,
                first_block: cursor.u64()?,
                first_sequence: cursor.u64()?,
                public_key: cursor.array()?,
                signature: cursor.array()?,
            })
        };
        let origin = fields().ok_or(HeaderFault::Broken)?;
        let message = origin.start();
        let signed = message.len() == ORIGIN_SIGNED_LEN
            && verifies(&origin.public_key, &message, &origin.signature)
            && origin.encode().as_slice() == bytes;
        if signed { Ok(origin) } else { Err(HeaderFault::Broken) }
    }

    /// What the first block links to, and what every signature is bound to.
    pub(crate) fn hash(&self) -> Hash {
        *blake3::hash(&self.encode()).as_bytes()
    }
}

/// The secret of one epoch.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) epoch: u64,
    signing: SigningKey,
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Key").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl Key {
    fn random() -> Result<Key, rustix::io::Errno> {
        let mut seed = [0; 32];
        fill_random(&mut seed)?;
        Ok(Key { epoch: 0, signing: SigningKey::from_bytes(&seed) })
    }

    pub(crate) fn public(&self) -> [u8; 32] {
        self.signing.verifying_key().to_bytes()
    }

    /// The key of the next epoch. There is no way back.
    pub(crate) fn next(&self) -> Key {
        let seed = blake3::derive_key("purser store 2026 next epoch's signing seed", self.signing.as_bytes());
        Key { epoch: self.epoch.saturating_add(1), signing: SigningKey::from_bytes(&seed) }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.signing.sign(message).to_bytes()
    }

    pub(crate) fn encode(&self) -> [u8; KEY_LEN] {
        let mut out = Vec::with_capacity(KEY_LEN);
        out.extend_from_slice(&KEY_MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(self.signing.as_bytes());
        seal_fixed(out)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Key, HeaderFault> {
        if bytes.len() > KEY_LEN {
            return Err(HeaderFault::Broken);
        }
        let mut cursor = Cursor::new(open_fixed::<KEY_LEN>(bytes, KEY_MAGIC)?);
        let epoch = cursor.u64().ok_or(HeaderFault::Broken)?;
        let seed = cursor.array::<32>().ok_or(HeaderFault::Broken)?;
        let key = Key { epoch, signing: SigningKey::from_bytes(&seed) };
        if key.encode().as_slice() == bytes { Ok(key) } else { Err(HeaderFault::Broken) }
    }
}

/// Origin and key of a store that is open for writing.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) origin: Origin,
    pub(crate) key: Key,
    origin_hash: Hash,
}

impl Identity {
    pub(crate) fn new(origin: Origin, key: Key) -> Identity {
        Identity { origin_hash: origin.hash(), origin, key }
    }

    /// A new id and key from the kernel's random bytes.
    pub(crate) fn random(now_ns: u64, block: u64, sequence: u64) -> Result<Identity, rustix::io::Errno> {
        let key = Key::random()?;
        let mut store_id = [0; 16];
        fill_random(&mut store_id)?;
        let mut origin = Origin {
            store_id,
            created_ns: now_ns,
            first_block: block,
            first_sequence: sequence,
            public_key: key.public(),
            signature: [0; 64],
        };
        origin.signature = key.sign(&origin.start());
        Ok(Identity::new(origin, key))
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.key.epoch
    }

    pub(crate) fn origin_hash(&self) -> Hash {
        self.origin_hash
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message)
    }
}

fn fill_random(mut bytes: &mut [u8]) -> Result<(), rustix::io::Errno> {
    while !bytes.is_empty() {
        let filled = rustix::rand::getrandom(&mut *bytes, rustix::rand::GetRandomFlags::empty())?;
        bytes = bytes.get_mut(filled..).unwrap_or_default();
    }
    Ok(())
}

/// Whether `signature` is the key's for `message`.
pub(crate) fn verifies(public_key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(public_key)
        .is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
}
