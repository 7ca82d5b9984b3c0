// SPDX-License-Identifier: Apache-2.0
//! Putting: blobs that are not there yet, and manifests under tags.

use super::Repository;
use crate::digest::Digest;
use crate::error::RegistryError;
use crate::http::{Request, escaped};

impl Repository<'_> {
    /// Whether the registry has this blob.
    ///
    /// # Errors
    /// When it does not say.
    pub fn has_blob(&mut self, digest: &Digest) -> Result<bool, RegistryError> {
        let request = Request::new("HEAD", self.url(&format!("blobs/{digest}")));
        let answer = self.ask(&request)?;
        let status = answer.head.status;
        self.client.keep(answer);
        // Whoever may not read may still write, and is told so then.
        Ok(status == 200)
    }

    /// Puts a blob, if it is not there. `sent` is told of the bytes that went.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub fn push_blob(&mut self, bytes: &[u8], sent: &dyn Fn(u64)) -> Result<Digest, RegistryError> {
        let digest = Digest::of(bytes);
        if self.has_blob(&digest)? {
            sent(bytes.len() as u64);
            return Ok(digest);
        }
        let begin = Request::new("POST", self.url("blobs/uploads/"));
        let answer = self.ask(&begin)?;
        if answer.head.status != 202 {
            return Err(self.refusal(answer, "the right to put something"));
        }
        let Some(location) = answer.head.get("location") else {
            return self.lie("it does not say where a blob is to be put");
        };
        let url = match answer.from.join(location) {
            Ok(url) => url,
            Err(why) => return self.lie(format!("it says where a blob is to be put, and {why}")),
        };
        if answer.from.secure && !url.secure {
            return self.lie(format!("it wants a blob sent to {} without encryption", url.host));
        }
        self.client.keep(answer);
        let url = url.with("digest", &escaped(digest.as_str()));
        let mut put = Request::new("PUT", url);
        put.headers.push(("content-type", "application/octet-stream".to_string()));
        (put.body, put.sent) = (bytes, sent);
        let answer = self.ask(&put)?;
        if !matches!(answer.head.status, 201 | 204) {
            return Err(self.refusal(answer, "the right to put a blob"));
        }
        self.client.keep(answer);
        Ok(digest)
    }

    /// Puts a manifest under a tag; what it names must be there.
    ///
    /// # Errors
    /// When the registry does not take it, or takes it for another.
    pub fn push_manifest(&mut self, tag: &str, kind: &str, bytes: &[u8]) -> Result<Digest, RegistryError> {
        let mut put = Request::new("PUT", self.url(&format!("manifests/{tag}")));
        put.headers.push(("content-type", kind.to_string()));
        put.body = bytes;
        let answer = self.ask(&put)?;
        if answer.head.status != 201 {
            return Err(self.refusal(answer, "the right to put a manifest"));
        }
        let digest = Digest::of(bytes);
        let told = answer.head.get("docker-content-digest").and_then(|told| Digest::new(told).ok());
        if let Some(told) = told.filter(|told| *told != digest) {
            return self.lie(format!("it took the manifest {digest} for {told}"));
        }
        self.client.keep(answer);
        Ok(digest)
    }
}
