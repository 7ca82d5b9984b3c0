// SPDX-License-Identifier: Apache-2.0
//! Who vouches for a kit: Ed25519 signatures over a kit's digest, which stands for all that is in it.
//!
//! What is signed is a text of two lines, so that no signature can be taken for one over something else:
//!
//! ```text
//! purser kit signature 1
//! sha256:…
//! ```
//!
//! Keys are in PEM as OpenSSL writes and reads them (PKCS #8 and SubjectPublicKeyInfo, RFC 8410), so that a key may
//! be made, and a signature checked, without purser.

mod pem;

use crate::digest::Digest;
use crate::error::{KitError, files};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Most signatures of one kit.
const SIGNATURES_LIMIT: usize = 16;
/// Longest file with a key.
const FILE_LIMIT: u64 = 16 << 10;
const SECRET_LABEL: &str = "PRIVATE KEY";
const PUBLIC_LABEL: &str = "PUBLIC KEY";
/// What stands before the 32 bytes of a key in its one form.
const SECRET_HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
const PUBLIC_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

/// Who is trusted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// Who signs.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

/// That somebody vouches for a kit.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature {
    /// Who says that they do.
    pub by: PublicKey,
    bytes: [u8; 64],
}

impl PublicKey {
    /// Reads a file in PEM.
    ///
    /// # Errors
    /// When it is no Ed25519 public key.
    pub fn read(path: &Path) -> Result<PublicKey, KitError> {
        let wrong = |why: &str| KitError::Key { path: path.to_path_buf(), why: why.to_string() };
        let text = text(&open(path)?, path)?;
        let bytes = pem::decode(&text, PUBLIC_LABEL);
        let key = bytes.as_deref().and_then(|bytes| bytes.strip_prefix(&PUBLIC_HEAD));
        let key: Option<[u8; 32]> = key.and_then(|key| key.try_into().ok());
        let key = key.filter(|key| VerifyingKey::from_bytes(key).is_ok());
        key.map(PublicKey)
            .ok_or_else(|| wrong("it is no public key for Ed25519 in PEM; purser kit key makes one"))
    }

    /// The text of its file.
    #[must_use]
    pub fn render(&self) -> String {
        pem::encode(&[PUBLIC_HEAD.as_slice(), &self.0].concat(), PUBLIC_LABEL)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SecretKey of {}", self.public())
    }
}

impl SecretKey {
    /// A new one, from the kernel's random bytes.
    ///
    /// # Errors
    /// When the kernel has none.
    pub fn random() -> std::io::Result<SecretKey> {
        let mut seed = [0; 32];
        File::open("/dev/urandom")?.read_exact(&mut seed)?;
        Ok(SecretKey(SigningKey::from_bytes(&seed)))
    }

    /// Reads a file in PEM that only its owner may read.
    ///
    /// # Errors
    /// When it is no Ed25519 key, or others may read it.
    pub fn read(path: &Path) -> Result<SecretKey, KitError> {
        let wrong = |why: &str| KitError::Key { path: path.to_path_buf(), why: why.to_string() };
        let file = open(path)?;
        let mode = file.metadata().map_err(files("looking at", path))?.mode();
        if mode & 0o077 != 0 {
            return Err(wrong("others may read it; run chmod go-rwx on it"));
        }
        let bytes = pem::decode(&text(&file, path)?, SECRET_LABEL);
        let seed = bytes.as_deref().and_then(|bytes| bytes.strip_prefix(&SECRET_HEAD));
        let seed: Option<[u8; 32]> = seed.and_then(|seed| seed.try_into().ok());
        let seed = seed.ok_or_else(|| wrong("it is no key for Ed25519 in PEM; purser kit key makes one"))?;
        Ok(SecretKey(SigningKey::from_bytes(&seed)))
    }

    /// The text of its file.
    #[must_use]
    pub fn render(&self) -> String {
        pem::encode(&[SECRET_HEAD.as_slice(), self.0.as_bytes()].concat(), SECRET_LABEL)
    }

    /// Who others know it by.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Vouches for all that has this digest.
    #[must_use]
    pub fn sign(&self, digest: &Digest) -> Signature {
        Signature { by: self.public(), bytes: self.0.sign(message(digest).as_bytes()).to_bytes() }
    }
}

impl Signature {
    /// Whether this key vouches for this digest by it.
    #[must_use]
    pub fn is_good(&self, digest: &Digest, key: &PublicKey) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&self.bytes);
        self.by == *key
            && VerifyingKey::from_bytes(&key.0)
                .is_ok_and(|key| key.verify_strict(message(digest).as_bytes(), &signature).is_ok())
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Signature by {}", self.by)
    }
}

fn message(digest: &Digest) -> String {
    format!("purser kit signature 1\n{digest}\n")
}

/// Adds a signature, in the place of what the same key has signed before. When there are too many, the oldest goes.
pub(crate) fn add(all: &mut Vec<Signature>, one: Signature) {
    all.retain(|known| known.by != one.by);
    if all.len() >= SIGNATURES_LIMIT {
        all.remove(0);
    }
    all.push(one);
}

/// Signatures as one text: `KEY:SIGNATURE` in hexadecimal digits, a space between two.
pub(crate) fn render(signatures: &[Signature]) -> String {
    let one = |signature: &Signature| format!("{}:{}", signature.by, hex(&signature.bytes));
    signatures.iter().map(one).collect::<Vec<_>>().join(" ")
}

pub(crate) fn parse(text: &str) -> Result<Vec<Signature>, String> {
    let all: Vec<&str> = text.split_ascii_whitespace().take(SIGNATURES_LIMIT + 1).collect();
    if all.len() > SIGNATURES_LIMIT {
        return Err(format!("more than {SIGNATURES_LIMIT} signatures"));
    }
    let one = |text: &str| {
        let (by, bytes) = text.split_once(':')?;
        Some(Signature { by: PublicKey(from_hex(by)?), bytes: from_hex(bytes)? })
    };
    let signatures: Option<Vec<Signature>> = all.into_iter().map(one).collect();
    signatures
        .ok_or_else(|| "a signature that is none: KEY:SIGNATURE in hexadecimal digits is one".to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != 2 * N || !text.bytes().all(lower) {
        return None;
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}

fn open(path: &Path) -> Result<File, KitError> {
    let file = File::open(path).map_err(files("opening the key", path))?;
    match file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        true => Ok(file),
        false => Err(KitError::Key { path: path.to_path_buf(), why: "it is no regular file".to_string() }),
    }
}

fn text(file: &File, path: &Path) -> Result<String, KitError> {
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT).read_to_end(&mut bytes).map_err(files("reading the key", path))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{PublicKey, SecretKey, parse, render};
    use crate::digest::Digest;
    use proptest::prelude::{any, prop_assert, proptest};
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn signatures_hold_for_one_kit_and_one_key() {
        let (ours, theirs) = (SecretKey::random().unwrap(), SecretKey::random().unwrap());
        let (kit, other) = (Digest::of(b"kit"), Digest::of(b"other"));
        let text = render(&[theirs.sign(&kit), ours.sign(&kit)]);
        let read = parse(&text).unwrap();
        assert!(read[1].is_good(&kit, &ours.public()) && read[0].is_good(&kit, &theirs.public()));
        assert!(!read[1].is_good(&other, &ours.public()) && !read[1].is_good(&kit, &theirs.public()));
        // Somebody else's signature under our name.
        let (by, _) = text.split_once(' ').unwrap().1.split_once(':').unwrap();
        let (_, bytes) = text.split_once(' ').unwrap().0.split_once(':').unwrap();
        assert!(!parse(&format!("{by}:{bytes}")).unwrap()[0].is_good(&kit, &ours.public()));
        assert_eq!(parse("").unwrap(), []);
        assert!(parse(&text.replace(' ', "")).is_err() && parse(&text.to_uppercase()).is_err());
        assert!(parse(&[text.as_str(); 9].join(" ")).unwrap_err().contains("more than 16"));
    }

    #[test]
    fn openssl_reads_our_keys_and_checks_our_signatures() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let key = SecretKey::random().unwrap();
        fs::write(path("key"), key.render()).unwrap();
        assert!(SecretKey::read(&path("key")).unwrap_err().to_string().contains("chmod go-rwx"));
        fs::set_permissions(path("key"), Permissions::from_mode(0o600)).unwrap();
        fs::write(path("pub"), key.public().render()).unwrap();
        assert_eq!(SecretKey::read(&path("key")).unwrap().public(), key.public());
        assert_eq!(PublicKey::read(&path("pub")).unwrap(), key.public());
        assert!(PublicKey::read(&path("key")).is_err() && PublicKey::read(dir.path()).is_err());

        let digest = Digest::of(b"kit");
        fs::write(path("message"), format!("purser kit signature 1\n{digest}\n")).unwrap();
        fs::write(path("signature"), key.sign(&digest).bytes).unwrap();
        let openssl = |arguments: &[&str]| {
            std::process::Command::new("openssl").args(arguments).current_dir(dir.path()).output().unwrap()
        };
        let made = openssl(&["pkey", "-in", "key", "-pubout"]);
        assert_eq!(String::from_utf8_lossy(&made.stdout), key.public().render());
        let check = ["pkeyutl", "-verify", "-pubin", "-inkey", "pub", "-rawin", "-in", "message"];
        let checked = openssl(&[check.as_slice(), &["-sigfile", "signature"]].concat());
        assert!(checked.status.success(), "{checked:?}");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>()) {
            if let Ok(signatures) = parse(&text) {
                prop_assert!(parse(&render(&signatures)).is_ok());
            }
        }
    }
}
