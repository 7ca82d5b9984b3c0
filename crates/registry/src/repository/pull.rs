// SPDX-License-Identifier: Apache-2.0
//! Fetching: manifests by tag or digest, and blobs, which go on where they were cut off.

use super::Repository;
use crate::digest::Digest;
use crate::document::{ACCEPT, Descriptor, Manifest};
use crate::error::{RegistryError, Why};
use crate::http::{Answer, Request};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};

/// Longest manifest, as the specification has it.
const MANIFEST_LIMIT: u64 = 4 << 20;
/// Tries of one blob without a byte that is new, and all of them.
const IDLE_TRIES: u32 = 5;
const TRIES: u32 = 100;
/// Platforms that a message lists.
const SHOWN_LIMIT: usize = 16;

/// An image for one platform.
#[derive(Clone, Debug)]
pub struct Image {
    /// What names the manifest.
    pub descriptor: Descriptor,
    /// The manifest, as it came.
    pub bytes: Vec<u8>,
    /// How the image is run, and what its layers are when unpacked.
    pub config: Descriptor,
    /// Its files.
    pub layers: Vec<Descriptor>,
    /// What the manifest has noted.
    pub annotations: BTreeMap<String, String>,
}

impl Repository<'_> {
    /// The image under a tag or digest: itself, or the one for this platform (`amd64`) out of several.
    ///
    /// # Errors
    /// When there is none, or the registry is not right.
    pub fn image(&mut self, wanted: &str, architecture: &str) -> Result<Image, RegistryError> {
        let (manifest, descriptor, bytes) = self.manifest(wanted)?;
        let (manifest, descriptor, bytes) = match manifest {
            Manifest::Index(images) => {
                let chosen = self.choose(&images, wanted, architecture)?;
                let (manifest, found, bytes) = self.manifest(chosen.digest.as_str())?;
                if found.size != chosen.size {
                    let (says, has) = (chosen.size, found.size);
                    return self.lie(format!(
                        "manifest {} has {has} bytes and its index says {says}",
                        chosen.digest
                    ));
                }
                (manifest, found, bytes)
            }
            image => (image, descriptor, bytes),
        };
        match manifest {
            Manifest::Image { config, layers, annotations } => {
                Ok(Image { descriptor, bytes, config, layers, annotations })
            }
            Manifest::Index(_) => self.lie(format!("{wanted} is an index of indexes")),
        }
    }

    fn choose(
        &self,
        images: &[Descriptor],
        wanted: &str,
        architecture: &str,
    ) -> Result<Descriptor, RegistryError> {
        let fits = |image: &&Descriptor| {
            image.platform.as_ref().is_some_and(|it| it.os == "linux" && it.architecture == architecture)
        };
        let alone = images.first().filter(|image| images.len() == 1 && image.platform.is_none());
        if let Some(image) = images.iter().find(fits).or(alone) {
            return Ok(image.clone());
        }
        let platforms = images.iter().filter_map(|image| image.platform.as_ref()).take(SHOWN_LIMIT);
        let harmless = |text: &str| text.chars().filter(char::is_ascii_graphic).take(20).collect::<String>();
        let platforms: Vec<String> =
            platforms.map(|it| format!("{}/{}", harmless(&it.os), harmless(&it.architecture))).collect();
        let there = platforms.join(", ");
        Err(self.fault(Why::Absent(format!("{wanted} for linux/{architecture}; there is: {there}"))))
    }

    /// The manifest under a tag or digest, what names it, and its bytes.
    ///
    /// # Errors
    /// When there is none, or the registry is not right.
    pub fn manifest(&mut self, wanted: &str) -> Result<(Manifest, Descriptor, Vec<u8>), RegistryError> {
        let mut request = Request::new("GET", self.url(&format!("manifests/{wanted}")));
        request.headers.push(("accept", ACCEPT.to_string()));
        let mut answer = self.ask(&request)?;
        if answer.head.status != 200 {
            return Err(self.refusal(answer, &format!("image {wanted}")));
        }
        let bytes = self.body(&mut answer, MANIFEST_LIMIT, "a manifest")?;
        let digest = Digest::of(&bytes);
        let told = answer.head.get("docker-content-digest").and_then(|told| Digest::new(told).ok());
        let told = Digest::new(wanted).ok().or(told);
        if let Some(told) = told.filter(|told| *told != digest) {
            return self
                .lie(format!("the manifest of {wanted} has the digest {digest} and should have {told}"));
        }
        let kind = answer.head.get("content-type").unwrap_or_default().to_string();
        let manifest = match Manifest::parse(&bytes, &kind) {
            Ok(manifest) => manifest,
            Err(why) => return self.lie(why),
        };
        self.client.keep(answer);
        let (size, platform, annotations) = (bytes.len() as u64, None, BTreeMap::new());
        Ok((manifest, Descriptor { media_type: kind, digest, size, platform, annotations }, bytes))
    }

    fn body(&self, answer: &mut Answer, limit: u64, what: &str) -> Result<Vec<u8>, RegistryError> {
        let mut bytes = Vec::new();
        if answer.body.length().is_none_or(|length| length <= limit) {
            let read = (&mut answer.body).take(limit + 1).read_to_end(&mut bytes);
            read.map_err(|error| self.fault(Why::Trouble(self.told(&error))))?;
            if bytes.len() as u64 <= limit {
                return Ok(bytes);
            }
        }
        self.lie(format!("{what} is longer than {limit} bytes"))
    }

    fn told(&self, error: &io::Error) -> String {
        crate::http::told(error, self.settings.patience)
    }

    /// The bytes of a small blob.
    ///
    /// # Errors
    /// As for [`Repository::blob`], or when it says that it is longer than `limit`.
    pub fn document(&mut self, blob: &Descriptor, limit: u64) -> Result<Vec<u8>, RegistryError> {
        if blob.size > limit {
            return self.lie(format!("{} has {} bytes; at most {limit}", blob.digest, blob.size));
        }
        let mut bytes = Vec::new();
        self.blob(blob, &mut bytes, &|_| {})?;
        Ok(bytes)
    }

    /// Writes a blob. When it is cut off, it goes on from there. `seen` is told of the bytes that came.
    ///
    /// # Errors
    /// When its bytes are not those that the digest names, or do not come; some of them are written then.
    pub fn blob(
        &mut self,
        blob: &Descriptor,
        out: &mut dyn Write,
        seen: &dyn Fn(u64),
    ) -> Result<(), RegistryError> {
        let mut intake = Intake { out, state: Sha256::new(), done: 0, size: blob.size, seen };
        let mut idle = 0;
        for _ in 0..TRIES {
            let before = intake.done;
            match self.some(blob, &mut intake)? {
                None => {
                    let digest = Digest::finished(intake.state);
                    if digest != blob.digest {
                        return self.lie(format!("what it sends as {} has the digest {digest}", blob.digest));
                    }
                    return Ok(());
                }
                Some(why) => {
                    idle = if intake.done > before { 1 } else { idle + 1 };
                    if idle == IDLE_TRIES {
                        let (done, size) = (intake.done, blob.size);
                        let why = format!("{} was cut off at {done} of {size} bytes: {why}", blob.digest);
                        return Err(self.fault(Why::Trouble(why)));
                    }
                    self.pause(&why, idle, None);
                }
            }
        }
        Err(self.fault(Why::Trouble(format!("{} was cut off {TRIES} times", blob.digest))))
    }

    /// As much of a blob as comes; why it is not all, if it is not.
    fn some(&mut self, blob: &Descriptor, intake: &mut Intake<'_>) -> Result<Option<String>, RegistryError> {
        let from = intake.done;
        let mut request = Request::new("GET", self.url(&format!("blobs/{}", blob.digest)));
        if from > 0 {
            request.headers.push(("range", format!("bytes={from}-")));
        }
        let mut answer = self.ask(&request)?;
        let whole = match (answer.head.status, answer.head.get("content-range")) {
            (200, _) => true,
            (206, Some(range)) if from > 0 && range.starts_with(&format!("bytes {from}-")) => false,
            (206, range) => {
                let range = range.unwrap_or("nothing").to_string();
                return self.lie(format!("asked for {} from {from} on, it sends {range:?}", blob.digest));
            }
            _ => return Err(self.refusal(answer, &format!("blob {}", blob.digest))),
        };
        let skip = if whole { from } else { 0 };
        let expected = if whole { blob.size } else { blob.size.saturating_sub(from) };
        if let Some(length) = answer.body.length().filter(|length| *length != expected) {
            let digest = &blob.digest;
            return self.lie(format!("it sends {length} bytes for {digest}, and {expected} are announced"));
        }
        match intake.take(&mut answer.body, skip) {
            Ok(()) => {
                self.client.keep(answer);
                Ok(None)
            }
            Err(Cut::Short(error)) => Ok(Some(self.told(&error))),
            Err(Cut::Long) => self.lie(format!(
                "it sends more than the {} bytes that are announced for {}",
                blob.size, blob.digest
            )),
            Err(Cut::Out(error)) => Err(self.fault(Why::Local(format!("writing {}: {error}", blob.digest)))),
        }
    }
}

/// A blob as far as it came.
struct Intake<'a> {
    out: &'a mut dyn Write,
    state: Sha256,
    done: u64,
    size: u64,
    seen: &'a dyn Fn(u64),
}

/// Why it does not go on.
enum Cut {
    Short(io::Error),
    Long,
    Out(io::Error),
}

impl Intake<'_> {
    /// Takes all that is announced, and wants nothing behind it. The first `skip` bytes are there already.
    fn take(&mut self, body: &mut impl Read, mut skip: u64) -> Result<(), Cut> {
        let mut piece = vec![0; 64 << 10];
        loop {
            let count = match body.read(&mut piece) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other.map_err(Cut::Short)?,
            };
            if count == 0 && self.done < self.size {
                return Err(Cut::Short(ErrorKind::UnexpectedEof.into()));
            }
            if count == 0 {
                return Ok(());
            }
            let over = usize::try_from(skip).unwrap_or(usize::MAX).min(count);
            skip -= over as u64;
            let bytes = piece.get(over..count).unwrap_or_default();
            if self.done + bytes.len() as u64 > self.size {
                return Err(Cut::Long);
            }
            self.out.write_all(bytes).map_err(Cut::Out)?;
            self.state.update(bytes);
            self.done += bytes.len() as u64;
            (self.seen)(bytes.len() as u64);
        }
    }
}
